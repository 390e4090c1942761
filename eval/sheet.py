"""The first sheet of an Excel workbook, as rows of texts."""

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from lake.error import UserError

_SPACE = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_SHEET = re.compile(r"xl/worksheets/sheet\d+\.xml")
_STRINGS = "xl/sharedStrings.xml"
MOST_COLUMNS = 1000
MOST_BYTES = 2**28


def read_sheet(path: Path, data: bytes) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of each row that is not empty. A row has as many cells as the first, or more.

    The format is ECMA-376, part 1, 18.3: a cell names its column, has a type, and its text may lie in a table of
    shared strings.

    Raises:
        UserError: the bytes are not a workbook.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as book:
            sizes = {entry.filename: entry.file_size for entry in book.infolist()}
            sheets = sorted(filter(_SHEET.fullmatch, sizes), key=lambda name: (len(name), name))
            if sum(sizes[name] for name in (sheets[0], _STRINGS) if name in sizes) > MOST_BYTES:
                raise UserError(f"{path}: its first sheet is over {MOST_BYTES >> 20} MiB; save it as CSV")
            # expat, which parses this, refuses entities that grow without end.
            sheet = ElementTree.fromstring(book.read(sheets[0]))  # noqa: S314
            strings = ElementTree.fromstring(book.read(_STRINGS)) if _STRINGS in sizes else None  # noqa: S314
            shared = [] if strings is None else [_text(entry) for entry in strings.iter(f"{_SPACE}si")]
            rows = [_row(row, shared) for row in sheet.iter(f"{_SPACE}row")]
    except (zipfile.BadZipFile, ElementTree.ParseError, LookupError, ValueError, RuntimeError) as error:
        raise UserError(f"{path}: not an Excel workbook: {error}; download the file again") from None
    width = max((column for cells in rows[:1] for column in cells), default=-1)
    for number, cells in enumerate(rows, 1):
        if cells:
            yield number, [cells.get(column, "") for column in range(max(width, *cells) + 1)]


def _text(element: ElementTree.Element) -> str:
    """The text of all its runs, without the readings that may stand above them."""
    runs = [element, *element.findall(f"{_SPACE}r")]
    return "".join(text.text or "" for run in runs for text in run.findall(f"{_SPACE}t"))


def _row(row: ElementTree.Element, shared: list[str]) -> dict[int, str]:
    """Column → text of the cells."""
    cells: dict[int, str] = {}
    for cell in row.iter(f"{_SPACE}c"):
        column = _column(cell.get("r", ""), max(cells, default=-1) + 1)
        inline, value = cell.find(f"{_SPACE}is"), cell.findtext(f"{_SPACE}v", "")
        if inline is not None:
            cells[column] = _text(inline)
        elif value.strip():
            cells[column] = shared[int(value)] if cell.get("t") == "s" else value
    return cells


def _column(reference: str, following: int) -> int:
    """The column of a reference such as AB12, from 0; without a reference, the one that follows."""
    letters = re.match("[A-Z]*", reference)
    column = 0
    for letter in letters[0] if letters else "":
        column = column * 26 + ord(letter) - ord("A") + 1
    if column > MOST_COLUMNS:
        raise ValueError(f"column {reference} is beyond {MOST_COLUMNS}")
    return column - 1 if column else following
