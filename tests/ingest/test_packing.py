"""A packed body is read whole, however it is packed, or told: its first part is never taken for all of it."""

import gzip
import random
import zlib
from pathlib import Path

import brotli
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.records import Note
from ingest.web.packing import CHUNK, PackingError, Unpacker
from ingest.web.payload import Payload, PayloadError, read_payload
from lake.decision import Reason
from lake.lines import raw_lines
from tests.ingest.test_warc import PROSE, notes, only, page, read, reasons, record, site

__all__ = ["site"]

BODY = page("Fever", PROSE + " Never give it in pregnancy.")
OK = "HTTP/1.1 200 OK\r\nContent-Type: text/html"


def raw_deflate(data: bytes) -> bytes:
    return zlib.compress(data)[2:-4]


def zstd(data: bytes) -> bytes:
    return pa.compress(data, codec="zstd", asbytes=True)


def payload(body: bytes, coding: str, **headers: str) -> Payload:
    lines = "".join(f"\r\n{name.replace('_', '-')}: {value}" for name, value in headers.items())
    return read_payload(f"{OK}\r\nContent-Encoding: {coding}{lines}\r\n\r\n".encode() + body, 2**20)


HALF = len(BODY) // 2
PARTS = (BODY[:HALF], BODY[HALF:])
SKIPPED = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        ("gzip", gzip.compress(BODY)),
        ("gzip", b"".join(map(gzip.compress, PARTS))),
        ("x-gzip", b"".join(gzip.compress(BODY[n : n + 7]) for n in range(0, len(BODY), 7))),
        ("gzip", gzip.compress(PARTS[0]) + bytes(512) + gzip.compress(PARTS[1])),
        ("gzip", gzip.compress(BODY) + bytes(99)),
        ("GZIP", gzip.compress(b"") + gzip.compress(BODY)),
        ("deflate", zlib.compress(BODY)),
        ("deflate", raw_deflate(BODY)),
        ("br", brotli.compress(BODY)),
        ("zstd", zstd(BODY)),
        ("zstd", b"".join(map(zstd, PARTS))),
        ("zstd", SKIPPED + zstd(PARTS[0]) + SKIPPED + zstd(PARTS[1])),
        ("gzip, br", brotli.compress(gzip.compress(BODY))),
        ("br,gzip", gzip.compress(brotli.compress(BODY))),
        ("identity", BODY),
        # Unpacked by the crawler, which kept the header.
        ("gzip", BODY),
        ("br", BODY),
        ("deflate", BODY),
        ("zstd", b"\r\n" + BODY),
        ("zz", BODY),
    ],
)
def test_a_packed_body_is_read_whole(coding: str, packed: bytes) -> None:
    read = payload(packed, coding)
    assert read.body.lstrip() == BODY
    assert read.notes == ()


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        ("gzip", gzip.compress(BODY)[:-9]),
        ("gzip", gzip.compress(PARTS[0]) + gzip.compress(PARTS[1])[:-9]),
        ("gzip", gzip.compress(PARTS[0]) + gzip.compress(PARTS[1])[:5]),
        ("deflate", zlib.compress(BODY)[:-9]),
        ("br", brotli.compress(BODY)[:-3]),
        ("br", b"\xff" * 50),
        ("zstd", zstd(BODY)[:-3]),
        ("zz", gzip.compress(BODY)),
        ("gzip", gzip.compress(bytes(2**20 + 1))),
        ("gzip", gzip.compress(bytes(2**19)) * 3),
        ("br", brotli.compress(bytes(2**22))),
        ("zstd", zstd(bytes(2**22))),
    ],
)
def test_a_body_that_is_torn_or_swells_is_refused(coding: str, packed: bytes) -> None:
    with pytest.raises(PayloadError):
        payload(packed, coding)


def chunked(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)


@pytest.mark.parametrize(
    ("transfer", "coding", "body"),
    [
        ("chunked", "gzip", chunked(*(gzip.compress(part) for part in PARTS)) + b"0\r\n\r\n"),
        ("gzip, chunked", "identity", chunked(gzip.compress(BODY)) + b"0\r\nExpires: 0\r\n\r\n"),
        ("gzip", "br", gzip.compress(brotli.compress(BODY))),
    ],
)
def test_transfer_codings_are_undone_first(transfer: str, coding: str, body: bytes) -> None:
    read = payload(body, coding, Transfer_Encoding=transfer)
    assert (read.body, read.notes) == (BODY, ())


def test_bytes_after_the_last_chunk_are_told() -> None:
    body = chunked(BODY) + b"0\r\n\r\n" + chunked(b"more")
    (note,) = payload(body, "identity", Transfer_Encoding="chunked").notes
    assert note.what == "trailing bytes"


@pytest.mark.parametrize("size", [3, 64, 200, 5_000])
def test_a_file_that_was_packed_in_blocks_is_read_whole(tmp_path: Path, site: str, size: int) -> None:
    """As bgzip does: a record, even a line of its headers, goes on in the next member."""
    data = record("https://a.org/1", BODY, OK) + record("https://a.org/2", BODY, OK)
    path = tmp_path / "a.warc.gz"
    path.write_bytes(b"".join(gzip.compress(data[n : n + size]) for n in range(0, len(data), size)))
    assert reasons(read(path, site)) == ["kept", "kept"]


def test_a_record_that_ends_early_takes_nothing_of_the_next(tmp_path: Path, site: str) -> None:
    path = tmp_path / "a.warc.gz"
    torn = record("https://a.org/1", BODY, OK)[:-50]
    path.write_bytes(gzip.compress(torn) + gzip.compress(record("https://a.org/2", BODY, OK)))
    results = read(path, site)
    assert reasons(results) == ["truncated_file", "kept"]
    assert only(results[1:])["url"] == "https://a.org/2"


def test_a_warc_in_zstandard_is_told(tmp_path: Path, site: str) -> None:
    path = tmp_path / "a.warc.zst"
    path.write_bytes(zstd(record("https://a.org/1", BODY, OK)))
    (result,) = read(path, site)
    assert not isinstance(result, dict)
    assert "Zstandard" in result.drop.evidence


def test_bytes_after_the_packed_body_are_told() -> None:
    (note,) = payload(gzip.compress(BODY) + b"\0\0garbage", "gzip").notes
    assert (note.what, note.details) == ("trailing bytes", "7 bytes after the body")


def test_a_body_shorter_than_its_content_length_is_told() -> None:
    (note,) = payload(BODY, "identity", Content_Length=str(len(BODY) + 500)).notes
    assert note.what == "truncated"
    # That of the packed body, which the crawler unpacked, and a wrong one are no evidence.
    assert payload(BODY, "gzip", Content_Length=str(len(gzip.compress(BODY)))).notes == ()
    assert payload(BODY, "identity", Content_Length="some").notes == ()


@given(st.binary(max_size=2_000), st.lists(st.integers(1, 60), max_size=20), st.sampled_from(["gzip", "br", "deflate"]))
def test_pieces_of_any_size_give_the_same_body(body: bytes, cuts: list[int], coding: str) -> None:
    pack = {"gzip": lambda data: gzip.compress(data) * 2, "br": brotli.compress, "deflate": zlib.compress}[coding]
    packed, undo, whole, place = pack(body), Unpacker(coding), b"", 0
    for size in [*cuts, len(packed)]:
        whole += b"".join(undo.feed(packed[place : place + size]))
        place += size
    undo.finish()
    assert whole == (body * 2 if coding == "gzip" else body)
    assert undo.trailing == 0


def test_a_bomb_unpacks_piece_by_piece() -> None:
    for coding, pack in (("gzip", gzip.compress), ("br", brotli.compress)):
        pieces = Unpacker(coding).feed(pack(bytes(2**26)))
        assert max(len(next(pieces)) for _ in range(5)) <= 2 * CHUNK


def test_an_unknown_coding_is_refused() -> None:
    with pytest.raises(PackingError, match="not supported"):
        Unpacker("compress")


# Records -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "details"),
    [
        ({"WARC_Truncated": "length"}, "WARC-Truncated: length"),
        ({"WARC_Truncated": "time"}, "WARC-Truncated: time"),
        ({"WARC_Truncated": ""}, "WARC-Truncated: "),
        ({"WARC_Segment_Number": "1"}, "only the first segment of a cut record is read"),
    ],
)
def test_a_page_that_its_record_calls_truncated_is_noted(
    tmp_path: Path, site: str, headers: dict[str, str], details: str
) -> None:
    path = tmp_path / "a.warc"
    path.write_bytes(record("https://a.org/1", BODY, OK, **headers))
    assert only(read(path, site))["title"] == "Fever"
    assert notes(path, site) == [Note("https://a.org/1", "truncated", details)]


def bare(kind: str, media: str, body: bytes, **headers: str) -> bytes:
    """A record whose block is the content itself."""
    lines = {"WARC-Type": kind, "WARC-Target-URI": "https://a.org/1", "Content-Type": media} | headers
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"WARC/1.0\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("kind", "media", "body", "result"),
    [
        ("resource", "text/html; charset=utf-8", BODY, "kept"),
        ("conversion", "text/html", BODY, "kept"),
        ("conversion", "text/plain", f"{PROSE} Give 10–20 mg.".encode(), "kept"),
        ("conversion", "text/plain; charset=windows-1252", f"{PROSE} Give 10–20 mg.".encode("cp1252"), "kept"),
        ("resource", "image/png", b"\x89PNG", "not_a_page"),
        ("resource", "text/plain", b"User-agent: *", "not_a_page"),
        ("conversion", "application/json", b"{}", "not_a_page"),
        ("continuation", "text/html", BODY, "not_a_page"),
    ],
)
def test_content_that_is_no_http_answer_is_read_or_counted(
    tmp_path: Path, site: str, kind: str, media: str, body: bytes, result: str
) -> None:
    path = tmp_path / "a.warc"
    path.write_bytes(bare(kind, media, body))
    results = read(path, site)
    assert reasons(results) == [result]
    if media.startswith("text/plain") and result == "kept":
        assert only(results)["text"].endswith("Give 10–20 mg.")


@pytest.mark.parametrize("kind", ["warcinfo", "request", "metadata", "revisit"])
def test_other_records_hold_no_content(tmp_path: Path, site: str, kind: str) -> None:
    path = tmp_path / "a.warc"
    path.write_bytes(bare(kind, "text/html", BODY))
    assert read(path, site) == []


# Lines ---------------------------------------------------------------------------------------------------------------


def lines(path: Path, data: bytes) -> list[bytes | Reason]:
    path.write_bytes(data)
    read = raw_lines(path, path.name, 2**20)
    return [line.data if isinstance(line.data, bytes) else line.data.reason for line in read]


def test_all_frames_of_zstandard_are_read(tmp_path: Path) -> None:
    data = SKIPPED + zstd(b'{"a": 1}\n') + zstd(b'{"a": 2}\n') + SKIPPED + zstd(b'{"a": 3}\n')
    assert lines(tmp_path / "a.jsonl.zst", data) == [b'{"a": 1}\n', b'{"a": 2}\n', b'{"a": 3}\n']


def test_a_window_that_is_too_large_is_told(tmp_path: Path) -> None:
    # `zstd --long=31` of two records: a frame that asks for a window of 2 GiB.
    frame = bytes.fromhex(
        "28b52ffd04a80d0100c87b226964223a312c2274657874223a2261227d0a3262227d0a0200a008374c260f6eb7e4"
    )
    path = tmp_path / "long.jsonl.zst"
    assert lines(path, frame) == [Reason.TOO_LARGE]
    (line,) = raw_lines(path, "long.jsonl.zst", 2**20)
    assert not isinstance(line.data, bytes)
    assert "window" in line.data.evidence


def test_all_members_of_gzip_are_read_and_a_torn_one_is_told(tmp_path: Path) -> None:
    noise = random.Random(0).randbytes(200).hex().encode()
    members = [gzip.compress(b"%d %s\n" % (number, noise)) for number in range(5)]
    assert len(lines(tmp_path / "a.jsonl.gz", b"".join(members))) == 5
    assert lines(tmp_path / "a.jsonl.gz", b"".join(members)[:-30])[-1] is Reason.TRUNCATED_FILE
