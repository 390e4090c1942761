"""The text of an S2ORC paper, from its annotations' offsets, in the format of `ingest.sources.paper_text`."""

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from ingest.sources.account import Account
from ingest.sources.escaped import unescaped
from ingest.sources.paper_text import (
    DASHES,
    GONE,
    LONGEST_RANGE,
    captioned,
    citation,
    cut,
    finished,
    foreign,
    named,
    pair,
    pointer,
    says_more,
    tidy,
)
from ingest.sources.s2orc_spans import CITED, INLINE, LEFT_OUT, NESTING, Span, is_citation, is_cut, is_reference, spans

LONGEST = 1000
"""The most characters that are read of a cited title or name."""

LABEL = re.compile(
    r"(?:(?:supplementary|supplemental|extended data|additional|online)\s+)?(?:fig(?:ure)?|table|tab)\b\.?\s*"
    r"(?:[A-Z]?\d+(?:[.-]\d+)*[A-Za-z]?|[IVX]{1,5})\b",
    re.IGNORECASE,
)
AFTER_LABEL = " .:|–—-"
EQUATION = re.compile(r"\s*(\([A-Z]?\d{1,3}(?:\.\d{1,3})?[a-z]?\))$")
SUBSECTION = re.compile(r"\s*\d+\.\d")
ABSTRACT = {"abstract", "summary"}
DISPLAY = "display"
"""The target of a formula between paragraphs."""


class Mark(NamedTuple):
    """A reference or formula within running text."""

    kind: str
    target: str
    text: str


Pieces = list["str | Mark"]


@dataclass(slots=True)
class Block:
    """A paragraph, or a heading with its depth from 1, or the caption of the `float` fig or table.

    `head` is the text before a caption, `name` the id by which references point to it.
    """

    pieces: Pieces
    depth: int = 0
    float: str = ""
    head: str = ""
    name: str = ""
    in_abstract: bool = False


class S2Paper:
    """Cuts a text into blocks in one pass, then renders the blocks. What is left out is entered in `account`.

    Raises:
        RecordError: see `spans`.
    """

    def __init__(self, text: str, annotations: Mapping[str, Any], account: Account | None = None) -> None:
        self._account = account or Account()
        self._text = foreign(text)
        self._spans = spans(annotations, len(text), self._account)

    def title(self) -> str:
        return next((finished(self._plain([self._text[span.start : span.end]])) for span in self._spans["title"]), "")

    def blocks(self) -> list[str]:
        """All from the abstract or the first heading on. Empty where there is no text beside the abstract."""
        blocks = _Cutter(self._text, self._spans, self._account).cut()
        floats = {}
        for block in reversed(blocks):
            if block.float:
                self._label(block)
                floats[block.name] = block.head, cut(self._plain(block.pieces))
        rendered = [(block, self._render(block, floats)) for block in blocks]
        shown = _without_empty_sections(rendered)
        kept = {id(block) for block, _ in shown}
        for block, text in rendered:
            self._account.leave_out("empty_section", "" if id(block) in kept else text)
        return [finished(text) for _, text in shown] if any(not block.in_abstract for block, _ in shown) else []

    def _render(self, block: Block, floats: Mapping[str, tuple[str, str]]) -> str:
        if block.depth:
            heading = self._plain(block.pieces)
            return f"{'#' if block.depth == 1 else '##'} {heading}" if heading else ""
        text = self._tidied(self._inline(block.pieces, floats))
        if not block.float:
            return text
        caption = captioned(block.head, text)
        return pair(block.float, caption) if caption else ""

    def _label(self, block: Block) -> None:
        """Put only the label, from before the caption or its beginning, into `head`, and the legend into `pieces`."""
        label, before, pieces = "", self._tidied(block.head), block.pieces
        if match := LABEL.match(before):
            label, before = match.group(), before[match.end() :].lstrip(AFTER_LABEL)
        first = pieces[0].lstrip() if pieces and isinstance(pieces[0], str) else ""
        if (match := LABEL.match(first)) and (not label or _number(match.group()) == _number(label)):
            self._account.leave_out("label", match.group() if label else "")
            label = label or match.group()
            pieces = [first[match.end() :].lstrip(AFTER_LABEL), *pieces[1:]]
        if before and before[-1] not in ".?!:":
            before += "."
        block.pieces = [before, " ", *pieces]
        block.head = named(label, "Figure" if block.float == "fig" else "Table")

    # Running text -----------------------------------------------------------------------------------------------------

    def _tidied(self, text: str) -> str:
        return tidy(unescaped(text, self._account.ledger))

    def _plain(self, pieces: Pieces) -> str:
        return self._tidied("".join(GONE if _is(piece, "bibref") else _words(piece) for piece in pieces))

    def _inline(self, pieces: Pieces, floats: Mapping[str, tuple[str, str]]) -> str:
        parts = []
        for place, piece in enumerate(pieces):
            if isinstance(piece, str):
                parts.append(piece)
            elif piece.kind == "bibref":
                names = [*self._between(pieces, place), piece.target]
                shown = [self._cited[name] for name in names if self._cited.get(name)]
                self._account.leave_out("citation", _written(pieces, place))
                self._account.write("citation", " ".join(shown))
                parts.append(" ".join(pair("bib_ref", cited) for cited in shown) or GONE)
            elif piece.kind == "formula":
                parts.append(_formula(piece))
            else:
                shown_float = pointer(*floats[piece.target], piece.text) if piece.target in floats else ""
                more = f"{piece.text} " if says_more(piece.text) else ""
                parts.append(more + pair("fig_ref", shown_float) if shown_float else piece.text)
                self._account.leave_out("pointer", piece.text if shown_float and not more else "")
                self._account.write("pointer", shown_float)
        return "".join(parts)

    def _between(self, pieces: Pieces, place: int) -> list[str]:
        """The references within a range: those between the citation before a dash and this one."""
        before, dash, last = pieces[place - 2 : place + 1] if place > 1 else ("", "", "")
        if not (_is(before, "bibref") and dash in DASHES and isinstance(before, Mark) and isinstance(last, Mark)):
            return []
        first, end = self._order.get(before.target, 0), self._order.get(last.target, 0)
        return self._names[first + 1 : end] if 0 < end - first <= LONGEST_RANGE else []

    @cached_property
    def _names(self) -> list[str]:
        return [entry.named("id") for entry in self._spans["bibentry"]]

    @cached_property
    def _order(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self._names)}

    @cached_property
    def _cited(self) -> dict[str, str]:
        """`title cut to 12 words, first author's last name` of every entry, or nothing without title and venue."""
        starts = {kind: [span.start for span in self._spans[kind]] for kind in CITED}
        cited = {}
        for entry in self._spans["bibentry"]:
            title, venue, name = (self._first(kind, starts[kind], entry) for kind in CITED)
            cited[entry.named("id")] = citation(title if cut(title) else venue, name)
        return cited

    def _first(self, kind: str, starts: list[int], entry: Span) -> str:
        """The text of the first span of a kind within an entry."""
        place = bisect_left(starts, entry.start)
        if place == len(starts) or self._spans[kind][place].end > entry.end:
            return ""
        span = self._spans[kind][place]
        return self._plain([self._text[span.start : min(span.end, span.start + LONGEST)]])


class _Cutter:
    """Sweeps over a text once, stopping where a span begins or ends."""

    def __init__(self, text: str, by_kind: dict[str, list[Span]], account: Account) -> None:
        self._text = text
        self._account = account
        self._works = {entry.named("id") for entry in by_kind["bibentry"]}
        self._spans = by_kind
        self._blocks: list[Block] = []
        self._running: Pieces = []
        self._open = dict.fromkeys(NESTING, 0)
        self._left_out = 0
        self._inline: tuple[str, Span] | None = None
        self._inside: list[str] = []
        self._float: Span | None = None
        self._head: Pieces | None = None
        self._caption: Pieces = []

    def cut(self) -> list[Block]:
        cursor = begin = self._begin()
        self._account.leave_out("front_matter", self._text[:begin])
        for offset, opens, kind, span in self._events():
            # Text before the beginning is front matter; a span that starts there counts from the beginning on.
            if offset > cursor:
                self._feed(self._text[cursor:offset])
                cursor = offset
            if opens and span.end > begin:
                self._enter(kind, span)
            elif not opens and span.end > begin:
                self._leave(kind, span)
        self._feed(self._text[cursor:])
        self._flush()
        return self._blocks

    def _begin(self) -> int:
        firsts = [self._spans[kind][0].start for kind in ("abstract", "sectionheader") if self._spans[kind]]
        if not firsts and self._spans["paragraph"]:
            return self._spans["paragraph"][0].start
        return min(firsts, default=0)

    def _events(self) -> Iterable[tuple[int, bool, str, Span]]:
        rank = {kind: place for place, kind in enumerate(NESTING)}
        every = [(kind, span) for kind in NESTING for span in self._spans[kind]]
        starts = [((span.start, 1, -span.end, rank[kind]), kind, span) for kind, span in every]
        ends = [((span.end, 0, -span.start, -rank[kind]), kind, span) for kind, span in every]
        for (offset, opens, *_), kind, span in sorted(starts + ends, key=lambda event: event[0]):
            yield offset, bool(opens), kind, span

    def _feed(self, chunk: str) -> None:
        if self._left_out:
            rule = next(rule for kind, rule in LEFT_OUT.items() if self._open[kind])
            self._account.leave_out(rule, chunk)
            return
        if self._inline is not None:
            self._inside.append(chunk)
        elif self._open["paragraph"] or self._open["sectionheader"] or self._float is not None:
            self._running.append(chunk)
        else:
            # Only blank lines separate the paragraphs of text that no annotation covers.
            first, *rest = chunk.split("\n\n")
            self._running.append(first)
            for paragraph in rest:
                self._flush()
                self._running.append(paragraph)

    def _enter(self, kind: str, span: Span) -> None:
        self._open[kind] += 1
        if kind in LEFT_OUT:
            self._left_out += 1
        elif kind in INLINE:
            if self._inline is None:
                if kind == "formula" and self._is_between_blocks():
                    self._flush()
                self._inline, self._inside = (kind, span), []
        elif kind == "figurecaption":
            if self._float is not None:
                before = self._take()
                self._head = before if self._head is None else self._head
        elif kind == "figure":
            if self._float is None:
                self._flush()
                self._float = span
        elif self._float is None:
            self._flush()
            if kind == "abstract":
                self._account.write("heading", "Abstract")
                self._blocks.append(Block(["Abstract"], depth=1, in_abstract=True))

    def _leave(self, kind: str, span: Span) -> None:
        if kind in LEFT_OUT:
            self._left_out -= 1
        elif kind in INLINE:
            if self._inline is not None and self._inline[1] is span:
                self._mark()
                if kind == "formula" and self._is_between_blocks():
                    self._flush()
        elif kind == "figurecaption":
            if self._float is not None and self._head is not None:
                self._caption += self._take()
        elif kind == "figure":
            if self._float is span:
                self._end_float(span)
        elif self._float is None:
            if kind == "sectionheader":
                self._end_heading(span)
            else:
                self._flush()
        self._open[kind] -= 1

    def _is_between_blocks(self) -> bool:
        return not self._open["paragraph"] and not self._open["sectionheader"] and self._float is None

    def _mark(self) -> None:
        if self._inline is not None:
            kind, span = self._inline
            target = DISPLAY if kind == "formula" and self._is_between_blocks() else span.named("ref_id")
            inside = "".join(self._inside)
            self._running.append(Mark(kind, target, " ".join(inside.split())) if self._is_mark(kind, span) else inside)
            self._inline, self._inside = None, []

    def _is_mark(self, kind: str, span: Span) -> bool:
        """Whether a span is what it is called. A formula may be anything but half a number."""
        if kind == "bibref":
            return is_citation(self._text, span, span.named("ref_id") in self._works)
        return not is_cut(self._text, span) if kind == "formula" else is_reference(self._text, span)

    def _take(self) -> Pieces:
        self._mark()
        taken, self._running = self._running, []
        return taken

    def _flush(self) -> None:
        pieces = self._take()
        if any(not isinstance(piece, str) or piece.strip() for piece in pieces):
            self._blocks.append(Block(pieces, in_abstract=self._open["abstract"] > 0))

    def _end_heading(self, span: Span) -> None:
        pieces = self._take()
        text = "".join(map(_words, pieces))
        number = span.named("n").strip(" .")
        in_abstract = self._open["abstract"] > 0
        depth = number.count(".") + 1 if number else 2 if SUBSECTION.match(text) else 1
        if in_abstract and text.strip().lower() in ABSTRACT:
            # This replaces the heading that the abstract got by default.
            self._blocks[-1].pieces = pieces if self._blocks[-1].depth == 1 else self._blocks[-1].pieces
            return
        self._blocks.append(Block(pieces, depth=max(depth, 2) if in_abstract else depth, in_abstract=in_abstract))

    def _end_float(self, span: Span) -> None:
        # What follows the caption within a figure is a note, or text from the picture.
        rest = self._take()
        head = "".join(map(_words, rest if self._head is None else self._head))
        self._account.leave_out("figure_text", "" if self._head is None else "".join(map(_words, rest)))
        kind = "table" if span.named("type") == "table" or span.named("id").startswith("tab") else "fig"
        in_abstract = self._open["abstract"] > 0
        name = span.named("id")
        self._blocks.append(Block(self._caption, float=kind, head=head, name=name, in_abstract=in_abstract))
        self._float, self._head, self._caption = None, None, []


def _is(piece: str | Mark, kind: str) -> bool:
    return isinstance(piece, Mark) and piece.kind == kind


def _words(piece: str | Mark) -> str:
    return piece if isinstance(piece, str) else piece.text


def _written(pieces: Pieces, place: int) -> str:
    """The text of a citation, with the citation and the dash before it where it ends a range."""
    before, dash, last = pieces[max(place - 2, 0) : place + 1] if place > 1 else ("", "", pieces[place])
    is_range = _is(before, "bibref") and dash in DASHES
    return "".join(map(_words, (before, dash, last))) if is_range else _words(last)


def _number(label: str) -> str:
    return label.split()[-1].lower()


def _formula(mark: Mark) -> str:
    """A formula in its marks. The number of a formula between paragraphs follows it."""
    number = EQUATION.search(mark.text) if mark.target == DISPLAY else None
    text, after = (mark.text[: number.start()], number.group(1)) if number else (mark.text, "")
    return f" {pair('formula', text)} {after}"


def _without_empty_sections(blocks: list[tuple[Block, str]]) -> list[tuple[Block, str]]:
    """The blocks that have text, without headings over nothing."""
    kept: list[tuple[Block, str]] = []
    for block, text in reversed(blocks):
        after = kept[-1][0] if kept else None
        stands_over = after is not None and (not after.depth or after.depth > block.depth)
        if text and (not block.depth or stands_over):
            kept.append((block, text))
    return kept[::-1]
