"""Which lines of a guideline stay, by rules for all sites and by rules of its site.

A line is compared with a site's rules without case, heading marks, numbers before it, and colons or dots after it:
`## 4.2 Key recommendations:` is `key recommendations`. A rule that ends in `*` is the beginning of a heading. A bullet
is never a heading, so a table of contents neither starts nor ends a text. `drop` compares whole words: no line
`Classification` begins with `class`.
"""

import re
from collections.abc import Callable, Iterable, Iterator

from ingest.site import SiteCleaning
from ingest.text.normalise import normalise

PROSE = 10
"""A line with more words than this is prose. Headings before any prose are in the contents and stop no text."""

DEEPEST = 3
ANY_LEVEL = 1_000
"""A section skipped at this level ends at the next heading, whatever its level."""

PASSES = 8
"""A removed link may have hidden another one. No text has them nested deeper than this."""

GAP = "\x00"
"""Stands for what was removed, until blanks are tidied. No normalised text contains it."""

HEADING = re.compile(r"(#+)[ \t]+(?=\S)")
BULLET = "- "
NUMBER = re.compile(r"(?:\d{1,3}(?:\.\d{1,3})*[.)]?|[A-Za-z][.)])\s+(?=\S)")

IMAGE = re.compile(r"!\[([^\[\]\n]{0,300})\]\([^()\s]{0,2000}\)")
LINK = re.compile(r"(?<!!)\[([^\[\]\n]{1,300})\]\((?:https?:|mailto:|/|#|\.)[^()\s]{0,2000}\)")
URL = re.compile(r"(?:\b(?:https?|ftp)://|\bwww\.(?=\w))[^\s<>\"]*[^\s<>\"'.,;:!?()\[\]]/?", re.IGNORECASE)
BRACKETS = re.compile(r"([\[\]])")
# References have few letters, in lower case: [18F] is an isotope, [24h] a time.
NUMBERS = re.compile(r"(?i:refs?\.? ?|references? )?\d{1,4}[a-c]?(?: ?[,;–—-] ?\d{1,4}[a-c]?)*")
EDITORIAL = re.compile(r"edit|citation needed|clarification needed|note \d+|link|pdf|external link", re.IGNORECASE)
# Brackets after these hold an interval, which is a finding and not a reference.
INTERVAL = re.compile(r"(?:\bCI|\bIQR|\brange|\binterval|[=<>≤≥])[\s:,=]*$", re.IGNORECASE)
UNIT = re.compile(
    r"(?:%|°[CF]?|(?:\b|/)(?:[mkµμn]?g|mcg|[dmµμ]?[lL]|[cmkµμ]?m[23²³]?|mm ?Hg|[mµμn]?mol|m?IU|kPa|m?Eq|min)(?:/\w+)*)"
    r"\)?[\s:,=|]*$"
)
PAIR = re.compile(r"(\d{1,3}(?:,\d{3})+|\d{1,4}) ?[,;–—-] ?(\d{1,3}(?:,\d{3})+|\d{1,4})")
VALUE = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?")
HOLLOW = re.compile(rf"\([\s,;.:]*{GAP}[\s,;.:{GAP}]*\)")
GAP_AT_END = re.compile(rf"(?: +|(?<!{GAP})){GAP}++(?=[\s.,;:!?)\]]|$)")

# A plus or a minus in a cell is a result, so only a border such as +---+---+ is removed.
RULE = re.compile(r"(?=[-=_*~|:\s]+$).*[-=_*~]{3}.*|[:\s]*\|[|:\s]*|\+(?:[-=]{3,}\+)+")
LABEL = re.compile(
    r"(?:fig(?:ure)?|table|box|image|photo|video|chart)s?\.? ?(?:[a-z]?\d{1,3}(?:\.\d{1,2})*[a-z]?|[ivx]{1,4})?[.:]?"
    r"|(?:(?:view|see|show|open|download|click to|tap to) )?(?:the )?(?:full|larger?|enlarged?|original)?[ -]?"
    r"(?:(?:size|version of) )?(?:figure|table|image)(?: in (?:a )?new (?:tab|window))?"
    r"|open in (?:a )?new (?:tab|window)|(?:click to )?enlarge",
    re.IGNORECASE,
)
LONELY = re.compile(r"[-*•]+|#+")


def site_pages(pages: Iterable[str], rules: SiteCleaning) -> str:
    """The text of a document of several pages, such as chapters, after the rules for sections and lines. Idempotent.

    Each page starts and stops by itself. For all sites, URLs are removed, but the words of a link stay. References in
    brackets (`[3]`, `[4–6, 9]`, `[edit]`) are removed. Possible findings stay: rows of numbers, isotopes (`[18F]FDG`),
    intervals (`95% CI [12, 45]`, `34 [22–45] years`). Lines that are only the label of a figure or table, a table's
    border or a lone mark are removed. The topmost headings get `#`, the deepest `###`. The result is in normal form
    (ingest.text.normalise).
    """
    texts = ("\n".join(_kept(_tidied(normalise(page).split("\n")), rules)) for page in pages)
    return normalise("\n".join(_levelled("\n\n".join(texts).split("\n"))))


# Common rules --------------------------------------------------------------------------------------------------------


def _tidied(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        tidy = normalise(_stable(_without_links, line)) if _may_link(line) else line
        if not tidy:
            if not line:
                yield ""
        elif not _is_remains(tidy):
            yield tidy


def _may_link(line: str) -> bool:
    return "[" in line or "://" in line or "www." in line.lower()


def _stable(change: Callable[[str], str], line: str) -> str:
    for _ in range(PASSES):
        changed = change(line)
        if changed == line:
            break
        line = changed
    return line


def _without_links(line: str) -> str:
    line = LINK.sub(_words, IMAGE.sub(GAP, line))
    line = URL.sub(GAP, _without_references(line))
    if GAP not in line:
        return line
    return GAP_AT_END.sub("", HOLLOW.sub(GAP, line)).replace(GAP, "").strip()


def _words(link: re.Match[str]) -> str:
    return GAP if NUMBERS.fullmatch(link[1]) else link[1]


def _without_references(line: str) -> str:
    """The line without innermost brackets that hold references. Linear, since it sees each piece once."""
    if "[" not in line:
        return line
    pieces: list[str] = []
    opened: list[int] = []
    split = BRACKETS.split(line)
    for piece, after in zip(split, [*split[1:], ""], strict=True):
        if piece == "[":
            opened.append(len(pieces))
        elif piece == "]" and opened:
            start = opened.pop()
            inside = "".join(pieces[start + 1 :]).strip(f" {GAP}")
            before = pieces[start - 1] if start else ""
            if _is_reference(inside, before[-20:], after[:1]):
                del pieces[start:]
                piece = GAP
            else:
                opened.clear()  # the brackets around these hold more than a reference
        pieces.append(piece)
    return "".join(pieces)


def _is_reference(inside: str, before: str, after: str) -> bool:
    """Whether brackets surely hold a reference: a mark that stays costs less than a finding that is lost."""
    if EDITORIAL.fullmatch(inside):
        return True
    return bool(NUMBERS.fullmatch(inside)) and not (
        after.isalpha() or INTERVAL.search(before) or _may_be_interval(inside, before)
    )


def _may_be_interval(inside: str, before: str) -> bool:
    """Two numbers after a unit, or around a value before them. A single number, as in `2010 [3]`, is a reference."""
    pair = PAIR.fullmatch(inside)
    if pair is None:
        return False
    low, high = map(_number, pair.groups())
    return bool(UNIT.search(before)) or any(low <= _number(value) <= high for value in VALUE.findall(before))


def _number(digits: str) -> float:
    return float(digits.replace(",", ""))


def _is_remains(line: str) -> bool:
    bare = line.removeprefix(BULLET)
    return bool(LONELY.fullmatch(line) or RULE.fullmatch(line) or LABEL.fullmatch(HEADING.sub("", bare, count=1)))


# A site's rules ------------------------------------------------------------------------------------------------------


def _kept(lines: Iterable[str], rules: SiteCleaning) -> Iterator[str]:
    """The lines from start to stop, without dropped lines and skipped sections."""
    every = list(lines)
    start = next((at for at, line in enumerate(every) if _is_heading(line, rules.start_at)), 0)
    half = sum(map(len, every[start:])) / 2
    dropped = _beginnings(rules.drop)
    # A closing heading in the first half belongs to the front matter and only ends its section.
    passed = 0
    prose = False
    skipping = 0
    for line in every[start:]:
        level = _level(line)
        closing = prose and _is_heading(line, rules.stop_at)
        if closing and passed >= half:
            return
        passed += len(line)
        if skipping and level and level <= skipping:
            skipping = 0
        if not skipping and level:
            skipping = ANY_LEVEL if closing else level if _is_heading(line, rules.skip) else 0
        if closing or skipping or (dropped and dropped.match(_plain(line))):
            continue
        prose = prose or len(line.split()) > PROSE
        yield line


def _beginnings(rules: tuple[str, ...]) -> re.Pattern[str] | None:
    """A pattern for plain lines that begin with a rule and do not go on within a word."""
    plain = map(_plain, rules)
    return re.compile("|".join(re.escape(rule) + r"\b" * rule[-1:].isalnum() for rule in plain)) if rules else None


def _level(line: str) -> int:
    """The level of a heading, from 1; 0 for other lines."""
    mark = HEADING.match(line)
    return len(mark[1]) if mark else 0


def _plain(line: str) -> str:
    """A line without case, marks and outer blanks, to be compared with beginnings."""
    return HEADING.sub("", line.strip().removeprefix(BULLET), count=1).casefold()


def _is_heading(line: str, headings: tuple[str, ...]) -> bool:
    """Whether a line is one of the headings, which may end in `*`."""
    if not headings or not line or line.startswith(BULLET):
        return False
    plain = _plain(line)
    title = _unnumbered(plain)
    for heading in headings:
        rule = heading.casefold().strip()
        bare = _unnumbered(rule.removesuffix("*"))
        if title.startswith(bare) if rule.endswith("*") else title == bare:
            return True
    return False


def _unnumbered(line: str) -> str:
    return NUMBER.sub("", line, count=1).rstrip(" .:*").strip()


def _levelled(lines: list[str]) -> Iterator[str]:
    """The lines with headings from `#` to `###`."""
    top = min((level for level in map(_level, lines) if level), default=1)
    for line in lines:
        if level := _level(line):
            yield "#" * min(level - top + 1, DEEPEST) + line[level:]
        else:
            yield line
