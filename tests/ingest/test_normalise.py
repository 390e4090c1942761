"""One form for text: what changes, what never does."""

import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingest.text.legible import legible
from ingest.text.normalise import normalise

ANY = st.text(st.characters(categories=None))
MARKS = ["bib_ref", "fig_ref", "bib", "fig", "table", "formula"]
PIECES = st.sampled_from(
    [
        *"aou–—•*·-#○ 3\n\t\r",
        "\u0301",
        "\u00a0",
        "\u2028",
        "\uf0b7",
        "\u0387",
        "\u200b",
        "[fig]",
        "[/fig]",
        *"Ââ€“µ°¹²⁄₂>+\u0332\u0302\x1e\x1f\x96\x80ﬁ\u00ad\u2064\uf0d8\uf0b3\uf031\ufffd",
    ]
)


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("one\r\ntwo\rthree\u2028four\x0cfive", "one\ntwo\nthree\nfour\nfive"),
        ("a\t b\u00a0\u2009c  \n  d", "a b c\nd"),
        ("a\n\n \n\t\n\nb\n\n", "a\n\nb"),
        ("e\u0301 \u212b", "é Å"),
        (
            "soft\u00adhyphen zero\u200bwidth \ufeffmark \x00nul \ufffdbad \ud800half",
            "softhyphen zerowidth mark \ufffdnul \ufffdbad \ufffdhalf",
        ),
        ("• one\n  ‣ two\n*  three\n– four\n\uf0b7\tfive\n●six", "- one\n- two\n- three\n- four\n- five\n- six"),
        ("- kept\n– 3.5 4.1\n−5\n*p < 0.05\n**bold**", "- kept\n– 3.5 4.1\n−5\n*p < 0.05\n**bold**"),
        ("o item\noral rehydration\n1 2 3\n4,5\t6", "o item\noral rehydration\n1 2 3\n4,5 6"),
        ("# One\n## Two\n#   Three", "# One\n## Two\n# Three"),
        ("•\nitem", "•\nitem"),
        ("\u200b• item", "- item"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        (" \n\t\n ", ""),
    ],
)
def test_examples(raw: str, clean: str) -> None:
    assert normalise(raw) == clean


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("def f():\r\n\tif x:\t# why  \n\u00a0\u00a0  return", "def f():\n\tif x:\t# why\n    return"),
        ("/*\n * one\n * • two\n */", "/*\n * one\n * • two\n */"),
        ("  \t\n\n \n  a\n \n\t\n\n\n\tb  \n ", "  a\n\n\n\tb"),
    ],
)
def test_layout_is_kept_where_it_is_asked_for(raw: str, clean: str) -> None:
    assert normalise(raw, keep_layout=True) == clean


@given(st.one_of(ANY, st.lists(PIECES).map("".join)))
def test_normal_form_with_layout_is_normal(text: str) -> None:
    once = normalise(text, keep_layout=True)
    assert normalise(once, keep_layout=True) == once
    assert unicodedata.is_normalized("NFC", once)
    assert "\n\n\n\n" not in once
    assert not re.search(r"[\t ]$|[\u00a0\r\x00-\x08\ud800-\udfff]", once, re.MULTILINE)
    assert normalise(once).split() == normalise(text).split()


@given(st.one_of(ANY, st.lists(PIECES).map("".join)))
@example("\u0387 word")
@example("\ue000• item")
@example("• • item")
@example("a\u200b\u0301")
@example("\n \u0301")
def test_normal_form_is_normal(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert "\n\n\n" not in once
    assert not re.search(r"^ | $|  |[\r\t\x00-\x08\ud800-\udfff]", once, re.MULTILINE)
    once.encode("utf-8")


@given(st.lists(st.from_regex(r"o[a-z .,]{0,40}[a-z]", fullmatch=True), max_size=8))
def test_a_line_that_begins_with_o_is_never_lost(lines: list[str]) -> None:
    assert normalise("\n".join(lines)).split("\n") == [" ".join(line.split()) for line in lines or [""]]


@given(st.lists(st.lists(st.from_regex(r"[-–−+<]?\d{1,4}([.,]\d+)?%?", fullmatch=True), min_size=1), min_size=1))
def test_a_row_of_numbers_is_never_lost(rows: list[list[str]]) -> None:
    assert normalise("\n".join("\t".join(row) for row in rows)) == "\n".join(" ".join(row) for row in rows)


@given(
    st.lists(st.from_regex(r"[^\W_]+[.,;:]?", fullmatch=True)), st.sampled_from(["\n", "\r\n", " ", "\u00a0", "\n\n\n"])
)
def test_no_word_is_lost(words: list[str], between: str) -> None:
    assert normalise(between.join(words)).split() == legible(" ".join(words)).split()


@given(st.sampled_from(MARKS), ANY)
def test_the_tokens_of_the_format_stay(mark: str, inside: str) -> None:
    clean = normalise(f"See [{mark}] {inside} [/{mark}].")
    assert clean.startswith(f"See [{mark}]")
    assert clean.endswith(f"[/{mark}].")


def test_long_hostile_text_takes_no_time_to_speak_of() -> None:
    for piece in (" ", "\n", "• ", "\n \n", "– ", "\u0301", "\t"):
        normalise(piece * 500_000 + "x")
        normalise(piece * 500_000 + "x", keep_layout=True)
