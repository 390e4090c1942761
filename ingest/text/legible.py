"""Characters that stand for others: what is meant is written, and what nobody can tell stays visible as U+FFFD."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable

from ingest.text import mojibake
from ingest.text.symbols import PRIVATE, TALL, TALL_PIECES
from lake.characters import C1, INVISIBLE, REPLACEMENT

UNSEEN = "\x00-\x08\x0e-\x1b\x1f\x7f"
"""Control characters other than tabs and line ends. In old fonts, a sign such as ≤ may be at any of their places."""

PRIVATE_USE = "\ue000-\uf8ff\U000f0000-\U000ffffd\U00100000-\U0010fffd"
LAST_OF_PLANES = "".join(chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF))
ILL = f"{UNSEEN}{PRIVATE_USE}\ud800-\udfff\ufdd0-\ufdef\ufff9-\ufffc{LAST_OF_PLANES}"
ILL_FORMED = re.compile(f"[{ILL}\x80-\x9f{INVISIBLE}]")
"""Controls, private characters, half surrogate pairs, non-characters and what is invisible: `legible` leaves none."""

LIGATURES = {"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st"}
LOW_LINES = "\u0320\u0331-\u0333\u0347"
ODD = re.compile(f"[{ILL}\x80-\x9f\x1e{INVISIBLE}ﬀ-ﬆ\u2044\u2080-\u2089{LOW_LINES}{mojibake.LEADS}]")
"""Without one of these, a text in NFC is legible."""

SINGLE = re.compile(f"[{ILL}ﬀ-ﬆ]")
OFFICE_BULLET = re.compile(r"(?<!\S)[\uf076\uf0d8]")
"""Bullets of Wingdings. Within a word they would be signs of the Symbol font."""

NO_BREAK_HYPHEN = re.compile(r"(?<=\w)\x1e(?=\w)")
SOFT_HYPHEN = re.compile(r"(?<=[^\W\d_])\x1f(?=[^\W\d_])")
"""Control characters as a word processor uses them."""

UNSEEN_MARK = re.compile(f"(?![\u00ad\u2061-\u2064])[{INVISIBLE}]")
JOINT = re.compile("[\u00ad\u2061-\u2064]+")
"""Soft hyphens, and the signs that a formula leaves out: `1` and `1/2` would become `11/2` without one."""

WINDOWS = re.compile("[\x80-\x9f]")
RAISED, LOWERED = "⁰¹²³⁴⁵⁶⁷⁸⁹", "₀₁₂₃₄₅₆₇₈₉"
DIGITS = str.maketrans(RAISED + LOWERED, "0123456789" * 2)
FRACTION = re.compile(rf"(\d?)(?<![^\W\d_])([{RAISED}]+)[⁄/]([{LOWERED}]+)")
SLASH = re.compile(r"(?<=\d)⁄(?=\d)")
UNDERLINED = re.compile(f"([<>+])[{LOW_LINES}]+")
WITH_LINE = {"<": "≤", ">": "≥", "+": "±"}

BESIDE = 12
"""Characters that a note quotes on each side of what cannot be read."""


def legible(text: str, changed: Counter[str] | None = None) -> str:
    """The text in NFC with the characters that are meant. Idempotent, and linear in the length of the text.

    C1 controls are those of Windows-1252, private characters those of the Symbol font and of Adobe's fonts. A ligature
    is its letters, a raised and a lowered number are a fraction, an underlined < is ≤, and UTF-8 that was read as
    Windows-1252 is undone. Invisible characters go, but a soft hyphen beside a digit is a hyphen. Any other ill-formed
    character becomes U+FFFD, so that nothing is joined that it parted. `changed` counts all this by kind, except
    invisible characters.
    """
    text = unicodedata.normalize("NFC", text)
    return _meant(text, Counter() if changed is None else changed) if ODD.search(text) else text


def undecodable(text: str) -> str | None:
    """What of a text cannot be decoded, as `3: “…10� 20 mg…”`; None if there is nothing."""
    if REPLACEMENT not in text and not ILL_FORMED.search(text) and "ï¿½" not in text:
        return None
    text = legible(text)
    place = text.find(REPLACEMENT)
    if place < 0:
        return None
    quoted = " ".join(text[max(0, place - BESIDE) : place + BESIDE + 1].split())
    return f"{text.count(REPLACEMENT):,}: “…{quoted}…”"


def _meant(text: str, changed: Counter[str]) -> str:
    def change(kind: str, pattern: re.Pattern[str], meant: str | Callable[[re.Match[str]], str]) -> None:
        nonlocal text
        text, count = pattern.subn(meant, text)
        if count:
            changed[kind] += count

    font = PRIVATE | TALL_PIECES if TALL.search(text) else PRIVATE

    def character(match: re.Match[str]) -> str:
        kind, meant = _of_font(match[0], font)
        changed[kind] += 1
        return meant

    def joint(match: re.Match[str]) -> str:
        sign = _between(match)
        if sign:
            changed["invisible sign"] += 1
        return sign

    # In this order, no step makes anything for a step before it, which is why the result is stable.
    change("symbol font", OFFICE_BULLET, "•")
    change("control", SOFT_HYPHEN, "")
    text = UNSEEN_MARK.sub("", SINGLE.sub(character, text))
    text = unicodedata.normalize("NFC", JOINT.sub(joint, text))
    change("underlined sign", UNDERLINED, lambda match: WITH_LINE[match[1]])
    text, places = mojibake.repaired(text)
    if places:
        changed["mojibake"] += places
    change("windows-1252", WINDOWS, lambda match: C1[ord(match[0])])
    change("fraction", FRACTION, _fraction)
    change("fraction", SLASH, "/")
    change("control", NO_BREAK_HYPHEN, "-")
    return unicodedata.normalize("NFC", text)


def _of_font(character: str, font: dict[str, str]) -> tuple[str, str]:
    """What a character is counted as, and what it means."""
    if character in LIGATURES:
        return "ligature", LIGATURES[character]
    if character in font:
        return "symbol font", font[character]
    category = unicodedata.category(character)
    return {"Cc": "control", "Co": "private use", "Cs": "surrogate"}.get(category, "non-character"), REPLACEMENT


def _between(match: re.Match[str]) -> str:
    """A hyphen for a soft one beside a digit, for no number is broken there, and a blank where two would be joined.

    Many PDFs have a soft hyphen in place of every hyphen.
    """
    before = match.string[match.start() - 1 : match.start()].isdecimal()
    after = match.string[match.end() : match.end() + 1].isdecimal()
    if "\u00ad" in match[0] and (before or after):
        return "-"
    return " " if before and after else ""


def _fraction(match: re.Match[str]) -> str:
    whole, above, below = match.groups()
    return f"{whole and whole + ' '}{above.translate(DIGITS)}/{below.translate(DIGITS)}"
