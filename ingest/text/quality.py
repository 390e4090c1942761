"""Quality rules of the field, each with its reason and the value it measures: C4, Gopher's words, lines and repetition.

C4 is Raffel et al. 2020 (arXiv 1910.10683, section 2.2), Gopher is Rae et al. 2021 (arXiv 2112.11446, section A.1.1 and
table A1), FineWeb is Penedo et al. 2024 (arXiv 2406.17557). docs/cleaning.md says what each rule drops of real text.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, Field

from ingest.text.language import CORPORA
from ingest.text.marks import without_marks
from ingest.text.repetition import LONGEST, Ngrams, ngrams, repeats
from ingest.text.tables import Parts, parts, words_of
from lake import values
from lake.config import Settings
from lake.decision import Drop, Reason


def _in_order(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError(f"the least, {bounds[0]:g}, is above the most, {bounds[1]:g}")
    return bounds


Count = values.CountOrNone | None
Rate = values.NotNegative | None
Share = values.Share | None
Range = Annotated[tuple[values.NotNegative, values.NotNegative], AfterValidator(_in_order)] | None
SharesByLength = dict[Annotated[int, Field(ge=2, le=LONGEST)], values.Share] | None
"""By the number of words of an n-gram."""

STOP_WORDS = frozenset(("the", "be", "to", "of", "and", "that", "have", "with"))
TERMINAL = (".", "!", "?", '"', "”")
CLOSING = ")]'’»*_ "
"""What may follow the sign that ends a line."""

BULLETS = ("- ", "* ", "• ")
ELLIPSES = ("...", "…")
POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
FEWEST_WORDS = 5
"""C4 keeps lines from this number of words on."""

SENTENCE_END = re.compile(r"[.!?][\"'”’)\]]{0,3}(?:\[\d[\d,;– -]{0,40}\]){0,20}(?=\s|$)")
REFERENCES = re.compile(r"(?:\[\d[\d,;– -]{0,40}\]){1,20}$")
"""Numbers of references may follow the sign that ends a sentence: “in the brain.[1][2]”."""

HEADING = re.compile(r"^#{1,6} ", re.MULTILINE)
SECTION = re.compile(r"^#{1,6} .*$", re.MULTILINE)
PARAGRAPHS = re.compile(r"\n{2,}")
LETTER = re.compile(r"[^\W\d_]")


class Text:
    """A body as rules measure it: `prose` has no marks of a paper's format, none of what they bring in, and no signs of
    headings. `words` are the author's: without borders of cells and the signs of items.
    """

    def __init__(self, body: str) -> None:
        marked = without_marks(body)
        self.headings = len(HEADING.findall(marked))
        self.prose = HEADING.sub("", marked)
        self.lines = [bare for line in self.prose.split("\n") if (bare := line.strip())]
        self.words = [word for line in self.lines for word in words_of(line)]
        self._marked = marked
        self._ngrams: list[Ngrams] = []
        self._more_ngrams = ngrams(self.words)

    def per_word(self, *signs: str) -> float:
        return sum(map(self.prose.count, signs)) / len(self.words)

    def of_lines(self, holds: Callable[[str], bool]) -> float:
        return sum(map(holds, self.lines)) / len(self.lines)

    def junk(self, rule: "LineRule") -> float:
        """The share of lines that show a page to be no content. One such line below a table is the page's footer."""
        lines = sum(map(LINE_RULES[rule], self.lines))
        return (lines - self.of_tables) / len(self.lines) if lines else 0.0

    @cached_property
    def _parts(self) -> Parts:
        return parts(self._marked)

    @property
    def of_tables(self) -> bool:
        return self._parts.of_tables

    @cached_property
    def without_tables(self) -> "Text | None":
        """The prose by itself; None where rows and items have more words than it, or it has none."""
        prose, listed = self._parts
        if self.of_tables:
            return None
        if not listed:
            return self
        text = Text("\n\n".join(prose))
        return text if text.words else None

    @cached_property
    def different(self) -> Counter[str]:
        return Counter(self.words)

    @cached_property
    def repeated_lines(self) -> tuple[float, float]:
        """In tables a row may recur below another heading, where it tells of something else."""
        if not self.of_tables:
            return repeats(self.lines)
        sections = SECTION.split(self._marked)
        return repeats(*([bare for line in part.split("\n") if (bare := line.strip())] for part in sections))

    @cached_property
    def repeated_paragraphs(self) -> tuple[float, float]:
        return repeats([bare for paragraph in PARAGRAPHS.split(self.prose) if (bare := paragraph.strip())])

    def ngrams(self) -> Iterator[Ngrams]:
        """The repeated n-grams, short ones first, counted only as far as needed."""
        yield from self._ngrams
        for grams in self._more_ngrams:
            self._ngrams.append(grams)
            yield grams


class Check(NamedTuple):
    """One bound to hold a text against, of `n`-grams where `n` is not 0; `measure` may add a quote for the evidence.

    Without `tables` it is for prose, and rows of tables and items of lists break it for nobody.
    """

    name: str
    reason: Reason
    least: float | None
    most: float | None
    measure: Callable[[Text], float | tuple[float, str]]
    n: int = 0
    tables: bool = False


class Measure(NamedTuple):
    """What a check measured, and the drop where that breaks its bound."""

    name: str
    value: float
    drop: Drop | None


WEB: Any = object()


@dataclass(frozen=True)
class Rule:
    """How a text is measured for the bound in a field of QualitySettings.

    Attributes:
        measure: Measures a text, or a text, n and the bound where there is one by n.
        reason: Why a text that breaks the bound is dropped. By default it is the reason named like the field.
        least: Whether the bound is the least value. Otherwise it is the most, and a pair is both.
        tables: Whether it judges tables and lists, too, because it finds what no content is. The other rules are made
            for prose.
        medical: The bound for medical corpora, where it is not the one for the web.
    """

    measure: Callable[..., float | tuple[float, str]]
    reason: Any = None
    least: bool = False
    tables: bool = False
    medical: Any = WEB

    def checks(self, key: str, bound: Any) -> Iterator[Check]:
        if isinstance(bound, dict):
            for n, most in bound.items():
                measure = partial(self.measure, n=n, most=most)
                yield Check(f"{key}.{n}", self.reason, None, most, measure, n, self.tables)
        elif bound is not None:
            least, most = bound if isinstance(bound, tuple) else (bound, None) if self.least else (None, bound)
            yield Check(key, self.reason, least, most, self.measure, tables=self.tables)


def _ends(line: str) -> bool:
    if line.endswith("]"):
        line = REFERENCES.sub("", line)
    return line.rstrip(CLOSING).endswith(TERMINAL) or line.endswith(TERMINAL)


def _ended(text: Text) -> float:
    # Headings end without a sign and stand apart, so they are not counted.
    return min(sum(map(_ends, text.lines)) / max(len(text.lines) - text.headings, 1), 1.0)


def _lettered(text: Text) -> float:
    return sum(n for word, n in text.different.items() if LETTER.search(word)) / len(text.words)


def _stops(text: Text) -> float:
    return len(STOP_WORDS.intersection(map(str.lower, text.different)))


def _sentences(text: Text) -> float:
    return len(SENTENCE_END.findall(text.prose))


def _top(text: Text, n: int, most: float) -> tuple[float, str]:
    return next(((grams.top, grams.quote) for grams in text.ngrams() if grams.n == n), (0.0, ""))


def _repeated(text: Text, n: int, most: float) -> tuple[float, str]:
    # Repeated n-grams lie within repeated shorter ones: where these are few enough, the longer ones are too.
    enough = (grams.repeats for grams in text.ngrams() if grams.n == n or grams.repeats <= most)
    return next(enough, 0.0), ""


LineRule = Literal["javascript", "policy", "no_terminal", "few_words"]
LINE_RULES: dict[LineRule, Callable[[str], bool]] = {
    "javascript": lambda line: "javascript" in line.lower(),
    "policy": lambda line: any(phrase in line.lower() for phrase in POLICY),
    "no_terminal": lambda line: not _ends(without_marks(line).strip()),
    "few_words": lambda line: len(line.split()) < FEWEST_WORDS,
}


class QualitySettings(Settings):
    """What a text may be; null switches a rule off. Defaults are the published values for text of the web.

    Shares are from 0 to 1. Where no value is published (shares of javascript and policy lines, which C4 removes line by
    line) the default is this project's. The first rule that a text breaks drops it, so cheap ones come first. Medical
    bounds drop no document of the real corpora that is worth reading, but still drop what repeats itself from end to
    end, for reference texts say things twice.

    Most rules are made for prose. A text breaks them only if its prose alone does, too, and one with more words in rows
    of tables and items of lists than in prose breaks none of them: it has figures and no sentences. Rules with `tables`
    judge all text.
    """

    words: Annotated[Count, Rule(lambda text: len(text.words), Reason.TOO_LONG, tables=True, medical=None)] = 100_000
    """The most words (Gopher). The least is `clean.length`."""
    curly_brackets: Annotated[
        Count, Rule(lambda text: text.prose.count("{"), Reason.CURLY_BRACKET, tables=True, medical=None)
    ] = 0
    """The most `{` (C4: none)."""
    lorem_ipsum: Annotated[Count, Rule(lambda text: text.prose.lower().count("lorem ipsum"), tables=True)] = 0
    """The most times that "lorem ipsum" occurs (C4: none)."""
    hashes: Annotated[Rate, Rule(lambda text: text.per_word("#"), Reason.SYMBOLS)] = 0.1
    """The most `#` per word (Gopher)."""
    ellipses: Annotated[Rate, Rule(lambda text: text.per_word(*ELLIPSES), Reason.SYMBOLS)] = 0.1
    """The most `...` per word (Gopher)."""
    bullet_lines: Annotated[
        Share, Rule(lambda text: text.of_lines(lambda line: line.startswith(BULLETS)), tables=True, medical=None)
    ] = 0.9
    """The largest share of lines that begin with a bullet (Gopher)."""
    ellipsis_lines: Annotated[Share, Rule(lambda text: text.of_lines(lambda line: line.endswith(ELLIPSES)))] = 0.3
    """The largest share of lines that end with `...` (Gopher)."""
    javascript_lines: Annotated[Share, Rule(lambda text: text.junk("javascript"), tables=True)] = 0.1
    """The largest share of lines with the word javascript."""
    policy_lines: Annotated[Share, Rule(lambda text: text.junk("policy"), tables=True)] = 0.1
    """The largest share of lines about cookies, a privacy policy or terms of use."""
    terminal_lines: Annotated[Share, Rule(_ended, Reason.NO_TERMINAL_PUNCTUATION, least=True, medical=None)] = 0.12
    """The least share of lines, headings apart, that end like a sentence (FineWeb)."""
    word_length: Annotated[Range, Rule(lambda text: sum(map(len, text.words)) / len(text.words))] = (3.0, 10.0)
    """The least and the most characters of a word on average (Gopher)."""
    alphabetic_words: Annotated[Share, Rule(_lettered, Reason.FEW_ALPHABETIC_WORDS, least=True, medical=0.5)] = 0.8
    """The least share of words that have a letter (Gopher)."""
    stop_words: Annotated[Count, Rule(_stops, Reason.FEW_STOP_WORDS, least=True)] = 2
    """How many of the, be, to, of, and, that, have, with occur at least (Gopher)."""
    sentences: Annotated[Count, Rule(_sentences, Reason.FEW_SENTENCES, least=True, medical=None)] = 3
    """The least sentences (C4)."""
    duplicate_lines: Annotated[Share, Rule(lambda text: text.repeated_lines[0], tables=True, medical=None)] = 0.3
    """The largest share of lines that occurred before in the text (Gopher, like the five that follow)."""
    duplicate_line_characters: Annotated[
        Share, Rule(lambda text: text.repeated_lines[1], Reason.DUPLICATE_LINES, tables=True, medical=0.5)
    ] = 0.2
    """The largest share of characters in such lines."""
    duplicate_paragraphs: Annotated[Share, Rule(lambda text: text.repeated_paragraphs[0], medical=None)] = 0.3
    """The largest share of paragraphs that occurred before in the text."""
    duplicate_paragraph_characters: Annotated[
        Share, Rule(lambda text: text.repeated_paragraphs[1], Reason.DUPLICATE_PARAGRAPHS, medical=0.5)
    ] = 0.2
    """The largest share of characters in such paragraphs."""
    top_ngrams: Annotated[SharesByLength, Rule(_top, Reason.TOP_NGRAM, medical={2: 0.3, 3: 0.35, 4: 0.35})] = Field(
        default={2: 0.20, 3: 0.18, 4: 0.16}
    )
    """By n, the largest share of characters in the most frequent n-gram of words."""
    duplicate_ngrams: Annotated[SharesByLength, Rule(_repeated, medical={5: 0.65, 10: 0.6})] = Field(
        default={5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
    )
    """By n, the largest share of characters in n-grams that occurred before in the text."""
    remove_lines: tuple[LineRule, ...] = ()
    """Lines to take out, by C4's rules: those with the word javascript, about policies, that end unlike a sentence, or
    of fewer than five words. Headings and the title stay. None by default, for a dosing table or a list would go."""


@cache
def rules_of(settings: type[QualitySettings]) -> dict[str, Rule]:
    """The rules of the fields, in order, each with its reason."""
    return {
        key: replace(rule, reason=rule.reason or Reason(key))
        for key, field in settings.model_fields.items()
        for rule in field.metadata
        if isinstance(rule, Rule)
    }


MEDICAL = {key: rule.medical for key, rule in rules_of(QualitySettings).items() if rule.medical is not WEB}
DEFAULTS: dict[str, dict[str, Any]] = dict.fromkeys(CORPORA, MEDICAL)
"""Settings by corpus. Replay must be like what the base model saw, so it has none."""


def by_corpus(settings: Any) -> Any:
    """The `quality` of a config, laid over DEFAULTS; a corpus that is switched off (null, false or `off`) is None."""
    if not isinstance(settings, dict):
        return settings
    merged: dict[Any, Any] = DEFAULTS | settings
    for corpus, changes in settings.items():
        if isinstance(changes, dict):
            merged[corpus] = DEFAULTS.get(corpus, {}) | changes
        elif changes in (False, "off"):
            merged[corpus] = None
    return merged


def verdict(body: str, settings: QualitySettings) -> Drop | None:
    """The first rule that a body breaks; None where it breaks none."""
    return next((measure.drop for measure in measures(body, settings) if measure.drop is not None), None)


def measures(body: str, settings: QualitySettings) -> Iterator[Measure]:
    """The rules in order, those of n-grams last and short n-grams first, each measured when it is asked for.

    A body without words has none.
    """
    text = Text(body)
    if not text.words:
        return
    rules = rules_of(type(settings)).items()
    checks = [check for key, rule in rules for check in rule.checks(key, getattr(settings, key))]
    for check in sorted(checks, key=lambda check: check.n):
        value, drop = _held(check, text)
        if drop is not None and not check.tables:
            prose = text.without_tables
            if prose is None:
                drop = None
            elif prose is not text:
                value, drop = _held(check, prose)
        yield Measure(check.name, value, drop)


def _held(check: Check, text: Text) -> tuple[float, Drop | None]:
    """A text's value, and the drop where that breaks the bound."""
    measured = check.measure(text)
    value, quote = measured if isinstance(measured, tuple) else (measured, "")
    if check.least is not None and value < check.least:
        bound = f"at least {check.least:g}"
    elif check.most is not None and value > check.most:
        bound = f"at most {check.most:g}"
    else:
        return value, None
    score = round(value, 4)
    return value, Drop(check.reason, f"{check.name}={score:g}, {bound}{quote and f': {quote}'}", score)


def keep_lines(body: str, which: tuple[LineRule, ...]) -> tuple[str, dict[LineRule, int]]:
    """A body without the lines that the rules `which` forbid, and how many each took. Headings and blank lines stay."""
    taken: dict[LineRule, int] = {}
    kept = []
    for line in body.split("\n"):
        judged = line.strip() and not HEADING.match(line)
        rule = next((name for name in which if LINE_RULES[name](line)), None) if judged else None
        if rule is None:
            kept.append(line)
        else:
            taken[rule] = taken.get(rule, 0) + 1
    return "\n".join(kept), taken
