"""Members of a tar archive, streamed: it writes no file, follows no name and trusts no header's size.

Python's reader takes a broken header for the end of the archive, and reads extended headers whole, however large they
claim to be. Here the first is an error, and the second is refused.
"""

from collections.abc import Iterator
from io import BufferedIOBase
from typing import NamedTuple

BLOCK = 512
CHUNK = 2**20
LONGEST_HEADER = 2**20
LONGEST_PADDING = 2**26
"""The most empty bytes that may follow an archive. Writers usually pad it by a few KB."""

FILES = {b"0", b"\0", b"7"}
LONG_NAME, EXTENDED, GLOBAL = b"L", b"x", b"g"
NO_DATA = {b"1", b"2", b"3", b"4", b"5", b"6"}
"""Links, devices and folders."""


class BrokenArchiveError(Exception):
    """The archive ends early or has a broken header."""


class Member(NamedTuple):
    """A file of an archive. Its name is for messages only; `data` is None where the file is too large."""

    name: str
    size: int
    data: bytes | None


def members(stream: BufferedIOBase, max_bytes: int, suffixes: tuple[str, ...]) -> Iterator[Member]:
    """The files whose names have one of the suffixes, in order. Memory holds one of at most `max_bytes`.

    Concatenated archives are read as one.

    Raises:
        BrokenArchiveError: the rest cannot be read.
    """
    longer: dict[str, str] = {}
    padding = 0
    while header := _header(stream, may_end=padding > 0):
        if not header.strip(b"\0"):
            longer, padding = {}, padding + BLOCK
            if padding > LONGEST_PADDING:
                raise BrokenArchiveError(f"more than {LONGEST_PADDING:,} empty bytes")
            continue
        padding = 0
        kind, size = _kind(header), _number(header[124:136])
        if kind in (LONG_NAME, EXTENDED, GLOBAL):
            if size > LONGEST_HEADER:
                raise BrokenArchiveError(f"a header of {size:,} bytes")
            data = _content(stream, size)
            if kind != GLOBAL:
                longer |= {"path": _text(data.rstrip(b"\0"))} if kind == LONG_NAME else _extended(data)
            continue
        name = longer.get("path") or _name(header)
        size = _size(longer["size"]) if "size" in longer else size
        longer = {}
        if kind in NO_DATA:
            continue
        if kind not in FILES or not name.lower().endswith(suffixes):
            _skip(stream, size)
        elif size > max_bytes:
            _skip(stream, size)
            yield Member(name, size, None)
        else:
            yield Member(name, size, _content(stream, size))


def _header(stream: BufferedIOBase, may_end: bool) -> bytes:
    """The next block; nothing at the end of the stream, where that may end."""
    first = stream.read(1)
    return b"" if may_end and not first else first + _read(stream, BLOCK - len(first))


def _read(stream: BufferedIOBase, size: int) -> bytes:
    data = stream.read(size)
    while len(data) < size:
        more = stream.read(size - len(data))
        if not more:
            raise BrokenArchiveError("the archive ends early")
        data += more
    return data


def _padding(size: int) -> int:
    return -size % BLOCK


def _content(stream: BufferedIOBase, size: int) -> bytes:
    data = _read(stream, size) if size else b""
    _skip_exactly(stream, _padding(size))
    return data


def _skip(stream: BufferedIOBase, size: int) -> None:
    _skip_exactly(stream, size + _padding(size))


def _skip_exactly(stream: BufferedIOBase, size: int) -> None:
    while size:
        size -= len(_read(stream, min(size, CHUNK)))


def _kind(header: bytes) -> bytes:
    """The type of a member, after its header's checksum is verified."""
    checksum = _number(header[148:156])
    if checksum != sum(header[:148]) + 8 * ord(" ") + sum(header[156:]):
        raise BrokenArchiveError("a header with a wrong checksum")
    return header[156:157]


def _number(field: bytes) -> int:
    """An octal number, or a binary one where the first bit is set."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    try:
        number = int(field.strip(b" \0") or b"0", 8)
    except ValueError:
        number = -1
    if number < 0:
        raise BrokenArchiveError(f"a header with {field!r} for a number")
    return number


def _size(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise BrokenArchiveError(f"a header with {text!r:.40} for a size")
    return int(text)


def _name(header: bytes) -> str:
    name, prefix = _text(header[:100].split(b"\0")[0]), _text(header[345:500].split(b"\0")[0])
    return f"{prefix}/{name}" if prefix and header[257:262] == b"ustar" else name


def _extended(data: bytes) -> dict[str, str]:
    """Path and size from an extended header, whose records are `length key=value`."""
    fields = {}
    while data:
        length, _, _ = data.partition(b" ")
        if not length.isdigit() or len(length) > 7 or not len(length) < int(length) <= len(data):
            raise BrokenArchiveError(f"an extended header with {length[:20]!r} for a length")
        key, _, value = data[len(length) + 1 : int(length)].rstrip(b"\n").partition(b"=")
        if key in (b"path", b"size"):
            fields[key.decode()] = _text(value)
        data = data[int(length) :]
    return fields


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
