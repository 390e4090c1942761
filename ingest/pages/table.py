"""Tables of data as a grid: each value stands in every row and column that its cell spans."""

from typing import Final, NamedTuple

ROOM: Final = 8
"""Spans may lengthen a table by this factor, and by LEAST_ROOM. Beyond, they are hostile."""

LEAST_ROOM: Final = 2_000

BETWEEN: Final = len(" | ")


class Cell(NamedTuple):
    """A cell's text, and how many rows and columns it spans. 0 rows are all to the end of the group."""

    text: str
    rows: int = 1
    columns: int = 1


class Placed(NamedTuple):
    """A cell in a row: the columns from `start` up to `end`, and whether it began in a row above."""

    cell: Cell
    start: int
    end: int
    above: bool = False


Row = list[str]
Group = list[list[Cell]]
"""Rows between which cells may span: those of a <thead>, <tbody> or <tfoot>."""


def grid(groups: list[Group]) -> tuple[list[Row], list[str]] | None:
    """The rows of a table, and the texts that spans repeat in them; None if spans would make it far too large.

    A text is repeated in each row and column of its cell, for there it holds: a dose that two drugs share is the dose
    of both, and `Adults` over two columns heads both. A cell over the whole width, such as a heading within the table,
    stands once. A column in which no cell begins shows nothing of its own and is no column, nor is a row in which none
    begins a row.
    """
    room = LEAST_ROOM + ROOM * sum(len(cell.text) + BETWEEN for group in groups for row in group for cell in row)
    placed: list[list[Placed]] = []
    for group in groups:
        open_cells: list[tuple[Placed, int]] = []
        for number, row in enumerate(group):
            placed.append(_place(row, [cell for cell, _ in open_cells]))
            room -= sum(len(place.cell.text) + BETWEEN for place, _ in open_cells)
            if room < 0:
                return None
            begun = [(place, number + place.cell.rows) for place in placed[-1] if not place.above]
            open_cells = [
                (place._replace(above=True), last)
                for place, last in [*open_cells, *begun]
                if place.cell.rows == 0 or last > number + 1
            ]
    columns = sorted({place.start for row in placed for place in row if not place.above})
    rows: list[Row] = []
    repeated: list[str] = []
    for places in placed:
        if all(place.above for place in places):
            continue
        texts: Row = []
        column = 0
        for place in places:
            while column < len(columns) and columns[column] < place.start:
                texts.append("")
                column += 1
                room -= BETWEEN
            first = column
            while column < len(columns) and columns[column] < place.end:
                column += 1
            width = column - first
            if width == len(columns):
                width = 1
            room -= (width - 1) * (len(place.cell.text) + BETWEEN)
            if room < 0:
                return None
            texts += [place.cell.text] * width
            repeated += [place.cell.text] * (width - (not place.above))
        rows.append(texts)
    return rows, repeated


def _place(row: list[Cell], above: list[Placed]) -> list[Placed]:
    """A row's own cells in the gaps between those that span it from above, in the order of columns."""
    places: list[Placed] = []
    waiting = above[::-1]
    waiting.sort(key=lambda place: -place.start)
    column = 0
    for cell in row:
        while waiting and waiting[-1].start <= column:
            places.append(waiting.pop())
            column = places[-1].end
        end = column + max(cell.columns, 1)
        if waiting:
            end = min(end, waiting[-1].start)
        places.append(Placed(cell, column, end))
        column = end
    return places + waiting[::-1]
