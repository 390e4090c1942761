"""Decodes the bytes of a web page: by byte order mark, HTTP header, <meta>, or a guess."""

import codecs
import re

from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

from lake.decision import Drop, Reason

MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))

META = re.compile(rb"<meta[^>]{1,300}?charset\s{0,9}=[\s\"']{0,9}([A-Za-z0-9_.:-]{2,40})", re.IGNORECASE)
HEAD_BYTES = 4_096
"""Where a declaration is searched for. It should be in the first kilobyte, but comments may precede it."""

GUESSED_BYTES = 2**16

CONTROL = bytes([*range(9), *range(14, 32), 127])
MOST_ODD = 0.05
"""With a larger share of control and replacement characters, bytes are no text."""


def decode(html: bytes, charset: str | None = None) -> str | Drop:
    """The text of a page, or a drop if the result is no text. `charset` is what the HTTP header says.

    Valid UTF-8 counts for more than a declaration of another charset, for servers declare by habit.
    """
    for mark, name in MARKS:
        if html.startswith(mark):
            return _checked(html[len(mark) :].decode(name, "replace"), name)
    try:
        return _checked(html.decode("utf-8"), "utf-8")
    except UnicodeDecodeError:
        pass
    declared = META.search(html, 0, HEAD_BYTES)
    for named in (charset, declared and declared[1].decode("ascii")):
        known = _known(named)
        if known is not None:
            text = html.decode(known, "replace")
            if text.count("\ufffd") <= len(text) * MOST_ODD:
                return _checked(text, known)
    guess = _known(detect_encoding(html[:GUESSED_BYTES])) or "cp1252"
    return _checked(html.decode(guess, "replace"), guess)


def _known(name: str | None) -> str | None:
    """Python's name of a charset as browsers read it (Latin-1 is Windows-1252); None for an unknown one."""
    if not name:
        return None
    try:
        return codecs.lookup(map_encoding_to_html5(name.strip().lower()[:40], False) or "").name
    except (LookupError, ValueError):
        return None


def _checked(text: str, charset: str) -> str | Drop:
    plain = text.encode("latin-1", "ignore") if "\ufffd" in text or "\x00" in text else b""
    odd = text.count("\ufffd") + len(plain) - len(plain.translate(None, CONTROL))
    if odd > len(text) * MOST_ODD:
        evidence = f"{odd:,} of {len(text):,} characters are control or replacement characters as {charset}"
        return Drop(Reason.UNDECODABLE, evidence, odd / len(text))
    return text
