"""Decodes the bytes of a web page: by byte order mark, HTTP header, XML declaration, <meta>, or a guess."""

import codecs
import re
from collections.abc import Iterator

from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

from lake.characters import REPLACEMENT, decoded, is_utf8
from lake.decision import Drop, Reason

MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))

XML = re.compile(rb"\s{0,99}<\?xml\s[^>]{0,200}?encoding\s{0,9}=\s{0,9}[\"']([A-Za-z0-9_.:-]{2,40})[\"']")
META = re.compile(rb"<meta[^>]{1,300}?charset\s{0,9}=[\s\"']{0,9}([A-Za-z0-9_.:-]{2,40})", re.IGNORECASE)
HEAD_BYTES = 4_096
"""Where a declaration is searched for. It should be in the first kilobyte, but comments may precede it."""

GUESSED_BYTES = 2**16
ASCII = bytes(range(128))
SEQUENCE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
"""A character of UTF-8 beyond ASCII."""

WORD = re.compile(rb"[\x80-\xff]{3,}")
"""Rare in Windows-1252, usual in every encoding of another script."""

CONTROL = bytes([*range(9), *range(14, 32), 127])
MOST_ODD = 0.05
"""With a larger share of control and replacement characters, bytes are no text."""


def decode(html: bytes, charset: str | None = None) -> str | Drop:
    """The text of a page, or a drop if the result is no text. `charset` is what the HTTP header says.

    Valid UTF-8 counts for more than a declaration of another charset, for servers declare by habit. A page that is
    UTF-8 but for some bytes is read so, and those bytes as Windows-1252. What no charset has becomes U+FFFD.
    """
    for mark, name in MARKS:
        if html.startswith(mark):
            return _checked(_text(html[len(mark) :], name), name)
    name = _wide(html) or _charset(html, charset)
    return _checked(_text(html, name), name)


def _wide(html: bytes) -> str | None:
    """UTF-16 without a byte order mark: a zero byte stands beside the first `<`, or beside most letters."""
    head = html[:HEAD_BYTES]
    for name, first, zeros in (("utf-16-le", b"<\0", head[1::2]), ("utf-16-be", b"\0<", head[::2])):
        if head.startswith(first) or zeros.count(0) > max(0.8 * len(zeros), 0.9 * head.count(0), 1):
            return name
    return None


def _charset(html: bytes, charset: str | None) -> str:
    if is_utf8(html):
        return "utf-8"
    sequences = [len(match[0]) for match in SEQUENCE.finditer(html)]
    strays = len(html.translate(None, ASCII)) - sum(sequences)
    for known in _declared(html, charset):
        # Each byte of a one-byte charset is a character, so that it fits any page; the others rarely fit a wrong one.
        if known != "utf-8" and not (len(sequences) >= strays and _is_bytewise(known)):
            text = html.decode(known, "replace")
            if text.count(REPLACEMENT) <= len(text) * MOST_ODD:
                return known
    if len(sequences) >= strays:
        return "utf-8"
    words = sum(len(match[0]) for match in WORD.finditer(html))
    guess = _known(detect_encoding(html[:GUESSED_BYTES])) if 2 * words > strays else None
    return guess if guess not in (None, "utf-8") else "cp1252"


def _declared(html: bytes, charset: str | None) -> Iterator[str]:
    head = html[:HEAD_BYTES]
    for named in (charset, XML.match(head), META.search(head)):
        known = _known(named[1].decode("ascii") if isinstance(named, re.Match) else named)
        if known is not None and not known.startswith("utf-16"):  # then the declaration could not have been read
            yield known


def _is_bytewise(charset: str) -> bool:
    return len(bytes(range(0xA0, 0x100)).decode(charset, "replace")) == 0x60


def _known(name: str | None) -> str | None:
    """Python's name of a charset as browsers read it (Latin-1 is Windows-1252); None for an unknown one."""
    if not name:
        return None
    try:
        return codecs.lookup(map_encoding_to_html5(name.strip().lower()[:40], False) or "").name
    except (LookupError, ValueError):
        return None


def _text(html: bytes, charset: str) -> str:
    return decoded(html) if charset == "utf-8" else html.decode(charset, "replace")


def _checked(text: str, charset: str) -> str | Drop:
    plain = text.encode("latin-1", "ignore") if REPLACEMENT in text or "\x00" in text else b""
    odd = text.count(REPLACEMENT) + len(plain) - len(plain.translate(None, CONTROL))
    if odd > len(text) * MOST_ODD:
        evidence = f"{odd:,} of {len(text):,} characters are control or replacement characters as {charset}"
        return Drop(Reason.UNDECODABLE, evidence, odd / len(text))
    return text
