"""Tables of web pages: each value stands in every row and column that its cell spans."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.fidelity.ledger import Entry, Ledger
from ingest.pages.extract import extract
from ingest.pages.page import Page
from ingest.pages.table import Cell, grid
from tests.ingest.pages import page, shown

HEAD = "<tr><th>Drug</th><th>Adult</th><th>Child</th></tr>"


@pytest.mark.parametrize("content", [None, "article"])
@pytest.mark.parametrize(
    ("table", "rows"),
    [
        (
            f"{HEAD}<tr><td>A</td><td rowspan=2>10 mg</td><td>2 mg</td></tr><tr><td>B</td><td>4 mg</td></tr>",
            "Drug | Adult | Child\nA | 10 mg | 2 mg\nB | 10 mg | 4 mg",
        ),
        (
            "<tr><th>Vaccine</th><th>Age</th><th>Dose</th></tr><tr><td>MMR</td><td class=date>12 months</td>"
            "<td>0.5 ml</td></tr>",
            "Vaccine | Age | Dose\nMMR | 12 months | 0.5 ml",
        ),
        # Spans of columns: values, two rows of headings, a heading within the table.
        (
            f"{HEAD}<tr><td>A</td><td colspan=2>contraindicated</td></tr>",
            "Drug | Adult | Child\nA | contraindicated | contraindicated",
        ),
        (
            "<tr><th rowspan=2>Drug</th><th colspan=2>Adult</th><th>Child</th></tr><tr><th>Day 1</th><th>Day 2"
            "</th><th>All</th>"
            "</tr><tr><td>A</td><td>10</td><td>5</td><td>2</td></tr>",
            "Drug | Adult | Adult | Child\nDrug | Day 1 | Day 2 | All\nA | 10 | 5 | 2",
        ),
        (
            f"{HEAD}<tr><td colspan=3>By mouth</td></tr><tr><td>A</td><td>1</td><td>2</td></tr>",
            "Drug | Adult | Child\nBy mouth\nA | 1 | 2",
        ),
        (
            f"{HEAD}<tr><td colspan=99>By mouth</td></tr><tr><td>A</td><td>1</td><td>2</td></tr>",
            "Drug | Adult | Child\nBy mouth\nA | 1 | 2",
        ),
        # Spans of both, spans that meet, that run out of their group or of the table, and to the end of the group.
        (
            f"{HEAD}<tr><td>A</td><td rowspan=2 colspan=2>none</td></tr><tr><td>B</td></tr>",
            "Drug | Adult | Child\nA | none | none\nB | none | none",
        ),
        (
            f"{HEAD}<tr><td rowspan=2>A</td><td>1 mg</td><td rowspan=3>2 mg</td></tr><tr><td>3 mg</td></tr>"
            "<tr><td>B</td><td>4 mg</td></tr>",
            "Drug | Adult | Child\nA | 1 mg | 2 mg\nA | 3 mg | 2 mg\nB | 4 mg | 2 mg",
        ),
        (
            f"<thead>{HEAD}</thead><tbody><tr><td>A</td><td rowspan=9>1</td><td>2</td></tr></tbody>"
            "<tbody><tr><td>B</td><td>3</td><td>4</td></tr></tbody>",
            "Drug | Adult | Child\nA | 1 | 2\nB | 3 | 4",
        ),
        (
            f"{HEAD}<tbody><tr><td>A</td><td rowspan=0>1</td><td>2</td></tr><tr><td>B</td><td>4</td></tr></tbody>",
            "Drug | Adult | Child\nA | 1 | 2\nB | 1 | 4",
        ),
        (
            f"{HEAD}<tr><td>A</td><td rowspan='2x'>1</td><td colspan=-3>2</td></tr><tr><td>B</td>"
            f"<td rowspan=abc>4</td></tr>",
            "Drug | Adult | Child\nA | 1 | 2\nB | 1 | 4",
        ),
        # Empty cells, cells of a suspect name, a cell that is struck out, and rows in a form.
        (
            f"{HEAD}<tr><td>A</td><td></td><td>2 mg</td></tr><tr><td>B</td><td><br></td><td>3 mg</td></tr>",
            "Drug | Adult | Child\nA |  | 2 mg\nB |  | 3 mg",
        ),
        (
            f"{HEAD}<tr class=comment><td class='tags share'>A</td><td class=ad>1</td><td id=social>2</td></tr>",
            "Drug | Adult | Child\nA | 1 | 2",
        ),
        (
            f"{HEAD}<tr><td>A</td><td><div class=date>12 months</div></td><td><nav>5 mg</nav></td></tr>",
            "Drug | Adult | Child\nA | 12 months | 5 mg",
        ),
        (
            f"{HEAD}<tr><td>A</td><td style='text-decoration: line-through'>1</td><td>2</td></tr>",
            "Drug | Adult | Child\nA |  | 2",
        ),
        (
            f"<tbody>{HEAD}<form><tr><td>A</td><td>1</td><td>2</td></tr></form></tbody>",
            "Drug | Adult | Child\nA | 1 | 2",
        ),
        # Groups stand where they are shown, and what is no row stands before the table.
        (
            f"<tfoot><tr><td>All</td><td>9</td><td>9</td></tr></tfoot><thead>{HEAD}</thead><tr><td>A</td><td>1"
            f"</td><td>2</td></tr>",
            "Drug | Adult | Child\nA | 1 | 2\nAll | 9 | 9",
        ),
        (
            f"<caption class=sr-only>By age</caption>{HEAD}<tr><td>A</td><td>1</td><td>2</td></tr>",
            "By age\n\nDrug | Adult | Child\nA | 1 | 2",
        ),
        # Blocks and signs of layout in a cell.
        (
            f"{HEAD}<tr><td>A</td><td><p>1 mg</p><p>at night</p></td><td><ul><li>5</li><li>10</li></ul></td></tr>",
            "Drug | Adult | Child\nA | 1 mg at night | 5; 10",
        ),
        (
            f"{HEAD}<tr><td>A | B</td><td>1 |2</td><td><h4>Under 5</h4>2 mg</td></tr>",
            "Drug | Adult | Child\nA|B | 1|2 | Under 5 2 mg",
        ),
        # Names of drugs as links, and cells that only show an image.
        (
            f"{HEAD}<tr><td><a href=a>Amoxicillin</a></td><td>1 od</td><td>2 od</td></tr>"
            "<tr><td><a href=b>Benzylpenicillin</a></td><td>1 bd</td><td>2 bd</td></tr>",
            "Drug | Adult | Child\nAmoxicillin | 1 od | 2 od\nBenzylpenicillin | 1 bd | 2 bd",
        ),
        (
            f"{HEAD}<tr><td>A</td><td><img src=a.png alt=Yes></td><td>"
            f"<i class=icon aria-label='Not recommended'></i></td></tr>",
            "Drug | Adult | Child\nA | Yes | Not recommended",
        ),
        (
            f"{HEAD}<tr><td>A</td><td><svg><title>Yes</title></svg></td><td><i></i><span class=sr-only>no"
            f"</span></td></tr>",
            "Drug | Adult | Child\nA | Yes | no",
        ),
        (
            "<tr><th><button>Drug</button></th><th>Adult</th></tr><tr><td>A</td><td>1 mg</td></tr>",
            "Drug | Adult\nA | 1 mg",
        ),
    ],
)
def test_each_value_stands_in_its_row_and_column(table: str, rows: str, content: str | None) -> None:
    assert shown(f"<table>{table}</table>", content) == rows


def test_a_table_within_a_table_keeps_its_text_in_order() -> None:
    inner = "<table><tr><th>Age</th><th>Dose</th></tr><tr><td>2</td><td>5 mg</td></tr></table>"
    text = shown(f"<table><tr><td>Amoxicillin</td><td>{inner}</td></tr><tr><td>Other</td><td>6 mg</td></tr></table>")
    assert text == "Amoxicillin\n\nAge | Dose\n2 | 5 mg\n\nOther\n\n6 mg"


def test_long_cells_keep_their_order() -> None:
    cells = [f"{place}: give {place} mg " + "and see what becomes of it, " * 12 for place in range(1, 7)]
    rows = "".join(
        f"<tr><td class=date>{a}</td><td>{b}</td></tr>" for a, b in zip(cells[::2], cells[1::2], strict=True)
    )
    text = shown(f"<table>{rows}</table>")
    assert [text.index(f"give {place} mg") for place in range(1, 7)] == sorted(
        text.index(f"give {place} mg") for place in range(1, 7)
    )


def test_what_spans_repeat_is_entered() -> None:
    ledger = Ledger()
    page(
        f"<table>{HEAD}<tr><td>A</td><td rowspan=2>10 mg</td><td>2</td></tr><tr><td>B</td><td>4</td></tr></table>",
        None,
        ledger,
    )
    assert ledger.written == [Entry("span", "10 mg")]


HOSTILE = {
    "rowspans": "<tr>" + "<td rowspan=65534>1 mg</td>" * 500 + "</tr>" + "<tr></tr>" * 20_000,
    "rowspans of rows": "<tr>" + "<td rowspan=65534>1 mg</td>" * 500 + "</tr>" + "<tr><td>2</td></tr>" * 20_000,
    "colspans": "<tr>" + "<td colspan=1000>1 mg</td>" * 20_000 + "</tr><tr><td>2</td></tr>",
    "steps": "".join(f"<tr><td colspan={number}>1</td><td>2</td></tr>" for number in range(1, 999)) * 10,
    "crossing": "<tr><td rowspan=9 colspan=9>1</td><td rowspan=99>2</td></tr>" * 10_000,
    "large": "<tr><td colspan=99999999999 rowspan=99999999999>1</td></tr>" * 2,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_spans_are_bounded_and_told(name: str) -> None:
    started = time.process_time()
    html = f"<p>Some text.</p><table>{HOSTILE[name]}</table>"
    extracted = extract(html.encode(), "body")
    assert isinstance(extracted, Page)
    assert len(extracted.text) < 10 * len(html)
    assert time.process_time() - started < 30
    told = [note.what for note in extracted.notes] == ["table spans"]
    assert told == (name not in ("colspans", "large"))


CELLS = st.builds(Cell, st.sampled_from("abcdefgh"), st.integers(0, 4), st.integers(1, 4))


@given(st.lists(st.lists(st.lists(CELLS, max_size=5), max_size=5), max_size=3))
def test_a_grid_loses_no_cell(groups: list[list[list[Cell]]]) -> None:
    laid_out = grid(groups)
    assert laid_out is not None
    rows, repeated = laid_out
    texts = sorted(text for row in rows for text in row if text)
    own = [cell.text for group in groups for row in group for cell in row]
    assert texts == sorted(own + repeated)


@given(st.lists(st.lists(st.sampled_from(["", "a", "5 mg"]), min_size=1, max_size=4), min_size=1, max_size=6))
def test_a_table_without_spans_is_as_it_was(rows: list[list[str]]) -> None:
    assert grid([[[Cell(text) for text in row] for row in rows]]) == (rows, [])
