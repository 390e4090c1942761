"""Raised and lowered text beside digits: 10⁶ must not become 106, nor 1½, set as 1¹/₂, become 11/2."""

import re

EXPONENT = re.compile(r"[−–+-]?\d|[−–-]\w")
SLASH = re.compile(r"\s?[/⁄∕]\s?\d")
NUMERATOR = re.compile(r"\d{1,2}")
FRACTION = re.compile(r"(\d{1,2})[/⁄∕](\d{1,3})")
MEASURED = re.compile(r"[ \u00a0-]?[^\W\d_]")


def raised(before: str, text: str, after: str) -> str:
    """Raised text as it is written after `before`, where `after` follows it.

    After a digit, an exponent takes a `^`. A numerator, which a slash follows (`1¹/₂`), takes a blank, and so does a
    whole fraction where a word follows it: `2¹ᐟ² ml` is a mixed number, and `2¹ᐟ²` alone is a root, `2^(1/2)`. Other
    raised text, such as a citation after a word, stays as it is.
    """
    if not before[-1:].isdigit():
        return text
    fraction = FRACTION.fullmatch(text.strip())
    if fraction is not None:
        plain = f"{fraction[1]}/{fraction[2]}"
        return f" {plain}" if MEASURED.match(after) else f"^({plain})"
    if NUMERATOR.fullmatch(text.strip()) and SLASH.match(after):
        return f" {text.strip()}"
    return f"^{text}" if EXPONENT.match(text) else text


def lowered(before: str, text: str) -> str:
    """Lowered text as it is written after `before`: a number after a digit takes a `_`."""
    return f"_{text}" if before[-1:].isdigit() and text[:1].isdigit() else text
