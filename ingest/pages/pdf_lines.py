"""The lines of a PDF's page in reading order, from the boxes of its characters."""

import ctypes
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import pypdfium2.raw as pdfium
from pypdfium2 import PdfTextPage

HYPHENS = (0x02, 0xAD, 0xFFFE)
"""What pdfium gives for a hyphen at the end of a line, besides U+002D."""

LINE_ENDS = (0x0A, 0x0D)

SIGNS = frozenset([*HYPHENS, *map(ord, "−–+-")])
"""Characters that may precede the digits of an exponent."""

SMALLER: Final = 0.9
"""A raised digit is an exponent if its box has less than this share of the height of the digit before it."""

GAP: Final = 1.0
"""A blank wider than this many font sizes may separate columns."""

CELL: Final = 2.0
"""A blank wider than this many font sizes separates the cells of a row."""

STRIPS: Final = 200
DEEPEST: Final = 3
"""A page is cut into columns, and these into columns, at most this often."""

FEWEST: Final = 4
PROSE: Final = 15
"""A column of prose has at least FEWEST pieces, of PROSE characters on average. One with fewer belongs to a table."""


@dataclass(slots=True)
class Piece:
    """Text on one baseline without a wide gap. In points; `bottom` and `top` are heights above the page's foot."""

    text: str
    left: float
    right: float
    bottom: float
    top: float
    size: float

    @property
    def middle(self) -> float:
        return (self.bottom + self.top) / 2


def page_lines(text: PdfTextPage, most: int) -> list[Piece]:
    """The lines of a page, column after column. A table's row is one line, with ` | ` between its cells.

    Text that runs in another direction than most of the page's, such as a stamp in the margin, is left out. At most
    `most` characters of a page are read.
    """
    return _in_order(_pieces(text, most), 0)


def _pieces(text: PdfTextPage, most: int) -> list[Piece]:
    raw, box = text.raw, pdfium.FS_RECTF()
    by_turn: dict[int, list[Piece]] = {}
    piece: Piece | None = None
    blank, turn = True, 0
    foot, head = 0.0, 0.0
    codes = code_points([pdfium.FPDFText_GetUnicode(raw, index) for index in range(min(text.count_chars(), most))])
    for index, code in enumerate(codes):
        if code in LINE_ENDS:
            piece = None
        elif code in (0x09, 0x20, 0xA0):
            blank = True
        elif code > 0x20 or code in HYPHENS:
            pdfium.FPDFText_GetLooseCharBox(raw, index, ctypes.byref(box))
            if piece is None:
                turn = round(pdfium.FPDFText_GetCharAngle(raw, index) / (math.pi / 2)) % 4
            left, right, bottom, top = _upright(box, turn)
            character = "-" if code in HYPHENS else chr(code)
            if piece is not None and _follows(piece, left, bottom, top):
                if blank or left - piece.right > 0.3 * piece.size:
                    piece.text += " "
                elif piece.text[-1].isdigit() and _is_exponent(raw, codes, index, turn, foot, head):
                    piece.text += "^"
                piece.text += character
                piece.right = max(piece.right, right)
            else:
                piece = Piece(character, left, right, bottom, top, max(top - bottom, 1.0))
                by_turn.setdefault(turn, []).append(piece)
            blank, foot, head = False, bottom, top
    return max(by_turn.values(), key=lambda pieces: sum(len(piece.text) for piece in pieces), default=[])


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


def _in_order(pieces: list[Piece], depth: int) -> list[Piece]:
    """The left column before the right, if there is a gutter. A piece across it ends the columns above it."""
    gutter = _gutter(pieces) if depth < DEEPEST else None
    if gutter is None:
        return _rows(pieces)
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
    return gutter if prose else None


def _rows(pieces: list[Piece]) -> list[Piece]:
    """Join the pieces on one baseline, from the top down."""
    rows: list[list[Piece]] = []
    for piece in sorted(pieces, key=lambda piece: -piece.middle):
        if rows and rows[-1][0].bottom < piece.middle < rows[-1][0].top:
            rows[-1].append(piece)
        else:
            rows.append([piece])
    return [_joined(sorted(row, key=lambda piece: piece.left)) for row in rows]


def _joined(row: list[Piece]) -> Piece:
    text = row[0].text
    for before, piece in pairwise(row):
        cell = piece.left - before.right > CELL * before.size and len(before.text) > 2
        text += (" | " if cell else " ") + piece.text
    longest = max(row, key=lambda piece: len(piece.text))
    return Piece(text, row[0].left, row[-1].right, longest.bottom, longest.top, longest.size)
