"""The annotations of an S2ORC text: spans by kind, all of them within the text."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lake.decision import Reason, RecordError

LEFT_OUT = frozenset({"title", "author", "authoraffiliation", "bibentry", "publisher", "table", "venue"})
"""Spans that leave no text: front matter, bibliography, bodies of tables."""

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


def spans(annotations: Mapping[str, Any], length: int) -> dict[str, list[Span]]:
    """The spans of each kind in use, sorted. A kind may be null or a JSON string, offsets may be strings of digits.

    Raises:
        RecordError: a kind is not a list of spans, or a span does not lie within `length` characters.
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
        every = (_span(kind, item, length) for item in listed)
        by_kind[kind] = sorted((s for s in every if s.start < s.end), key=lambda span: (span.start, -span.end))
    return by_kind


def _span(kind: str, item: Any, length: int) -> Span:
    if not isinstance(item, dict):
        raise _fault(f"{kind}: a span is an object, not {item!s:.60}")
    about = item.get("attributes")
    try:
        start, end = _offset(item.get("start")), _offset(item.get("end"))
    except ValueError:
        raise RecordError(
            Reason.MALFORMED_ANNOTATION, f"{kind}: start and end are numbers, not {item!s:.100}"
        ) from None
    if not 0 <= start <= end <= length:
        raise RecordError(
            Reason.MALFORMED_ANNOTATION, f"{kind}: from {start} to {end} in a text of {length} characters"
        )
    return Span(start, end, about if isinstance(about, dict) else {})


def _offset(value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 12:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError
    return value


def _fault(message: str) -> RecordError:
    return RecordError(Reason.MALFORMED_ANNOTATION, message)
