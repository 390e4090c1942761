"""What becomes of one document, of the records of one id, and what is counted of them."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.clean import CleanSettings, PartCleaner, clean_document, regroup
from ingest.tally import Tally
from lake.decision import DECISION, Reason
from lake.document import DOCUMENT, document_id, new_document

SETTINGS = CleanSettings()
LINE = "The patient should drink enough water and return to the clinic when the fever lasts longer than three days."
LONG = " ".join([LINE] * 4)
FRENCH = "Le patient doit boire assez d'eau et revenir à la clinique si la fièvre dure plus de trois jours. " * 4


def reason(text: str, title: str | None = None, source: str = "web", settings: CleanSettings = SETTINGS) -> str | None:
    drop = clean_document(text, title, source, settings).drop
    return None if drop is None else drop.reason.value


def table(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), DOCUMENT)


def test_a_paragraph_of_english_stays() -> None:
    clean = clean_document(f"• {LONG}\r\n", None, "abstracts", SETTINGS)
    assert clean == (f"- {LONG}", None, "en", None)


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
    assert drop.drop.evidence == "words=48 of 0, lines of more than 10 words=2 of 3"
    assert drop.drop.score == 48.0
    assert drop.lang is None
    assert reason("\n".join([LINE] * 3), source="guidelines", settings=settings) is None
    assert reason(LINE) == "too_short"


def test_other_languages_go_and_the_code_is_known() -> None:
    clean = clean_document(FRENCH, None, "web", SETTINGS)
    assert clean.lang == "fr"
    assert clean.drop is not None
    assert clean.drop.reason is Reason.NON_ENGLISH


@given(st.text(st.characters(categories=None)), st.none() | st.text(st.characters(categories=None)))
def test_no_text_raises_and_a_clean_one_stays_as_it_is(text: str, title: str | None) -> None:
    settings = CleanSettings.model_validate({"length": {"words": 0}})
    once = clean_document(text, title, "web", settings)
    again = clean_document(once.text, once.title, "web", settings)
    assert again[:3] == once[:3]
    assert (again.drop and again.drop.reason) == (once.drop and once.drop.reason)


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


def test_other_fields_stay_and_lang_is_filled() -> None:
    row = new_document(
        "web", "1", f"\u2022 {LONG}", {"pmid": "7", "mesh": ["a", "b"]},
        title=" A\u00a0title", url="https://example.org", lang="fr", license="CC0-1.0", redistributable=True,
    )  # fmt: skip
    (clean,) = PartCleaner("web", SETTINGS, "clean").clean(table(row))[0].to_pylist()
    assert clean == row | {"text": f"- {LONG}", "title": "A title", "lang": "en"}


def test_bytes_that_are_no_utf8_raise_nothing() -> None:
    rows = table(new_document("web", "1", LONG, title="T", license="L")).to_pydict()
    broken = pa.array([LONG.encode() + b"\xff\xc3 more"]).cast(pa.binary()).view(pa.binary())
    text = pa.StringArray.from_buffers(1, *broken.buffers()[1:])
    whole = pa.table(rows | {"text": text}, schema=DOCUMENT)
    documents, _ = PartCleaner("web", SETTINGS, "clean").clean(whole)
    assert documents["text"].to_pylist() == [f"{LONG} more"]


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
    }


@given(st.lists(st.integers(0, 5000), max_size=30), st.data())
def test_groups_depend_on_the_rows_alone(lengths: list[int], data: st.DataObject) -> None:
    rows = pa.table({"n": range(len(lengths)), "text": pa.array(["x" * length for length in lengths], pa.string())})
    whole = [table.to_pydict() for table in regroup(iter(rows.to_batches()), 8000)]
    size = data.draw(st.integers(1, 5))
    assert [table.to_pydict() for table in regroup(iter(rows.to_batches(max_chunksize=size)), 8000)] == whole
    assert [n for one in whole for n in one["n"]] == list(range(len(lengths)))
    assert all(sum(map(len, one["text"][:-1])) < 8000 for one in whole)
