"""Files of JSON Lines: every line is yielded once, and nothing a file holds stops the reader."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.records import Rejected
from ingest.sources.jsonl import JsonlInput
from lake.document import DOCUMENT, Document, document_id


def read(path: Path, content: bytes, **more: Any) -> list[Document | Rejected]:
    path.write_bytes(content)
    config: dict[str, Any] = {"format": "jsonl", "source": "guidelines", "paths": ("*",)} | more
    records = JsonlInput.model_validate(config).read(path, f"folder/{path.name}")
    return [record for record in records if isinstance(record, dict | Rejected)]


def natives(records: list[Document | Rejected]) -> list[str]:
    """What was read: the text of a document, place and reason of a rejection."""
    return [
        f"{one.native.partition(':')[2]} {one.drop.reason}" if isinstance(one, Rejected) else one["text"]
        for one in records
    ]


def test_plain_and_gzip_files_give_the_same_records(tmp_path: Path) -> None:
    content = b'{"text": "one"}\n\n{"text": 2}\n{"text": "three"}'
    plain = read(tmp_path / "a.jsonl", content)
    packed = read(tmp_path / "a.jsonl.gz", gzip.compress(content[:20]) + gzip.compress(content[20:]))
    assert natives(plain) == natives(packed) == ["one", "3 wrong_type", "three"]


def test_a_record_without_id_is_known_by_its_file_and_line(tmp_path: Path) -> None:
    (first, second) = read(tmp_path / "a.jsonl", b'{"text": "same"}\n\n{"text": "same"}\n')
    assert first["id"] == document_id("guidelines", "folder/a.jsonl:1")
    assert second["id"] == document_id("guidelines", "folder/a.jsonl:3")


def test_byte_order_mark_and_carriage_returns_are_not_text(tmp_path: Path) -> None:
    records = read(tmp_path / "a.jsonl", b'\xef\xbb\xbf{"text": "one"}\r\n\r\n{"text": "two"}\r\n')
    assert natives(records) == ["one", "two"]


def test_a_byte_order_mark_later_is_malformed(tmp_path: Path) -> None:
    records = read(tmp_path / "a.jsonl", b'{"text": "one"}\n\xef\xbb\xbf{"text": "two"}\n')
    assert natives(records) == ["one", "2 malformed_json"]


def test_a_line_over_the_limit_and_the_end_of_a_broken_file_are_rejected_records(tmp_path: Path) -> None:
    content = b'{"text": "' + b"x" * 200 + b'"}\n{"text": "one"}\n'
    packed = gzip.compress(content, compresslevel=0)[:-1]
    first, second, last = read(tmp_path / "a.jsonl.gz", packed, max_bytes=100)
    assert natives([first, second, last]) == ["1 too_large", "one", "3 truncated_file"]
    assert isinstance(first, Rejected)
    assert first.drop.evidence == "folder/a.jsonl.gz:1: a line of 213 bytes; max_bytes is 100"


# Any bytes -----------------------------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = {
    "id": "key",
    "text": ("abstract", "body.main"),
    "title": "title",
    "redistributable": "free",
    "fetched_at": "fetched",
    "pmid": "ids.pmid",
    "corpusid": "ids.corpus",
    "published": "date",
    "mesh": "mesh",
    "citations": "cited",
}
NAMES = [
    "key",
    "abstract",
    "body",
    "main",
    "title",
    "free",
    "fetched",
    "ids",
    "pmid",
    "corpus",
    "date",
    "mesh",
    "cited",
]
RECORDS = st.dictionaries(st.sampled_from(NAMES), VALUES | st.just("2012-07-19"), max_size=10)
LINE = st.one_of(
    st.binary(max_size=60),
    VALUES.map(lambda value: json.dumps(value).encode()),
    RECORDS.map(lambda record: json.dumps(record | {"key": "k", "abstract": "words"}).encode()),
    RECORDS.map(lambda record: json.dumps(record).encode()),
    st.sampled_from([b"", b" ", b"\r", b"\xef\xbb\xbf", b'{"key": 1, "abstract": "\\ud800"}']),
)


@settings(max_examples=300)
@given(lines=st.lists(LINE, max_size=6), end=st.sampled_from([b"\n", b"\r\n", b""]), packed=st.booleans())
def test_any_bytes_are_yielded_once_as_a_document_or_a_rejection(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], end: bytes, packed: bool
) -> None:
    content = (end or b"\n").join(lines) + end
    path = tmp_path_factory.getbasetemp() / ("any.jsonl.gz" if packed else "any.jsonl")
    records = read(path, gzip.compress(content) if packed else content, fields=FIELDS, max_bytes=300)
    written = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    numbers = [number for number, line in enumerate(written, 1) if line.strip() or len(line) >= 300]
    assert len(records) == len(numbers)
    for number, record in zip(numbers, records, strict=True):
        assert not isinstance(record, Rejected) or record.native == f"folder/{path.name}:{number}"
    documents = [record for record in records if not isinstance(record, Rejected)]
    assert pa.Table.from_pylist(documents, DOCUMENT).num_rows == len(documents)
