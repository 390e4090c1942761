"""A line of JSON as a document, or as a rejection that says why."""

import json
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from ingest.records import Note, Original, Rejected
from ingest.sources.jsonl import JsonlInput, parse_record
from lake.decision import Reason
from lake.document import DOCUMENT, Document, document_id

EVERY_FIELD: dict[str, str | tuple[str, ...]] = {
    "id": "key",
    "text": ("abstract", "body.main"),
    "title": "title",
    "url": "url",
    "license": "terms.name",
    "redistributable": "terms.free",
    "lang": "lang",
    "fetched_at": "fetched",
    "pmid": "ids.pmid",
    "pmcid": "ids.pmcid",
    "doi": "ids.doi",
    "corpusid": "ids.corpus",
    "journal": "journal",
    "published": "date",
    "publication_types": "types",
    "mesh": "mesh",
    "citations": "cited",
    "site": "site",
}


def jsonl(fields: dict[str, Any] | None = None, **more: Any) -> JsonlInput:
    return JsonlInput(format="jsonl", source="guidelines", paths=("*",), fields=fields or {"text": "text"}, **more)


def parsed(line: bytes, settings: JsonlInput) -> list[Any]:
    """What a line gives, without its original."""
    return [record for record in parse_record(line, "f:1", settings) if not isinstance(record, Original)]


def document(record: Any, **more: Any) -> Document:
    (made,) = parsed(json.dumps(record).encode(), jsonl(**more))
    assert isinstance(made, dict), made
    return made


def rejected(line: bytes, **more: Any) -> tuple[Reason, str]:
    (record,) = parsed(line, jsonl(**more))
    assert isinstance(record, Rejected)
    assert record.native == "f:1"
    assert record.drop.evidence.startswith("f:1: ")
    return record.drop.reason, record.drop.evidence.removeprefix("f:1: ")


# Documents -----------------------------------------------------------------------------------------------------------


def test_every_field_of_a_document_can_be_mapped() -> None:
    record = {
        "key": 17,
        "abstract": "First.",
        "body": {"main": "Second."},
        "title": " A\n title ",
        "url": "https://example.org/a",
        "terms": {"name": "CC-BY-4.0", "free": True},
        "lang": "en",
        "fetched": "2024-03-01T12:00:00+02:00",
        "ids": {"pmid": 99, "pmcid": "PMC1", "doi": "10.5555/a", "corpus": "123"},
        "journal": "Annals",
        "date": "2012-07-19T00:00:00",
        "types": ["Review"],
        "mesh": [],
        "cited": 4,
        "site": "who",
    }
    made = document(record, fields=EVERY_FIELD)
    assert made == {
        "id": document_id("guidelines", "17"),
        "source": "guidelines",
        "title": "A title",
        "text": "First.\nSecond.",
        "url": "https://example.org/a",
        "license": "CC-BY-4.0",
        "redistributable": True,
        "lang": "en",
        "fetched_at": datetime(2024, 3, 1, 10, tzinfo=UTC),
        "meta": {
            "pmid": "99",
            "pmcid": "PMC1",
            "doi": "10.5555/a",
            "corpusid": 123,
            "journal": "Annals",
            "published": "2012-07-19",
            "publication_types": ["Review"],
            "mesh": [],
            "citations": 4,
            "site": "who",
            # Only a reader that tells of every revision can give one.
            "revision": None,
        },
    }
    assert pa.Table.from_pylist([made], DOCUMENT).to_pylist() == [made]


def test_a_record_of_text_alone_is_a_document() -> None:
    made = document({"text": "Words."})
    assert made["id"] == document_id("guidelines", "f:1")
    assert made["redistributable"] is False
    assert pa.Table.from_pylist([made], DOCUMENT).num_rows == 1


def test_what_the_config_says_of_its_records_yields_to_what_they_say() -> None:
    fields = {"text": "text", "license": "license", "redistributable": "free", "site": "site"}
    told = {"license": "CC-BY-4.0", "redistributable": True, "site": "nih"}
    own = document({"text": "a", "license": "CC0-1.0", "free": False, "site": "who"}, fields=fields, **told)
    silent = document({"text": "a", "license": None, "site": ""}, fields=fields, **told)
    assert (own["license"], own["redistributable"], own["meta"]["site"]) == ("CC0-1.0", False, "who")
    assert (silent["license"], silent["redistributable"], silent["meta"]["site"]) == ("CC-BY-4.0", True, "nih")


def test_joined_text_leaves_out_what_is_absent_or_empty() -> None:
    fields = {"text": ("a", "b", "c")}
    assert document({"a": "one", "c": "three"}, fields=fields)["text"] == "one\nthree"
    assert document({"a": "one", "b": "", "c": None}, fields=fields)["text"] == "one"


def test_an_empty_text_is_a_document_for_clean_to_drop() -> None:
    assert document({"text": ""})["text"] == ""


def test_title_in_text_stands_before_a_blank_line() -> None:
    fields = {"text": "text", "title": "title"}
    assert document({"text": "Body.", "title": "Gout"}, fields=fields, title_in_text=True)["text"] == "Gout\n\nBody."
    assert document({"text": "Body.", "title": "Gout"}, fields=fields)["text"] == "Body."
    for empty in (None, "", " \n"):
        bare = document({"text": "Body.", "title": empty}, fields=fields, title_in_text=True)
        assert (bare["text"], bare["title"]) == ("Body.", None)


def test_a_key_with_a_dot_in_it_goes_before_a_nested_one() -> None:
    fields = {"text": "a.b"}
    assert document({"a.b": "flat", "a": {"b": "nested"}}, fields=fields)["text"] == "flat"
    assert document({"a": {"b": "nested"}}, fields=fields)["text"] == "nested"
    assert rejected(b'{"a": "b"}', fields=fields)[0] == Reason.MISSING_FIELD


def test_a_time_without_a_zone_is_utc() -> None:
    made = document({"text": "a", "at": "2024-03-01"}, fields={"text": "text", "fetched_at": "at"})
    assert made["fetched_at"] == datetime(2024, 3, 1, tzinfo=UTC)


def test_half_a_surrogate_pair_becomes_a_replacement_character() -> None:
    fields = {"id": "id", "text": "text", "title": "title", "mesh": "mesh"}
    line = rb'{"id": "\udc00", "text": "a\ud800b \ud83e\uddec", "title": "\udfff", "mesh": ["\ud800"]}'
    (made,) = parsed(line, jsonl(fields))
    assert isinstance(made, dict)
    assert (made["text"], made["title"], made["meta"]["mesh"]) == ("a\ufffdb 🧬", "\ufffd", ["\ufffd"])
    assert pa.Table.from_pylist([made], DOCUMENT).num_rows == 1


# Rejections ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        b'{"text": "cut',
        b"no json",
        b'{"text": "a"} {"text": "b"}',
        b'{"text": "raw \x01 control"}',
        b'{"text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"n": ' + b"9" * 5_000 + b"}",
        b"\xef\xbb\xbf\xef\xbb\xbf{}",
    ],
)
def test_a_line_that_is_not_json_is_quoted(line: bytes) -> None:
    reason, evidence = rejected(line)
    assert reason == Reason.MALFORMED_JSON
    assert line[:40].decode("utf-8", "replace") in evidence
    assert len(evidence) < 400


@pytest.mark.parametrize("line", [b'{"text": "\x81"}', b"\xff\xfe{\x00}\x00", b'{"text": "\xe9'])
def test_bytes_that_are_not_utf8_are_undecodable(line: bytes) -> None:
    reason, evidence = rejected(line)
    assert reason == Reason.UNDECODABLE
    assert "at byte" in evidence


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ('{"text": "250 µg – 500 µg, ½ at 20 °C"}'.encode("cp1252"), "250 µg – 500 µg, ½ at 20 °C"),
        ('{"text": "5 µg '.encode() + '– 6 µg"}'.encode("cp1252"), "5 µg – 6 µg"),
        (b'{"text": "10\x9620 mg a day, and no more than 30 mg"}', "10–20 mg a day, and no more than 30 mg"),
        (b'{"text": "10\x8120 mg a day, and no more than 30 mg"}', "10\ufffd20 mg a day, and no more than 30 mg"),
        (b'{"text": "10\xed\xa0\x8020 mg a day, and no more of it"}', "10\ufffd20 mg a day, and no more of it"),
    ],
)
def test_bytes_that_are_not_utf8_are_windows_1252(line: bytes, text: str) -> None:
    note, found = parsed(line, jsonl())
    assert note == Note("f:1", "bytes that are not UTF-8", "read as Windows-1252")
    assert isinstance(found, dict)
    assert found["text"] == text


def test_a_missing_text_or_id_is_named() -> None:
    assert rejected(b"{}") == (Reason.MISSING_FIELD, "no text for text")
    assert rejected(b'{"text": null}') == (Reason.MISSING_FIELD, "no text for text")
    assert rejected(b'{"c": 1}', fields={"text": ("a", "b")}) == (Reason.MISSING_FIELD, "no a or b for text")
    named = {"text": "text", "id": "key"}
    for line in (b'{"text": "a"}', b'{"text": "a", "key": null}', b'{"text": "a", "key": ""}'):
        assert rejected(line, fields=named) == (Reason.MISSING_FIELD, "no key for id")


@pytest.mark.parametrize("line", [b"42", b"[]", b'"text"', b"null", b"true", b"NaN"])
def test_a_record_that_is_no_object_has_the_wrong_type(line: bytes) -> None:
    reason, evidence = rejected(line)
    assert reason == Reason.WRONG_TYPE
    assert evidence.endswith(line.decode())


@pytest.mark.parametrize(
    ("field", "value"), [("text", 42), ("text", ["a"]), ("text", {"a": "b"}), ("id", 1.5), ("id", True), ("id", ["a"])]
)
def test_a_wrong_id_or_text_is_named_and_shown(field: str, value: Any) -> None:
    line = json.dumps({"text": "a", "key": value}).encode()
    reason, evidence = rejected(line, fields={"text": "text"} | {field: "key"})
    assert reason == Reason.WRONG_TYPE
    assert evidence.startswith(f"key: {field} does not take ")
    assert repr(value)[:40] in evidence


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", 1),
        ("url", True),
        ("redistributable", "yes"),
        ("redistributable", 1),
        ("license", 4.0),
        ("pmid", 1.5),
        ("pmid", True),
        ("corpusid", "x1"),
        ("corpusid", 2**63),
        ("citations", 2**31),
        ("citations", "9" * 5_000),
        ("citations", float("inf")),
        ("published", "spring"),
        ("published", "٢٠١٢"),
        ("published", 1342),
        ("published", "2012mg"),
        ("mesh", "Humans"),
        ("mesh", [1.5]),
        ("fetched_at", "yesterday"),
        ("fetched_at", 1_700_000_000),
        ("fetched_at", "0001-01-01T00:00:00+23:00"),
    ],
)
def test_a_wrong_detail_is_left_out_and_noted_and_the_text_is_kept(field: str, value: Any) -> None:
    line = json.dumps({"text": "a", "key": value}).encode()
    more: dict[str, Any] = {"license": "CC-BY-4.0", "redistributable": True}
    note, made = parsed(line, jsonl({"text": "text", field: "key"}, **more))
    assert isinstance(note, Note)
    assert isinstance(made, dict)
    assert (note.document, note.what) == ("f:1", f"wrong {field}")
    assert note.details.startswith(f"key: {field} does not take ")
    assert repr(value)[:40] in note.details
    assert len(note.details) < 200
    assert made["text"] == "a"
    assert not {**made, **made["meta"]}[field]
    # The settings do not claim a licence that the record may deny.
    assert made["redistributable"] is (field not in ("license", "redistributable"))


@pytest.mark.parametrize(
    ("value", "date"),
    [
        ("2012", "2012"),
        (2012, "2012"),
        (2012.0, "2012"),
        ("2012-07", "2012-07"),
        ("2012-07-19T10:00:00.000Z", "2012-07-19"),
        ("2012-07-19 10:00", "2012-07-19"),
        ("2012/7/19", "2012-07-19"),
        ("2012.07.19", "2012-07-19"),
        (20120719, "2012-07-19"),
        ("2012 Jul 19", "2012-07-19"),
        ("2012 Spring", "2012"),
        ("July 2012", "2012-07"),
        ("19 Jul 2012", "2012-07-19"),
        ("July 19th, 2012", "2012-07-19"),
        ("2012-02-31", "2012-02"),
        ("2012-13-01", "2012"),
        (1342656000, "2012-07-19"),
        (1342656000000, "2012-07-19"),
        (1342656000000.0, "2012-07-19"),
        ("1342656000000000", "2012-07-19"),
        (1342656000000000000, "2012-07-19"),
        ("19/07/2012", "2012-07-19"),
        ("07/19/2012", "2012-07-19"),
        ("05.07.2012", "2012"),
        ("07/07/2012", "2012-07-07"),
        ("31/02/2012", "2012-02"),
        ("Thu, 19 Jul 2012 00:00:00 GMT", "2012-07-19"),
        ("Thursday, July 19, 2012", "2012-07-19"),
        ("19/07/1342", None),
        ("Sunday", None),
        (1e300, None),
        ("1342", None),
        ("1342656", None),
        ("9999-01-01", None),
        ("2012.5", None),
        ("20129999", None),
        ("In 2012 we", None),
        (-1342656000000, None),
        (0, None),
    ],
)
def test_only_what_is_certainly_a_date_is_one(value: Any, date: str | None) -> None:
    line = json.dumps({"text": "a", "date": value}).encode()
    *_, made = parsed(line, jsonl({"text": "text", "published": "date"}))
    assert isinstance(made, dict)
    assert made["meta"]["published"] == date


def test_what_pandas_writes_is_read() -> None:
    """Missing values are NaN, and integers beside them have become floats."""
    line = b'{"id": 7.0, "text": "a", "pmid": "123.0", "citations": NaN, "title": NaN, "mesh": ["A", NaN]}'
    (made,) = parsed(line, jsonl({name: name for name in ("id", "text", "pmid", "citations", "title", "mesh")}))
    assert isinstance(made, dict)
    assert (made["id"], made["title"]) == (document_id("guidelines", "7"), None)
    assert (made["meta"]["pmid"], made["meta"]["citations"], made["meta"]["mesh"]) == ("123", None, ["A"])


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("redistributable", "true", True),
        ("redistributable", "False", False),
        ("citations", "5.0", 5),
        ("citations", 5.0, 5),
        ("pmid", 123.0, "123"),
        ("title", "10\x9620 \x85 mg", "10–20 … mg"),
    ],
)
def test_other_ways_to_write_a_detail_are_read(field: str, value: Any, expected: Any) -> None:
    line = json.dumps({"text": "a", "key": value}).encode()
    (made,) = parsed(line, jsonl({"text": "text", field: "key"}))
    assert isinstance(made, dict)
    assert {**made, **made["meta"]}[field] == expected


def test_a_float_too_large_to_be_exact_is_no_id() -> None:
    assert rejected(b'{"text": "a", "id": 1e17}', fields={"text": "text", "id": "id"})[0] == Reason.WRONG_TYPE


@pytest.mark.parametrize("line", [b"[", b"{", b"[{", b'[{"text": "a"}]'])
def test_a_file_of_one_array_is_told_what_json_lines_are(line: bytes) -> None:
    assert "JSON Lines has one object on each line" in rejected(line)[1]


def test_every_depth_of_nesting_ends_in_a_rejection() -> None:
    # Around the interpreter's limit the parser may still read what showing it could not.
    for depth in range(1, 1_200, 7):
        for opening, closing in (("[", "]"), ('{"a":', "}")):
            line = f'{{"text": {opening * depth}1{closing * depth}}}'.encode()
            assert rejected(line)[0] in (Reason.WRONG_TYPE, Reason.MALFORMED_JSON)


# Settings ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"fields": {"title": "title"}}, "`text` must be mapped"),
        ({"fields": {"text": "text", "author": "a"}}, "no field author"),
        ({"fields": {"text": "text", "title": ["a", "b"]}}, "title takes one key"),
        ({"fields": {"text": []}}, "text is mapped to no key"),
        ({"fields": {"text": "text", "id": ""}}, "it is blank"),
        ({"title_in_text": True}, "`title` must be mapped"),
        ({"paths": []}, "at least 1 item"),
        ({"source": "Bad Name"}, "should match pattern"),
        ({"max_bytes": 0}, "greater than or equal to 1"),
        ({"colour": "red"}, "Extra inputs"),
    ],
)
def test_a_config_that_cannot_work_is_refused(wrong: dict[str, Any], said: str) -> None:
    right = {"format": "jsonl", "source": "guidelines", "paths": ["*"]}
    with pytest.raises(ValidationError, match=said):
        JsonlInput.model_validate(right | wrong)
