"""Two texts side by side in a terminal: what differs is marked, long runs of words alike are counted and left out.

The texts are hostile until told otherwise: nothing but printable characters and plain spaces comes out.
"""

from collections.abc import Iterable, Iterator, Sequence
from difflib import Match, SequenceMatcher
from itertools import chain, islice, pairwise, zip_longest
from typing import NamedTuple
from unicodedata import category, east_asian_width

ROWS = 40
NARROWEST, WIDEST = 20, 160
CONTEXT = 6
"""Words alike that are shown beside words that differ."""

WINDOW = 1_000
"""Words that are compared at a time: about as many as ROWS rows hold."""

GONE, NEW = ("[-", "-]"), ("{+", "+}")
BAR = " │ "
STACK = 4
"""Characters for a terminal's column; others are combining marks that nobody could read."""

Words = Sequence[str]


class Piece(NamedTuple):
    """A run of words: alike in both texts, or what one has and the other has in its place."""

    alike: bool
    left: Words
    right: Words


class Row(NamedTuple):
    """A row of the picture and how many words of each text end in it."""

    line: str
    left: int
    right: int


def plain(text: str) -> str:
    """One line that a terminal shows and does not obey: white space as single spaces, what is not printable as U+FFFD.

    That takes control and format characters, directions, joiners, surrogates and private use. Variation selectors go,
    for terminals disagree on the width of what is before them.
    """
    shown = "".join(one if one.isprintable() else "\ufffd" for one in " ".join(text.split()))
    return shown.translate(dict.fromkeys(range(0xFE00, 0xFE10)))


def wide(text: str) -> int:
    """The columns that a plain text takes in a terminal."""
    return len(text) if text.isascii() else sum(map(_wide, text))


def _wide(one: str) -> int:
    if category(one) in ("Mn", "Me"):
        return 0
    return 2 if east_asian_width(one) in "WF" else 1


def pieces(left: Words, right: Words) -> Iterator[Piece]:
    """The runs of both texts in order: their left words put together are all of `left`, the right ones of `right`.

    No two runs alike follow each other. WINDOW words are compared at a time, then those from the last match on, so that
    time grows no faster than the length.
    """
    one, other = 0, 0
    while one < len(left) or other < len(right):
        if same := _alike(left, right, one, other):
            yield Piece(True, left[one : one + same], right[other : other + same])
            one, other = one + same, other + same
            continue
        a, b = left[one : one + WINDOW], right[other : other + WINDOW]
        matches = SequenceMatcher(None, a, b).get_matching_blocks()
        # Without the one that marks the end. The last goes on, maybe beyond the window: it is the next run alike.
        matches = matches[:-1] or matches
        for before, match in pairwise([Match(0, 0, 0), *matches]):
            x, y = before.a + before.size, before.b + before.size
            if before.size:
                yield Piece(True, a[before.a : x], b[before.b : y])
            yield Piece(False, a[x : match.a], b[y : match.b])
        one, other = one + matches[-1].a, other + matches[-1].b


def _alike(left: Words, right: Words, one: int, other: int) -> int:
    """How many words from these places on are the same."""
    most = min(len(left) - one, len(right) - other)
    return next((place for place in range(most) if left[one + place] != right[other + place]), most)


def side_by_side(left: str, right: str, width: int, rows: int = ROWS) -> list[str]:
    """The texts in two columns, at most `rows` rows and one that tells how many words are left.

    `width` is the terminal's, taken as NARROWEST to WIDEST columns; no line is wider. Words count as they stand between
    white space. `[-words-]` are only in the left text, `{+words+}` only in the right one.
    """
    a, b = left.split(), right.split()
    shown = list(islice(_rows(a, b, width), rows))
    more = len(a) - sum(row.left for row in shown), len(b) - sum(row.right for row in shown)
    lines = [row.line for row in shown]
    return [*lines, _told(f"… {more[0]:,} and {more[1]:,} words more …", width)] if any(more) else lines


def beside(left: Iterable[str], right: Iterable[str], width: int) -> list[str]:
    """Paragraphs in two columns, each pair of them from the same row on."""
    pairs = zip_longest(left, right, fillvalue="")
    return [row.line for pair in pairs for row in _block(pair[0].split(), pair[1].split(), width)]


def _rows(left: Words, right: Words, width: int) -> Iterator[Row]:
    """Blocks of rows; where one ends, at words that are left out, both columns are in step again."""
    one: list[str] = []
    other: list[str] = []
    begun = False
    for piece, after in pairwise(chain(pieces(left, right), [None])):
        assert piece is not None
        head, tail = CONTEXT * begun, CONTEXT * (after is not None)
        gone = len(piece.left) - head - tail if piece.alike else 0
        if gone > 1:
            yield from _block([*one, *piece.left[:head]], [*other, *piece.left[:head]], width)
            yield Row(_told(f"… {gone:,} words alike …", width), gone, gone)
            one, other = [*piece.left[head + gone :]], [*piece.left[head + gone :]]
        else:
            one += piece.left if piece.alike else _marked(piece.left, GONE)
            other += piece.right if piece.alike else _marked(piece.right, NEW)
        if max(len(one), len(other)) >= WINDOW:
            yield from _block(one, other, width)
            one, other = [], []
        begun = True
    yield from _block(one, other, width)


def _marked(words: Words, marks: tuple[str, str]) -> list[str]:
    if not words:
        return []
    begun = [f"{marks[0]}{words[0]}", *words[1:]]
    return [*begun[:-1], f"{begun[-1]}{marks[1]}"]


def _block(left: Words, right: Words, width: int) -> Iterator[Row]:
    column = _column(width)
    for one, other in zip_longest(_lines(left, column), _lines(right, column), fillvalue=("", 0)):
        space = " " * (column - wide(one[0]))
        yield Row(f"{one[0]}{space}{BAR}{other[0]}".rstrip(), one[1], other[1])


def _column(width: int) -> int:
    return (min(max(width, NARROWEST), WIDEST) - len(BAR)) // 2


def _told(said: str, width: int) -> str:
    whole = 2 * _column(width) + len(BAR)
    return said[:whole].center(whole).rstrip()


def _lines(words: Words, column: int) -> Iterator[tuple[str, int]]:
    """Lines of at most `column` columns with the number of words that end in each; longer words are broken."""
    line, used, ended = "", 0, 0
    for word in words:
        for part in _broken(plain(word), column):
            if line and (used + 1 + wide(part) > column or len(line) + 1 + len(part) > STACK * column):
                yield line, ended
                line, used, ended = "", 0, 0
            line = f"{line} {part}" if line else part
            used = wide(line)
        ended += 1
    if words:
        yield line, ended


def _broken(word: str, column: int) -> Iterator[str]:
    """The word in parts that each fit into a line."""
    begin, used = 0, 0
    for place, one in enumerate(word):
        if used + _wide(one) > column or place - begin == STACK * column:
            yield word[begin:place]
            begin, used = place, 0
        used += _wide(one)
    yield word[begin:]
