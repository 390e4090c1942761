"""Which lines of a guideline stay, by rules for all sites and by rules of its site.

A line is compared with a site's rules without case, heading marks, numbers before it, and colons or dots after it:
`## 4.2 Key recommendations:` is `key recommendations`. A rule that ends in `*` is the beginning of a heading. A bullet
is never a heading, so a table of contents neither starts nor ends a text. `drop` compares whole words: no line
`Classification` begins with `class`.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby, islice

from ingest.fidelity.ledger import Ledger
from ingest.site import SiteCleaning
from ingest.text.normalise import normalise
from ingest.text.references import references

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
LINK = re.compile(r"(?<!!)\[([^\[\]\n]{1,300})\]\(((?:https?:|mailto:|/|#|\.)[^()\s]{0,2000})\)")
URL = re.compile(r"(?:\b(?:https?|ftp)://|\bwww\.(?=\w))[^\s<>\"]*[^\s<>\"'.,;:!?()\[\]]/?", re.IGNORECASE)
TO_REFERENCE = re.compile(r"#(?:.*(?:ref|bib|cit|note|fn)|[a-z]{0,3}\d)", re.IGNORECASE)
NAMED = re.compile(
    r"\[ ?(?:edit|citation needed|clarification needed|note \d+|link|pdf|external link"
    r"|(?:refs?\.? ?|references? )\d{1,4}[a-c]?(?: ?[,;–—-] ?\d{1,4}[a-c]?)*) ?\]",
    re.IGNORECASE,
)
"""Brackets that say themselves that they hold no finding."""

HOLLOW = re.compile(rf"\([\s,;.:]*{GAP}[\s,;.:{GAP}]*\)")
GAP_AT_END = re.compile(rf"(?: +|(?<!{GAP})){GAP}++(?=[\s.,;:!?)\]]|$)")

DOSE = re.compile(
    r"\d ?(?:%|°|(?:[mkµμn]?g|mcg|[dmµμ]?l|[mµμnp]?mol|[mµμ]?iu|kpa|m?eq|mm ?hg|units?|tablets?|drops?|puffs?)\b)"
    r"|[<>≤≥] ?\d|\bcontraindicat|\b(?:do not|never) (?:give|take|use|start|stop|administer|prescribe)\b"
    r"|\b(?:warning|caution):",
    re.IGNORECASE,
)
"""A dose, a finding or a warning. Front matter, credits and what a page links to have none, so a section that has one
is content, whatever its heading says. Reference lists are the exception, for titles of works have doses."""

WORKS = re.compile(r"reference|source|bibliograph|literature|citation", re.IGNORECASE)
APPENDIX = re.compile(r"(?:appendi(?:x|ces)|annex(?:es?)?|(?:table|box) \d+)\b", re.IGNORECASE)
"""What may follow the references of a guideline, often without a heading's mark, and is content."""

# A plus or a minus in a cell is a result, so only a border such as +---+---+ is removed.
RULE = re.compile(
    r"(?=[-=_*~\s]+$).*[-=_*~]{3}.*|[:\s]*\|[|:\s]*|\|?(?:\s*(?::-+:?|-+:|[-=]{3,})\s*\|)*\s*(?::-+:?|-+:|[-=]{3,})\s*\|?"
    r"|\+(?:[-=]{3,}\+)+"
)
LABEL = re.compile(
    r"(?:fig(?:ure)?|table|box|image|photo|video|chart)s?\.? ?(?:[a-z]?\d{1,3}(?:\.\d{1,2})*[a-z]?|[ivx]{1,4})?[.:]?"
    r"|(?:(?:view|see|show|open|download|click to|tap to) )?(?:the )?(?:full|larger?|enlarged?|original)?[ -]?"
    r"(?:(?:size|version of) )?(?:figure|table|image)(?: in (?:a )?new (?:tab|window))?"
    r"|open in (?:a )?new (?:tab|window)|(?:click to )?enlarge",
    re.IGNORECASE,
)
LONELY = re.compile(r"[*•]+|#+")


def site_pages(pages: Iterable[str], rules: SiteCleaning, ledger: Ledger | None = None) -> str:
    """The text of a document of several pages, such as chapters, after the rules for sections and lines.

    Each page starts and stops by itself. For all sites, URLs are removed, but the words of a link stay. Brackets that
    name a reference or an editor's mark (`[ref 3]`, `[edit]`) are removed, and numbers in brackets where the document
    shows that they count references (ingest.text.references). Lines that are only the label of a figure or table, a
    table's border or a lone mark are removed. The topmost headings get `#`, the deepest `###`. The result is in normal
    form (ingest.text.normalise). A ledger gets what each rule removes.
    """
    texts = [list(_tidied(normalise(page).split("\n"), ledger)) for page in pages]
    whole = _without_references([line for text in texts for line in text], ledger)
    kept: list[str] = []
    for text in texts:
        kept += ["", *_kept(list(islice(whole, len(text))), rules, ledger)]
    return normalise("\n".join(_levelled(normalise("\n".join(kept)).split("\n"))))


# Common rules --------------------------------------------------------------------------------------------------------


def _tidied(lines: Iterable[str], ledger: Ledger | None) -> Iterator[str]:
    for line in lines:
        tidy = normalise(_without_links(line, ledger)) if _may_link(line) else line
        if not tidy:
            if not line:
                yield ""
        elif tidy == line or tidy.strip("-"):
            yield tidy


def _may_link(line: str) -> bool:
    return "[" in line or "://" in line or "www." in line.lower()


def _without_links(line: str, ledger: Ledger | None) -> str:
    def gone(rule: str) -> Callable[[re.Match[str]], str]:
        def leave_out(match: re.Match[str]) -> str:
            _enter(ledger, rule, match[0])
            return GAP

        return leave_out

    def image(match: re.Match[str]) -> str:
        # An image may stand for a sign, such as ≥.
        return match[1] if match[1].strip() and not any(map(str.isalnum, match[1])) else gone("image")(match)

    def link(match: re.Match[str]) -> str:
        if match[1].strip().isdigit() and TO_REFERENCE.match(match[2]):
            return gone("reference")(match)
        _enter(ledger, "url", match[2])
        return match[1]

    for _ in range(PASSES):
        changed = LINK.sub(link, IMAGE.sub(image, line))
        changed = URL.sub(gone("url"), NAMED.sub(gone("reference"), changed))
        if changed == line:
            break
        line = _closed(changed)
    return line


def _closed(line: str) -> str:
    """The line with blanks and round brackets tidied where something was removed."""
    return GAP_AT_END.sub("", HOLLOW.sub(GAP, line)).replace(GAP, "").strip() if GAP in line else line


def _without_references(lines: list[str], ledger: Ledger | None) -> Iterator[str]:
    cuts = groupby(references(lines), key=lambda cut: cut[0])
    cut, places = next(cuts, (-1, iter(())))
    for at, line in enumerate(lines):
        if at == cut:
            done, pieces = 0, []
            for _, start, end in places:
                _enter(ledger, "reference", line[start:end])
                pieces += [line[done:start], GAP]
                done = end
            cut, places = next(cuts, (-1, iter(())))
            line = _closed("".join([*pieces, line[done:]]))
        yield line


def _is_remains(line: str) -> bool:
    bare = line.removeprefix(BULLET)
    return bool(LONELY.fullmatch(line) or RULE.fullmatch(line) or LABEL.fullmatch(HEADING.sub("", bare, count=1)))


def _enter(ledger: Ledger | None, rule: str, text: str) -> None:
    if ledger is not None:
        ledger.leave_out(f"site:{rule}", text)


# A site's rules ------------------------------------------------------------------------------------------------------


def _kept(lines: list[str], rules: SiteCleaning, ledger: Ledger | None) -> Iterator[str]:
    """The lines from start to stop, without dropped lines and skipped sections, but with what in these holds a dose."""
    start = _start(lines, rules)
    for line in lines[:start]:
        _enter(ledger, "start_at", line)
    half = sum(map(len, lines[start:])) / 2
    dropped = _beginnings(rules.drop)
    # A closing heading in the first half belongs to the front matter and only ends its section.
    passed, skipping = 0, 0
    prose = ended = False
    left = ""
    for at in range(start, len(lines)):
        line = lines[at]
        level = _level(line)
        closing = prose and _is_heading(line, rules.stop_at)
        ended = ended or (closing and passed >= half)
        passed += len(line)
        appendix = ended and APPENDIX.match(_plain(line)) is not None
        if level or (ended and (closing or appendix)):
            if level and level <= skipping:
                skipping = 0
            if level and not skipping:
                skipping = ANY_LEVEL if closing else level if _is_heading(line, rules.skip) else 0
            left = "stop_at" if ended or closing else "skip" if skipping else ""
            works = WORKS.search(line) is not None
            if left and (appendix or (not works and _holds_dose(lines, at, rules))):
                left = ""
        rule = left or ("stop_at" if closing and not level and not ended else "")
        if not rule and dropped and dropped.match(_plain(line)) and not DOSE.search(line):
            rule = "drop"
        elif not rule and _is_remains(line):
            rule = "label"
        if rule:
            _enter(ledger, rule, line)
            continue
        prose = prose or len(line.split()) > PROSE
        yield line


def _start(lines: list[str], rules: SiteCleaning) -> int:
    """The first line of the text: the heading where it starts, unless a dose or a warning stands before that."""
    for at, line in enumerate(lines):
        if _is_heading(line, rules.start_at):
            return at
        if DOSE.search(line):
            break
    return 0


def _holds_dose(lines: list[str], at: int, rules: SiteCleaning) -> bool:
    """Whether a section has a dose or a warning before the next heading."""
    for line in islice(lines, at + 1, None):
        if _level(line) or _is_heading(line, rules.stop_at):
            return False
        if DOSE.search(line):
            return True
    return False


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
