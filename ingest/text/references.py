"""Numbers in brackets: references that may go, and findings that must stay.

`WBC [4-10]` and `others [4-10]` look alike. A reference that stays costs nothing, and a range that goes is lost. So
brackets go only right behind the end of a sentence in prose, as in `brain.[1]`, and where the whole document shows that
they count references: their numbers go up from 1.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

PROSE = 10
"""A line with more words than this is prose. Items, headings and cells keep what they hold."""

LINES = 3
"""Numbers that go up from 1 over as many lines count references. In fewer lines they may be points of a score."""

WIDEST = 20
"""The most references in one pair of brackets."""

NUMBER = r"[1-9]\d{0,2}[a-c]?"
GROUP = rf"\[ ?{NUMBER}(?: ?[,;–—-] ?{NUMBER})* ?\]"
RUN = re.compile(rf"{GROUP}(?: ?{GROUP})*")
PART = re.compile(r"(\d+)[a-c]?(?: ?[–—-] ?(\d+))?")
PAIR = re.compile(rf"\[ ?{NUMBER} ?[,;–—-] ?{NUMBER} ?\]")

UNITS = (
    r"(?:[mkµμn]?g|mcg|[dmµμ]?l|[cmkµμn]?m|mmhg|[mµμnp]?mol|[mµμ]?iu|kpa|m?eq|bpm|mins?|minutes?|h|hrs?|hours?|days?|"
    r"weeks?|months?|years?|yrs?|units?|points?|doses?|tablets?|drops?|times|fold|cells?|copies|per|cent)"
)
FINDING = re.compile(
    rf"(?:\b{UNITS}|\b(?:scores?|scales?|grades?|stages?|class|levels?|counts?|rates?|values?|ranges?|index|interval|normal|"
    r"of|is|was|are|were|be|at|to|than|from|about|under|over|below|above|between|or|aged?))[.,;:)\"'”’]*$",
    re.IGNORECASE,
)
"""What stands before a value: a unit, a measure, or a word that leads to a number."""

CITED = re.compile(r"[a-z]{2,}(?:[\"'”’)]*[.,;:!?]?[\"'”’)]*| ?\()$")
MEASURED = re.compile(rf"[^\W\d_]| ?(?:[%°µμ<>≤≥=±×*/+–—-]|\d|{UNITS}\b)", re.IGNORECASE)
"""What follows a value: a unit, a sign, another number, or a letter at once, as in `[18]F`."""

SENTENCE_END = re.compile(r"[a-z][)\"'”’]*[.!?][\"'”’)]*$")
SENTENCE = re.compile(r"[.!?;] ")


AHEAD = 5


class Cited(NamedTuple):
    """Brackets in prose that may count references."""

    line: int
    start: int
    end: int
    numbers: tuple[int, ...]
    text: str
    behind: bool
    """Whether it stands right behind the end of a sentence, where no finding does: `in the brain.[1]`."""


def references(lines: Sequence[str]) -> list[tuple[int, int, int]]:
    """The line, start and end of all brackets that are surely references, in order. Linear in the text's length."""
    found = [cited for at, line in enumerate(lines) if "[" in line for cited in _cited(at, line)]
    top = 0
    new: list[int] = []
    stepping: set[int] = set()
    for cited in found:
        more = [number for number in cited.numbers if number > top]
        steps = more == list(range(top + 1, top + 1 + len(more)))
        new.append(len(more) if steps else 0)
        if more and steps:
            top = more[-1]
            stepping.add(cited.line)
    counts = len(stepping) >= LINES
    points = _points(found, lines)
    sure = []
    for at, cited in enumerate(found):
        if PAIR.fullmatch(cited.text) is not None:
            goes = counts and new[at] == len(cited.numbers) and _goes_on(found[at : at + AHEAD])
        else:
            goes = cited.behind or (counts and cited.numbers[-1] <= top)
        if goes and at not in points:
            sure.append(cited[:3])
    return sure


def _cited(at: int, line: str) -> Iterator[Cited]:
    if len(line.split()) <= PROSE or "|" in line or "[0" in line:
        return
    for run in RUN.finditer(line):
        before = line[max(run.start() - 30, 0) : run.start()].removesuffix(" ")
        after = line[run.end() : run.end() + 12]
        numbers = _numbers(run[0])
        behind = SENTENCE_END.search(line, max(run.start() - 30, 0), run.start()) is not None
        cited = behind or (CITED.search(before) and not FINDING.search(before))
        if numbers and cited and not MEASURED.match(after):
            yield Cited(at, run.start(), run.end(), numbers, run[0], behind)


def _numbers(text: str) -> tuple[int, ...]:
    """The numbers in brackets, with those that a dash stands for; none where they do not go up by a few."""
    numbers: list[int] = []
    for first, last in PART.findall(text):
        low, high = int(first), int(last or first)
        if (numbers and low <= numbers[-1]) or not low <= high < low + WIDEST:
            return ()
        numbers += range(low, high + 1)
    return tuple(numbers)


def _goes_on(found: list[Cited]) -> bool:
    """Whether the next new reference follows the last of the first: where `[4]` comes later, `[4-10]` is none."""
    first, *later = found
    following = next((cited.numbers for cited in later if cited.numbers[-1] >= first.numbers[0]), ())
    return first.numbers[-1] + 1 in following and first.numbers[-1] not in following


def _points(found: list[Cited], lines: Sequence[str]) -> set[int]:
    """Places of single numbers that go up or down by one within a sentence: `none [1], to pain [2], to sound [3]`."""
    points: set[int] = set()
    row: list[int] = []
    step = 0
    for at, (before, cited) in enumerate(pairwise(found), 1):
        difference = cited.numbers[0] - before.numbers[0]
        together = (
            cited.line == before.line
            and len(cited.numbers) == len(before.numbers) == 1
            and abs(difference) == 1
            and SENTENCE.search(lines[cited.line], before.end, cited.start) is None
        )
        row = [at] if not together else [*row[-2:], at] if difference == step else [at - 1, at]
        step = difference if together else 0
        if len(row) > 2 or (together and 1 in (before.numbers[0], cited.numbers[0])):
            points.update(row)
    return points
