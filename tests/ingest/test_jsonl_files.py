"""Files of JSON Lines: every line is yielded once, and nothing a file holds stops the reader."""

import gzip
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.records import Rejected
from ingest.sources.jsonl import JsonlInput, read_jsonl
from lake.decision import Reason
from lake.document import DOCUMENT, Document, document_id


def read(path: Path, content: bytes, **more: Any) -> list[Document | Rejected]:
    path.write_bytes(content)
    config: dict[str, Any] = {"format": "jsonl", "source": "guidelines", "paths": ("*",)} | more
    return list(read_jsonl(path, f"folder/{path.name}", JsonlInput.model_validate(config)))


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


@pytest.mark.parametrize("content", [b"", b"\n", b" \r\n\t\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"])
def test_blank_lines_are_no_records(tmp_path: Path, content: bytes) -> None:
    assert read(tmp_path / "a.jsonl", content) == []
    assert read(tmp_path / "a.jsonl.gz", gzip.compress(content)) == []


def test_a_line_over_the_limit_is_counted_with_its_length(tmp_path: Path) -> None:
    long = b'{"text": "' + b"x" * 3_000_000 + b'"}\n'
    fits = b'{"text": "' + b"y" * 87 + b'"}\n'
    assert len(fits) == 100
    for name, content in (("a.jsonl", long + fits), ("a.jsonl.gz", gzip.compress(long + fits))):
        first, second = read(tmp_path / name, content, max_bytes=100)
        assert isinstance(first, Rejected)
        assert (first.native, first.drop.reason, first.drop.score) == (f"folder/{name}:1", "too_large", len(long))
        assert first.drop.evidence == f"folder/{name}:1: a line of 3,000,013 bytes; max_bytes is 100"
        assert natives([second]) == ["y" * 87]


def test_a_last_line_over_the_limit_needs_no_line_end(tmp_path: Path) -> None:
    assert natives(read(tmp_path / "a.jsonl", b"{}" + b" " * 200, max_bytes=100)) == ["1 too_large"]


def test_a_gzip_bomb_takes_no_more_memory_than_a_chunk(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b" " * 50_000_000))
    config = JsonlInput(format="jsonl", source="replay", paths=("*",), max_bytes=1_000)
    tracemalloc.start()
    (found,) = read_jsonl(path, path.name, config)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(found, Rejected)
    assert (found.drop.reason, found.drop.score) == (Reason.TOO_LARGE, 50_000_000)
    assert peak < 10_000_000


LINES = b"".join(b'{"text": "%d %s"}\n' % (number, b"%x" % (7**number)) for number in range(400))


@pytest.mark.parametrize("cut", [1, 5, 12, 400, 2_000, -9, -8, -1])
def test_a_truncated_gzip_is_counted(tmp_path: Path, cut: int) -> None:
    *documents, last = read(tmp_path / "a.jsonl.gz", gzip.compress(LINES)[:cut])
    assert natives(documents) == [json.loads(line)["text"] for line in LINES.splitlines()[: len(documents)]]
    assert isinstance(last, Rejected)
    assert (last.drop.reason, last.native) == ("truncated_file", f"folder/a.jsonl.gz:{len(documents) + 1}")
    assert "nothing readable from here on" in last.drop.evidence
    # Of a stream that lacks only its check sum, every line was readable.
    assert (cut >= 0) == (len(documents) < 400)


@pytest.mark.parametrize("content", [b"", b"no gzip", gzip.compress(LINES) + b"trailing bytes"])
def test_a_gzip_file_that_is_none_is_counted(tmp_path: Path, content: bytes) -> None:
    *_, last = read(tmp_path / "a.jsonl.gz", content)
    assert isinstance(last, Rejected)
    assert last.drop.reason == Reason.TRUNCATED_FILE


def test_a_corrupt_gzip_yields_what_was_readable(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(LINES * 50))
    packed[len(packed) // 2] ^= 0xFF
    *documents, last = read(tmp_path / "a.jsonl.gz", bytes(packed))
    assert isinstance(last, Rejected)
    assert last.drop.reason == Reason.TRUNCATED_FILE
    assert documents


def test_a_line_too_large_in_a_truncated_file_is_one_record(tmp_path: Path) -> None:
    packed = gzip.compress(b'{"text": "one"}\n' + LINES.replace(b"\n", b" "), compresslevel=0)
    records = read(tmp_path / "a.jsonl.gz", packed[: len(packed) // 2], max_bytes=100)
    assert natives(records) == ["one", "2 truncated_file"]


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


@settings(max_examples=300, deadline=None)
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


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=200), cut=st.integers(0, 250), damage=st.integers(0, 250))
def test_damaged_gzip_never_stops_the_reader(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, cut: int, damage: int
) -> None:
    packed = bytearray(gzip.compress(content)[:cut])
    if damage < len(packed):
        packed[damage] ^= 0x55
    read(tmp_path_factory.getbasetemp() / "damaged.jsonl.gz", bytes(packed))
