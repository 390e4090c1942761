"""Critical tokens: what a clinical text must not lose, as a sequence with places."""

import re
from dataclasses import dataclass
from typing import Final

from ingest.text.legible import legible
from lake.marks import FORMAT_TOKENS

CONTEXT: Final = 8
"""Letters and digits on each side by which two tokens of one value are told apart."""

NEAR: Final = 40
"""Characters on each side of a token that may hold its context."""

DASH = r"\-‐‑‒–—−"

UNIT = (
    r"(?:[cdkmnpfµμ]?(?:g|l|L|m|s|mol|moles?|Pa|Hz|V|J|Gy|Sv|Bq|cal|Da|U|Eq|osm|Osm)|[mnpµμ]M|mcg|mmHg|IU|bpm|ppm|ppb|rpm|"
    r"min(?:ute)?s?|h(?:ou)?rs?|h|d(?:ays?)?|weeks?|wks?|months?|years?|yrs?|bar|Torr|bp|kb|cc|ft|lb|oz)"
)

TOKEN = re.compile(
    rf"""
    (?P<polarity> \( \s? [+{DASH}]+ \s? \) | (?<!\w)(?i:
        not|no|never|none|neither|nor|without|cannot|except|avoid|unless|contra-?indicat(?:ed|ions?) )(?!\w) )
  | (?P<number> (?: (?<=\d) \^ [+{DASH}]? )? \d+ (?:,\d{{3}}(?!\d))* (?:[.·]\d+)* )
    (?: [\s{DASH}]{{0,3}} (?P<unit> {UNIT} (?: /(?:\d+\s?)? {UNIT} )* (?= \^? [{DASH}]? \d | (?! \^? \w) ) ) )?
  | (?P<slash> (?<=\d) \s? [/⁄∕] \s? (?=\d) )
  | (?P<range> (?<=[\d%]) \s? [{DASH}] \s? (?=[\d<>≤≥]) )
  | (?P<minus> (?<!\d) [{DASH}] (?=\.?\d) | (?<=[A-Z\d^]) [{DASH}] (?!\w) )
  | (?P<sign> [+<>≤≥≦≧⩽⩾≠≈≅~±∓×÷√∞%‰°µ←-⇿∀-⋿¼-¾⅐-⅞²³¹⁰-⁹₀-₉✓✔✗✘α-ωΑ-Ωϑϕϖ] )
    """,
    re.VERBOSE,
)

ATTACHED = frozenset(["unit", "slash", "range", "minus"])
CANONICAL = str.maketrans(dict.fromkeys(DASH[1:], "-") | {"μ": "µ", "⁄": "/", "∕": "/", "⩽": "≤", "⩾": "≥"})
MARKS = re.compile("|".join(map(re.escape, FORMAT_TOKENS)))
LAYOUT = re.compile(rf"^[ \t]*(?:#{{1,6}}|[*•·{DASH}])[ \t]+|(?<=[ \t])\|(?=[ \t])", re.MULTILINE)
"""Signs of headings, items and cells."""
SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Token:
    """A critical token: its value in canonical form, its place in the text, and the letters around it."""

    value: str
    start: int
    end: int
    before: str
    after: str
    is_attached: bool
    """It is a unit, or a sign before or between numbers, and goes where its number goes."""

    @property
    def contexts(self) -> tuple[tuple[str, ...], ...]:
        """The value with its context on both sides, on the right, and on the left."""
        return (self.value, self.before, self.after), (self.value, self.after), (self.before, self.value)

    @property
    def plain(self) -> str:
        """The value without the sign of a power, which may be only raised text."""
        return self.value.lstrip("^")


def readable(text: str) -> str:
    """A text as tokens are taken from it: legible, on one line, without marks and signs of layout."""
    return SPACE.sub(" ", legible(LAYOUT.sub(" ", MARKS.sub(" ", text)))).strip()


def critical_tokens(text: str) -> list[Token]:
    """The critical tokens of a `readable` text, in order.

    They are numbers, units after numbers, signs before numbers and between them (ranges, fractions, powers), signs of
    comparison, percent, degree and other mathematical signs, Greek letters, `(+)` and `(-)`, and words of negation.
    """
    spans = (
        (kind, match.span(kind))
        for match in TOKEN.finditer(text)
        for kind in ("polarity", "number", "unit", "slash", "range", "minus", "sign")
        if match[kind]
    )
    return [_token(text, kind, *span) for kind, span in spans]


def _token(text: str, kind: str, start: int, end: int) -> Token:
    value = SPACE.sub("", text[start:end]).translate(CANONICAL)
    before = "".join(filter(str.isalnum, text[max(start - NEAR, 0) : start]))[-CONTEXT:]
    after = "".join(filter(str.isalnum, text[end : end + NEAR]))[:CONTEXT]
    return Token(value.lower() if kind == "polarity" else value, start, end, before, after, kind in ATTACHED)
