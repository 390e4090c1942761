"""Blocks of a page to text: headings, items, rows of tables, paragraphs."""

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from ingest.pages.blocks import HEADINGS, Block

CELL: Final = 300
"""Characters of a mean cell over which a table is there for the layout."""


EMPTY_LINES = re.compile(r"\n{3,}")


class Line(NamedTuple):
    """A block of text; `tag` is that of its element."""

    tag: str
    text: str


def render(block: Block, leave_out: Callable[[Block], bool] | None = None) -> str:
    """The text of what is not dropped, nor left out.

    Headings that nothing follows go: what they headed was no content.
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
    """A block's texts up to its next child block; a line break of the page's stays one."""
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
    """Whether a table has rows of short cells and no table within."""
    rows = cells = 0
    waiting = table.children[::-1]
    while waiting:
        one = waiting.pop()
        if one.tag == "table":
            return False
        rows += one.tag == "tr"
        cells += one.tag in ("td", "th")
        waiting.extend(one.children[::-1])
    return rows > 1 and table.total <= CELL * cells


def _table(block: Block, lines: list[Line], leave_out: Callable[[Block], bool]) -> None:
    """A table of data: a line a row. Rows are found at any depth, so that <tbody> makes no difference."""
    rows: list[str] = []
    waiting = block.children[::-1]
    while waiting:
        one = waiting.pop()
        if one.dropped:
            continue
        if one.tag == "caption":
            _render(one, lines, leave_out)
        elif one.tag == "tr":
            cells = [_cell(cell, leave_out) for cell in one.children if not cell.dropped]
            if any(cells):
                rows.append(" | ".join(cells))
        else:
            waiting.extend(one.children[::-1])
    if rows:
        lines.append(Line("table", "\n".join(rows)))


def _cell(cell: Block, leave_out: Callable[[Block], bool]) -> str:
    inner: list[Line] = []
    _render(cell, inner, leave_out)
    return " ".join(" ".join(line.text for line in inner).split())


def _headed(lines: list[Line]) -> list[Line]:
    """Without headings that another of the same or a higher level follows at once, or nothing."""
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
