"""The format of a paper's text, the same for all sources.

The format is MEDITRON's (arXiv 2311.16079): `# ` before a main section heading and `## ` before any other; in-text
citations as `[bib_ref] title cut to 12 words, first author's last name [/bib_ref]`, in-text figure and table references
as `[fig_ref] Figure 3: caption cut to 12 words [/fig_ref]`, captions as `[fig] … [/fig]` and `[table] … [/table]`,
formulae as `[formula] … [/formula]`.

While a text is made, other signs stand for the brackets of marks, so that a `[fig]` of the authors is not a mark.
"""

import re
from collections.abc import Iterable

from ingest.text.legible import legible
from ingest.text.marks import MARK, break_marks

WORDS = 12
LONGEST_RANGE = 50
DASHES = {"-", "–", "—", "−"}

NUMBER = re.compile(r"[A-Z]?\d[\w.–,-]*\w|[A-Z]?\d")
UNITS = r"(?:[mknµμ]?mol|[mcnµμ]g|kg|mL|ml|dl|dL|IU|mmHg|[mcn]m|mM|hours?|days?|weeks?|months?|years?|min)\b"
MORE = re.compile(
    rf"[<>=≤≥±%µμ°]|\d\s?{UNITS}|\d\s[ghlLU]\b|\b(?i:not|no(?!\.)|never|without|avoid|contra-?indicated)\b"
)
SEPARATOR = r"[\s,;–—−-]*"
GONE = "\ue000"
"""Stands for an unresolved citation until `tidy` removes it, with what separates it from the next citation."""

NOTE = "\ue001"
"""Stands for a sign that pointed to a note, or for struck out text, until `tidy` removes it."""

OPEN, CLOSE = "\U000e0001", "\U000e007f"
"""Stand for the brackets of marks until `finished` writes these."""

SIGNS = re.compile(f"[{GONE}{NOTE}{OPEN}{CLOSE}]")
BIB, END_BIB = f"{OPEN}bib_ref{CLOSE}", f"{OPEN}/bib_ref{CLOSE}"
FIG = f"{OPEN}fig_ref{CLOSE}"
CITED = rf"(?:{GONE}|{BIB} (?:(?!{OPEN}/?bib_ref{CLOSE}).)* {END_BIB})"

TIDY: tuple[tuple[str, re.Pattern[str], str], ...] = (
    ("", re.compile(r"\s+"), " "),
    (NOTE, re.compile(rf"[(\[][\s,]*{NOTE}(?:[\s,]*{NOTE})*[\s,]*[)\]]"), NOTE),
    (NOTE, re.compile(rf"(?<=\d){NOTE}+(?=[.,·]?\d)"), " "),
    (NOTE, re.compile(NOTE), ""),
    # Separators between citations, and brackets that hold only citations. A dash before or after them is a sign.
    (GONE, re.compile(rf"{GONE}{SEPARATOR}(?={GONE}|{BIB})"), ""),
    (GONE, re.compile(rf"({END_BIB}){SEPARATOR}{GONE}"), r"\1"),
    (BIB, re.compile(rf"[\[(][\s,;]*({CITED}(?:{SEPARATOR}{CITED})*)[\s,;]*[\])]"), r"\1"),
    (GONE, re.compile(rf"[\[(][\s,;]*{GONE}[\s,;]*[\])]"), GONE),
    (END_BIB, re.compile(rf"({END_BIB}){SEPARATOR}(?={BIB})"), r"\1 "),
    # What separates a citation from the bracket, comma or full stop beside it.
    (BIB, re.compile(rf"(?<=[(\[])[\s,;]+(?={BIB})"), ""),
    (END_BIB, re.compile(rf"({END_BIB})(?:[\s,;]+(?=[)\]]|\.(?:\s|$))|\s?,(?=\s?,))"), r"\1"),
    (GONE, re.compile(rf"(?<=[(\[]){GONE}[\s,;]+"), ""),
    (GONE, re.compile(rf"(?<![\s,;])[\s,;]+{GONE}\s?(?=[)\]]|\.(?:\s|$))"), ""),
    (GONE, re.compile(rf",\s?{GONE}\s?(?=,)"), ""),
    (GONE, re.compile(rf"(?<=\w){GONE}(?=[.,·]?\d)|(?<=\d[.,·]){GONE}(?=\d)|(?<=\w){GONE}(?=\w)"), " "),
    (GONE, re.compile(rf"\s?{GONE}(?=\s|$)|{GONE}"), ""),
    # "Table [fig_ref] Table 2: …" says it twice.
    (FIG, re.compile(rf"\b(?:Fig(?:ure)?s?|Tables?)\b\.?\s*(?={FIG})", re.IGNORECASE), ""),
    (CLOSE, re.compile(rf"({OPEN}/(?:bib_ref|fig_ref|formula){CLOSE})(?=[\w(])"), r"\1 "),
    (OPEN, re.compile(rf"(?<=[^\s(\[“‘/—–-])({OPEN}(?:bib_ref|fig_ref|formula){CLOSE})"), r" \1"),
)
"""What citations leave behind. Applied in order, each only where its first string occurs, which saves half the time.
None scans a run of characters from more than one start, so all are linear."""

BLANKS: tuple[tuple[re.Pattern[str], str], ...] = (
    # `( 5 mg )`, but not `( - )` or `[ ]`, which may be a result or a box to tick.
    (re.compile(r"([(\[])\s(?![\s,;:–—−-]*[)\]])"), r"\1"),
    (re.compile(r"(?<![\s,;:–—−(\[-])\s(?=[)\]])"), ""),
    # `so .`, but not `1 : 1000`.
    (re.compile(r"(?!(?<=\d)\s[.,:]\s\d)(?<![(\[])\s([,.;:!?])(?=\s|$)"), r"\1"),
)
"""Blanks that typesetting leaves inside brackets and before punctuation."""


def cut(text: str, words: int = WORDS) -> str:
    return " ".join(text.split()[:words]).rstrip(".,;:")


def tidy(text: str) -> str:
    """Running text on one line, without the brackets and separators around citations."""
    for needed, pattern, replacement in TIDY:
        if needed in text:
            text = pattern.sub(replacement, text)
    return spaced(text)


def spaced(text: str) -> str:
    """Text on one line, without the blanks that typesetting leaves inside brackets and before punctuation."""
    text = " ".join(text.split())
    for pattern, replacement in BLANKS:
        text = pattern.sub(replacement, text)
    return text


def foreign(text: str) -> str:
    """The authors' text with U+FFFD for the signs that have a meaning here. Its length stays."""
    return SIGNS.sub("\ufffd", text)


def pair(name: str, text: str) -> str:
    """A text between its two marks."""
    return f"{OPEN}{name}{CLOSE} {text} {OPEN}/{name}{CLOSE}"


def finished(text: str) -> str:
    """A text with its marks written out. What looks like a mark but is the authors' becomes plain words."""
    if "[" in text:
        # `clean` makes a text legible, which could leave a mark.
        shown = legible(text)
        text, _ = break_marks(shown if MARK.search(shown) else text)
    return text.replace(OPEN, "[").replace(CLOSE, "]")


def under(heading: str, blocks: Iterable[str]) -> list[str]:
    """A heading and its blocks. A section without text gets no heading."""
    blocks = list(blocks)
    return [heading, *blocks] if blocks else []


def citation(title: str, name: str) -> str:
    """`title cut to 12 words, last name` of a cited work, or nothing without a title."""
    short = cut(title)
    return f"{short}, {name}" if short and name else short


def named(label: str, word: str) -> str:
    """The label of a figure or table, such as `Figure 3`: with `word`, unless the label has another name."""
    label = label.rstrip(".: ")
    number = NUMBER.search(label)
    if not number:
        return label
    name = label[: number.start()].strip(" .")
    if name and name.lower() not in {"fig", "figure", "table", "tab"}:
        word = name
    return f"{word} {label[number.start() :]}"


def pointer(label: str, caption: str, text: str) -> str:
    """`Figure 3B: caption cut to 12 words`, with the number as in the text, which may point at a panel."""
    written, numbered = NUMBER.search(text), NUMBER.search(label)
    if written and numbered and written.group().startswith(numbered.group()):
        label = label[: numbered.start()] + written.group()
    elif numbered and len(text) <= 2 and text.isalpha():
        label += text
    return f"{label}: {caption}" if label and caption else label or caption


def says_more(text: str) -> bool:
    """Whether the text of a reference has more than a number or names: a dose, a comparison or a negation."""
    return MORE.search(text) is not None


def captioned(label: str, legend: str) -> str:
    return f"{label}: {legend}" if label and legend else legend or label
