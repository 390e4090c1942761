"""Lines of raw files: every one is yielded once, and nothing a file holds stops the reader or fills the memory."""

import gzip
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.decision import Drop, Reason
from lake.lines import Line, raw_lines

BOM = b"\xef\xbb\xbf"
LINES = b"".join(b"%d %x\n" % (number, 7**number) for number in range(400))


def pack(suffix: str, data: bytes) -> bytes:
    match suffix:
        case ".gz":
            return gzip.compress(data)
        case ".zst":
            return pa.Codec("zstd").compress(data, asbytes=True)
        case _:
            return data


def read(path: Path, content: bytes, max_bytes: int = 100_000) -> list[Line]:
    path.write_bytes(content)
    return list(raw_lines(path, f"folder/{path.name}", max_bytes))


def told(lines: list[Line]) -> list[bytes | str]:
    """What was read: a line, or place and reason of a drop."""
    return [
        f"{native.rpartition(':')[2]} {data.reason}" if isinstance(data, Drop) else data.rstrip(b"\r\n")
        for native, data in lines
    ]


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_lines_are_known_by_where_they_stand_and_blank_ones_left_out(tmp_path: Path, suffix: str) -> None:
    name = f"a.jsonl{suffix}"
    found = read(tmp_path / name, pack(suffix, b"one \r\n\n \t\r\n two\n\xff\x00"))
    assert found == [
        Line(f"folder/{name}:1", b"one \r\n"),
        Line(f"folder/{name}:4", b" two\n"),
        Line(f"folder/{name}:5", b"\xff\x00"),
    ]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_packed_streams_in_a_row_are_one_file(tmp_path: Path, suffix: str) -> None:
    cut = len(LINES) // 2
    found = read(tmp_path / f"a{suffix}", pack(suffix, LINES[:cut]) + pack(suffix, LINES[cut:]))
    assert told(found) == LINES.splitlines()


def test_a_byte_order_mark_is_left_out_at_the_beginning_alone(tmp_path: Path) -> None:
    assert told(read(tmp_path / "a", BOM + b"one\n" + BOM + b"two\n")) == [b"one", BOM + b"two"]


@pytest.mark.parametrize("content", [b"\n", b" \r\n\t\n", BOM, BOM + b"\n"])
@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_a_file_of_blank_lines_has_none(tmp_path: Path, content: bytes, suffix: str) -> None:
    assert read(tmp_path / f"a{suffix}", pack(suffix, content)) == []


def test_a_plain_file_may_be_empty_and_a_packed_one_may_not(tmp_path: Path) -> None:
    assert read(tmp_path / "a", b"") == []
    for suffix in (".gz", ".zst"):
        assert told(read(tmp_path / f"a{suffix}", b"")) == ["1 truncated_file"]


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_a_line_over_the_limit_is_counted_with_its_length(tmp_path: Path, suffix: str) -> None:
    long, fits = b"x" * 3_000_000 + b"\n", b"y" * 99 + b"\n"
    (native, drop), second = read(tmp_path / f"a{suffix}", pack(suffix, long + fits), max_bytes=100)
    assert native == f"folder/a{suffix}:1"
    assert drop == Drop(Reason.TOO_LARGE, f"{native}: a line of 3,000,001 bytes; max_bytes is 100", 3_000_001)
    assert second == Line(f"folder/a{suffix}:2", fits)


def test_a_last_line_over_the_limit_needs_no_line_end(tmp_path: Path) -> None:
    assert told(read(tmp_path / "a", b"x" * 101, max_bytes=100)) == ["1 too_large"]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_packed_bomb_takes_no_more_memory_than_a_chunk(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(pack(suffix, b" " * 50_000_000))
    tracemalloc.start()
    arrow = pa.total_allocated_bytes()
    ((_, drop),) = raw_lines(path, path.name, 1_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(drop, Drop)
    assert (drop.reason, drop.score) == (Reason.TOO_LARGE, 50_000_000)
    assert peak < 10_000_000
    assert pa.total_allocated_bytes() - arrow < 10_000_000


@pytest.mark.parametrize("cut", [1, 5, 12, 400, 2_000, -9, -8, -3, -1])
@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_truncated_file_is_counted_behind_what_was_readable(tmp_path: Path, suffix: str, cut: int) -> None:
    *whole, (native, drop) = read(tmp_path / f"a{suffix}", pack(suffix, LINES)[:cut])
    assert told(whole) == LINES.splitlines()[: len(whole)]
    assert isinstance(drop, Drop)
    assert (drop.reason, native) == (Reason.TRUNCATED_FILE, f"folder/a{suffix}:{len(whole) + 1}")
    assert drop.evidence.startswith(f"{native}: nothing is readable from here on: ")
    # Of a gzip stream that lacks only its check sum, every line was readable.
    if suffix == ".gz":
        assert (cut >= 0) == (len(whole) < 400)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_packed_file_that_is_none_is_counted(tmp_path: Path, suffix: str) -> None:
    assert told(read(tmp_path / f"a{suffix}", b"neither of the two")) == ["1 truncated_file"]
    *whole, last = told(read(tmp_path / f"a{suffix}", pack(suffix, LINES) + b"trailing bytes"))
    assert whole == LINES.splitlines()[: len(whole)]
    assert last == f"{len(whole) + 1} truncated_file"
    # Arrow gives nothing of a read that meets a fault.
    assert len(whole) == (400 if suffix == ".gz" else 0)


def test_a_corrupt_gzip_yields_what_was_readable(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(LINES * 50))
    packed[len(packed) // 2] ^= 0xFF
    *whole, (_, drop) = read(tmp_path / "a.gz", bytes(packed))
    assert told(whole[:5_000]) == (LINES * 50).splitlines()[:5_000]
    assert isinstance(drop, Drop)
    assert drop.reason is Reason.TRUNCATED_FILE


def test_a_line_too_large_in_a_truncated_file_is_one_record(tmp_path: Path) -> None:
    packed = gzip.compress(b"one\n" + LINES.replace(b"\n", b" "), compresslevel=0)
    assert told(read(tmp_path / "a.gz", packed[: len(packed) // 2], max_bytes=100)) == [b"one", "2 truncated_file"]


@settings(max_examples=200)
@given(
    lines=st.lists(st.binary(max_size=30).filter(lambda line: b"\n" not in line), max_size=6), limit=st.integers(4, 31)
)
def test_any_bytes_are_yielded_once(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], limit: int) -> None:
    found = read(tmp_path_factory.getbasetemp() / "any", BOM + b"\n" + b"\n".join(lines), limit)
    ended = [line + b"\n" * (number < len(lines)) for number, line in enumerate(lines, 1)]
    assert [(native, data.score if isinstance(data, Drop) else data) for native, data in found] == [
        (f"folder/any:{number}", len(line) if len(line) > limit else line)
        for number, line in enumerate(ended, 2)
        if line.strip() or len(line) > limit
    ]


@settings(max_examples=200)
@given(
    suffix=st.sampled_from([".gz", ".zst"]),
    content=st.binary(max_size=200),
    cut=st.integers(0, 250),
    damage=st.integers(0, 250),
)
def test_a_damaged_file_never_stops_the_reader(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, content: bytes, cut: int, damage: int
) -> None:
    packed = bytearray(pack(suffix, content)[:cut])
    if damage < len(packed):
        packed[damage] ^= 0x55
    read(tmp_path_factory.getbasetemp() / f"damaged{suffix}", bytes(packed))
