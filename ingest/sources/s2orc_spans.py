"""The annotations of an S2ORC text: spans by kind, every one of them within the text."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LEFT_OUT = frozenset({"title", "author", "authoraffiliation", "bibentry", "publisher", "table", "venue"})
"""Spans that leave no text: front matter, bibliography, bodies of tables."""

INLINE = frozenset({"bibref", "figureref", "tableref", "formula"})
BLOCKS = ("abstract", "sectionheader", "figure", "figurecaption", "paragraph")
NESTING = (*BLOCKS, *sorted(LEFT_OUT), *sorted(INLINE))
"""Kinds the text is cut by; of spans that begin at one place the first of these is taken for the outer one."""

CITED = ("bibtitle", "bibvenue", "bibauthorlastname")
KINDS = (*NESTING, *CITED)


class AnnotationError(Exception):
    """An annotation is not what it should be, or points outside the text."""


@dataclass(frozen=True, slots=True)
class Span:
    start: int
    end: int
    about: Mapping[str, Any]

    def named(self, key: str) -> str:
        return str(self.about.get(key) or "")


def spans(annotations: Mapping[str, Any], length: int) -> dict[str, list[Span]]:
    """The spans of each kind in use, in order; a kind is null or a JSON string, offsets may be strings of digits.

    Raises:
        AnnotationError: a kind is no list of spans, or a span does not lie within `length` characters.
    """
    found: dict[str, list[Span]] = {}
    for kind in KINDS:
        raw = annotations.get(kind)
        try:
            given = json.loads(raw or "null") if isinstance(raw, str) else raw
        except (ValueError, RecursionError) as error:
            raise AnnotationError(f"{kind}: not JSON: {error}") from None
        given = [] if given is None else given
        if not isinstance(given, list):
            raise AnnotationError(f"{kind}: not a list of spans: {raw!s:.60}")
        every = [_span(kind, one, length) for one in given]
        found[kind] = sorted((one for one in every if one.start < one.end), key=lambda one: (one.start, -one.end))
    return found


def _span(kind: str, given: Any, length: int) -> Span:
    if not isinstance(given, dict):
        raise AnnotationError(f"{kind}: a span is an object, not {given!s:.60}")
    about = given.get("attributes")
    try:
        start, end = _offset(given.get("start")), _offset(given.get("end"))
    except ValueError:
        raise AnnotationError(f"{kind}: start and end are numbers, not {given!s:.100}") from None
    if not 0 <= start <= end <= length:
        raise AnnotationError(f"{kind}: from {start} to {end} in a text of {length} characters")
    return Span(start, end, about if isinstance(about, dict) else {})


def _offset(value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 12:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError
    return value
