"""PDFs: headings, columns, what repeats at the edges, broken words, scans, and that no bytes break the reader."""

import io
import random
import textwrap
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pypdfium2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_pdf import FigureCanvasPdf, PdfPages
from matplotlib.figure import Figure

from ingest.pages.page import Page
from ingest.pages.pdf import pdf_text
from ingest.pages.pdf_lines import code_points
from lake.decision import Drop, Reason

Text = tuple[float, float, float, str]
"""Points from the left and from the foot, size, and words."""

LEFT = (
    "Give oxygen to all adults with a saturation below 94 percent, and measure it again after ten minutes in each "
    "case. Salbutamol by a spacer is as good as by nebuliser."
)
RIGHT = (
    "Children who cannot drink need fluid by a tube or a vein, whichever the ward can give safely and at once, with "
    "salts measured twice a day until they drink."
)


def column(left: float, top: float, words: str, width: int = 40) -> list[Text]:
    return [(left, top - 12 * row, 10, line) for row, line in enumerate(textwrap.wrap(words, width))]


def make(pages: Sequence[Sequence[Text] | None]) -> bytes:
    """A PDF of A4 pages; None is a page that is one image."""
    out = io.BytesIO()
    with mpl.rc_context({"pdf.fonttype": 42}), PdfPages(out) as pdf:
        for texts in pages:
            figure = Figure(figsize=(8.27, 11.69))
            FigureCanvasPdf(figure)
            if texts is None:
                figure.figimage(np.random.default_rng(0).random((300, 200)))
            for left, foot, size, words in texts or ():
                figure.text(left / 595.4, foot / 841.7, words, fontsize=size)
            pdf.savefig(figure)
    return out.getvalue()


def written(content: bytes, letter: bytes = b"41", title: bytes = b"") -> bytes:
    """A PDF of one page, object by object; `letter` is what its font maps the letter A to, UTF-16 in hex digits."""
    content = b"BT /F 10 Tf 72 700 Td " + content + b" ET"
    letters = b"1 beginbfchar <41> <" + letter + b"> endbfchar"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents 4 0 R /Resources <</Font <</F 5 0 R>> >> >>",
        b"<< /Length %d >> stream\n%s\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /ToUnicode 6 0 R >>",
        b"<< /Length %d >> stream\n%s\nendstream" % (len(letters), letters),
        b"<< /Title <%s> >>" % title,
    ]
    body = b"".join(b"%d 0 obj %s endobj\n" % numbered for numbered in enumerate(objects, 1))
    return b"%PDF-1.4\n" + body + b"trailer << /Root 1 0 R /Info 7 0 R >>\n"


def read(data: bytes) -> Page:
    result = pdf_text(data)
    assert isinstance(result, Page), result
    return result


def drop(data: bytes, **bounds: float) -> Drop:
    result = pdf_text(data, **bounds)  # type: ignore[arg-type]
    assert isinstance(result, Drop), result
    return result


def test_headings_paragraphs_and_items() -> None:
    page = [
        (60, 780, 20, "Acute asthma"),
        (60, 740, 14, "Oxygen"),
        *column(60, 715, LEFT, 80),
        *column(60, 660, RIGHT, 80),
        (60, 600, 14, "Drugs"),
        (60, 575, 10, "• Salbutamol 2.5 mg"),
        (60, 563, 10, "• Ipratropium"),
    ]
    guideline = read(make([page]))
    assert guideline.title == "Acute asthma"
    assert guideline.notes == ()
    assert guideline.text == (
        f"# Acute asthma\n\n## Oxygen\n\n{LEFT}\n\n{RIGHT}\n\n## Drugs\n\n- Salbutamol 2.5 mg\n- Ipratropium"
    )


@pytest.mark.parametrize("rows_first", [False, True])
def test_columns_are_read_one_after_the_other(rows_first: bool) -> None:
    left, right = column(60, 700, LEFT * 2), column(310, 700, RIGHT * 2)
    texts = [line for row in zip(left, right, strict=False) for line in row] if rows_first else left + right
    shown = read(make([[(60, 760, 18, "A heading over both of the columns of the page"), *texts]])).text
    head, first, *_ = shown.split("\n\n")
    assert head == "# A heading over both of the columns of the page"
    words = " ".join(shown.split())
    ends = [
        words.index("Give oxygen"),
        words.index("by nebuliser"),
        words.index("Children who"),
        words.index("they drink."),
    ]
    assert ends == sorted(ends)
    assert first.startswith(LEFT[:60])


def test_running_heads_feet_and_page_numbers_go() -> None:
    pages = [
        [(60, 810, 8, f"Society of Chests   {2000 + n}"), *column(60, 700, LEFT), (290, 30, 8, f"Page {n} of 5")]
        for n in range(1, 6)
    ]
    shown = read(make(pages)).text
    assert "Society" not in shown
    assert "Page" not in shown
    assert shown.count("Give oxygen") == 5


def test_a_title_stays_though_running_heads_repeat_it() -> None:
    pages = [[(60, 780, 22, "Care of asthma"), *column(60, 700, LEFT)]]
    pages += [[(60, 810, 8, "Care of asthma"), *column(60, 700, RIGHT)] for _ in range(3)]
    shown = read(make(pages)).text
    assert shown.count("Care of asthma") == 1
    assert shown.startswith("# Care of asthma")


def test_broken_words_are_made_whole_and_compounds_stay() -> None:
    lines = [
        "Long-term use of cortico-",
        "steroids is rare and long-",
        "term follow-up of X-",
        "Ray findings is needed.",
    ]
    shown = read(make([[(60, 700 - 12 * row, 10, line) for row, line in enumerate(lines)]])).text
    assert shown == "Long-term use of corticosteroids is rare and long-term follow-up of X-Ray findings is needed."


def test_a_paragraph_goes_on_over_the_page() -> None:
    first = [*column(60, 700, LEFT), (60, 500, 10, "Steroids are given to all who need more than two doses and")]
    second = [(60, 780, 10, "continued for five days."), *column(60, 700, RIGHT)]
    assert "two doses and continued for five days." in read(make([first, second])).text


def test_rows_of_a_table_keep_their_numbers() -> None:
    rows = [("Age", "Dose", "Interval"), ("2 to 5", "2.5 mg", "4 h"), ("over 5", "5 mg", "6 h")]
    cells = [
        (60 + 150 * at, 500 - 14 * row, 10, cell) for row, cells in enumerate(rows) for at, cell in enumerate(cells)
    ]
    shown = read(make([[*column(60, 700, LEFT, 80), *cells]])).text
    assert "Age | Dose | Interval\n2 to 5 | 2.5 mg | 4 h\nover 5 | 5 mg | 6 h" in shown


def test_scanned_pages_are_recognised() -> None:
    scanned = drop(make([None, None]))
    assert (scanned.reason, scanned.evidence) == (
        Reason.SCANNED_PDF,
        "2 of 2 pages are images, 0 characters of text",
    )
    mixed = read(make([column(60, 700, LEFT), None, column(60, 700, RIGHT)]))
    assert mixed.notes == (("scanned pages", "1 of 3, without text: 2"),)
    assert LEFT.split()[0] in mixed.text
    assert RIGHT.split()[0] in mixed.text


def test_blank_pages_are_no_content() -> None:
    assert drop(make([[]])).reason is Reason.NO_CONTENT


def test_broken_and_bounded_files_are_counted() -> None:
    data = make([column(60, 700, LEFT)] * 3)
    assert drop(b"").reason is Reason.MALFORMED_PDF
    assert drop(b"%PDF-1.7 nothing").reason is Reason.MALFORMED_PDF
    assert drop(data[: len(data) // 8]).reason is Reason.MALFORMED_PDF
    assert drop(data, max_bytes=1_000).reason is Reason.TOO_LARGE
    assert drop(data, max_pages=2).evidence == "a PDF of 3 pages; at most 2 are read"
    assert drop(data, max_seconds=-1).evidence == "after -1 seconds 0 of 3 pages were read"


def test_an_encrypted_file_is_counted() -> None:
    data = make([column(60, 700, LEFT)])
    trailer = b"/Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <" + b"41" * 32 + b"> /U <" + b"42" * 32 + b"> >> "
    trailer += b"/ID [<" + b"43" * 16 + b"> <" + b"43" * 16 + b">] /Root"
    locked = data[: data.rindex(b"trailer")] + data[data.rindex(b"trailer") :].replace(b"/Root", trailer, 1)
    assert drop(locked).reason is Reason.ENCRYPTED_PDF


def test_text_on_a_turned_page_reads_level() -> None:
    document = pypdfium2.PdfDocument(make([column(60, 700, LEFT)]))
    document[0].set_rotation(90)
    out = io.BytesIO()
    document.save(out)
    assert read(out.getvalue()).text == LEFT


@pytest.mark.parametrize(
    ("letter", "shown"),
    [(b"D835DEFD", "\U0001d6fd"), (b"D835", "\ufffd"), (b"DC00", "\ufffd"), (b"03B2", "\u03b2")],
)
def test_a_letter_that_a_font_maps_beyond_16_bits_is_one(letter: bytes, shown: str) -> None:
    guideline = read(written(b"/F 20 Tf (A title AA) Tj 0 -30 Td /F 10 Tf (A word and more words of text.) Tj", letter))
    assert guideline.title == f"{shown} title {shown}{shown}"
    assert guideline.text == f"# {guideline.title}\n\n{shown} word and more words of text."


@given(st.text() | st.text(st.characters(min_codepoint=0xD700, max_codepoint=0x10100, exclude_categories=())))
def test_pairs_of_surrogates_are_joined_and_places_stay(text: str) -> None:
    data = text.encode("utf-16-le", "surrogatepass")
    units = [int.from_bytes(data[at : at + 2], "little") for at in range(0, len(data), 2)]
    points = code_points(units)
    assert len(points) == len(units)
    seconds = [point > 0xFFFF for point in points]
    kept = [point for point, second in zip(points, [False, *seconds], strict=False) if not second]
    assert "".join(map(chr, kept)) == data.decode("utf-16-le", "replace")
    assert [point for point, second in zip(points, [False, *seconds], strict=False) if second] == [0] * sum(seconds)


def test_a_title_that_is_no_utf_16_is_passed_over() -> None:
    words = b"00200041002000420020004300200044"
    assert read(written(b"(Words of text.) Tj", title=b"FEFFD835DEFD" + words)).title == "\U0001d6fd A B C D"
    assert read(written(b"(Words of text.) Tj", title=b"FEFFD800" + words)).title is None


@pytest.mark.parametrize(
    ("raised", "shown"),
    [
        (b"100 x 10{9}/L and 10{12} in all", "100 x 10^9 /L and 10^12 in all"),
        (b"5 x 10{-9} and 3 x 10{+2} mol", "5 x 10^-9 and 3 x 10^+2 mol"),
        (b"1.73 m{2} as others say.{12} Of the 2{nd} of 3{-fold}", "1.73 m2 as others say.12 Of the 2nd of 3-fold"),
        (b"10 {6} to 106 and 5-10", "10 6 to 106 and 5-10"),
    ],
)
@pytest.mark.parametrize("rise", [3, 5])
def test_a_raised_number_after_a_digit_is_its_power(raised: bytes, shown: str, rise: int) -> None:
    shift = b") Tj %d Ts /F 6.5 Tf (" % rise
    content = b"(" + raised.replace(b"{", shift).replace(b"}", b") Tj 0 Ts /F 10 Tf (") + b") Tj"
    assert read(written(content)).text == shown


def test_small_or_lowered_digits_are_no_power() -> None:
    small = b"(10) Tj /F 6.5 Tf (6) Tj /F 10 Tf ( and 20) Tj -3 Ts /F 6.5 Tf (7) Tj 0 Ts /F 10 Tf"
    assert read(written(small + b" ( and 30) Tj 3 Ts (8) Tj")).text == "106 and 207 and 308"


@pytest.mark.parametrize("matrix", [b"0 1 -1 0 300 300", b"-1 0 0 -1 300 300", b"0 -1 1 0 300 300"])
def test_turned_text_reads_in_its_own_direction(matrix: bytes) -> None:
    lines = b" Tm (Words of text, 10) Tj 4 Ts /F 6.5 Tf (-12) Tj 0 Ts /F 10 Tf ( cells) Tj 0 -12 Td (and more.) Tj"
    assert read(written(matrix + lines)).text == "Words of text, 10^-12 cells and more."


SAMPLE = make([[(60, 780, 20, "Acute asthma"), *column(60, 700, LEFT)], None])


@settings(max_examples=150)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_no_bytes_raise(seed: int, changes: int) -> None:
    chance = random.Random(seed)
    data = bytearray(SAMPLE)
    for _ in range(changes):
        at = chance.randrange(len(data))
        data[at : at + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
    assert isinstance(pdf_text(bytes(data)), Page | Drop)
