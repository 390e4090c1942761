"""WARC files, record by record, in bounded memory: whatever the bytes, a record is read or told to be broken."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from lake.decision import Drop, Reason

KIND = "WARC-Gap-Kind"
DOCUMENT = "WARC-Gap-Document"
ASKED = "WARC-Gap-Asked"
"""Our own headers: what a page is (document, chapter, index, robots), the URL of the document that it belongs to, and
the URL that was asked for where redirects led elsewhere."""

OTHER = "other"
"""The kind of a response that is no page: a redirect, an error, what was refused, what had not changed."""

CHUNK = 64 * 2**10
GZIP = b"\x1f\x8b\x08"
VERSION = b"WARC/1."
LONGEST_LINE = 16 * 2**10
MOST_HEADERS = 500
MOST_DAMAGE = 1000
"""Damaged places after which the rest of a file is given up, so that no file can cost quadratic time."""


@dataclass(frozen=True, slots=True)
class Record:
    """A whole record: its headers by lower-case names, its block, and where it stands in the file.

    `end` is where the next record begins, known where each record is packed by itself.
    """

    headers: dict[str, str]
    block: bytes
    offset: int
    end: int | None


@dataclass(frozen=True, slots=True)
class Broken:
    """A place where a record should be and none can be read."""

    offset: int
    drop: Drop


class _DamageError(Exception):
    """A record is not whole or not well formed; `packed` where the packing itself is broken."""

    def __init__(self, reason: Reason, what: str, packed: bool = False) -> None:
        super().__init__(what)
        self.reason = reason
        self.packed = packed


class _Bytes:
    """The unpacked bytes of a file. A record never runs on from one gzip member into the next."""

    def __init__(self, stream: BinaryIO, packed: bool) -> None:
        self._stream = stream
        self._packed = packed
        self._raw = b""
        self._inflate: zlib._Decompress | None = None
        self._buffer = b""
        self._place = 0
        self.member = stream.tell()
        """Where the gzip member begins, or, unpacked, the buffer."""

    def _fill(self) -> bool:
        """Unpack some more of the member; False at its end."""
        if not self._packed:
            self.member = self._stream.tell()
            self._buffer, self._place = self._stream.read(CHUNK), 0
            return bool(self._buffer)
        while self._inflate is not None and not self._inflate.eof:
            self._raw = self._raw or self._stream.read(CHUNK)
            at_end = not self._raw
            try:
                self._buffer, self._place = self._inflate.decompress(self._raw, CHUNK), 0
            except zlib.error as error:
                raise _DamageError(Reason.TRUNCATED_FILE, f"gzip: {error}", packed=True) from None
            self._raw = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
            if self._buffer:
                return True
            if at_end and not self._inflate.eof:
                raise _DamageError(Reason.TRUNCATED_FILE, "gzip: the file ends within a record", packed=True)
        return False

    def next(self) -> bool:
        """Whether there is more to read; moves to the next member where one is used up."""
        while self._place == len(self._buffer) and not self._fill():
            if not self._packed:
                return False
            self._raw = self._raw or self._stream.read(CHUNK)
            if not self._raw:
                return False
            self.member = self._stream.tell() - len(self._raw)
            self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
        return True

    @property
    def offset(self) -> int:
        """Where a record begins: its gzip member, or its first byte."""
        return self.member if self._packed else self.member + self._place

    def take(self, size: int, keep: bool = True) -> bytes:
        """Up to `size` bytes of the member, or nothing where they are only to be skipped; raises at its early end."""
        parts: list[bytes] = []
        while size:
            if self._place == len(self._buffer) and not self._fill():
                raise _DamageError(Reason.TRUNCATED_FILE, f"{size:,} bytes of its Content-Length are missing")
            part = self._buffer[self._place : self._place + size]
            self._place += len(part)
            size -= len(part)
            if keep:
                parts.append(part)
        return b"".join(parts)

    def line(self) -> bytes:
        """A line with its end, of at most LONGEST_LINE bytes; empty at the end of the member."""
        parts: list[bytes] = []
        room = LONGEST_LINE
        while room:
            if self._place == len(self._buffer) and not self._fill():
                break
            end = self._buffer.find(b"\n", self._place, self._place + room) + 1
            part = self._buffer[self._place : end or self._place + room]
            self._place += len(part)
            room -= len(part)
            parts.append(part)
            if end:
                break
        return b"".join(parts)

    def back(self, line: bytes) -> None:
        """Put back the line that was read last."""
        self._buffer = line + self._buffer[self._place :]
        if not self._packed:
            self.member += self._place - len(line)
        self._place = 0

    def end(self) -> int | None:
        """Where the next member begins, if this one is used up."""
        if not self._packed or self._place < len(self._buffer) or self._fill():
            return None
        return self._stream.tell() - len(self._raw)

    def seek_member(self) -> bool:
        """Go on at the next place after the start of this member that looks like one; False where there is none."""
        self._stream.seek(self.member + 1)
        self._raw, self._inflate, self._buffer, self._place = b"", None, b"", 0
        seen = b""
        while more := self._stream.read(CHUNK):
            seen += more
            found = seen.find(GZIP)
            if found >= 0:
                self._stream.seek(found - len(seen), 1)
                return True
            seen = seen[-2:]
        return False

    def seek_line(self, start: int) -> bool:
        """Go on at the next line after `start`, or from here on where gzip hides what was, that begins a record."""
        if not self._packed:
            self._stream.seek(start + 1)
            self._buffer, self._place = b"", 0
        while self.next():
            while line := self.line():
                if line.startswith(VERSION):
                    self.back(line)
                    return True
        return False


def read_records(stream: BinaryIO, max_bytes: int, offset: int = 0) -> Iterator[Record | Broken]:
    """Every record from `offset` on, gzip or plain, and every place that is damaged, once.

    A record over `max_bytes` is skipped without being held. After damage it goes on at the next record that is whole.
    """
    stream.seek(offset)
    packed = stream.read(2) == GZIP[:2]
    stream.seek(offset)
    source = _Bytes(stream, packed)
    damages = 0
    healing = False
    while True:
        start = source.offset
        try:
            if not source.next():
                return
            start = source.offset
            found = _read(source, start, max_bytes)
        except _DamageError as damage:
            damages += 1
            if not healing:
                yield Broken(start, Drop(damage.reason, str(damage)))
            healing = True
            if damages > MOST_DAMAGE or not _heal(source, start, damage.packed):
                return
            continue
        if found is None:
            continue
        healing = False
        yield found


def _heal(source: _Bytes, start: int, packing: bool) -> bool:
    """Find the next record that may be whole; a wrong Content-Length of an unpacked one hides none behind it."""
    while True:
        try:
            return source.seek_member() if packing else source.seek_line(start)
        except _DamageError:
            packing = True


def _read(source: _Bytes, start: int, max_bytes: int) -> Record | Broken | None:
    """One record; None for blank lines between records."""
    line = source.line()
    if not line.strip():
        return None
    if not line.startswith(VERSION):
        raise _DamageError(Reason.MALFORMED_WARC, f"no record begins with {line[:40]!r}")
    headers = _headers(source)
    length = headers.get("content-length", "")
    if not length.isascii() or not length.isdigit() or len(length) > 15:
        raise _DamageError(Reason.MALFORMED_WARC, f"Content-Length is {length!r:.60}")
    size = int(length)
    block = source.take(size, keep=size <= max_bytes)
    while source.end() is None and (line := source.line()):
        if line.strip():
            source.back(line)
            break
    if size > max_bytes:
        where = headers.get("warc-target-uri", "a record")
        evidence = f"{where:.200}: {size:,} bytes; max_bytes is {max_bytes:,}"
        return Broken(start, Drop(Reason.TOO_LARGE, evidence, float(size)))
    return Record(headers, block, start, source.end())


def _headers(source: _Bytes) -> dict[str, str]:
    headers: dict[str, str] = {}
    for _ in range(MOST_HEADERS):
        line = source.line()
        if not line.endswith(b"\n"):
            raise _DamageError(Reason.MALFORMED_WARC, f"its headers end in {line[-40:]!r}")
        if not (text := line.decode("utf-8", "replace").strip()):
            return headers
        name, colon, value = text.partition(":")
        if colon:
            headers.setdefault(name.strip().lower(), value.strip())
    raise _DamageError(Reason.MALFORMED_WARC, f"more than {MOST_HEADERS} headers")
