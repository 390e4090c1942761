"""The HTTP answer in a WARC record."""

import re
import zlib
from dataclasses import dataclass

HEAD = 2 * 2**20
"""Bytes that the head of an answer may have."""

HTML = ("text/html", "application/xhtml+xml")
PDF = ("application/pdf", "application/x-pdf")
UNKNOWN = ("", "application/octet-stream", "binary/octet-stream")
"""Media types of pages; many servers do not know that of a PDF."""

CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:+-]{1,40})")


class PayloadError(Exception):
    """A block is not an HTTP answer, or its body cannot be unpacked."""


@dataclass(frozen=True, slots=True)
class Payload:
    """Status, headers by lower-case names, media type and charset in lower case, and the unpacked body."""

    status: int
    headers: dict[str, str]
    type: str
    charset: str | None
    body: bytes


def read_payload(block: bytes, max_bytes: int) -> Payload:
    """Raises PayloadError if the block is not an HTTP answer, or its body unpacks to more than `max_bytes`."""
    head, gap, body = block.partition(b"\r\n\r\n")
    if not gap:
        head, gap, body = block.partition(b"\n\n")
    status_line, _, rest = head.partition(b"\n")
    words = status_line.split(None, 2)
    if not gap or len(head) > HEAD or len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise PayloadError(f"not an HTTP answer: it begins with {block[:40]!r}")
    headers: dict[str, str] = {}
    for line in rest.decode("latin-1").split("\n"):
        name, colon, value = line.partition(":")
        if colon:
            headers.setdefault(name.strip().lower(), value.strip())
    if "chunked" in headers.get("transfer-encoding", "").lower():
        body = _dechunk(body)
    media, _, parameters = headers.get("content-type", "").lower().partition(";")
    charset = CHARSET.search(parameters)
    coding = headers.get("content-encoding", "").strip().lower()
    return Payload(int(words[1][:9]), headers, media.strip(), charset and charset[1], _unpack(body, coding, max_bytes))


def _dechunk(body: bytes) -> bytes:
    """A chunked body in one piece. Some crawlers store it in one piece already; then it stays as it is."""
    parts: list[bytes] = []
    place = 0
    while True:
        end = body.find(b"\r\n", place, place + 100)
        try:
            size = int(body[place:end].partition(b";")[0], 16) if end >= 0 else -1
        except ValueError:
            size = -1
        if size < 0 or end + 2 + size > len(body):
            if not parts:
                return body
            raise PayloadError("a chunk of the body is missing")
        if size == 0:
            return b"".join(parts)
        parts.append(body[end + 2 : end + 2 + size])
        place = end + 2 + size + 2


def _unpack(body: bytes, coding: str, max_bytes: int) -> bytes:
    if coding in ("", "identity") or (coding in ("gzip", "x-gzip") and not body.startswith(b"\x1f\x8b")):
        return body  # some crawlers unpack the body and keep the header
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise PayloadError(f"Content-Encoding {coding!r:.60} is not supported")
    for window in (zlib.MAX_WBITS | 32, -zlib.MAX_WBITS):
        unpack = zlib.decompressobj(window)
        try:
            unpacked = unpack.decompress(body, max_bytes + 1)
        except zlib.error as error:
            problem = str(error)
            continue
        if len(unpacked) > max_bytes:
            raise PayloadError(f"the body unpacks to more than {max_bytes:,} bytes")
        if not unpack.eof:
            raise PayloadError("the packed body ends too early")
        return unpacked
    raise PayloadError(f"Content-Encoding {coding}: {problem}")
