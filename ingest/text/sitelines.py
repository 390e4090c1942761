"""What of a guideline's text stays: the rules that all sites share, and a site's own, line by line.

A line is compared with a site's rules without case, marks of headings, numbers before it, and colons or dots after it:
`## 4.2 Key recommendations:` is `key recommendations`. A rule that ends in `*` is the beginning of a heading. A bullet
is never a heading, so a list of contents neither starts nor ends a text.
"""

import re
from collections.abc import Callable, Iterable, Iterator

from ingest.site import SiteCleaning
from ingest.text.normalise import normalise

PROSE = 10
"""A line of more words than this is prose. Before the first one no heading stops the text: it is in the contents."""

DEEPEST = 3
PASSES = 8
"""What was removed may have hidden another link or reference; nests deeper than this are nobody's text."""

GAP = "\x00"
"""Stands where something was removed until blanks are tidied; normalise leaves none in a text."""

HEADING = re.compile(r"(#+)[ \t]+(?=\S)")
BULLET = "- "
NUMBER = re.compile(r"(?:\d{1,3}(?:\.\d{1,3})*[.)]?|[A-Za-z][.)])\s+(?=\S)")

IMAGE = re.compile(r"!\[([^\[\]\n]{0,300})\]\([^()\s]{0,2000}\)")
LINK = re.compile(r"(?<!!)\[([^\[\]\n]{1,300})\]\((?:https?:|mailto:|/|#|\.)[^()\s]{0,2000}\)")
URL = re.compile(r"(?:\b(?:https?|ftp)://|\bwww\.(?=\w))[^\s<>\"]*[^\s<>\"'.,;:!?()\[\]]/?", re.IGNORECASE)
BRACKETS = re.compile(r"([\[\]])")
NUMBERS = re.compile(r"(?:refs?\.? ?|references? )?\d{1,4}[a-z]?(?: ?[,;–—-] ?\d{1,4}[a-z]?)*", re.IGNORECASE)
SAID = re.compile(r"edit|citation needed|clarification needed|note \d+|link|pdf|external link", re.IGNORECASE)
# Brackets after these hold an interval, which is the finding and no reference.
INTERVAL = re.compile(r"(?:\bCI|\bIQR|\brange|\binterval|[=<>≤≥])[\s:,=]*$", re.IGNORECASE)
PERCENT = re.compile(r"%[\s:,=]*$")
HOLLOW = re.compile(rf"\([\s,;.:]*{GAP}[\s,;.:{GAP}]*\)")
GAP_AT_END = re.compile(rf"[ ]*{GAP}+(?=[\s.,;:!?)\]]|$)")

RULE = re.compile(r"[-=_*+|:~\s]*(?:[-=_*~]{3,}|\|)[-=_*+|:~\s]*")
LABEL = re.compile(
    r"(?:fig(?:ure)?|table|box|image|photo|video|chart)s?\.? ?(?:[a-z]?\d{1,3}(?:\.\d{1,2})*[a-z]?|[ivx]{1,4})?[.:]?"
    r"|(?:(?:view|see|show|open|download|click to|tap to) )?(?:the )?(?:full|larger?|enlarged?|original)?[ -]?"
    r"(?:(?:size|version of) )?(?:figure|table|image)(?: in (?:a )?new (?:tab|window))?"
    r"|open in (?:a )?new (?:tab|window)|(?:click to )?enlarge",
    re.IGNORECASE,
)
LONELY = re.compile(r"[-*+•]+|#+")


def site_lines(text: str, rules: SiteCleaning) -> str:
    """The text by the rules of section and line; raises nothing, and a second time changes nothing.

    For all sites: URLs go, of a link its words stay; references in brackets (`[3]`, `[4–6, 9]`, `[edit]`) go, intervals
    (`95% CI [12, 45]`) stay, and so do rows of numbers. Lines that are but a figure's or table's label, a rule of a
    table or a lonely mark go. The topmost headings get `#`, none more than `###`. Characters, blanks and bullets are in
    normal form (ingest.text.normalise).
    """
    lines = list(_kept(_tidied(normalise(text).split("\n")), rules))
    return normalise("\n".join(_levelled(lines)))


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
    """The line without innermost brackets that hold references. Linear: every piece is looked at once."""
    if "[" not in line:
        return line
    pieces: list[str] = []
    opened: list[int] = []
    for piece in BRACKETS.split(line):
        if piece == "[":
            opened.append(len(pieces))
        elif piece == "]" and opened:
            start = opened.pop()
            inside = "".join(pieces[start + 1 :]).strip(f" {GAP}")
            before = pieces[start - 1] if start else ""
            if _is_reference(inside, before[-20:]):
                del pieces[start:]
                piece = GAP
            else:
                opened.clear()  # what is around these brackets holds more than a reference
        pieces.append(piece)
    return "".join(pieces)


def _is_reference(inside: str, before: str) -> bool:
    if SAID.fullmatch(inside):
        return True
    interval = INTERVAL.search(before) or (not inside.isdigit() and PERCENT.search(before))
    return bool(NUMBERS.fullmatch(inside)) and not interval


def _is_remains(line: str) -> bool:
    bare = line.removeprefix(BULLET)
    return bool(LONELY.fullmatch(line) or RULE.fullmatch(bare) or LABEL.fullmatch(HEADING.sub("", bare, count=1)))


# A site's rules ------------------------------------------------------------------------------------------------------


def _kept(lines: Iterable[str], rules: SiteCleaning) -> Iterator[str]:
    """Lines from the start to the stop, without what is dropped and skipped."""
    found = list(lines)
    start = next((at for at, line in enumerate(found) if _is_one(line, rules.start_at)), 0) if rules.start_at else 0
    dropped = tuple(_plain(rule) for rule in rules.drop)
    prose = False
    skipping = 0
    for line in found[start:]:
        if prose and _is_one(line, rules.stop_at):
            return
        level = _level(line)
        if skipping and level and level <= skipping:
            skipping = 0
        if not skipping and level and _is_one(line, rules.skip):
            skipping = level
        if skipping or (dropped and _plain(line).startswith(dropped)):
            continue
        prose = prose or len(line.split()) > PROSE
        yield line


def _level(line: str) -> int:
    """1 for the topmost heading; 0 for what is none."""
    mark = HEADING.match(line)
    return len(mark[1]) if mark else 0


def _plain(line: str) -> str:
    """A line as it is compared with beginnings: without case, marks and blanks."""
    return HEADING.sub("", line.strip().removeprefix(BULLET), count=1).casefold()


def _is_one(line: str, headings: tuple[str, ...]) -> bool:
    """Whether a line is one of the headings."""
    if not headings or not line or line.startswith(BULLET):
        return False
    plain = _plain(line)
    said = _unnumbered(plain)
    for heading in headings:
        wanted = heading.casefold().strip()
        if wanted.endswith("*"):
            if said.startswith(_unnumbered(wanted[:-1])):
                return True
        elif said == _unnumbered(wanted):
            return True
    return False


def _unnumbered(line: str) -> str:
    return NUMBER.sub("", line, count=1).rstrip(" .:*").strip()


def _levelled(lines: list[str]) -> Iterator[str]:
    """Headings from `#` on, none deeper than `###`."""
    top = min((level for level in map(_level, lines) if level), default=1)
    for line in lines:
        if level := _level(line):
            yield "#" * min(level - top + 1, DEEPEST) + line[level:]
        else:
            yield line
