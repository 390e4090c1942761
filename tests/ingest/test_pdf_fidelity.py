"""PDFs: cells keep their columns, doses at the edges of pages stay; raised, broken and unreadable signs are told."""

from collections.abc import Sequence

import pytest

from ingest.fidelity.ledger import Ledger
from ingest.pages.page import Page
from ingest.pages.pdf import pdf_text
from tests.ingest.test_pdf import LEFT, RIGHT, Text, column, make, read, written

Rows = Sequence[Sequence[str]]


def table(rows: Rows, at: Sequence[float] = (60, 210, 360, 480), top: float = 500) -> list[Text]:
    return [
        (left, top - 14 * place, 10, cell)
        for place, row in enumerate(rows)
        for left, cell in zip(at, row, strict=False)
        if cell
    ]


def below(texts: Sequence[Text]) -> str:
    """What is read of texts below a paragraph."""
    return read(make([[*column(60, 700, LEFT, 80), *texts]])).text.removeprefix(LEFT).strip()


def shown(rows: Rows) -> str:
    return "\n".join(" ".join(" | ".join(row).split()) for row in rows)


TABLES: list[Rows] = [
    [("Drug", "Adult", "Child"), ("A", "10 mg", "5 mg"), ("B", "", "4 mg"), ("C", "20 mg", "")],
    [("Vaccine", "8 weeks", "12 weeks", "1 year"), ("MMR", "", "", "0.5 ml"), ("Hib", "0.5 ml", "", "0.5 ml")],
    [("5", "10", "15"), ("7", "", "21"), ("9", "18", "")],
    [("Drug", "Dose"), ("", "5 mg"), ("A", ""), ("B", "4 mg")],
    [("Test", "Low", "High"), ("Na", "135", "145"), ("", "", "150"), ("K", "3.5", "5.1")],
    [("", "Day", "Night"), ("Heparin", "", "5000 units"), ("Insulin", "4 units", "")],
    [("HBsAg", "anti-HBc", "Meaning"), ("(-)", "(+)", "Immune"), ("(+)", "", "Early")],
    [("Age", "Dose", "Interval"), ("2 to 5", "2.5 mg", "4 h"), ("over 5", "", "6 h")],
    [("INR", "Dose"), ("<2.0", "10 mg"), ("2.0–3.0", ""), (">3.0", "0 mg")],
    [("Drug", "PO", "IV", "IM"), ("A", "", "1 g", ""), ("B", "1 g", "", ""), ("C", "", "", "1 g")],
]


@pytest.mark.parametrize("rows", TABLES, ids=lambda rows: rows[1][0])
def test_each_dose_stays_in_its_column(rows: Rows) -> None:
    assert below(table(rows)) == shown(rows)


def test_a_right_aligned_number_is_below_its_head() -> None:
    texts = [
        *table([("Drug", "Dose in mg", "Days of use")]),
        (60, 486, 10, "A"),
        (255, 486, 10, "5"),
        (400, 486, 10, "7"),
    ]
    texts += [(60, 472, 10, "B"), (405, 472, 10, "14")]
    assert below(texts) == "Drug | Dose in mg | Days of use\nA | 5 | 7\nB | | 14"


def test_a_head_over_two_columns_moves_no_dose() -> None:
    texts = [(225, 514, 10, "Dose of the drug for all of them")]
    texts += table([("Drug", "Adult", "Child"), ("A", "10 mg", "5 mg"), ("B", "", "4 mg")])
    assert below(texts).endswith("Drug | Adult | Child\nA | 10 mg | 5 mg\nB | | 4 mg")


def test_a_table_of_wide_cells_is_not_read_as_columns() -> None:
    rows = [
        ("Drug and its form", "Dose for an adult patient"),
        ("Amoxicillin capsules", "500 mg three times a day"),
        ("Co-amoxiclav tablets, film coated", "625 mg three times a day"),
        ("Doxycycline capsules", "200 mg on the first day, then 100 mg"),
        ("Clarithromycin", "500 mg twice a day"),
        ("Nitrofurantoin modified release", "100 mg twice a day with food"),
        ("Trimethoprim tablets", "200 mg twice a day"),
        ("Flucloxacillin capsules", "1 g four times a day"),
    ]
    assert read(make([table(rows, (60, 300))])).text == shown(rows)


def test_items_and_numbered_headings_are_no_tables() -> None:
    items = [(60, 500, 10, "•"), (90, 500, 10, "Salbutamol 2.5 mg"), (60, 486, 10, "•"), (90, 486, 10, "Ipratropium")]
    assert below(items) == "- Salbutamol 2.5 mg\n- Ipratropium"
    assert below(
        [(60, 500, 10, "1."), (90, 500, 10, "Give oxygen"), (60, 486, 10, "2."), (90, 486, 10, "Give 5 mg")]
    ) == ("1. Give oxygen\n\n2. Give 5 mg")
    assert below([(60, 500, 14, "2"), (110, 500, 14, "Introduction")]) == "# 2 Introduction"


@pytest.mark.parametrize(
    ("before", "after", "whole"),
    [
        ("the dose is 10-", "20 mg", "the dose is 10-20 mg"),
        ("the dose is 10–", "20 mg", "the dose is 10–20 mg"),
        ("the dose is 10 –", "20 mg", "the dose is 10 – 20 mg"),
        ("tests for anti-", "HIV", "tests for anti-HIV"),
        ("counts of T-", "cells", "counts of T-cells"),
        ("all are HIV-", "positive", "all are HIV-positive"),
        ("given for 10-", "day courses", "given for 10-day courses"),
        ("levels of IL-", "6", "levels of IL-6"),
        ("treated by β-", "blockers", "treated by β-blockers"),
        ("levels of CO2-", "rich air", "levels of CO2-rich air"),
        ("an excess of −", "7.4 mmol/L", "an excess of −7.4 mmol/L"),
        ("of those aged ≥", "65 years", "of those aged ≥65 years"),
        ("a count of <", "500 cells", "a count of <500 cells"),
        ("a change of ±", "5 %", "a change of ±5 %"),
        ("a sum of 3 +", "4 points", "a sum of 3 + 4 points"),
        ("all cortico-", "steroids", "all corticosteroids"),
        ("all Cortico\u00ad", "steroids", "all Corticosteroids"),
    ],
)
def test_the_end_of_a_line_joins_or_breaks_no_number(before: str, after: str, whole: str) -> None:
    assert read(make([[(60, 700, 10, f"In most of them {before}"), (60, 688, 10, f"{after} is usual.")]])).text == (
        f"In most of them {whole} is usual."
    )


@pytest.mark.parametrize(
    ("raised", "text"),
    [
        (b"Give 70{1}/2 ml", "Give 70 1/2 ml"),
        (b"Give 1{1/2} tablets", "Give 1 1/2 tablets"),
        (b"Give 1{1}/{2} tablets", "Give 1 1/2 tablets"),
        (b"Give 2{3}/4 cup", "Give 2 3/4 cup"),
        (b"Give {1}/2 tablet", "Give 1/2 tablet"),
        (b"It is 2{1/2}", "It is 2^(1/2)"),
        (b"It is 10{12}/L", "It is 10^12/L"),
        (b"It is 10{-3} mol", "It is 10^-3 mol"),
        (b"The 2{nd} of May", "The 2nd of May"),
        (b"It is 1.73 m{2}", "It is 1.73 m2"),
    ],
)
def test_a_raised_numerator_is_no_power(raised: bytes, text: str) -> None:
    content = raised.replace(b"{", b") Tj 4 Ts /F 6.5 Tf (").replace(b"}", b") Tj 0 Ts /F 10 Tf (")
    assert read(written(b"(" + content + b") Tj")).text == text


def test_a_fraction_in_small_digits_behind_a_number() -> None:
    assert (
        read(written(b"(Give 70) Tj 4 Ts /F 6 Tf (1) Tj 0 Ts (/) Tj (2) Tj /F 10 Tf ( ml) Tj")).text == "Give 70 1/2 ml"
    )


PAGES = 4


def edges(*texts: Text) -> str:
    """What is read of pages that differ within, and have these texts at their edges; `{n}` is the page's number."""
    inner = [column(60, 700, f"{RIGHT} {'abcd'[n]}") for n in range(PAGES)]
    pages = [
        [*((left, foot, size, words.format(n=n + 1, m=n + 11)) for left, foot, size, words in texts), *inner[n]]
        for n in range(PAGES)
    ]
    return read(make(pages)).text


@pytest.mark.parametrize(
    "line",
    ["5", "10", "IV", "15 mg", "Day", "1/2", "Amikacin 15 mg/kg", "Dose <5 units", "Na 135 mmol/L", "+", "12 ml"],
)
def test_a_dose_at_the_edge_of_a_page_stays(line: str) -> None:
    """Alone on one page, and, with a unit or without letters, on all of them."""
    page = [*column(60, 700, LEFT), (60, 40, 10, line)]
    assert read(make([page, column(60, 700, RIGHT), column(60, 700, RIGHT[9:])])).text.count(line) >= 1
    if not line.isalpha():
        assert edges((60, 40, 10, line)).count(line) >= PAGES


def test_a_row_that_recurs_on_pages_stays() -> None:
    text = edges((60, 40, 10, "Amikacin"), (300, 40, 10, "15 mg"), (60, 790, 10, "5"), (200, 790, 10, "10"))
    assert text.count("Amikacin | 15 mg") == PAGES
    assert text.count("5 10") == PAGES


def test_of_a_tables_head_on_each_page_the_first_stays() -> None:
    text = edges((60, 790, 10, "Drug"), (200, 790, 10, "Dose"), (340, 790, 10, "Route"))
    assert text.count("Drug | Dose | Route") == 1


def test_days_that_go_up_with_the_pages_are_headings() -> None:
    assert edges((60, 790, 14, "Day {n}")).count("# Day") == PAGES


@pytest.mark.parametrize(
    "line",
    [
        "{n}",
        "- {n} -",
        "{m}",
        "Page {n} of 4",
        "p. {m}",
        "Society of Chests",
        "Society 2019, vol. 3, {n}",
        "{n} Chests",
    ],
)
def test_running_heads_and_page_numbers_go(line: str) -> None:
    text = edges((60, 810, 8, "x" if line == "-" else line))
    assert "Chests" not in text
    assert "Society" not in text
    assert text.startswith(RIGHT[:30])


def test_roman_page_numbers_go_and_a_route_stays() -> None:
    pages = [[*column(60, 700, f"{RIGHT} {n}"), (290, 30, 8, n)] for n in ("i", "ii", "iii", "iv")]
    pages[1].append((60, 40, 10, "IV"))
    text = read(make(pages)).text
    assert [word for word in ("IV", "iii\n") if word in text] == ["IV"]


def test_a_list_of_doses_with_leaders_is_no_table_of_contents() -> None:
    def leaders(*entries: tuple[str, int]) -> list[Text]:
        return [(60, 600 - 12 * at, 10, f"{name} {'.' * 20} {number}") for at, (name, number) in enumerate(entries)]

    doses = below(leaders(("Amikacin", 500), ("Atropine", 1), ("Adenosine", 6)))
    assert all(f" {number}" in doses for number in (500, 1, 6))
    assert below(leaders(("Introduction", 1), ("Doses", 6), ("Index", 20))) == ""


def test_what_no_font_explains_is_shown_and_counted() -> None:
    page = read(written(b"(Give 250 Ag daily, 10A20) Tj", b"0000"))
    assert page.text == "Give 250 \ufffdg daily, 10\ufffd20"
    assert page.notes == (("unreadable characters", "2, written as U+FFFD: no font explains them"),)


@pytest.mark.parametrize("code", [b"F0B3", b"F06D", b"E000"])
def test_private_use_is_kept_for_the_normal_form(code: bytes) -> None:
    assert read(written(b"(Give A5 mg) Tj", code)).text == f"Give {chr(int(code, 16))}5 mg"


def test_turned_heads_of_a_table_follow_the_page() -> None:
    level = b"(Give it as the table says, once a day to all.) Tj "
    text = read(written(level + b"0 1 -1 0 300 300 Tm (Adult 10 mg) Tj 0 -20 Td (Child 5 mg) Tj")).text
    assert text.startswith("Give it")
    assert "Adult 10 mg" in text
    assert "Child 5 mg" in text


def test_what_goes_and_what_is_written_is_entered() -> None:
    ledger = Ledger()
    pages = [[(60, 810, 8, "Society of Chests"), *column(60, 700, RIGHT), (290, 30, 8, str(n))] for n in (1, 2)]
    pages.append([(60, 600 - 12 * at, 10, f"Part {at} {'.' * 20} {at}") for at in range(1, 4)])
    assert isinstance(pdf_text(make(pages), ledger=ledger), Page)
    assert {(rule, text[:8]) for rule, text in ledger.left_out} == {
        ("running_head", "Society "),
        ("page_number", "1"),
        ("page_number", "2"),
        ("contents", "Part 1 ."),
        ("contents", "Part 2 ."),
        ("contents", "Part 3 ."),
    }
    assert ledger.written == []
    pdf_text(written(b"(10) Tj 4 Ts /F 6.5 Tf (6) Tj"), ledger=ledger)
    assert ledger.written == [("power", "^")]
