"""Lines of raw files, plain, gzip or Zstandard, one at a time and of limited length."""

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from lake.decision import Drop, Reason

BOM = b"\xef\xbb\xbf"
CHUNK = 2**20
READ = 2**16
"""Bytes of Zstandard that are unpacked at once. Where the stream breaks, all of them are lost."""

COMPRESSED = (".gz", ".zst")
GZIP_FAULTS = (EOFError, zlib.error, gzip.BadGzipFile)
"""What Python raises where a gzip stream is truncated or corrupt."""

WINDOW_FAULT = "requires too much memory"
"""What zstd says of a frame with a window over 128 MiB."""
WINDOW_ADVICE = (
    "its Zstandard window is over 128 MiB, which is not held in memory; pack it without --long, or --long=27"
)


class Line(NamedTuple):
    """A line, or why it cannot be read; `native` is its place `file:line`."""

    native: str
    data: bytes | Drop


def raw_lines(path: Path, name: str, max_bytes: int) -> Iterator[Line]:
    """Every line of a file that is not blank. Memory holds one line of at most `max_bytes`. A longer line gives a Drop
    with its length in bytes as the score.

    `name` is the file's name within the data folder. Files are gzip where the name ends in `.gz`, Zstandard where it
    ends in `.zst`. A truncated or corrupt stream yields its readable lines (of Zstandard up to READ bytes less), then a
    Drop. So does a packed file of zero bytes, which Python takes for an empty stream. A byte order mark at the
    beginning is left out.
    """
    packed = path.suffix in COMPRESSED
    with _open(path) as stream:
        number = 0
        try:
            if packed and not path.stat().st_size:
                raise EOFError("the file is empty")
            for number, line in _lines(stream, max_bytes):
                native = f"{name}:{number}"
                if isinstance(line, int):
                    evidence = f"{native}: a line of {line:,} bytes; max_bytes is {max_bytes:,}"
                    yield Line(native, Drop(Reason.TOO_LARGE, evidence, float(line)))
                elif line.strip():
                    yield Line(native, line)
        except (*GZIP_FAULTS, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the disk's, not the stream's
            native = f"{name}:{number + 1}"
            if WINDOW_FAULT in str(error):
                yield Line(native, Drop(Reason.TOO_LARGE, f"{native}: {WINDOW_ADVICE}"))
                return
            yield Line(native, Drop(Reason.TRUNCATED_FILE, f"{native}: nothing is readable from here on: {error}"))


def _open(path: Path) -> gzip.GzipFile | io.BufferedReader:
    if path.suffix == ".gz":
        return gzip.open(path)
    if path.suffix == ".zst":
        return io.BufferedReader(pa.CompressedInputStream(pa.OSFile(str(path)), "zstd"), READ)
    return path.open("rb")


def _lines(stream: gzip.GzipFile | io.BufferedReader, max_bytes: int) -> Iterator[tuple[int, bytes | int]]:
    """Lines with their numbers from 1. A line over `max_bytes` is never held whole, so only its length is known."""
    number = 0
    while line := stream.readline(max_bytes + 1):
        number += 1
        if len(line) <= max_bytes:
            yield number, line.removeprefix(BOM) if number == 1 else line
            continue
        length = len(line)
        while not line.endswith(b"\n") and (line := stream.readline(CHUNK)):
            length += len(line)
        yield number, length
