"""Running heads, running feet and page numbers at the edges of a PDF's pages, told from doses that stand there."""

import math
import re
from collections import Counter
from statistics import median
from typing import Final

from ingest.fidelity.ledger import Ledger
from ingest.pages.piece import Piece

EDGE: Final = 3
"""Running heads, running feet and page numbers are among this many lines at the top and at the foot of a page."""

MARGIN: Final = 0.12
"""They are in this share, at the top and at the foot, of the height that the pages use."""

REPEATED: Final = 0.3
"""A line at the edge that this share of the pages has, numbers aside, is a running head or foot."""

PAGE_NUMBER = re.compile(
    r"(?:page|seite|p\.?|-|–|—)?\s?(?:[0-9]{1,4}|[ivxlc]{1,7})(?:\s?(?:of|/|von|-|–|—)\s?[0-9]{0,4})?", re.I
)
ROMAN: Final = {"i": 1, "v": 5, "x": 10, "l": 50, "c": 100}
NAMED_NUMBER = re.compile(r"(?:page|seite|p\.?)\s?\d|\d{1,4}\s?(?:of|von)\s?\d", re.I)
NUMBER = re.compile(r"[0-9]{1,4}|[ivxlc]{1,7}", re.I)
MEASURED = re.compile(r"\d ?(?:%|°|[mkµμn]?g\b|mcg\b|[dmµμ]?l\b|[mµμn]?mol|i\.?u\b|units?\b|mm ?hg|q\d)|[<>≤≥±]", re.I)
"""No running head has a dose or a finding."""

DIGITS = re.compile(r"[0-9]+")
MOST_NUMBERS: Final = 3
"""A running head has at most this many numbers that may be the page's."""

LARGER: Final = 1.12
"""A line this many times the usual size is a heading."""

Key = tuple[str, int]


def without_edges(pages: list[list[Piece]], numbers: list[int], ledger: Ledger | None = None) -> list[list[Piece]]:
    """Pages without page numbers and without the lines at their edges that other pages have there too.

    `numbers` are those of the pages in the file. A lone number is a page's only if it counts the pages, so it is as far
    from the page's place in the file as that of another page. So is a number in a running head, if it is not the same
    on all pages. A line with a dose stays, and so does one without letters. Of a table's head, which is a row of three
    cells or more without a figure, the first stays.
    """
    heights = [line.middle for lines in pages for line in lines]
    margin = MARGIN * (max(heights) - min(heights)) if heights else 0.0
    inner = (min(heights) + margin, max(heights) - margin) if heights else (0.0, 0.0)
    edges = [_edges(lines, *inner) for lines in pages]
    usual = median(line.size for lines in pages for line in lines) if heights else 0.0
    seen: Counter[Key] = Counter()
    counted: Counter[int | None] = Counter()
    for lines, places, number in zip(pages, edges, numbers, strict=True):
        seen.update({key for at in places for key in _keys(lines[at], number, usual)})
        counted.update({_offset(lines[at], number) for at in places})
    often = max(2, math.ceil(REPEATED * len(pages)))
    heads: set[Key] = set()
    kept = []
    for lines, places, number in zip(pages, edges, numbers, strict=True):
        gone: dict[int, str] = {}
        for at in places:
            line = lines[at]
            offset = _offset(line, number)
            if offset is not None:
                if counted[offset] > 1 or NAMED_NUMBER.search(line.text):
                    gone[at] = "page_number"
            elif any(map(str.isalpha, line.text)) and not MEASURED.search(line.text):
                keys = _keys(line, number, usual)
                if any(seen[key] >= often for key in keys):
                    if line.text.count(" | ") > 1 and not DIGITS.search(line.text) and keys[0] not in heads:
                        heads.add(keys[0])
                    else:
                        gone[at] = "running_head"
        if ledger is not None:
            for at in sorted(gone):
                ledger.leave_out(gone[at], lines[at].text)
        kept.append([line for at, line in enumerate(lines) if at not in gone])
    return kept


def _offset(line: Piece, number: int) -> int | None:
    """How far the number that a line consists of is from the page's place in the file; None for other lines."""
    text = line.text.strip()
    printed = NUMBER.search(text) if PAGE_NUMBER.fullmatch(text) else None
    if printed is None:
        return None
    return (int(printed[0]) if printed[0].isdigit() else _roman(printed[0].lower())) - number


def _roman(numeral: str) -> int:
    values = [ROMAN[letter] for letter in numeral]
    return sum(-value if value < max(values[at:]) else value for at, value in enumerate(values))


def _edges(lines: list[Piece], low: float, high: float) -> list[int]:
    """Places of the topmost and the lowest lines, if they are in the margins."""
    by_height = sorted(range(len(lines)), key=lambda at: -lines[at].middle)
    outer = by_height[:EDGE] + by_height[max(len(by_height) - EDGE, EDGE) :]
    return [at for at in outer if not low < lines[at].middle < high]


def _keys(line: Piece, number: int, usual: float) -> list[Key]:
    """What equal lines have in common, once for each way to take its first numbers: as they are, or as the page's.

    A title on the first page is larger than the running head that repeats it. A large line whose number goes up with
    the pages, such as `Day 3`, is a heading.
    """
    text, size = " ".join(line.text.split()).casefold(), round(line.size)
    found = list(DIGITS.finditer(text))[:MOST_NUMBERS]
    keys = [(text, size)]
    if line.size > LARGER * usual:
        return keys
    for choice in range(1, 2 ** len(found)):
        pieces, done = [], 0
        for at, match in enumerate(found):
            moves = choice >> at & 1
            pieces += [text[done : match.start()], f"#{int(match[0][:9]) - number}" if moves else match[0]]
            done = match.end()
        keys.append(("".join([*pieces, text[done:]]), size))
    return keys
