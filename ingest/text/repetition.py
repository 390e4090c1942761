"""How much of a text repeats itself, as shares of its lines, paragraphs and n-grams of words."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import count
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]

LONGEST = 10
"""The longest n-grams have this many words."""


class Ngrams(NamedTuple):
    """The repeated n-grams of a text. Shares are of the characters in words, blanks not counted.

    Attributes:
        n: Words in each.
        top: Share in all occurrences of the most frequent n-gram. Of equally frequent ones the longest counts.
        quote: That n-gram.
        repeats: Share in second or later occurrences of any n-gram, each character counted once: what a reader would
            lose who skipped all that he has read before.
    """

    n: int
    top: float
    quote: str
    repeats: float


def repeats(*lists: Sequence[str]) -> tuple[float, float]:
    """The share of items, and of their characters, that occurred earlier in their list."""
    again = characters = number = total = 0
    for items in lists:
        seen: set[str] = set()
        for item in items:
            number += 1
            total += len(item)
            if item in seen:
                again += 1
                characters += len(item)
            else:
                seen.add(item)
    return again / max(number, 1), characters / max(total, 1)


def ngrams(words: Sequence[str]) -> Iterator[Ngrams]:
    """The repeated n-grams for n from 2 to LONGEST, as long as there are any.

    An n-gram can only repeat where both (n-1)-grams in it do, so each turn checks only what the last one left.
    """
    index: dict[str, int] = defaultdict(count().__next__)
    ids = np.fromiter(map(index.__getitem__, words), np.int64, len(words))
    lengths = np.fromiter(map(len, words), np.int64, len(words))
    before = np.concatenate([[0], np.cumsum(lengths)])
    starts = np.flatnonzero(np.bincount(ids, minlength=1)[ids] > 1)
    group = ids[starts]
    for n in range(2, LONGEST + 1):
        repeated = np.zeros(len(words) + 1, dtype=bool)
        repeated[starts] = True
        possible = repeated[starts + 1]
        starts, group = starts[possible], group[possible]
        starts, group, first = _groups(starts, group * len(index) + ids[starts + n - 1])
        if not len(starts):
            return
        firsts, sizes = starts[first], np.bincount(group)
        taken = before[firsts + n] - before[firsts]
        top = np.lexsort((taken, sizes))[-1]
        quote = " ".join(words[firsts[top] : firsts[top] + n])
        share = min(1.0, float(sizes[top] * taken[top] / before[-1]))
        yield Ngrams(n, share, quote, _covered(starts[~first], n, lengths))


def _groups(starts: Places, keys: Places) -> tuple[Places, Places, NDArray[np.bool_]]:
    """Starts whose key occurs more than once, sorted by key; the number of each key; whether a start is its first."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    first = np.ones(len(keys), dtype=bool)
    first[1:] = ordered[1:] != ordered[:-1]
    alone = first & np.append(first[1:], True)
    starts, first = starts[order][~alone], first[~alone]
    return starts, np.cumsum(first) - 1, first


def _covered(starts: Places, n: int, lengths: Places) -> float:
    """The share of characters in n-grams that begin at `starts`."""
    words = len(lengths)
    opened = np.bincount(starts, minlength=words + 1) - np.bincount(starts + n, minlength=words + 1)
    inside = np.cumsum(opened[:words]) > 0
    return float(lengths[inside].sum() / lengths.sum())
