"""The annotations of an S2ORC text: spans by kind, all of them within the text."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ingest.sources.account import Account
from ingest.sources.paper_text import UNITS, says_more
from lake.decision import Reason, RecordError

LEFT_OUT = {
    "title": "front_matter",
    "author": "front_matter",
    "authoraffiliation": "front_matter",
    "bibentry": "references",
    "publisher": "front_matter",
    "table": "table_body",
    "venue": "front_matter",
}
"""Spans that leave no text, each with the rule behind it."""

INLINE = frozenset({"bibref", "figureref", "tableref", "formula"})
BLOCKS = ("abstract", "sectionheader", "figure", "figurecaption", "paragraph")
NESTING = (*BLOCKS, *sorted(LEFT_OUT), *sorted(INLINE))
"""The kinds that cut the text. Of spans that begin at the same place, the kind that comes first here is outside."""

CITED = ("bibtitle", "bibvenue", "bibauthorlastname")
KINDS = (*NESTING, *CITED)


@dataclass(frozen=True, slots=True)
class Span:
    start: int
    end: int
    about: Mapping[str, Any]

    def named(self, key: str) -> str:
        return str(self.about.get(key) or "")


def spans(annotations: Mapping[str, Any], length: int, account: Account) -> dict[str, list[Span]]:
    """The spans of each kind in use, sorted. A kind may be null or a JSON string, offsets may be strings of digits.

    A span that ends beyond the `length` characters of the text is cut there, and what is no span of the text is passed
    over; the account tells both.

    Raises:
        RecordError: a kind is not a list.
    """
    by_kind: dict[str, list[Span]] = {}
    for kind in KINDS:
        raw = annotations.get(kind)
        try:
            listed = json.loads(raw or "null") if isinstance(raw, str) else raw
        except (ValueError, RecursionError) as error:
            raise _fault(f"{kind}: not JSON: {error}") from None
        listed = [] if listed is None else listed
        if not isinstance(listed, list):
            raise _fault(f"{kind}: not a list of spans: {raw!s:.60}")
        every = (_span(kind, item, length, account) for item in listed)
        by_kind[kind] = sorted((s for s in every if s and s.start < s.end), key=lambda span: (span.start, -span.end))
    return by_kind


def _span(kind: str, item: Any, length: int, account: Account) -> Span | None:
    try:
        start, end = _offset(item["start"]), _offset(item["end"])
    except (TypeError, KeyError, ValueError):
        start, end = 0, -1
    if not 0 <= start <= end or start > length:
        account.tell("annotations passed over", f"{kind}: {item!s:.60} in a text of {length} characters")
        return None
    if end > length:
        account.tell("annotations cut", f"{kind}: from {start} to {end} in a text of {length} characters")
    about = item.get("attributes")
    return Span(start, min(end, length), about if isinstance(about, dict) else {})


def _offset(value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 12:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError
    return value


def _fault(message: str) -> RecordError:
    return RecordError(Reason.MALFORMED_ANNOTATION, message)


# Which references are some -------------------------------------------------------------------------------------------

AROUND = 60
"""Characters before and after a reference by which it is judged."""

BARE = re.compile(r"\d[\d\s,;–-]*")
MEASURED = re.compile(rf"\s?(?:{UNITS}|[%°])|\s[ghlLU]\b|[.·]\d|,\d{{3}}(?!\d)")
COMPARED = re.compile(r"(?:[<>=≤≥±~≈×^+]\s?|\d[.·])$")
TEN = re.compile(r"(?<![\d.,])10\s?$")
OPENED = re.compile(r"[\[(][\d\s,;–-]*$")
CLOSED = re.compile(r"[\d\s,;–-]*[\])]")
NAMED = re.compile(r"\b(?:1[89]|20)\d\d|\bet al\b|^[\[(]\s*\d[\d\s,;–-]*[\])]$")


def is_cut(text: str, span: Span) -> bool:
    """Whether a span begins or ends within a word or a number."""
    return any(
        0 < place < len(text) and (text[place - 1 : place + 1].isdigit() or text[place - 1 : place + 1].isalpha())
        for place in (span.start, span.end)
    )


def is_reference(text: str, span: Span) -> bool:
    """Whether a span may be a reference: not a part of a word, a dose, a comparison or a power of ten."""
    words = text[span.start : span.end]
    if is_cut(text, span) or says_more(words) or not any(sign.isdigit() or sign.isupper() for sign in words):
        return False
    bare = words.strip()
    if not BARE.fullmatch(bare) or _is_bracketed(text, span):
        return True
    before, after = text[max(span.start - AROUND, 0) : span.start], text[span.end : span.end + AROUND]
    is_power = TEN.search(before) and len(bare) < 3
    is_rest = before[-2:-1].isdigit() and before[-1:] == "," and len(bare) == 3
    return not (MEASURED.match(after) or COMPARED.search(before) or is_power or is_rest)


def _is_bracketed(text: str, span: Span) -> bool:
    """Whether brackets around a span hold only numbers."""
    before, after = text[max(span.start - AROUND, 0) : span.start], text[span.end : span.end + AROUND]
    return OPENED.search(before) is not None and CLOSED.match(after) is not None


def is_citation(text: str, span: Span, resolves: bool) -> bool:
    """Whether a span is a citation. One that resolves to no work must look like one: `[9]`, `Cedar 2003`.

    GROBID takes some numbers for citations, such as the 6 of `10 6 cells`. They stay in the text.
    """
    words = text[span.start : span.end].strip()
    looks = (BARE.fullmatch(words) and _is_bracketed(text, span)) or NAMED.search(words)
    return is_reference(text, span) and (resolves or bool(looks))
