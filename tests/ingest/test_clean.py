"""What becomes of one document, of the records of one id, and what is counted of them."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.clean import CleanSettings, PartCleaner, clean_document, regroup
from ingest.fidelity.ledger import Ledger
from ingest.tally import Tally
from lake.decision import DECISION, Drop, Reason
from lake.document import DOCUMENT, document_id, new_document

SETTINGS = CleanSettings.model_validate({"language": {"web": {}}})
LINE = "The patient should drink enough water and return to the clinic when the fever lasts longer than three days."
ANOTHER = "Older people and those with a disease of the heart should be examined by a doctor on the first day of fever."
THIRD = (
    "Nobody needs an antibiotic against a virus, which is what most infections of the throat are caused by in winter."
)
LONG = " ".join([LINE] * 4)
FRENCH = "Le patient doit boire assez d'eau et revenir à la clinique si la fièvre dure plus de trois jours. " * 4
HEADER = "\n".join(["int buf_get(struct buf *b, char *to, size_t size);"] * 8)


def reason(text: str, title: str | None = None, source: str = "web", settings: CleanSettings = SETTINGS) -> str | None:
    drop = clean_document(text, title, source, settings).drop
    return None if drop is None else drop.reason.value


def table(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), DOCUMENT)


def test_a_paragraph_of_english_stays() -> None:
    clean = clean_document(f"• {LONG}\r\n", None, "web", SETTINGS)
    assert clean == (f"- {LONG}", None, "en", None, {})


@pytest.mark.parametrize("text", ["", " \n\t ", "\ufffd\x00", "A title", "A title\n\n \u200b"])
def test_nothing_beside_a_title_is_empty(text: str) -> None:
    assert reason(text, "A  title") == "empty"


def test_a_title_counts_for_neither_length_nor_language() -> None:
    assert reason(f"{LONG}\n\nA word or two.", LONG) == "too_short"
    assert reason(f"{LINE}\n\n{FRENCH}", LINE) == "non_english"


def test_length_is_told_with_what_was_wanted() -> None:
    settings = CleanSettings.model_validate({"length_by_source": {"guidelines": {"words": 0, "lines": 3}}})
    assert reason(LONG, source="web", settings=settings) is None
    drop = clean_document(
        f"{LINE}\n{LINE}\nten words make no long line in this rule here", None, "guidelines", settings
    )
    assert drop.drop is not None
    assert drop.drop.reason is Reason.TOO_SHORT
    assert drop.drop.evidence == "words=48 of 0, lines with more than 10 words=2 of 3"
    assert drop.drop.score == 48.0
    assert drop.lang is None
    assert reason(f"{LINE}\n{ANOTHER}\n{THIRD}", source="guidelines", settings=settings) is None
    assert reason(LINE) == "too_short"


def test_other_languages_go_and_the_code_is_known() -> None:
    clean = clean_document(FRENCH, None, "web", SETTINGS)
    assert clean.lang == "fr"
    assert clean.drop is not None
    assert clean.drop.reason is Reason.NON_ENGLISH


@pytest.mark.parametrize("source", ["replay", "code"])
def test_of_other_sources_code_and_every_language_stay(source: str) -> None:
    settings = CleanSettings()
    for text in (HEADER, FRENCH):
        assert reason(text, source="guidelines", settings=settings) == "non_english"
        assert clean_document(text, None, source, settings)[2:4] == (None, None)
    assert clean_document(HEADER, None, "replay", settings).text == HEADER


@pytest.mark.parametrize("source", ["guidelines", "papers", "abstracts"])
def test_a_medical_corpus_is_english_unless_the_config_takes_that_away(source: str) -> None:
    for own in ({}, {"replay": {}}, {source: {"characters": 500}}):
        settings = CleanSettings.model_validate({"language": own})
        assert reason(FRENCH, source=source, settings=settings) == "non_english"
    for off in (None, False):
        settings = CleanSettings.model_validate({"language": {source: off}})
        assert clean_document(FRENCH, None, source, settings).lang is None
        assert reason(FRENCH, source=source, settings=settings) != "non_english"


@given(st.text(st.characters(categories=None)), st.none() | st.text(st.characters(categories=None)))
def test_no_text_raises_and_a_clean_one_stays_as_it_is(text: str, title: str | None) -> None:
    every = {"remove_lines": ["javascript", "policy", "no_terminal", "few_words"]}
    settings = CleanSettings.model_validate(
        {
            "length": {"words": 0},
            "language": {"web": {}},
            "quality": {"web": every},
            "mask": {"web": ["email", "phone", "record"]},
        }
    )
    once = clean_document(text, title, "web", settings)
    again = clean_document(once.text, once.title, "web", settings)
    assert again[:3] == once[:3]
    assert again.changes == {}
    assert (again.drop and again.drop.reason) == (once.drop and once.drop.reason)


def test_quality_is_judged_after_language_by_the_rules_of_the_corpus() -> None:
    assert reason(LONG, source="guidelines") == "duplicate_ngrams"
    assert reason(FRENCH, source="guidelines") == "non_english"
    assert reason(f"{LONG} {{", source="web") is None
    settings = CleanSettings.model_validate({"quality": {"guidelines": None, "web": {}}})
    assert reason(LONG, source="guidelines", settings=settings) is None
    drop = clean_document(f"{LONG} {{", None, "web", settings).drop
    assert drop == Drop(Reason.CURLY_BRACKET, "curly_brackets=1, at most 0", 1.0)


def test_a_title_counts_not_for_quality() -> None:
    settings = CleanSettings.model_validate({"quality": {"web": {"top_ngrams": None, "duplicate_ngrams": None}}})
    assert reason(f"Title {{\n\n{LONG}", "Title {", settings=settings) is None
    assert reason(f"{LONG}\n\nTitle {{", settings=settings) == "curly_bracket"


def test_foreign_marks_are_broken_but_in_the_sources_that_write_them() -> None:
    text = f"{LONG} See [fig] and [/bib_ref]."
    assert clean_document(text, "On [fig]", "web", SETTINGS)[:2] == (
        f"{LONG} See [ fig ] and [ /bib_ref ].",
        "On [ fig ]",
    )
    assert clean_document(text, None, "papers", SETTINGS).text == text
    settings = CleanSettings.model_validate({"format_tokens": ["web"]})
    assert clean_document(text, None, "web", settings).text == text


def test_nothing_is_masked_unless_it_is_asked_for() -> None:
    text = f"Ask Jane at j@x.org\n\n{LONG} Call 301-496-5717 or write to j@x.org."
    assert clean_document(text, None, "web", SETTINGS).text == text
    settings = CleanSettings.model_validate({"mask": {"web": ["email", "phone"]}})
    clean = clean_document(text, "Ask Jane at  j@x.org", "web", settings)
    assert clean.text == f"Ask Jane at <email>\n\n{LONG} Call <phone> or write to <email>."
    assert clean.title == "Ask Jane at <email>"
    assert clean.changes == {("masked", "email"): 2, ("masked", "phone"): 1}


def test_no_evidence_quotes_what_is_masked() -> None:
    text = " ".join(f"Write to the j@x.org, {word}." for word in LONG.split())
    settings = CleanSettings.model_validate({"quality": {"web": {}}, "mask": {"web": ["email"]}})
    drop = clean_document(text, None, "web", settings).drop
    assert drop is not None
    assert drop.reason is Reason.TOP_NGRAM
    assert "<email>" in drop.evidence
    assert "@" not in drop.evidence


def test_lines_are_removed_where_the_config_says_so() -> None:
    text = f"A title\n\n# Heading\n\nEnable javascript.\n\n{LONG}\nno end"
    settings = CleanSettings.model_validate(
        {"quality": {"web": {"remove_lines": ["javascript", "no_terminal"], "duplicate_ngrams": None}}}
    )
    clean = clean_document(text, "A title", "web", settings)
    assert clean.text == f"A title\n\n# Heading\n\n{LONG}"
    assert clean.changes == {("lines_removed", "javascript"): 1, ("lines_removed", "no_terminal"): 1}
    assert reason("Enable javascript.", settings=settings) == "empty"


def test_changes_are_counted_of_what_is_kept() -> None:
    settings = CleanSettings.model_validate({
        "mask": {"web": ["email"]},
        "quality": {"web": {"remove_lines": ["policy"], "top_ngrams": None, "duplicate_ngrams": None}},
    })  # fmt: skip
    cleaner = PartCleaner("web", settings, "clean")
    texts = (f"a@b.org [fig] {LONG}\nWe use cookies.", f"a@b.org c@d.org {LONG}", "a@b.org [fig]")
    cleaner.clean(table(*(new_document("web", str(n), text) for n, text in enumerate(texts))))
    figures = Tally(cleaner.tally()).figures()
    assert figures["masked"] == {"web": {"email": 3}}
    assert figures["lines_removed"] == {"web": {"policy": 1}}
    assert figures["marks_broken"] == {"web": 1}


def test_of_one_id_the_first_that_passes_stays() -> None:
    rows = [new_document("web", "1", text) for text in ("short", LONG, LONG, FRENCH, f"{LONG} More.")]
    rows.append(new_document("web", "2", LONG))
    cleaner = PartCleaner("web", SETTINGS, "clean")
    parts = [cleaner.clean(table(*some)) for some in (rows[:2], rows[2:3], rows[3:])]
    documents, decisions = (pa.concat_tables(tables) for tables in zip(*parts, strict=True))
    assert documents["id"].to_pylist() == [document_id("web", "1"), document_id("web", "2")]
    assert decisions["reason"].to_pylist() == [
        "too_short", None, "repeated_id", "non_english", "repeated_id", None,
    ]  # fmt: skip
    assert decisions["evidence"][2].as_py() == f'this id was kept with the text "{LONG[:80].strip()}"'
    assert (documents.schema, decisions.schema) == (DOCUMENT, DECISION)


def test_other_fields_stay_and_lang_is_what_was_found_or_else_read() -> None:
    row = new_document(
        "web", "1", f"\u2022 {LONG}", {"pmid": "7", "mesh": ["a", "b"]},
        title=" A\u00a0title", url="https://example.org", lang="fr", license="CC0-1.0", redistributable=True,
    )  # fmt: skip
    (clean,) = PartCleaner("web", SETTINGS, "clean").clean(table(row))[0].to_pylist()
    assert clean == row | {"text": f"- {LONG}", "title": "A title", "lang": "en"}
    (clean,) = PartCleaner("web", CleanSettings(), "clean").clean(table(row))[0].to_pylist()
    assert clean["lang"] == "fr"


def test_bytes_that_are_no_utf8_raise_nothing() -> None:
    rows = table(new_document("web", "1", LONG, title="T", license="L")).to_pydict()
    broken = pa.array([LONG.encode() + b"\xff\xc3 more"]).cast(pa.binary()).view(pa.binary())
    text = pa.StringArray.from_buffers(1, *broken.buffers()[1:])
    whole = pa.table(rows | {"text": text}, schema=DOCUMENT)
    documents, _ = PartCleaner("web", SETTINGS, "clean").clean(whole)
    assert documents["text"].to_pylist() == [f"{LONG}ÿÃ more"]


def test_the_tally_adds_up_to_accounts_and_figures() -> None:
    free = {"license": "CC0-1.0", "redistributable": True}
    web = PartCleaner("web", SETTINGS, "clean")
    web.clean(table(new_document("web", "1", LONG, {"site": "who"}, **free), new_document("web", "2", "short", **free)))
    more = PartCleaner("web", SETTINGS, "clean")
    more.clean(table(new_document("web", "3", LONG), new_document("web", "4", FRENCH), new_document("web", "5", "")))
    none = PartCleaner("papers", SETTINGS, "clean")
    tally = Tally(pa.concat_tables([more.tally(), none.tally(), web.tally()]))
    accounts = tally.accounts()
    assert list(accounts) == ["papers", "web"]
    assert (accounts["web"].entered, accounts["web"].kept, accounts["papers"].entered) == (5, 2, 0)
    assert accounts["web"].dropped == {"empty": 1, "non_english": 1, "too_short": 1}
    assert tally.figures() == {
        "licenses": {"papers": {}, "web": {"CC0-1.0": 1, "unknown": 1}},
        "redistributable": {"papers": 0, "web": 1},
        "sites": {"web": {"who": 1}},
        "characters": {"papers": 0, "web": 2 * len(LONG)},
        "languages": {"en": 2, "fr": 1},
        "masked": {},
        "characters_replaced": {},
        "lines_removed": {},
        "marks_broken": {},
    }


@given(st.lists(st.integers(0, 5000), max_size=30), st.data())
def test_groups_depend_on_the_rows_alone(lengths: list[int], data: st.DataObject) -> None:
    rows = pa.table({"n": range(len(lengths)), "text": pa.array(["x" * length for length in lengths], pa.string())})
    whole = [table.to_pydict() for table in regroup(iter(rows.to_batches()), 8000)]
    size = data.draw(st.integers(1, 5))
    assert [table.to_pydict() for table in regroup(iter(rows.to_batches(max_chunksize=size)), 8000)] == whole
    assert [n for one in whole for n in one["n"]] == list(range(len(lengths)))
    assert all(sum(map(len, one["text"][:-1])) < 8000 for one in whole)


def test_a_ledger_has_the_lines_that_went_and_what_was_masked() -> None:
    settings = CleanSettings.model_validate(
        {
            "length": {"words": 0},
            "quality": {"web": {"remove_lines": ["javascript"]}},
            "mask": {"web": ["email", "phone"]},
        }
    )
    text = "Give 5 mg to ann@example.org and\nplease enable javascript to see 10 mg\nCall 1-800-555-1234 or b@c.org now"
    ledger = Ledger()
    clean = clean_document(text, None, "web", settings, ledger)
    assert clean == clean_document(text, None, "web", settings)
    assert ledger.left_out == [
        ("masked", "ann@example.org"),
        ("masked", "1-800-555-1234"),
        ("masked", "b@c.org"),
        ("line:javascript", "please enable javascript to see 10 mg"),
    ]
    assert {entry.text for entry in ledger.written} == {"<email>", "<phone>"}
    long = "word " * 600 + "a@b.org"
    ledger = Ledger()
    clean_document(long, None, "web", settings, ledger)
    assert ledger.left_out == [("masked", long)]
