"""Markup that was escaped twice: `10&lt;sup&gt;6&lt;/sup&gt; cells`, `P &amp;lt; 0.05`."""

import html
import re
from html.entities import html5, name2codepoint

from ingest.fidelity.ledger import Ledger
from ingest.sources.paper_text import foreign
from ingest.text.powers import lowered, raised

TIMES = 3
"""How many times the text may have been escaped too often."""

ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
SHORT = 3
"""Longer names of HTML 5 are also those of DTDs. Shorter ones count only if HTML 4 has them: `R&D;` is prose."""

NEAR = 20

TAG = re.compile(
    r"<(?P<name>sup|sub|strong|bold|italic|em|b|i|u|underline|sc|span|p|inf)>(?P<inside>[^<>]*)</(?P=name)>"
    r"|<(?:br|break)\s?/?>",
    re.IGNORECASE,
)
"""A pair of tags, or a line break: `a<b>c` is a comparison."""

DEPTH = 4
"""How deep pairs of tags may lie in one another."""

ANY_TAG = re.compile(r"<[^<>]*>")


def unescaped(text: str, ledger: Ledger | None = None) -> str:
    """The text with entities as characters and pairs of tags as what they mean. A lone `<` or `>` stays.

    Linear in the length of the text.
    """
    for pattern, meaning, needed, times in ((ENTITY, _character, "&", TIMES), (TAG, _plain, ">", DEPTH)):
        for _ in range(times if needed in text else 0):
            before, text = text, pattern.sub(meaning, text)
            if text == before:
                break
            if ledger is not None:
                for match in pattern.finditer(before):
                    ledger.leave_out("escaped", match.group())
                    ledger.write("escaped", before[match.start() - 1 : match.start()] + meaning(match))
    return text


def _character(match: re.Match[str]) -> str:
    name = match.group()[1:]
    known = name.startswith("#") or name[:-1] in name2codepoint or (len(name) > SHORT and name in html5)
    return foreign(html.unescape(match.group())) if known else match.group()


def _plain(match: re.Match[str]) -> str:
    name, inside, text = (match["name"] or "").lower(), match["inside"], match.string
    if not name:
        return " "
    before = text[max(match.start() - NEAR, 0) : match.start()]
    if name == "sup":
        return raised(before, inside, ANY_TAG.sub("", text[match.end() : match.end() + NEAR]))
    if name in ("sub", "inf"):
        return lowered(before, inside)
    return f" {inside} " if name == "p" else inside
