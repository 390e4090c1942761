"""The audit of critical tokens: each one of a document's source is in its clean text, or a rule left it out.

Source and clean text are two sequences of tokens. Most tokens occur once with their context; these are the anchors of
the alignment, as in a patience diff. It grows from them over neighbours of equal value, so a block that was moved as a
whole stays aligned. What is left is looked up in the ledger of the reader. All of it is linear in the length, but for
short gaps.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Collection, Container, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import accumulate, islice
from operator import attrgetter
from typing import Final

from ingest.fidelity.ledger import Entry, Ledger
from ingest.fidelity.tokens import Token, critical_tokens, readable

LONGEST_GAP: Final = 400
"""Gaps between aligned tokens are compared token by token up to this many tokens on a side."""

MOST_FINDINGS: Final = 50

EXCERPT: Final = 40
"""Characters on each side of a token in an excerpt."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A token that is lost or invented: its place in its `readable` text, and what the other text has there."""

    value: str
    start: int
    end: int
    excerpt: str
    other: str


@dataclass(frozen=True, slots=True)
class Audit:
    """What became of the critical tokens of a document.

    `tokens` counts those of the source. Each is `kept`, or left out by a rule of `left_out`, or `lost`. A token of the
    clean text without one in the source is by a rule of `written`, or `invented`. The first MOST_FINDINGS of both kinds
    are shown.
    """

    tokens: int
    kept: int
    left_out: Counter[str]
    written: Counter[str]
    lost: int
    invented: int
    losses: tuple[Finding, ...]
    inventions: tuple[Finding, ...]


def audit(source: str, clean: str, ledger: Ledger) -> Audit:
    """Compare a document's source, as crude text, with its clean text and the ledger of what was changed on purpose."""
    source, clean = readable(source), readable(clean)
    theirs, ours = critical_tokens(source), critical_tokens(clean)
    pairs = _Alignment(theirs, ours)
    missing = [place for place in range(len(theirs)) if place not in pairs.ours]
    added = [place for place in range(len(ours)) if place not in pairs.theirs]
    left_out = _explained(theirs, missing, ledger.left_out)
    written = _explained(ours, added, ledger.written)
    pairs.pair_moved(_without(missing, left_out), _without(added, written))
    _attach(theirs, left_out, pairs.ours)
    _attach(ours, written, pairs.theirs)
    lost = _without(missing, pairs.ours, left_out)
    invented = _without(added, pairs.theirs, written)
    return Audit(
        len(theirs),
        len(pairs.ours),
        Counter(left_out.values()),
        Counter(written.values()),
        len(lost),
        len(invented),
        _findings(source, theirs, lost, clean, ours, pairs.ours),
        _findings(clean, ours, invented, source, theirs, pairs.theirs),
    )


class _Alignment:
    """Pairs of equal tokens: `ours` has the place in the clean text by that in the source, `theirs` the reverse."""

    def __init__(self, theirs: Sequence[Token], ours: Sequence[Token]) -> None:
        self._values = [token.value for token in theirs], [token.value for token in ours]
        self.ours: dict[int, int] = {}
        self.theirs: dict[int, int] = {}
        for side in range(3):
            for there, here in _anchors(self._open(theirs, self.ours, side), self._open(ours, self.theirs, side)):
                self._pair(there, here)
            self._grow()
        self._fill_gaps()

    def _open(self, tokens: Sequence[Token], paired: Collection[int], side: int) -> dict[Hashable, deque[int]]:
        """The places of unpaired tokens by their context."""
        places: dict[Hashable, deque[int]] = defaultdict(deque)
        for place, token in enumerate(tokens):
            if place not in paired:
                places[token.contexts[side]].append(place)
        return places

    def _pair(self, there: int, here: int) -> None:
        self.ours[there], self.theirs[here] = here, there

    def _grow(self) -> None:
        """Pair the neighbours of pairs as long as their values are equal."""
        theirs, ours = self._values
        for step in (1, -1):
            for there, here in sorted(self.ours.items(), reverse=step < 0):
                there, here = there + step, here + step
                while (
                    0 <= there < len(theirs)
                    and 0 <= here < len(ours)
                    and there not in self.ours
                    and here not in self.theirs
                    and theirs[there] == ours[here]
                ):
                    self._pair(there, here)
                    there, here = there + step, here + step

    def pair_moved(self, lost: Sequence[int], invented: Sequence[int]) -> None:
        """Pair what is open on both sides with one value: it moved, and a rule changed the text beside it."""
        theirs, ours = self._values
        waiting: dict[str, deque[int]] = defaultdict(deque)
        for place in lost:
            waiting[theirs[place]].append(place)
        for place in invented:
            if same_value := waiting.get(ours[place]):
                self._pair(same_value.popleft(), place)

    def _fill_gaps(self) -> None:
        """Compare what lies between two neighbouring pairs on both sides."""
        theirs, ours = self._values
        here = 0
        while here < len(ours):
            if here in self.theirs:
                here += 1
                continue
            end = here
            while end < len(ours) and end not in self.theirs:
                end += 1
            start = self.theirs[here - 1] + 1 if here else 0
            stop = self.theirs[end] if end < len(ours) else len(theirs)
            gap = [place for place in range(start, stop) if place not in self.ours]
            if 0 < len(gap) <= LONGEST_GAP and end - here <= LONGEST_GAP:
                matcher = SequenceMatcher(None, [theirs[place] for place in gap], ours[here:end], autojunk=False)
                for a, b, size in matcher.get_matching_blocks():
                    for step in range(size):
                        self._pair(gap[a + step], here + b + step)
            here = end


def _anchors(theirs: Mapping[Hashable, deque[int]], ours: Mapping[Hashable, deque[int]]) -> Iterator[tuple[int, int]]:
    """Places of what occurs on both sides, those that occur once first; of repetitions the first with the first."""
    shared = [key for key in theirs if key in ours]
    for key in sorted(shared, key=lambda key: len(theirs[key]) + len(ours[key])):
        yield from zip(theirs[key], ours[key], strict=False)


def _explained(tokens: Sequence[Token], places: Collection[int], entries: Iterable[Entry]) -> dict[int, str]:
    """The rules of the unpaired tokens that the ledger names.

    An entry's token explains one token: first one with its context, then any of its value.
    """
    rules: dict[int, str] = {}
    named = [(token, entry.rule) for entry in entries for token in critical_tokens(readable(entry.text))]
    attached = {place for place in places if tokens[place].is_attached}
    for chosen, same in (
        (set(places), attrgetter("contexts")),
        (set(places) - attached, attrgetter("plain")),
        (attached, attrgetter("plain")),
    ):
        waiting: dict[Hashable, deque[tuple[Token, str]]] = defaultdict(deque)
        for token, rule in named:
            waiting[same(token)].append((token, rule))
        for place in sorted(chosen - rules.keys()):
            if same_value := waiting.get(same(tokens[place])):
                rules[place] = same_value.popleft()[1]
        named = [entry for left in waiting.values() for entry in left]
    return rules


def _attach(tokens: Sequence[Token], rules: dict[int, str], paired: Collection[int]) -> None:
    """Give what is attached to a number, and has no pair, the rule of its number."""
    for place, rule in sorted(rules.items()):
        for step in (1, -1):
            beside = place + step
            while beside in range(len(tokens)) and tokens[beside].is_attached and _without([beside], rules, paired):
                rules[beside] = rule
                beside += step


def _without(places: Iterable[int], *known: Container[int]) -> list[int]:
    return [place for place in places if not any(place in some for some in known)]


def _findings(
    text: str,
    tokens: Sequence[Token],
    places: Iterable[int],
    other: str,
    others: Sequence[Token],
    pairs: dict[int, int],
) -> tuple[Finding, ...]:
    """Tokens of a text, each with what the other text has after the last pair before it."""
    ends = list(accumulate((others[pairs[place]].end if place in pairs else -1 for place in range(len(tokens))), _last))
    return tuple(
        Finding(
            tokens[place].value,
            tokens[place].start,
            tokens[place].end,
            _excerpt(text, tokens[place].start, tokens[place].end),
            " ".join(other[max(ends[place] - EXCERPT, 0) : max(ends[place], 0) + EXCERPT].split()),
        )
        for place in islice(places, MOST_FINDINGS)
    )


def _last(before: int, end: int) -> int:
    return before if end < 0 else end


def _excerpt(text: str, start: int, end: int) -> str:
    return f"{text[max(start - EXCERPT, 0) : start]}»{text[start:end]}«{text[end : end + EXCERPT]}"
