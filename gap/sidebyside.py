"""Show two texts side by side in a terminal. Differences are marked; long runs of equal words are only counted.

The texts may be hostile, so nothing but printable characters and plain spaces comes out.
"""

from collections.abc import Iterable, Iterator, Sequence
from difflib import Match, SequenceMatcher
from itertools import chain, islice, pairwise, zip_longest
from typing import NamedTuple
from unicodedata import category, east_asian_width

ROWS = 40
NARROWEST, WIDEST = 20, 160
CONTEXT = 6
"""Equal words to show on each side of a difference."""

WINDOW = 1_000
"""Words to compare at a time: about as many as ROWS rows hold."""

GONE, NEW = ("[-", "-]"), ("{+", "+}")
BAR = " │ "
STACK = 4
"""The most characters for a column of the terminal; more combining marks would be unreadable."""

Words = Sequence[str]


class Piece(NamedTuple):
    """A run of words that is the same in both texts, or the words that take each other's place."""

    alike: bool
    left: Words
    right: Words


class Row(NamedTuple):
    """A line to print, and how many words of each text end in it."""

    line: str
    left: int
    right: int


def plain(text: str) -> str:
    """Make one line that a terminal cannot obey: single spaces, and U+FFFD for what is not printable.

    That replaces control and format characters, directions, joiners, surrogates and private use. Variation selectors
    are dropped, because terminals disagree on the width of the character before them.
    """
    line = "".join(character if character.isprintable() else "\ufffd" for character in " ".join(text.split()))
    return line.translate(dict.fromkeys(range(0xFE00, 0xFE10)))


def wide(text: str) -> int:
    """The number of terminal columns that a plain text takes."""
    return len(text) if text.isascii() else sum(map(_wide, text))


def _wide(character: str) -> int:
    if category(character) in ("Mn", "Me"):
        return 0
    return 2 if east_asian_width(character) in "WF" else 1


def pieces(left: Words, right: Words) -> Iterator[Piece]:
    """Cut both texts into runs, in order. Together the runs hold all words; no two equal runs are neighbours.

    Each comparison sees WINDOW words, and the next one starts at the last match, so the time is linear in the length.
    """
    i, j = 0, 0
    while i < len(left) or j < len(right):
        if same := _alike(left, right, i, j):
            yield Piece(True, left[i : i + same], right[j : j + same])
            i, j = i + same, j + same
            continue
        a, b = left[i : i + WINDOW], right[j : j + WINDOW]
        matches = SequenceMatcher(None, a, b).get_matching_blocks()
        # The end mark goes. The last match may continue beyond the window: it starts the next run.
        matches = matches[:-1] or matches
        for before, match in pairwise([Match(0, 0, 0), *matches]):
            x, y = before.a + before.size, before.b + before.size
            if before.size:
                yield Piece(True, a[before.a : x], b[before.b : y])
            yield Piece(False, a[x : match.a], b[y : match.b])
        i, j = i + matches[-1].a, j + matches[-1].b


def _alike(left: Words, right: Words, i: int, j: int) -> int:
    """How many words are the same from these places on."""
    most = min(len(left) - i, len(right) - j)
    return next((place for place in range(most) if left[i + place] != right[j + place]), most)


def side_by_side(left: str, right: str, width: int, rows: int = ROWS) -> list[str]:
    """Print the texts in two columns: at most `rows` rows, then a line that says how many words are left.

    `width` is the terminal's, clamped to NARROWEST and WIDEST; no line is wider. White space separates words.
    `[-words-]` are only in the left text, `{+words+}` only in the right one.
    """
    a, b = left.split(), right.split()
    first = list(islice(_rows(a, b, width), rows))
    more = len(a) - sum(row.left for row in first), len(b) - sum(row.right for row in first)
    lines = [row.line for row in first]
    return [*lines, _centred(f"… {more[0]:,} and {more[1]:,} words more …", width)] if any(more) else lines


def beside(left: Iterable[str], right: Iterable[str], width: int) -> list[str]:
    """Print paragraphs in two columns. Each pair starts on the same row."""
    pairs = zip_longest(left, right, fillvalue="")
    return [row.line for pair in pairs for row in _block(pair[0].split(), pair[1].split(), width)]


def _rows(left: Words, right: Words, width: int) -> Iterator[Row]:
    """Rows in blocks. A block ends where words are left out; the next starts on one row in both columns."""
    a: list[str] = []
    b: list[str] = []
    begun = False
    for piece, after in pairwise(chain(pieces(left, right), [None])):
        assert piece is not None
        head, tail = CONTEXT * begun, CONTEXT * (after is not None)
        gone = len(piece.left) - head - tail if piece.alike else 0
        if gone > 1:
            yield from _block([*a, *piece.left[:head]], [*b, *piece.left[:head]], width)
            yield Row(_centred(f"… {gone:,} words alike …", width), gone, gone)
            a, b = [*piece.left[head + gone :]], [*piece.left[head + gone :]]
        else:
            a += piece.left if piece.alike else _marked(piece.left, GONE)
            b += piece.right if piece.alike else _marked(piece.right, NEW)
        if max(len(a), len(b)) >= WINDOW:
            yield from _block(a, b, width)
            a, b = [], []
        begun = True
    yield from _block(a, b, width)


def _marked(words: Words, marks: tuple[str, str]) -> list[str]:
    if not words:
        return []
    opened = [f"{marks[0]}{words[0]}", *words[1:]]
    return [*opened[:-1], f"{opened[-1]}{marks[1]}"]


def _block(left: Words, right: Words, width: int) -> Iterator[Row]:
    column = _column(width)
    for (a, ended), (b, ended_right) in zip_longest(_lines(left, column), _lines(right, column), fillvalue=("", 0)):
        yield Row(f"{a}{' ' * (column - wide(a))}{BAR}{b}".rstrip(), ended, ended_right)


def _column(width: int) -> int:
    return (min(max(width, NARROWEST), WIDEST) - len(BAR)) // 2


def _centred(message: str, width: int) -> str:
    whole = 2 * _column(width) + len(BAR)
    return message[:whole].center(whole).rstrip()


def _lines(words: Words, column: int) -> Iterator[tuple[str, int]]:
    """Break words into lines of at most `column` columns. Each comes with the number of words that end in it."""
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
    """Cut a word into parts that each fit into a line."""
    begin, used = 0, 0
    for place, character in enumerate(word):
        if used + _wide(character) > column or place - begin == STACK * column:
            yield word[begin:place]
            begin, used = place, 0
        used += _wide(character)
    yield word[begin:]
