"""Writes the blocks of a page as text: headings, items, rows of tables, paragraphs."""

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from ingest.pages.blocks import HEADINGS, Block

CELL: Final = 300
"""If its cells have more characters on average, a table serves for the layout."""

EMPTY_LINES = re.compile(r"\n{3,}")


class Line(NamedTuple):
    """A block of text, and the tag of its element."""

    tag: str
    text: str


def render(block: Block, leave_out: Callable[[Block], bool] | None = None) -> str:
    """The text of all blocks that are neither dropped nor left out.

    Headings that no text follows are left out, for what they headed was no content.
    """
    lines: list[Line] = []
    _render(block, lines, leave_out or (lambda _: False))
    return _join(_headed(lines))


def _render(block: Block, lines: list[Line], leave_out: Callable[[Block], bool]) -> None:
    if block.tag == "table" and _is_data(block):
        _table(block, lines, leave_out)
        return
    item = block.tag == "li"
    started = len(lines)
    texts: list[str] = []
    for part in block.parts:
        if isinstance(part, str):
            texts.append(part)
        elif not part.dropped and not leave_out(part):
            _flush(texts, block.tag, lines)
            _render(part, lines, leave_out)
    _flush(texts, block.tag, lines)
    if item and len(lines) > started:
        first = lines[started]
        if first.tag not in HEADINGS and not first.text.startswith("- "):
            lines[started] = Line("li", "- " + first.text)


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


def _is_data(table: Block) -> bool:
    """Whether a table has several rows of short cells and no table within it."""
    rows = cells = 0
    waiting = table.children[::-1]
    while waiting:
        block = waiting.pop()
        if block.tag == "table":
            return False
        rows += block.tag == "tr"
        cells += block.tag in ("td", "th")
        waiting.extend(block.children[::-1])
    return rows > 1 and table.total <= CELL * cells


def _table(table: Block, lines: list[Line], leave_out: Callable[[Block], bool]) -> None:
    """Write a table of data, one line per row. Rows count at any depth, so that <tbody> makes no difference."""
    rows: list[str] = []
    waiting = table.children[::-1]
    while waiting:
        block = waiting.pop()
        if block.dropped:
            continue
        if block.tag == "caption":
            _render(block, lines, leave_out)
        elif block.tag == "tr":
            cells = [_cell(cell, leave_out) for cell in block.children if not cell.dropped]
            if any(cells):
                rows.append(" | ".join(cells))
        else:
            waiting.extend(block.children[::-1])
    if rows:
        lines.append(Line("table", "\n".join(rows)))


def _cell(cell: Block, leave_out: Callable[[Block], bool]) -> str:
    inner: list[Line] = []
    _render(cell, inner, leave_out)
    return " ".join(" ".join(line.text for line in inner).split())


def _headed(lines: list[Line]) -> list[Line]:
    """Leave out headings that are followed by nothing, or at once by one of the same or a higher level."""
    kept: list[Line] = []
    for line in reversed(lines):
        if line.tag in HEADINGS:
            below = kept[-1].tag if kept else "h1"
            if below in HEADINGS and below <= line.tag:
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
