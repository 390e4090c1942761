"""Show two texts side by side in a terminal. Differences are marked; long runs of equal words are only counted.

The texts may be hostile, so nothing but printable characters and plain spaces comes out.
"""

from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from itertools import chain, groupby, islice, zip_longest
from operator import itemgetter

from rich.cells import set_cell_size
from rich.console import Console
from rich.text import Text

ROWS = 40
NARROWEST, WIDEST = 20, 160
CONTEXT = 6
"""Equal words to show on each side of a difference."""

WINDOW = 1_000
"""Words to compare at a time: about as many as ROWS rows hold."""

RUNS = 20
"""After this many runs of words, both columns go on in the same row."""

BAR = " │ "

Words = Sequence[str]


def plain(text: str) -> str:
    """Make one line that a terminal cannot obey: single spaces, and U+FFFD for what is not printable.

    That replaces control and format characters, directions, joiners, surrogates and private use. Variation selectors
    are dropped, because terminals disagree on the width of the character before them.
    """
    line = "".join(character if character.isprintable() else "\ufffd" for character in " ".join(text.split()))
    return line.translate(dict.fromkeys(range(0xFE00, 0xFE10)))


def side_by_side(left: str, right: str, width: int, rows: int = ROWS) -> list[str]:
    """Print the texts in two columns: at most `rows` rows, then a line that says that there is more.

    `width` is the terminal's, clamped to NARROWEST and WIDEST; no line is wider. White space separates words.
    `[-words-]` are only in the left text, `{+words+}` only in the right one.
    """
    a, b = left.split(), right.split()
    lines = list(islice(_rows(a, b, width), rows + 1))
    if len(lines) > rows:
        lines[rows:] = [_centred(f"… cut: {len(a):,} and {len(b):,} words …", width)]
    return lines


def beside(left: Iterable[str], right: Iterable[str], width: int) -> list[str]:
    """Print paragraphs in two columns. Each pair starts on the same row."""
    return [row for pair in zip_longest(left, right, fillvalue="") for row in _block(*pair, width)]


def runs(left: Words, right: Words) -> Iterator[tuple[bool, Words, Words]]:
    """Cut both texts into runs that are equal (True) or take each other's place, in order.

    Each comparison sees WINDOW words, so the time is linear in the length.
    """
    i, j = 0, 0
    while i < len(left) or j < len(right):
        a, b = left[i : i + WINDOW], right[j : j + WINDOW]
        changes = SequenceMatcher(None, a, b).get_opcodes()
        # The last run may continue beyond the window, so the next window starts with it.
        for kind, start, end, start_right, end_right in changes[:-1] or changes:
            yield kind == "equal", a[start:end], b[start_right:end_right]
        i, j = i + end, j + end_right


def _rows(left: Words, right: Words, width: int) -> Iterator[str]:
    """Rows in blocks. Each block starts on one row in both columns."""
    a: list[str] = []
    b: list[str] = []
    for equal, group in groupby(runs(left, right), itemgetter(0)):
        _, lefts, rights = zip(*group, strict=True)
        words, others = list(chain.from_iterable(lefts)), list(chain.from_iterable(rights))
        omitted = len(words) - 2 * CONTEXT
        if equal and omitted > 1:
            yield from _block(" ".join([*a, *words[:CONTEXT]]), " ".join([*b, *words[:CONTEXT]]), width)
            yield _centred(f"… {omitted:,} equal words …", width)
            a, b = words[-CONTEXT:], words[-CONTEXT:]
        else:
            a += words if equal else [f"[-{' '.join(words)}-]"] * bool(words)
            b += words if equal else [f"{{+{' '.join(others)}+}}"] * bool(others)
        if max(len(a), len(b)) > RUNS:
            yield from _block(" ".join(a), " ".join(b), width)
            a, b = [], []
    yield from _block(" ".join(a), " ".join(b), width)


def _block(left: str, right: str, width: int) -> Iterator[str]:
    column, console = _column(width), Console()
    wrapped = [Text(plain(text)).wrap(console, column, overflow="fold") for text in (left, right) if left or right]
    for a, b in zip_longest(*wrapped, fillvalue=Text()):
        yield f"{set_cell_size(a.plain, column)}{BAR}{b.plain}".rstrip()


def _column(width: int) -> int:
    return (min(max(width, NARROWEST), WIDEST) - len(BAR)) // 2


def _centred(message: str, width: int) -> str:
    whole = 2 * _column(width) + len(BAR)
    return message[:whole].center(whole).rstrip()
