"""The lines of a PDF's page in reading order, from the boxes of its characters."""

import ctypes
import math
import re
from typing import Final, NamedTuple

import pypdfium2.raw as pdfium
from pypdfium2 import PdfTextPage

from ingest.fidelity.ledger import Ledger
from ingest.pages.pdf_table import in_rows
from ingest.pages.piece import Piece
from ingest.text.powers import raised

HYPHENS = (0x02, 0xAD, 0xFFFE)
"""What pdfium gives for a hyphen at the end of a line, besides U+002D."""

LINE_ENDS = (0x0A, 0x0D)
UNREADABLE = "\ufffd"

SIGNS = frozenset([*HYPHENS, *map(ord, "−–+-")])
"""Characters that may precede the digits of an exponent."""

SMALLER: Final = 0.9
"""A raised digit is an exponent if its box has less than this share of the height of the digit before it."""

LONGEST_RAISED: Final = 12
DENOMINATOR = re.compile(r" *[/⁄∕] *(\d{1,3})(?!\d)")

GAP: Final = 1.0
"""A blank wider than this many font sizes may separate columns."""

STRIPS: Final = 200
DEEPEST: Final = 3
"""A page is cut into columns, and these into columns, at most this often."""

FEWEST: Final = 4
LEVEL: Final = 0.8
FILLED: Final = 0.75
PROSE: Final = 15
"""A column of prose has at least FEWEST pieces, of PROSE characters on average. One with fewer belongs to a table."""


class Lines(NamedTuple):
    """The lines of a page in order, those that run in another direction, and how many characters cannot be read."""

    lines: list[Piece]
    turned: list[Piece]
    unreadable: int


def page_lines(text: PdfTextPage, most: int, ledger: Ledger | None = None) -> Lines:
    """The lines of a page, column after column. A table's row is one line, with ` | ` between its cells.

    `turned` is what runs in another direction than most of the page's text, such as a stamp in the margin or the heads
    of a table's columns. At most `most` characters of a page are read. A character that the font does not explain
    becomes U+FFFD.
    """
    by_turn, unreadable = _pieces(text, most, ledger)
    directions = sorted(by_turn.values(), key=lambda pieces: -sum(len(piece.text) for piece in pieces))
    first, *others = directions or [[]]
    return Lines(_in_order(first, 0), [line for pieces in others for line in _in_order(pieces, 0)], unreadable)


def _pieces(text: PdfTextPage, most: int, ledger: Ledger | None) -> tuple[dict[int, list[Piece]], int]:
    raw, box = text.raw, pdfium.FS_RECTF()
    by_turn: dict[int, list[Piece]] = {}
    piece: Piece | None = None
    blank, turn = True, 0
    foot, head = 0.0, 0.0
    unreadable = passed = 0
    codes = code_points([pdfium.FPDFText_GetUnicode(raw, index) for index in range(min(text.count_chars(), most))])
    for index, code in enumerate(codes):
        if index < passed:
            if code > 0x20 and piece is not None:
                pdfium.FPDFText_GetLooseCharBox(raw, index, ctypes.byref(box))
                piece.right = max(piece.right, _upright(box, turn)[1])
        elif code in LINE_ENDS:
            piece = None
        elif code in (0x09, 0x20, 0xA0):
            blank = True
        elif code > 0 or not index or codes[index - 1] <= 0xFFFF:
            pdfium.FPDFText_GetLooseCharBox(raw, index, ctypes.byref(box))
            if piece is None:
                turn = round(pdfium.FPDFText_GetCharAngle(raw, index) / (math.pi / 2)) % 4
            left, right, bottom, top = _upright(box, turn)
            character = "-" if code in HYPHENS else chr(code) if code > 0x20 else UNREADABLE
            unreadable += character == UNREADABLE
            if piece is not None and _follows(piece, left, bottom, top):
                if blank or left - piece.right > 0.3 * piece.size:
                    piece.text += " "
                elif piece.text[-1].isdigit() and _is_exponent(raw, codes, index, turn, foot, head):
                    passed, character = _raised(raw, codes, index, turn, foot, head, piece.text, ledger)
                piece.text += character
                piece.right = max(piece.right, right)
            else:
                piece = Piece(character, left, right, bottom, top, max(top - bottom, 1.0))
                by_turn.setdefault(turn, []).append(piece)
            blank, foot, head = False, bottom, top
    return by_turn, unreadable


def code_points(units: list[int]) -> list[int]:
    """Code points of characters as pdfium gives them: a character beyond U+FFFF comes as two surrogates.

    The first becomes the code point and the second 0, so that places stay. A lone surrogate becomes U+FFFD.
    """
    points = units.copy()
    for at, unit in enumerate(units):
        if 0xD800 <= unit < 0xDC00:
            low = units[at + 1] if at + 1 < len(units) else 0
            whole = 0xDC00 <= low < 0xE000
            points[at] = 0x10000 + (unit - 0xD800) * 0x400 + low - 0xDC00 if whole else 0xFFFD
        elif 0xDC00 <= unit < 0xE000:
            points[at] = 0 if at and points[at - 1] > 0xFFFF else 0xFFFD
    return points


def _upright(box: pdfium.FS_RECTF, turn: int) -> tuple[float, float, float, float]:
    """Left, right, bottom and top once the page is turned so that text with this angle is level.

    `turn` counts quarter turns clockwise: text with 1 runs down the page.
    """
    if turn == 1:
        return -box.top, -box.bottom, box.left, box.right
    if turn == 2:
        return -box.right, -box.left, -box.top, -box.bottom
    if turn == 3:
        return box.bottom, box.top, -box.right, -box.left
    return box.left, box.right, box.bottom, box.top


def _follows(piece: Piece, left: float, bottom: float, top: float) -> bool:
    """Whether a character continues a piece: it is on its line, even if raised, and not far right of it nor back."""
    level = bottom < piece.middle < top or piece.bottom < (bottom + top) / 2 < piece.top
    return level and -piece.size < left - piece.right < GAP * piece.size


def _is_exponent(raw: pdfium.FPDF_TEXTPAGE, codes: list[int], index: int, turn: int, foot: float, head: float) -> bool:
    """Whether a smaller, raised digit follows the digit between `foot` and `head`: 10^6 must not become 106.

    If a sign follows, the digit after it decides, for the sign may be of another font.
    """
    at = index + (codes[index] in SIGNS)
    if at == len(codes) or not chr(codes[at]).isdigit():
        return False
    box = pdfium.FS_RECTF()
    pdfium.FPDFText_GetLooseCharBox(raw, at, ctypes.byref(box))
    _, _, bottom, top = _upright(box, turn)
    return top - bottom < SMALLER * (head - foot) and bottom + top > foot + head


def _raised(
    raw: pdfium.FPDF_TEXTPAGE,
    codes: list[int],
    index: int,
    turn: int,
    foot: float,
    head: float,
    before: str,
    ledger: Ledger | None,
) -> tuple[int, str]:
    """What is written for the raised text that begins at `index`, and the place behind it.

    The denominator of a fraction goes with its numerator, though it is not raised.
    """
    end = index
    box = pdfium.FS_RECTF()
    while end < min(len(codes), index + LONGEST_RAISED) and codes[end] > 0x20:
        pdfium.FPDFText_GetLooseCharBox(raw, end, ctypes.byref(box))
        _, _, bottom, top = _upright(box, turn)
        if end > index and not (top - bottom < SMALLER * (head - foot) and bottom + top > foot + head):
            break
        end += 1
    text = "".join("-" if code in HYPHENS else chr(code) for code in codes[index:end])
    after = "".join(chr(code) if code > 0x20 else " " for code in codes[end : end + LONGEST_RAISED])
    shown = raised(before, text, re.sub(" +", " ", after))
    denominator = DENOMINATOR.match(after)
    if shown == f" {text}" and denominator is not None:
        end += denominator.end()
        shown += f"/{denominator[1]}"
    if ledger is not None and "^" in shown:
        ledger.write("power", "^")
    return end, shown


def _in_order(pieces: list[Piece], depth: int) -> list[Piece]:
    """The left column before the right, if there is a gutter. A piece across it ends the columns above it."""
    gutter = _gutter(pieces) if depth < DEEPEST else None
    if gutter is None:
        return in_rows(pieces)
    ordered: list[Piece] = []
    band: list[Piece] = []
    for piece in sorted(pieces, key=lambda piece: -piece.middle):
        if piece.left < gutter < piece.right:
            ordered += _sides(band, gutter, depth)
            ordered.append(piece)
            band = []
        else:
            band.append(piece)
    return ordered + _sides(band, gutter, depth)


def _sides(pieces: list[Piece], gutter: float, depth: int) -> list[Piece]:
    left, right = _beside(pieces, gutter)
    return _in_order(left, depth + 1) + _in_order(right, depth + 1)


def _beside(pieces: list[Piece], gutter: float) -> tuple[list[Piece], list[Piece]]:
    return [piece for piece in pieces if piece.right <= gutter], [piece for piece in pieces if piece.left >= gutter]


def _gutter(pieces: list[Piece]) -> float | None:
    """The middle of the widest vertical strip that crosses few pieces and has columns of prose on both sides."""
    if len(pieces) < 2 * FEWEST:
        return None
    start, end = min(piece.left for piece in pieces), max(piece.right for piece in pieces)
    strip = max((end - start) / STRIPS, 0.01)
    steps = [0] * (STRIPS + 2)
    for piece in pieces:
        steps[min(int((piece.left - start) / strip), STRIPS)] += 1
        steps[min(int((piece.right - start) / strip), STRIPS) + 1] -= 1
    crossed, covering = 0, []
    for step in steps:
        crossed += step
        covering.append(crossed)
    inner = range(STRIPS // 6, STRIPS - STRIPS // 6)
    least = min(covering[at] for at in inner)
    if least > 0.25 * len(pieces):
        return None
    runs: list[tuple[int, int]] = []
    for at in inner:
        if covering[at] == least:
            length = runs[-1][0] + 1 if runs and covering[at - 1] == least and at - 1 in inner else 1
            runs.append((length, at))
    length, last = max(runs)
    gutter = start + (last - (length - 1) / 2 + 0.5) * strip
    sides = _beside(pieces, gutter)
    prose = all(len(side) >= FEWEST and sum(len(piece.text) for piece in side) >= PROSE * len(side) for side in sides)
    return gutter if prose and not _is_table(*sides) else None


def _is_table(left: list[Piece], right: list[Piece]) -> bool:
    """Whether both sides have the same baselines and one is ragged: lines of prose fill their column, cells do not."""
    baselines = {round(piece.middle) for piece in left}
    level = sum(not baselines.isdisjoint(range(round(piece.middle) - 1, round(piece.middle) + 2)) for piece in right)
    return level >= LEVEL * min(len(left), len(right)) and any(map(_is_ragged, (left, right)))


def _is_ragged(side: list[Piece]) -> bool:
    widths = [piece.right - piece.left for piece in side]
    return sum(width > FILLED * max(widths) for width in widths) < len(widths) / 2
