"""Rows of a PDF's page: pieces on one baseline are a line, and in a table each cell keeps its column."""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from ingest.pages.piece import Piece

CELL: Final = 2.0
"""A blank wider than this many font sizes separates the cells of a row."""

FAR: Final = 3.5
"""A table ends where its next row is farther than this many font sizes."""

MOST_COLUMNS: Final = 50
ALONE: Final = 2
LARGER: Final = 1.12

MARKER = re.compile(r"[•‣⁃∙▪▫●○◦■□◆▸▶➢➤*–—-]|[\uf076\uf0a7\uf0b7]|\(?(?:\d{1,2}|[a-zA-Z]|[ivx]{1,4})[.)]")
"""The sign or number of an item is no cell."""

CLOSE: Final = 0.3
DENOMINATOR = re.compile(r"[/⁄∕]\d")
"""pdfium ends a line behind a raised numerator."""

Row = list[Piece]
"""The cells of a row, from left to right."""


def in_rows(pieces: Sequence[Piece]) -> list[Piece]:
    """The pieces on one baseline joined to a line, from the top down."""
    rows: list[Row] = []
    for piece in sorted(pieces, key=lambda piece: -piece.middle):
        if rows and rows[-1][0].bottom < piece.middle < rows[-1][0].top:
            rows[-1].append(piece)
        else:
            rows.append([piece])
    cells = [_cells(sorted(row, key=lambda piece: piece.left)) for row in rows]
    lines: list[Piece] = []
    at = 0
    while at < len(cells):
        end = _end_of_table(cells, at) if len(cells[at]) > 1 else at + 1
        block = cells[at:end]
        lines += (_in_columns(block) if len(block) > 1 else None) or map(_line, block)
        at = end
    return lines


def _cells(row: Row) -> Row:
    """The pieces of a row, joined where no wide blank is between them."""
    cells = [row[0]]
    for before, piece in pairwise(row):
        if piece.left - before.right > CELL * before.size and not MARKER.fullmatch(before.text):
            cells.append(piece)
        else:
            close = piece.left - before.right < CLOSE * before.size
            fraction = close and before.text[-1].isdigit() and DENOMINATOR.match(piece.text)
            cells[-1] = _joined([cells[-1], piece], "" if fraction else " ")
    return cells


def _joined(pieces: Sequence[Piece], between: str) -> Piece:
    longest = max(pieces, key=lambda piece: len(piece.text))
    text = between.join(piece.text for piece in pieces)
    return Piece(text, pieces[0].left, pieces[-1].right, longest.bottom, longest.top, longest.size)


def _line(row: Row) -> Piece:
    """A row by itself. A number or a letter before a wide blank, as before a heading, is no cell."""
    if len(row) == 2 and len(row[0].text) <= 2:
        return _joined(row, " ")
    return _joined(row, " | ")


def _end_of_table(rows: Sequence[Row], start: int) -> int:
    """The place behind the last row with several cells, or with one that is not at the left, in rows close together.

    Prose over the whole width, a heading and ALONE rows with nothing but their first cell end a table.
    """
    end = start + 1
    left, right = rows[start][0].right, rows[start][-1].right
    for at in range(start + 1, len(rows)):
        above, row = rows[at - 1], rows[at]
        if above[0].middle - row[0].middle > FAR * max(above[0].size, row[0].size):
            break
        prose = len(row) == 1 and row[0].left < left < right < row[0].right + row[0].size
        if prose or at - end >= ALONE or row[0].size > LARGER * rows[start][0].size:
            break
        if len(row) > 1 or row[0].left > left:
            end = at + 1
    return end


def _in_columns(rows: Sequence[Row]) -> list[Piece] | None:
    """The rows with all their columns; None where they are no table.

    Columns are the cells of the row with most of them. A cell that lies below none has a column of its own, and one
    that spans several is in the first.
    """
    several = [row for row in rows if len(row) > 1]
    if all(len(row) == 2 and len(row[0].text) <= 2 and not row[0].text.isdigit() for row in several):
        return None
    columns: list[tuple[float, float]] = []
    for row in sorted(rows, key=lambda row: -len(row)):
        for cell in row:
            if len(columns) > MOST_COLUMNS:
                return None
            below = [at for at, (left, right) in enumerate(columns) if cell.left < right and left < cell.right]
            if not below:
                columns.append((cell.left, cell.right))
            elif len(below) == 1:
                left, right = columns[below[0]]
                columns[below[0]] = min(left, cell.left), max(right, cell.right)
    columns.sort()
    lines = []
    for row in rows:
        texts = [""] * len(columns)
        for cell in row:
            at = next(at for at, (_, right) in enumerate(columns) if cell.left < right)
            texts[at] = f"{texts[at]} {cell.text}".strip()
        if sum(map(bool, texts)) < len(row):
            return None
        over = sum(row[0].left < right and left < row[0].right for left, right in columns)
        shown = _joined(row, " | ")
        shown.text = row[0].text if len(row) == 1 and over > 1 else " ".join(" | ".join(texts).split())
        lines.append(shown)
    return lines
