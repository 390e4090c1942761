"""Joins the lines of a PDF's pages into paragraphs, headings and items."""

import re
from collections import Counter
from itertools import pairwise
from typing import Final

from ingest.fidelity.ledger import Ledger
from ingest.pages.piece import Piece

LARGER: Final = 1.12
"""A line of letters this many times the size of the body's is a heading."""

LONGEST_HEADING: Final = 200

NEW_PARAGRAPH: Final = 1.45
"""A paragraph begins after this many times the usual distance of lines."""

BULLET = re.compile(r"[•‣⁃∙▪▫●○◦■□◆▸▶➢➤\uf0b7\uf0a7\uf076]\s?|[–—*]\s(?=\D)|-\s(?=\D)")
NUMBERED = re.compile(r"(?:[0-9]{1,2}|[a-zA-Z])[.)]\s")
LEADERS = re.compile(r"(?:\s?[.…]){5,}\s?([0-9]{1,4}|[ivxlc]{0,6})\Z")
"""The dots of a table of contents. A list of doses may have them, too, so its numbers must go up, as pages do."""

FEWEST_ENTRIES: Final = 3

COMPOUND = re.compile(r"\w+-\w+")
BROKEN_WORD = re.compile(r"(\w+)-\Z")
ORDINARY = re.compile(r"[^\W\d_][a-zß-öø-ÿ]+")
"""A word that a line's end may break. In `HIV-positive`, `T-cell`, `IL-6` and `10-day` the hyphen is the author's."""

SIGN_AT_END = re.compile(r"\d[–—]\Z|(?:\A|[^\W\d_] |[(=:<>≤≥,;] ?)[−±≤≥<>+]\Z")
"""A sign of the number that the next line begins with, or the dash of a range; not a dash between blanks."""

FIRST_WORD = re.compile(r"\w+")
SENTENCE_END = re.compile(r"[.!?:;][\"'”’)\]]*\Z")


def flow(pages: list[list[Piece]], ledger: Ledger | None = None) -> tuple[str | None, str]:
    """The title, which is the largest heading of the first page, and the text: blocks separated by empty lines."""
    contents = _contents(pages)
    body, distance = _usual(pages)
    compounds = {word.casefold() for lines in pages for line in lines for word in COMPOUND.findall(line.text)}
    levels = _levels(pages, body)
    blocks: list[str] = []
    before: Piece | None = None
    for lines in pages:
        crossing = True
        for line in lines:
            text = line.text.strip()
            if id(line) in contents:
                if ledger is not None:
                    ledger.leave_out("contents", text)
                continue
            mark = _mark(line, text, body, levels)
            bullet = None if mark else BULLET.match(text)
            if bullet:
                text = "- " + text[bullet.end() :]
            if (
                blocks
                and before is not None
                and not bullet
                and _continues(line, mark, before, blocks[-1], distance, crossing)
            ):
                blocks[-1] = _append(blocks[-1], text, compounds)
            else:
                blocks.append(mark + text)
            before, crossing = line, False
    return _title(blocks), _join(blocks)


def _contents(pages: list[list[Piece]]) -> set[int]:
    """The lines of a table of contents, by identity: in a row of such lines, the numbers at the end never go down."""
    found: set[int] = set()
    run: list[Piece] = []
    numbers: list[int] = []
    for line in [line for lines in pages for line in lines] + [None]:
        entry = line and LEADERS.search(line.text.strip())
        number = int(entry[1]) if entry and entry[1].isdigit() else None
        if line is not None and entry and (number is None or not numbers or number >= numbers[-1]):
            run.append(line)
            numbers += [] if number is None else [number]
            continue
        if len(run) >= FEWEST_ENTRIES and (len(set(numbers)) > 1 or not numbers):
            found.update(map(id, run))
        run, numbers = ([line], [number] if number is not None else []) if line is not None and entry else ([], [])
    return found


def _is_row(text: str) -> bool:
    return " | " in text or text.startswith("| ") or text.endswith(" |")


def _usual(pages: list[list[Piece]]) -> tuple[float, float]:
    """The usual size of letters and the usual distance of lines, in points."""
    sizes: Counter[float] = Counter()
    distances: Counter[float] = Counter()
    for lines in pages:
        for line in lines:
            sizes[_size(line)] += len(line.text)
        for above, line in pairwise(lines):
            if 0 < above.middle - line.middle < 4 * line.size:
                distances[round(above.middle - line.middle)] += 1
    body = sizes.most_common(1)[0][0] if sizes else 10.0
    return body, distances.most_common(1)[0][0] if distances else 1.2 * body


def _size(line: Piece) -> float:
    return round(2 * line.size) / 2


def _levels(pages: list[list[Piece]], body: float) -> dict[float, str]:
    """Marks of headings by size: the two largest sizes are levels 1 and 2, and all smaller ones are level 3."""
    larger = sorted({_size(line) for lines in pages for line in lines if _is_larger(line, body)}, reverse=True)
    return {size: "#" * min(rank, 3) + " " for rank, size in enumerate(larger, 1)}


def _is_larger(line: Piece, body: float) -> bool:
    enough = sum(character.isalpha() for character in line.text) > 2
    return enough and _size(line) >= LARGER * body and len(line.text) <= LONGEST_HEADING


def _mark(line: Piece, text: str, body: float, levels: dict[float, str]) -> str:
    return levels.get(_size(line), "") if _is_larger(line, body) and not BULLET.match(text) else ""


def _continues(line: Piece, mark: str, before: Piece, block: str, distance: float, crossing: bool) -> bool:
    """Whether a line continues the block of the line before it."""
    heading = block.startswith("#")
    if mark or heading:
        return bool(mark) and heading and block.startswith(mark) and 0 < before.middle - line.middle < 2 * line.size
    if _is_row(line.text) or _is_row(before.text):
        return False
    down = before.middle - line.middle
    if crossing or down < 0:
        return not SENTENCE_END.search(block) and line.text[:1].islower()
    if down > NEW_PARAGRAPH * max(distance, line.size) or NUMBERED.match(line.text):
        return False
    indented = line.left - before.left > line.size and SENTENCE_END.search(block) is not None
    return not (indented and not block.startswith("- "))


def _append(block: str, text: str, compounds: set[str]) -> str:
    """Append a line to a block. A word that was broken at the line's end is made whole.

    The hyphen stays if the document has the hyphenated word elsewhere, if no small letter follows, or if no ordinary
    word is before it. A sign joins the number that it belongs to.
    """
    if text[:1].isdigit() and SIGN_AT_END.search(block[-4:]):
        return block + text
    broken, rest = BROKEN_WORD.search(block[-60:]), FIRST_WORD.match(text)
    if broken is None or rest is None:
        return f"{block} {text}"
    if not text[0].islower() or not ORDINARY.fullmatch(broken[1]) or f"{broken[1]}-{rest[0]}".casefold() in compounds:
        return block + text
    return block[:-1] + text


def _title(blocks: list[str]) -> str | None:
    return next((block.removeprefix("# ") for block in blocks[:10] if block.startswith("# ")), None)


def _join(blocks: list[str]) -> str:
    parts: list[str] = []
    for before, block in zip(["", *blocks], blocks, strict=False):
        tight = (before.startswith("- ") and block.startswith("- ")) or (_is_row(before) and _is_row(block))
        parts.append(("\n" if tight else "\n\n") + block)
    return "".join(parts).strip()
