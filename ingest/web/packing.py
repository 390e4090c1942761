"""Undoes the packings of HTTP bodies (RFC 9110, section 8.4) piece by piece, however far a body swells."""

import zlib
from collections.abc import Iterator
from typing import Final, Protocol

import brotli
import pyarrow as pa

CHUNK: Final = 2**16
"""Bytes that are unpacked at once."""

GZIP: Final = b"\x1f\x8b"
PLAIN: Final = ("", "identity")
CODINGS: Final = ("gzip", "x-gzip", "deflate", "br", "zstd")


FAULTS: Final = (zlib.error, brotli.error, OSError, pa.ArrowException)
"""What the libraries raise for a broken body."""


class PackingError(Exception):
    """A packed body is broken, ends too early, or is packed in a way that is not supported."""


class Unpacker:
    """Undoes one Content-Encoding: takes packed pieces in order and gives unpacked ones of at most about CHUNK bytes.

    Raises PackingError for a coding that is not supported.
    """

    def __init__(self, coding: str) -> None:
        if coding not in CODINGS:
            raise PackingError(f"Content-Encoding {coding!r:.60} is not supported")
        self._coding = coding
        self._inflate: _Inflate = _Brotli() if coding == "br" else _Zstandard() if coding == "zstd" else _Zlib(coding)

    @property
    def trailing(self) -> int:
        """Bytes after the packed body, which are not part of it."""
        return self._inflate.trailing

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Raises PackingError if the body is broken."""
        try:
            yield from self._inflate.feed(data)
        except FAULTS as error:
            raise PackingError(f"Content-Encoding {self._coding}: {error}") from None

    def finish(self) -> None:
        """Raises PackingError if the body ends too early."""
        if not self._inflate.ended:
            raise PackingError(f"Content-Encoding {self._coding}: the packed body ends too early")


class _Inflate(Protocol):
    trailing: int

    @property
    def ended(self) -> bool: ...

    def feed(self, data: bytes) -> Iterator[bytes]: ...


class _Zlib:
    """gzip, of which every member counts, and deflate, which some servers send without zlib's header."""

    def __init__(self, coding: str) -> None:
        self.trailing = 0
        self._may_be_raw = coding == "deflate"
        self._waiting = b""
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)

    def feed(self, data: bytes) -> Iterator[bytes]:
        data = self._waiting + data
        self._waiting = b""
        while data:
            if self._inflate.eof:
                # Zeros may fill up the space between members.
                data = data.lstrip(b"\0")
                if not data or self.trailing or not data.startswith(GZIP):
                    self._waiting = data if data == GZIP[:1] and not self.trailing else b""
                    self.trailing += len(data) - len(self._waiting)
                    return
                self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
            piece = self._inflate.decompress(data, CHUNK) if not self._may_be_raw else self._first(data)
            self._may_be_raw = False
            yield piece
            data = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail

    def _first(self, data: bytes) -> bytes:
        try:
            return self._inflate.decompress(data, CHUNK)
        except zlib.error:
            self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
            return self._inflate.decompress(data, CHUNK)

    @property
    def ended(self) -> bool:
        return self._inflate.eof


class _Brotli:
    def __init__(self) -> None:
        self.trailing = 0
        self._inflate = brotli.Decompressor()

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._inflate.is_finished():
            self.trailing += len(data)
            return
        piece = self._inflate.process(data, output_buffer_limit=CHUNK)
        while piece:
            yield piece
            piece = b"" if self._inflate.is_finished() else self._inflate.process(b"", output_buffer_limit=CHUNK)

    @property
    def ended(self) -> bool:
        return bool(self._inflate.is_finished())


class _Zstandard:
    """All frames of a body that is fed at once."""

    trailing = 0
    ended = True

    def feed(self, data: bytes) -> Iterator[bytes]:
        with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as stream:
            while piece := stream.read(CHUNK):
                yield piece
