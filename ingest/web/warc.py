"""WARC files, record by record, in bounded memory. Whatever the bytes are, a record is read or reported as broken."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from lake.decision import Drop, Reason, RecordError

KIND = "WARC-Gap-Kind"
DOCUMENT = "WARC-Gap-Document"
ASKED = "WARC-Gap-Asked"
"""Our own headers: the kind of a page (document, chapter, index, robots), the URL of its document, and the URL that was
requested if redirects led elsewhere."""

OTHER = "other"
"""The kind of a response that is not a page: a redirect, an error, a refused or an unchanged page."""

CHUNK = 64 * 2**10
GZIP = b"\x1f\x8b\x08"
ZSTANDARD = (b"\x28\xb5\x2f\xfd", b"\x5d\x2a\x4d\x18")
"""How a .warc.zst begins: with a frame, or with its dictionary."""

VERSION = b"WARC/1."
LONGEST_LINE = 16 * 2**10
MOST_HEADERS = 500
MOST_DAMAGE = 1000
"""After this many damaged places the rest of a file is skipped, so that no file takes quadratic time."""


@dataclass(frozen=True, slots=True)
class Record:
    """A whole record: its headers by lower-case names, its block, and its place in the file.

    `end` is where the next record begins. It is known only if each record is packed by itself.
    """

    headers: dict[str, str]
    block: bytes
    offset: int
    end: int | None


@dataclass(frozen=True, slots=True)
class Broken:
    """A place where a record should be, but none can be read."""

    offset: int
    drop: Drop


class _DamageError(RecordError):
    """A record is incomplete or malformed. `packed` says that the packing itself is broken."""

    def __init__(self, reason: Reason, what: str, packed: bool = False) -> None:
        super().__init__(reason, what)
        self.packed = packed


class _Bytes:
    """The unpacked bytes of a file. A record goes on in the next gzip member, where a whole file was packed in blocks,
    unless that member begins with a record.
    """

    def __init__(self, stream: BinaryIO, packed: bool) -> None:
        self._stream = stream
        self._packed = packed
        self._raw = b""
        self._inflate: zlib._Decompress | None = None
        self._buffer = b""
        self._place = 0
        self.member = stream.tell()
        """Where the gzip member begins, or the buffer of an unpacked file."""

    def _fill(self) -> bool:
        """Unpack more of the member; False at its end."""
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
        """Whether there is more to read. Moves to the next member at the end of one."""
        while self._place == len(self._buffer) and not self._fill():
            if not self._packed:
                return False
            self._raw = self._raw or self._stream.read(CHUNK)
            if not self._raw:
                return False
            self.member = self._stream.tell() - len(self._raw)
            self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
        return True

    def _goes_on(self) -> bool:
        """Whether the member that ended within a record is followed by one that holds more of it."""
        return self._packed and self.next() and not self._buffer.startswith(VERSION)

    @property
    def offset(self) -> int:
        """Where a record begins: at its gzip member, or at its first byte."""
        return self.member if self._packed else self.member + self._place

    def take(self, size: int, keep: bool = True) -> bytes:
        """The next `size` bytes of a record; empty without `keep`. Raises _DamageError if the record ends early."""
        parts: list[bytes] = []
        while size:
            if self._place == len(self._buffer) and not self._fill() and not self._goes_on():
                raise _DamageError(Reason.TRUNCATED_FILE, f"{size:,} bytes of its Content-Length are missing")
            part = self._buffer[self._place : self._place + size]
            self._place += len(part)
            size -= len(part)
            if keep:
                parts.append(part)
        return b"".join(parts)

    def line(self, within: bool = False) -> bytes:
        """A line with its end, of at most LONGEST_LINE bytes; empty at the end of the member, unless it is `within` a
        record.
        """
        parts: list[bytes] = []
        room = LONGEST_LINE
        while room:
            if self._place == len(self._buffer) and not self._fill() and not ((within or parts) and self._goes_on()):
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
        """Put back the last line that was read."""
        self._buffer = line + self._buffer[self._place :]
        if not self._packed:
            self.member += self._place - len(line)
        self._place = 0

    def end(self) -> int | None:
        """Where the next member begins, if this member is at its end."""
        if not self._packed or self._place < len(self._buffer) or self._fill():
            return None
        return self._stream.tell() - len(self._raw)

    def seek_member(self) -> bool:
        """Continue at the next place that looks like the start of a member; False if there is none."""
        self._stream.seek(self.member + 1)
        self._raw, self._inflate, self._buffer, self._place = b"", None, b"", 0
        seen = b""
        while more := self._stream.read(CHUNK):
            seen += more
            place = seen.find(GZIP)
            if place >= 0:
                self._stream.seek(place - len(seen), 1)
                return True
            seen = seen[-2:]
        return False

    def seek_line(self, start: int) -> bool:
        """Continue at the next line that begins a record: after `start`, or in a packed file after this point."""
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
    """Every record from `offset` on, gzip or plain, and every damaged place, each once.

    A record over `max_bytes` is skipped without being held in memory. After damage, reading continues at the next whole
    record.
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
            record = _read(source, start, max_bytes)
        except _DamageError as damage:
            damages += 1
            if not healing:
                yield Broken(start, Drop(damage.reason, str(damage)))
            healing = True
            if damages > MOST_DAMAGE or not _heal(source, start, damage.packed):
                return
            continue
        if record is None:
            continue
        healing = False
        yield record


def _heal(source: _Bytes, start: int, packing: bool) -> bool:
    """Find the next record that may be whole. In an unpacked file, a wrong Content-Length hides no record after it."""
    while True:
        try:
            return source.seek_member() if packing else source.seek_line(start)
        except _DamageError:
            packing = True


def _read(source: _Bytes, start: int, max_bytes: int) -> Record | Broken | None:
    """A record; None for a blank line between records."""
    line = source.line()
    if not line.strip():
        return None
    if line.startswith(ZSTANDARD):
        raise _DamageError(Reason.MALFORMED_WARC, "packed with Zstandard, which is not read here; unpack it: zstd -d")
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
        line = source.line(within=True)
        if not line.endswith(b"\n"):
            raise _DamageError(Reason.MALFORMED_WARC, f"its headers end in {line[-40:]!r}")
        if not (text := line.decode("utf-8", "replace").strip()):
            return headers
        name, colon, value = text.partition(":")
        if colon:
            headers.setdefault(name.strip().lower(), value.strip())
    raise _DamageError(Reason.MALFORMED_WARC, f"more than {MOST_HEADERS} headers")
