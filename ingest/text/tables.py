"""Rows of tables and items of lists: what is no prose must not be judged as prose."""

import re
from typing import NamedTuple

LONG_LINE = 10
"""A line with more words than this is prose, not a heading, an item or a row without borders."""

BORDER = "|"
"""Readers write a row as one line with ` | ` between its cells. It is a sign of ours, and no word."""

ITEM = re.compile(r"[-*•] ")
HEADING = re.compile(r"#{1,6} ")
FIGURE = re.compile(r"\d|^\(?[+±−–-]\)?$")
"""In a word: a number, or the sign of a result such as `(-)`."""

FIGURES = 0.25
"""A long line in which this share of the words have figures is a row without borders."""

SENTENCE = (".", "!", "?")


class Parts(NamedTuple):
    """The lines of a text without headings and empty lines: those of prose, and rows and items."""

    prose: list[str]
    listed: list[str]

    @property
    def of_tables(self) -> bool:
        """Whether rows and items have more words than the prose around them."""
        return _words(self.listed) > _words(self.prose)


def words_of(line: str) -> list[str]:
    """The author's words: without borders of cells, and without the sign before an item."""
    return [word for word in ITEM.sub("", line, count=1).split() if word != BORDER]


def is_row(line: str) -> bool:
    """Whether a line has borders of cells. A bar in a paragraph, as in `P(A | B)`, makes no row."""
    if BORDER not in line:
        return False
    words = line.split()
    borders = words.count(BORDER)
    return borders > 0 and len(words) - borders <= LONG_LINE * (borders + 1)


def is_listed(line: str) -> bool:
    """Whether a line is a row, a short item, or a row that lost its borders: no sentence, short or full of figures."""
    if is_row(line):
        return True
    words = words_of(line)
    short = len(words) <= LONG_LINE
    if short and ITEM.match(line):
        return True
    figures = sum(FIGURE.search(word) is not None for word in words)
    return figures >= (1 if short else FIGURES * len(words)) and not line.endswith(SENTENCE)


def parts(text: str) -> Parts:
    found = Parts([], [])
    for line in text.split("\n"):
        if (bare := line.strip()) and not HEADING.match(bare):
            (found.listed if is_listed(bare) else found.prose).append(bare)
    return found


def _words(lines: list[str]) -> int:
    return sum(len(words_of(line)) for line in lines)
