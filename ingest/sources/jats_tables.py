"""Rows of a table in XML, with the text of a cell in every row and column that it spans."""

from collections.abc import Callable, Iterator

from lxml import etree

from ingest.sources.jats_tree import children, local

WIDEST = 100
"""The most columns or rows that one cell fills."""

REPEATED = 10_000
"""How many times the cells of a table are written again, so that a hostile table stays small."""

CELLS = ("td", "th", "cell")
SPANS = {"rowspan": "colspan", "rows": "cols"}
"""Attributes for rows and columns, in JATS and in TEI."""


def rows(table: etree._Element, text: Callable[[etree._Element], str]) -> Iterator[str]:
    """Every row that has text, its cells separated by ` | `: `B | 10 mg | 4 mg`."""
    left = REPEATED
    groups = [node for node in table if local(node) in {"thead", "tbody", "tfoot"}]
    for group in [table, *groups]:
        hanging: dict[int, tuple[int, str]] = {}
        for row in children(group, "tr", "row"):
            shown: list[str] = []
            for cell in children(row, *CELLS):
                _hang(hanging, shown)
                down, across = _spans(cell)
                if down * across > left:
                    down = across = 1
                left -= down * across - 1
                words = text(cell)
                for column in range(len(shown), len(shown) + across):
                    if down > 1:
                        hanging[column] = down - 1, words
                    shown.append(words)
            _hang(hanging, shown)
            if any(shown):
                yield " | ".join(shown)


def _hang(hanging: dict[int, tuple[int, str]], shown: list[str]) -> None:
    """Add the cells of rows above that reach into this row next."""
    while (column := len(shown)) in hanging:
        more, words = hanging.pop(column)
        if more > 1:
            hanging[column] = more - 1, words
        shown.append(words)


def _spans(cell: etree._Element) -> tuple[int, int]:
    """Rows and columns that a cell fills."""
    down, across = (
        next((cell.get(name) for name in names if cell.get(name)), None) for names in (SPANS.keys(), SPANS.values())
    )
    return _count(down), _count(across)


def _count(value: str | None) -> int:
    digits = (value or "").strip()[:9]
    return min(max(int(digits), 1), WIDEST) if digits.isascii() and digits.isdigit() else 1
