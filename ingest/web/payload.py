"""The HTTP answer in a WARC record."""

import re
from dataclasses import dataclass

from ingest.pages.page import PageNote
from ingest.web.packing import GZIP, PLAIN, PackingError, Unpacker

HEAD = 2 * 2**20
"""Bytes that the head of an answer may have."""

HTML = ("text/html", "application/xhtml+xml")
PDF = ("application/pdf", "application/x-pdf")
TEXT = ("text/plain",)
UNKNOWN = ("", "application/octet-stream", "binary/octet-stream")
"""Media types of pages; many servers do not know that of a PDF."""

GZIPPED = ("gzip", "x-gzip")
READABLE = (b"<", b"%PDF-")
"""How a page begins that is not packed."""
BLANKS = b"\xef\xbb\xbf \t\r\n"

CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:+-]{1,40})")


class PayloadError(Exception):
    """A block is not an HTTP answer, or its body cannot be unpacked."""


@dataclass(frozen=True, slots=True)
class Payload:
    """Status, headers by lower-case names, media type and charset in lower case, the unpacked body, what it lacks."""

    status: int
    headers: dict[str, str]
    type: str
    charset: str | None
    body: bytes
    notes: tuple[PageNote, ...] = ()


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
    after = 0
    transfer = [name.strip() for name in headers.get("transfer-encoding", "").lower().split(",")]
    if "chunked" in transfer:
        body, after = _dechunk(body)
    media, charset = _media(headers.get("content-type", ""))
    packed = len(body)
    codings = [headers.get("content-encoding", "").lower(), *(name for name in transfer if name != "chunked")]
    body, trailing = _unpack(body, ",".join(codings), max_bytes)
    notes = _lacks(headers, body, packed, trailing + after)
    return Payload(int(words[1][:9]), headers, media, charset, body, notes)


def bare_payload(block: bytes, content_type: str) -> Payload:
    """The content of a record that is no HTTP answer, of the media type that the record states."""
    media, charset = _media(content_type)
    return Payload(200, {}, media, charset, block)


def _media(content_type: str) -> tuple[str, str | None]:
    media, _, parameters = content_type.lower().partition(";")
    charset = CHARSET.search(parameters)
    return media.strip(), charset and charset[1]


def _dechunk(body: bytes) -> tuple[bytes, int]:
    """A chunked body in one piece, and how many bytes follow its last chunk and trailers.

    Some crawlers store it in one piece already; then it stays as it is.
    """
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
                return body, 0
            raise PayloadError("a chunk of the body is missing")
        if size == 0:
            return b"".join(parts), len(body[end:].partition(b"\r\n\r\n")[2])
        parts.append(body[end + 2 : end + 2 + size])
        place = end + 2 + size + 2


def _unpack(body: bytes, codings: str, max_bytes: int) -> tuple[bytes, int]:
    """The body without its packings, the last one first, and how many bytes followed a packed body."""
    trailing = 0
    for coding in reversed([name for part in codings.split(",") if (name := part.strip()) not in PLAIN]):
        if coding in GZIPPED and not body.startswith(GZIP):
            continue  # some crawlers unpack the body and keep the header
        unpacked = bytearray()
        try:
            undo = Unpacker(coding)
            for piece in undo.feed(body):
                unpacked += piece
                if len(unpacked) > max_bytes:
                    raise PayloadError(f"the body unpacks to more than {max_bytes:,} bytes")
            undo.finish()
        except PackingError as error:
            if not unpacked and body.lstrip(BLANKS).startswith(READABLE):
                continue
            raise PayloadError(str(error)) from None
        body = bytes(unpacked)
        trailing += undo.trailing
    return body, trailing


def _lacks(headers: dict[str, str], body: bytes, packed: int, trailing: int) -> tuple[PageNote, ...]:
    """What the answer's own headers say is missing of its body of `packed` bytes, or what follows it."""
    notes = []
    length = headers.get("content-length", "")
    if length.isascii() and length.isdigit() and packed < int(length[:15]) and len(body) < int(length[:15]):
        notes.append(PageNote("truncated", f"{packed:,} of {int(length[:15]):,} bytes"))
    if trailing:
        notes.append(PageNote("trailing bytes", f"{trailing:,} bytes after the body"))
    return tuple(notes)
