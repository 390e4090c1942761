"""Excel workbooks for tests."""

import io
import zipfile
from collections.abc import Sequence
from xml.sax.saxutils import escape

MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'


def packed(sheet: str, strings: str = "", name: str = "xl/worksheets/sheet1.xml") -> bytes:
    """A workbook with these rows and shared strings, in XML."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as book:
        book.writestr(name, f"<worksheet {MAIN}><sheetData>{sheet}</sheetData></worksheet>")
        book.writestr("xl/sharedStrings.xml", f"<sst {MAIN}>{strings}</sst>")
    return data.getvalue()


def workbook(rows: Sequence[Sequence[str]]) -> bytes:
    """A workbook with these cells, all of them shared strings."""
    texts = [cell for row in rows for cell in row]
    cells = iter(range(len(texts)))
    sheet = "".join(
        f'<row r="{number}">{"".join(_cell(column, number, next(cells)) for column in range(len(row)))}</row>'
        for number, row in enumerate(rows, 1)
    )
    return packed(sheet, "".join(f"<si><t>{escape(text)}</t></si>" for text in texts))


def _cell(column: int, row: int, text: int) -> str:
    return f'<c r="{chr(65 + column)}{row}" t="s"><v>{text}</v></c>'
