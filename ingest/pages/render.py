"""Writes the blocks of a page as text: headings, items, rows of tables, paragraphs."""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ingest.pages.blocks import CELLS, HEADINGS, Block
from ingest.pages.changes import Changes
from ingest.pages.table import Cell, grid

EMPTY_LINES = re.compile(r"\n{3,}")
BAR = re.compile(r"\s*\|\s*")

GROUPS = {"thead": 0, "tfoot": 2}
"""Where groups of rows stand in a table, wherever the source has them. All others are 1."""


class Line(NamedTuple):
    """A block of text, and the tag of its element."""

    tag: str
    text: str


class Group(NamedTuple):
    """Rows of cells, and the place of their group in the table."""

    place: int
    rows: list[list[Cell]]


def render(block: Block, changes: Changes, is_links: Callable[[Block], bool] | None = None) -> str:
    """The text of all blocks that are neither dropped nor serve only for their links.

    Headings that no text follows are left out, for what they headed was no content.
    """
    lines: list[Line] = []
    _Writer(changes, is_links).write(block, lines)
    return _join(_headed(lines, changes))


class _Writer:
    def __init__(self, changes: Changes, is_links: Callable[[Block], bool] | None) -> None:
        self._changes = changes
        self._is_links = is_links

    def write(self, block: Block, lines: list[Line]) -> None:
        """Add the lines of a block."""
        if block.holds_data:
            self._table(block, lines)
            return
        item = block.tag == "li"
        started = len(lines)
        texts: list[str] = []
        for part in block.parts:
            if isinstance(part, str):
                texts.append(part)
            elif part.dropped:
                self._changes.leave_out(part.dropped, part)
            elif self._is_links is not None and self._is_links(part):
                self._changes.leave_out("links", part)
            else:
                _flush(texts, block.tag, lines)
                self.write(part, lines)
        _flush(texts, block.tag, lines)
        if item and len(lines) > started:
            first = lines[started]
            if first.tag not in HEADINGS and not first.text.startswith("- "):
                lines[started] = Line("li", "- " + first.text)

    def _table(self, table: Block, lines: list[Line]) -> None:
        """Write a table of data, one line per row. What is no row, such as its caption, stands before it."""
        groups: list[Group] = []
        self._rows(table, groups, lines)
        groups.sort(key=lambda group: group.place)
        rows = [group.rows for group in groups]
        laid_out = grid(rows)
        if laid_out is None:
            self._changes.unspanned += 1
            laid_out = [[cell.text for cell in row] for group in rows for row in group], []
        for text in laid_out[1]:
            self._changes.write("span", text)
        shown = [" | ".join(row) for row in laid_out[0] if any(row)]
        if shown:
            lines.append(Line("table", "\n".join(shown)))

    def _rows(self, block: Block, groups: list[Group], lines: list[Line]) -> None:
        """Collect the rows below a block, at any depth, so that <tbody> only matters for spans and order."""
        group = Group(GROUPS.get(block.tag, 1), [])
        groups.append(group)
        for part in self._structure(block, lines):
            if part.tag == "tr":
                group.rows.append(list(map(self._cell, self._cells(part, lines))))
            elif any(child.tag in CELLS or child.tag == "tr" for child in part.children):
                self._rows(part, groups, lines)
            else:
                self.write(part, lines)

    def _cells(self, row: Block, lines: list[Line]) -> Iterator[Block]:
        """The cells of a row, also of those in a form around them."""
        for part in self._structure(row, lines):
            if part.tag not in CELLS and any(child.tag in CELLS for child in part.children):
                yield from self._cells(part, lines)
            else:
                yield part

    def _structure(self, block: Block, lines: list[Line]) -> Iterator[Block]:
        """The child blocks of a part of a table that are not dropped. Its own text is written before the table."""
        for part in block.children:
            if part.dropped:
                self._changes.leave_out(part.dropped, part)
            else:
                yield part
        _flush([part for part in block.parts if isinstance(part, str)], block.tag, lines)

    def _cell(self, cell: Block) -> Cell:
        """A cell on one line, without the signs of layout: there, the dash of an item before a dose is a range."""
        inner: list[Line] = []
        _Writer(self._changes, None).write(cell, inner)
        text = ""
        for number, line in enumerate(inner):
            if number:
                text += "; " if line.tag == inner[number - 1].tag == "li" else " "
            text += line.text.removeprefix(HEADINGS.get(line.tag, "- " if line.tag == "li" else ""))
        return Cell(BAR.sub("|", " ".join(text.split())), cell.rows, cell.columns)


def _flush(texts: list[str], tag: str, lines: list[Line]) -> None:
    """Write a block's texts up to its next child block. Line breaks of the page stay."""
    if not texts:
        return
    text = "".join(texts)
    texts.clear()
    if tag == "pre":
        text = text.strip("\n").rstrip()
    elif "\n" in text and tag not in HEADINGS:
        text = EMPTY_LINES.sub("\n\n", "\n".join(" ".join(line.split()) for line in text.split("\n"))).strip()
    else:
        text = " ".join(text.split())
    if text and not text.isspace():
        lines.append(Line(tag, HEADINGS.get(tag, "") + text))


def _headed(lines: list[Line], changes: Changes) -> list[Line]:
    """Leave out headings that are followed by nothing, or at once by one of the same or a higher level."""
    kept: list[Line] = []
    for line in reversed(lines):
        if line.tag in HEADINGS:
            below = kept[-1].tag if kept else "h1"
            if below in HEADINGS and below <= line.tag:
                changes.leave_out("empty_heading", line.text)
                continue
        kept.append(line)
    return kept[::-1]


def _join(lines: list[Line]) -> str:
    parts: list[str] = []
    before = ""
    for line in lines:
        if parts:
            parts.append("\n" if line.tag == before == "li" else "\n\n")
        parts.append(line.text)
        before = line.tag
    return "".join(parts)
