"""Quality rules of the field, each a reason with its measured value: C4, Gopher's words and lines, Gopher's repetition.

C4 is Raffel et al. 2020 (arXiv 1910.10683, section 2.2), Gopher is Rae et al. 2021 (arXiv 2112.11446, section A.1.1 and
table A1), FineWeb is Penedo et al. 2024 (arXiv 2406.17557). docs/cleaning.md tells what each rule drops of real text.
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, NonNegativeFloat, NonNegativeInt

from ingest.text.marks import without_marks
from ingest.text.repetition import LONGEST, ngrams, repeats
from lake.config import Settings
from lake.decision import Drop, Reason

Share = Annotated[float, Field(ge=0, le=1)]
Length = Annotated[int, Field(ge=2, le=LONGEST)]
"""Words of an n-gram."""

LineRule = Literal["javascript", "policy", "no_terminal", "few_words"]

STOP_WORDS = frozenset(("the", "be", "to", "of", "and", "that", "have", "with"))
TERMINAL = (".", "!", "?", '"', "”")
CLOSING = ")]'’»*_ "
"""What may stand after the sign that ends a line."""

BULLETS = ("- ", "* ", "• ")
ELLIPSES = ("...", "…")
POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
FEWEST_WORDS = 5
"""Words of a line that C4 keeps."""

SENTENCE_END = re.compile(r"[.!?][\"'”’)\]]{0,3}(?:\[\d[\d,;– -]{0,40}\]){0,20}(?=\s|$)")
REFERENCES = re.compile(r"(?:\[\d[\d,;– -]{0,40}\]){1,20}$")
"""Numbers of references, which may stand behind the sign that ends a sentence: “in the brain.[1][2]”."""

HEADING = re.compile(r"^#{1,6} ", re.MULTILINE)
PARAGRAPHS = re.compile(r"\n{2,}")
LETTER = re.compile(r"[^\W\d_]")


class QualitySettings(Settings):
    """What a text may be; null switches a rule off. Defaults are the published values for text of the web.

    Shares are from 0 to 1. A text is measured without the marks of a paper's format and without what they bring in, and
    without the signs of headings. Where no value is published (shares of javascript and policy lines, which C4 removes
    line by line) the default is this project's.

    Attributes:
        sentences: At least so many sentences (C4).
        curly_brackets: At most so many `{` (C4: none).
        lorem_ipsum: At most so many times "lorem ipsum" (C4: none).
        javascript_lines: At most such a share of lines with the word javascript.
        policy_lines: At most such a share of lines that speak of cookies, privacy policy or terms of use.
        terminal_lines: At least such a share of lines, headings apart, ends as a sentence does (FineWeb).
        words: At most so many words (Gopher). The least is `clean.length`.
        word_length: Mean characters of a word, from and to (Gopher).
        hashes: At most so many `#` a word (Gopher).
        ellipses: At most so many `...` a word (Gopher).
        bullet_lines: At most such a share of lines begins with a bullet (Gopher).
        ellipsis_lines: At most such a share of lines ends with `...` (Gopher).
        alphabetic_words: At least such a share of words has a letter (Gopher).
        stop_words: At least so many of the, be, to, of, and, that, have, with occur (Gopher).
        duplicate_lines: At most such a share of lines stands earlier as well (Gopher, as the seven that follow).
        duplicate_line_characters: Likewise of the characters in lines.
        duplicate_paragraphs: At most such a share of paragraphs stands earlier as well.
        duplicate_paragraph_characters: Likewise of the characters in paragraphs.
        top_ngrams: By n, the largest share of characters in the most frequent n-gram of words.
        duplicate_ngrams: By n, the largest share of characters in n-grams that stand earlier as well.
        remove_lines: Lines to take out, C4's rules: those with the word javascript, those that speak of policies, those
            that end as no sentence does, those of fewer than five words. Headings and the title stay. None by default,
            for a dosing table or a list would go.
    """

    sentences: NonNegativeInt | None = 3
    curly_brackets: NonNegativeInt | None = 0
    lorem_ipsum: NonNegativeInt | None = 0
    javascript_lines: Share | None = 0.1
    policy_lines: Share | None = 0.1
    terminal_lines: Share | None = 0.12
    words: NonNegativeInt | None = 100_000
    word_length: tuple[float, float] | None = (3.0, 10.0)
    hashes: NonNegativeFloat | None = 0.1
    ellipses: NonNegativeFloat | None = 0.1
    bullet_lines: Share | None = 0.9
    ellipsis_lines: Share | None = 0.3
    alphabetic_words: Share | None = 0.8
    stop_words: NonNegativeInt | None = 2
    duplicate_lines: Share | None = 0.3
    duplicate_line_characters: Share | None = 0.2
    duplicate_paragraphs: Share | None = 0.3
    duplicate_paragraph_characters: Share | None = 0.2
    top_ngrams: dict[Length, Share] | None = Field(default={2: 0.20, 3: 0.18, 4: 0.16})
    duplicate_ngrams: dict[Length, Share] | None = Field(
        default={5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
    )
    remove_lines: tuple[LineRule, ...] = ()


OFF = dict.fromkeys(("curly_brackets", "sentences", "terminal_lines", "bullet_lines", "words"))
DOMAIN: dict[str, Any] = OFF | {
    "alphabetic_words": 0.5,
    "duplicate_lines": None,
    "duplicate_line_characters": 0.5,
    "duplicate_paragraphs": None,
    "duplicate_paragraph_characters": 0.5,
    "top_ngrams": {2: 0.3, 3: 0.35, 4: 0.35},
    "duplicate_ngrams": {5: 0.65, 10: 0.6},
}
"""Of medical text: what drops no document of the real corpora that is worth reading, and still drops what repeats
itself from end to end. Lists and dosing tables have figures and no sentences, reference texts say things twice."""

DEFAULTS: dict[str, dict[str, Any]] = {"guidelines": DOMAIN, "papers": DOMAIN, "abstracts": DOMAIN}
"""Settings by corpus. Replay is to be what the base model has seen, so it has none."""


def by_corpus(given: Any) -> Any:
    """What a config gives, laid over DEFAULTS; a corpus that it switches off (null, false or `off`) gets None."""
    if not isinstance(given, dict):
        return given
    merged: dict[Any, Any] = DEFAULTS | given
    for corpus, own in given.items():
        if isinstance(own, dict):
            merged[corpus] = DEFAULTS.get(corpus, {}) | own
        elif own is False:
            merged[corpus] = None
    return merged


class Rule(NamedTuple):
    """One rule's measured value and its bounds; None is no bound."""

    name: str
    reason: Reason
    value: float
    least: float | None
    most: float | None
    detail: str = ""

    @property
    def drop(self) -> Drop | None:
        value = round(self.value, 4)
        if self.least is not None and self.value < self.least:
            return Drop(self.reason, f"{self.name}={value:g}, at least {self.least:g}{self.detail}", value)
        if self.most is not None and self.value > self.most:
            return Drop(self.reason, f"{self.name}={value:g}, at most {self.most:g}{self.detail}", value)
        return None


def verdict(body: str, settings: QualitySettings) -> Drop | None:
    """The first rule that a body breaks, cheap ones first; None where it breaks none."""
    return next((drop for rule in rules(body, settings) if (drop := rule.drop) is not None), None)


def rules(body: str, settings: QualitySettings) -> Iterator[Rule]:
    """Rules, cheap ones first, measured when they are asked for; of n-grams those that can still be broken.

    A body without words has none.
    """
    prose = without_marks(body)
    headings = len(HEADING.findall(prose))
    prose = HEADING.sub("", prose)
    words = prose.split()
    if not words:
        return
    lines = [line for one in prose.split("\n") if (line := one.strip())]
    yield from _signs(prose, words, settings)
    yield from _lines(lines, headings, settings)
    yield from _words(prose, words, settings)
    yield from _repetition(prose, lines, words, settings)


def _signs(prose: str, words: list[str], to: QualitySettings) -> Iterator[Rule]:
    lower = prose.lower()
    yield Rule("words", Reason.TOO_LONG, len(words), None, to.words)
    yield Rule("curly_brackets", Reason.CURLY_BRACKET, prose.count("{"), None, to.curly_brackets)
    yield Rule("lorem_ipsum", Reason.LOREM_IPSUM, lower.count("lorem ipsum"), None, to.lorem_ipsum)
    yield Rule("hashes", Reason.SYMBOLS, prose.count("#") / len(words), None, to.hashes)
    ellipses = sum(map(prose.count, ELLIPSES))
    yield Rule("ellipses", Reason.SYMBOLS, ellipses / len(words), None, to.ellipses)


def _lines(lines: list[str], headings: int, to: QualitySettings) -> Iterator[Rule]:
    count = len(lines)
    bullets = sum(line.startswith(BULLETS) for line in lines)
    yield Rule("bullet_lines", Reason.BULLET_LINES, bullets / count, None, to.bullet_lines)
    cut = sum(line.endswith(ELLIPSES) for line in lines)
    yield Rule("ellipsis_lines", Reason.ELLIPSIS_LINES, cut / count, None, to.ellipsis_lines)
    lower = [line.lower() for line in lines]
    scripts = sum("javascript" in line for line in lower)
    yield Rule("javascript_lines", Reason.JAVASCRIPT_LINES, scripts / count, None, to.javascript_lines)
    policies = sum(any(phrase in line for phrase in POLICY) for line in lower)
    yield Rule("policy_lines", Reason.POLICY_LINES, policies / count, None, to.policy_lines)
    # Headings end without a sign and stand apart, so they are counted off.
    ended = sum(map(_ends, lines)) / max(count - headings, 1)
    yield Rule("terminal_lines", Reason.NO_TERMINAL_PUNCTUATION, min(ended, 1.0), to.terminal_lines, None)


def _words(prose: str, words: list[str], to: QualitySettings) -> Iterator[Rule]:
    count, different = len(words), Counter(words)
    least, most = to.word_length or (None, None)
    yield Rule("word_length", Reason.WORD_LENGTH, sum(map(len, words)) / count, least, most)
    lettered = sum(n for word, n in different.items() if LETTER.search(word))
    yield Rule("alphabetic_words", Reason.FEW_ALPHABETIC_WORDS, lettered / count, to.alphabetic_words, None)
    stops = len(STOP_WORDS.intersection(map(str.lower, different)))
    yield Rule("stop_words", Reason.FEW_STOP_WORDS, stops, to.stop_words, None)
    yield Rule("sentences", Reason.FEW_SENTENCES, len(SENTENCE_END.findall(prose)), to.sentences, None)


def _repetition(prose: str, lines: list[str], words: list[str], to: QualitySettings) -> Iterator[Rule]:
    count, characters = repeats(lines)
    yield Rule("duplicate_lines", Reason.DUPLICATE_LINES, count, None, to.duplicate_lines)
    limit = to.duplicate_line_characters
    yield Rule("duplicate_line_characters", Reason.DUPLICATE_LINES, characters, None, limit)
    count, characters = repeats([one for found in PARAGRAPHS.split(prose) if (one := found.strip())])
    yield Rule("duplicate_paragraphs", Reason.DUPLICATE_PARAGRAPHS, count, None, to.duplicate_paragraphs)
    limit = to.duplicate_paragraph_characters
    yield Rule("duplicate_paragraph_characters", Reason.DUPLICATE_PARAGRAPHS, characters, None, limit)
    tops, duplicates = to.top_ngrams or {}, to.duplicate_ngrams or {}
    if not tops and not duplicates:
        return
    for found in ngrams(words):
        n = found.n
        if n in tops:
            yield Rule(f"top_{n}_gram", Reason.TOP_NGRAM, found.top, None, tops[n], f": {found.quote}")
        if n in duplicates:
            yield Rule(f"duplicate_{n}_grams", Reason.DUPLICATE_NGRAMS, found.repeats, None, duplicates[n])
        # What lies in repeated n-grams lies in repeated shorter ones: where it is little now it will not be more.
        later = [share for longer, share in duplicates.items() if longer > n]
        if n >= max(tops, default=0) and found.repeats <= min(later, default=1.0):
            return


def _ends(line: str) -> bool:
    if line.endswith("]"):
        line = REFERENCES.sub("", line)
    return line.rstrip(CLOSING).endswith(TERMINAL) or line.endswith(TERMINAL)


def keep_lines(body: str, which: tuple[LineRule, ...]) -> tuple[str, dict[LineRule, int]]:
    """A body without the lines that rules of `which` forbid, and how many each took. Headings and blank lines stay."""
    taken: dict[LineRule, int] = {}
    kept = []
    for line in body.split("\n"):
        rule = next((one for one in which if line.strip() and not HEADING.match(line) and _forbids(one, line)), None)
        if rule is None:
            kept.append(line)
        else:
            taken[rule] = taken.get(rule, 0) + 1
    return "\n".join(kept), taken


def _forbids(rule: LineRule, line: str) -> bool:
    if rule == "javascript":
        return "javascript" in line.lower()
    if rule == "policy":
        return any(phrase in line.lower() for phrase in POLICY)
    if rule == "no_terminal":
        return not _ends(without_marks(line).strip())
    return len(line.split()) < FEWEST_WORDS
