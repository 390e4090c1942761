"""Documents completed from metadata: what wins, what stays as it is, and why documents go."""

from typing import Any

import pyarrow as pa
import pytest

from ingest.clean import CleanSettings, PartCleaner
from ingest.metadata import KNOWN, JoinSettings, complete, new_metadata
from lake.decision import Drop, Reason
from lake.document import DOCUMENT, new_document

SETTINGS = JoinSettings()


def completed(
    document: dict[str, Any], known: dict[str, Any] | None, source: str = "papers"
) -> tuple[dict[str, Any], Drop | None]:
    rows = [dict.fromkeys(KNOWN.names) | {"id": document["id"]} | known] if known is not None else []
    table = pa.Table.from_pylist([document], DOCUMENT)
    found, (drop,) = complete(table, pa.Table.from_pylist(rows, KNOWN), source, SETTINGS)
    (row,) = found.cast(DOCUMENT).to_pylist()
    return row, drop


def test_ids_journal_and_date_of_the_document_come_first() -> None:
    own = {"pmid": "1", "journal": "Own", "published": "2012"}
    known = {"pmid": "2", "pmcid": "PMC2", "doi": "10.1/x", "corpusid": 7, "journal": "J", "published": "2012-07"}
    row, drop = completed(new_document("papers", "a", "Text.", own, license="CC-BY"), known)
    assert drop is None
    assert row["text"] == "Text."
    assert row["meta"] | own == row["meta"]
    assert (row["meta"]["pmcid"], row["meta"]["doi"], row["meta"]["corpusid"]) == ("PMC2", "10.1/x", 7)


@pytest.mark.parametrize(
    ("medline", "own", "s2", "expected"),
    [
        (["Retracted Publication"], ["Journal Article"], ["Review"], ["Retracted Publication"]),
        (None, ["Journal Article"], ["Review"], ["Journal Article"]),
        (None, None, ["Review"], ["Review"]),
        (None, None, None, None),
    ],
)
def test_medline_knows_publication_types_best_and_semantic_scholar_least(
    medline: Any, own: Any, s2: Any, expected: Any
) -> None:
    document = new_document("papers", "a", "Text.", {"publication_types": own, "mesh": ["Old"], "citations": 1})
    row, _ = completed(document, {"publication_types": medline, "types_s2": s2, "mesh": ["New"], "citations": 5})
    assert row["meta"]["publication_types"] == expected
    assert (row["meta"]["mesh"], row["meta"]["citations"]) == (["New"], 5)


def test_a_title_stands_before_the_text_only_where_there_was_none() -> None:
    known = {"title": "Salt", "license": "CC-BY", "redistributable": True}
    row, _ = completed(new_document("abstracts", "a", "Thirst."), known)
    assert (row["title"], row["text"]) == ("Salt", "Salt\n\nThirst.")
    assert (row["license"], row["redistributable"]) == ("CC-BY", True)
    row, _ = completed(new_document("abstracts", "a", "Thirst.", title="Own", license="house"), known)
    assert (row["title"], row["text"]) == ("Own", "Thirst.")
    assert (row["license"], row["redistributable"]) == ("house", False)


def test_a_document_of_which_nothing_is_known_stays_as_it_is() -> None:
    document = new_document("papers", "a", "Text.", {"pmid": "1", "mesh": ["A"]}, redistributable=True)
    assert completed(document, None) == (document, None)


@pytest.mark.parametrize(
    ("source", "meta", "known", "reason"),
    [
        ("papers", {"corpusid": 7}, None, Reason.NO_PUBMED_ID),
        ("papers", {"corpusid": 7}, {"doi": "10.1/x"}, Reason.NO_PUBMED_ID),
        ("papers", {"corpusid": 7}, {"pmcid": "PMC1"}, None),
        ("papers", {"doi": "10.1/x"}, None, None),
        ("web", {"corpusid": 7}, None, None),
        ("abstracts", {"pmid": "1", "revision": "a"}, {"revision": "b"}, Reason.SUPERSEDED),
        ("abstracts", {"pmid": "1", "revision": "b"}, {"revision": "b"}, None),
        ("abstracts", {"pmid": "1", "revision": "a"}, {"revision": "b", "deleted": True}, Reason.DELETED_CITATION),
        ("papers", {"pmid": "1"}, {"revision": "b", "deleted": True}, None),
    ],
)
def test_documents_go_for_their_reasons(source: str, meta: Any, known: Any, reason: Reason | None) -> None:
    _, drop = completed(new_document(source, "a", "Text.", meta), known, source)
    assert (drop.reason if drop else None) == reason
    assert drop is None or drop.evidence


def test_rows_find_their_own_metadata_in_any_order() -> None:
    documents = [new_document("papers", name, name) for name in "abcde"]
    known = [dict.fromkeys(KNOWN.names) | {"id": one["id"], "journal": one["text"]} for one in documents[::-2]]
    tables = pa.Table.from_pylist(documents, DOCUMENT), pa.Table.from_pylist(known, KNOWN)
    rows, drops = complete(*tables, "papers", SETTINGS)
    assert [row["meta"]["journal"] for row in rows.to_pylist()] == ["a", None, "c", None, "e"]
    assert drops == [None] * 5


def test_a_document_that_goes_is_counted_once_and_leaves_no_text() -> None:
    text = (
        "The patient should drink enough water and return to the clinic when the fever lasts longer than three days. "
        "Salt was given to forty people on two wards, and nurses wrote down every cup that was asked for at night. "
        "We found that those who ate late were thirsty more often, but the difference was small."
    )
    documents = [new_document("papers", name, text, {"corpusid": 7}, title="T") for name in "ab"]
    known = [dict.fromkeys(KNOWN.names) | {"id": documents[0]["id"], "pmid": "1"}]
    cleaner = PartCleaner("papers", CleanSettings(), "clean", pa.Table.from_pylist(known, KNOWN))
    kept, decisions = cleaner.clean(pa.Table.from_pylist(documents, DOCUMENT))
    assert [row["meta"]["pmid"] for row in kept.to_pylist()] == ["1"]
    assert decisions["reason"].to_pylist() == [None, "no_pubmed_id"]
    counts = {(row["figure"], row["key"]): row["count"] for row in cleaner.tally().to_pylist()}
    assert counts["entered", ""] == 2
    assert counts["kept", ""] == 1
    assert counts["dropped", "no_pubmed_id"] == 1


def test_metadata_has_only_fields_of_its_schema() -> None:
    with pytest.raises(KeyError, match="author"):
        new_metadata("s2", author="Alder")
