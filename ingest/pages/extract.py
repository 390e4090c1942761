"""The main text of a web page: the elements that a selector matches, or what the page's structure shows to be content.

Our own structural pass reads most pages. trafilatura, which is several times slower, reads those on which that pass
finds little.
"""

import re
from collections import Counter
from itertools import islice
from typing import Final

import trafilatura
from lxml import etree
from resiliparse.parse.html import HTMLTree

from ingest.fidelity.ledger import Ledger
from ingest.pages.blocks import PROSE, Block
from ingest.pages.changes import Changes
from ingest.pages.charset import decode
from ingest.pages.content import is_links, main_content, without_navigation
from ingest.pages.looks import visible
from ingest.pages.page import Page, PageNote
from ingest.pages.reader import INLINE, blocks
from ingest.pages.render import render
from ingest.pages.selectors import Selectable
from lake.decision import Drop, Reason

MAX_BYTES: Final = 10 * 2**20
MAX_ELEMENTS: Final = 200_000

LITTLE: Final = 500
"""With fewer characters of text, the structural pass is not believed."""

MAX_MATCHES: Final = 200
"""A content selector that matches more elements is wrong."""

TITLE_CHARS: Final = 1_000

MOST_NAMES: Final = 50
"""At most this many first-level headings and names of a page are compared, each with each."""

SELF_CLOSED = re.compile(r"<((?:script|style)\b[^<>]*)/>", re.IGNORECASE)
"""In HTML such an element is open, and its code no text. libxml2 takes it for closed."""

TEI = {"head": "h2", "list": "ul", "item": "li", "row": "tr", "cell": "td", "lb": "br", "quote": "blockquote"}
"""HTML's tags for those of trafilatura. A heading carries its own."""

MAX_ELEMENTS_AGAIN: Final = 20_000
"""trafilatura does not get pages with more elements, for its time is not linear in them."""


def extract(
    html: bytes,
    content: str | None = None,
    title: str | None = None,
    charset: str | None = None,
    ledger: Ledger | None = None,
) -> Page | Drop:
    """The title and main text of a page.

    `content` is a CSS selector of the main content, whose matches are joined. Without it, the page's structure shows
    the content. `title` is a CSS selector of the title, by default the page's heading. Both are valid, see
    `valid_selector`. `charset` is what the HTTP header says. A page is dropped if it is over MAX_BYTES or MAX_ELEMENTS,
    is not text, or has no content. Its notes quote what is struck out. A `ledger` takes what extraction leaves out and
    writes.
    """
    if len(html) > MAX_BYTES:
        return _too_large(len(html), MAX_BYTES, "bytes")
    text = decode(html, charset)
    if isinstance(text, Drop):
        return text
    root = _parse(text)
    if root is None:
        return Drop(Reason.NO_CONTENT, f"no element in {len(html):,} bytes")
    elements = sum(1 for _ in root.iter())
    if elements > MAX_ELEMENTS:
        return _too_large(elements, MAX_ELEMENTS, "elements")
    repaired = root if content is None and title is None else _repaired(text, root)
    page = None if content is None and title is None else Selectable(repaired)
    heading, notes = _title(root, page, title)
    changes = Changes(ledger)
    if page is None or content is None:
        main = _by_structure(root, text, elements, changes)
        missing = f"no main content in {elements:,} elements"
    else:
        main, missing = _by_selector(page, repaired, content, changes)
    # Browsers show a soft hyphen only at the end of a line, so it parts no number, as one of a PDF may.
    main = main.replace("\u00ad", "")
    return Page(heading, main, notes + changes.notes()) if main else Drop(Reason.NO_CONTENT, missing)


def _too_large(size: int, most: int, what: str) -> Drop:
    return Drop(Reason.TOO_LARGE, f"a page of {size:,} {what}; at most {most:,} are parsed", float(size))


def _parse(text: str) -> etree._Element | None:
    parser = etree.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, huge_tree=True, no_network=True)
    text = SELF_CLOSED.sub(r"<\1>", text)
    try:
        return etree.fromstring(text.encode("utf-8", "replace"), parser)
    except etree.XMLSyntaxError:
        return None


def _repaired(text: str, root: etree._Element) -> etree._Element:
    """The page as browsers repair it. libxml2 alone ignores `</br>`, and leaves stray text within a table."""
    document = HTMLTree.parse(text).document
    repaired = None if document is None else _parse(document.html)
    return root if repaired is None else repaired


def _by_structure(root: etree._Element, text: str, elements: int, changes: Changes) -> str:
    body = root.find("body")
    page = blocks(root if body is None else body, changes)
    entered = 0 if changes.ledger is None else len(changes.ledger.left_out)
    ours = render(main_content(page, changes), changes, is_links)
    if len(ours) >= LITTLE or elements > MAX_ELEMENTS_AGAIN:
        return ours
    theirs = _by_trafilatura(text)
    if len(theirs) <= len(ours):
        return ours
    if changes.ledger is not None:
        del changes.ledger.left_out[entered:]
        _compare(page, theirs, changes)
    return theirs


def _by_trafilatura(text: str) -> str:
    document = trafilatura.bare_extraction(text, include_comments=False, include_formatting=True)
    if document is None or document.body is None:
        return ""
    for element in document.body.iter(*TEI):
        element.tag = element.get("rend", "h2") if element.tag == "head" else TEI[element.tag]
    for element in document.body.iterfind(".//hi[@rend='#sup']"):
        element.tag = "sup"
    return render(blocks(document.body, Changes()), Changes())


def _compare(page: Block, text: str, changes: Changes) -> None:
    """Enter the blocks of a page that are not in the text of another reader, and the text that is from no block."""
    shown, whole = _blanks(text), _blanks(page.all_text())
    seen: Counter[str] = Counter()
    lines = Counter(_blanks(line.lstrip("#- ")) for line in text.split("\n"))
    for block in page.blocks():
        own = "".join(part if isinstance(part, str) else "\n" for part in block.parts)
        for line in own.split("\n"):
            plain = _blanks(line)
            seen[plain] += 1
            # A short line, such as a time, may be part of another one by chance.
            if seen[plain] > (lines[plain] if len(plain) < PROSE else shown.count(plain)):
                changes.leave_out("outside_content", line)
    for line in text.split("\n"):
        if _blanks(line.lstrip("#- ")) not in whole:
            changes.write("script", line)


def _blanks(text: str) -> str:
    return " ".join(text.split())


def _by_selector(page: Selectable, root: etree._Element, selector: str, changes: Changes) -> tuple[str, str]:
    """The text of the elements that match, and the evidence if it is empty. Matches within others are part of them."""
    matches = page.select(selector, MAX_MATCHES + 1)
    if len(matches) > MAX_MATCHES:
        return "", f"content: {selector} matches more than {MAX_MATCHES} elements"
    outer = [element for element in matches if not any(above in matches for above in element.iterancestors())]
    if changes.ledger is not None:
        body = root.find("body")
        changes.leave_out("outside_content", "".join(visible(root if body is None else body, INLINE, outer)))
    texts = (render(without_navigation(blocks(element, changes)), changes) for element in outer)
    return "\n\n".join(filter(None, texts)), f"content: {selector} {'is empty' if matches else 'matches nothing'}"


def _title(
    root: etree._Element, page: Selectable | None, selector: str | None
) -> tuple[str | None, tuple[PageNote, ...]]:
    """The title, and a note if the selector does not find it."""
    if page is None or selector is None:
        return _heading(root), ()
    for element in page.select(selector, 1):
        if title := _line("".join(element.itertext())):
            return title, ()
    return _heading(root), (PageNote("title", f"{selector} matches nothing"),)


def _heading(root: etree._Element) -> str | None:
    """The first-level heading that the page's <title> repeats, or the only one; else what its metadata say."""
    names = (_line(element.get("content")) for element in root.iterfind(".//meta[@property='og:title']"))
    titles = (_line("".join(element.itertext())) for element in root.iterfind(".//title"))
    named = [name for source in (names, titles) for name in islice(source, MOST_NAMES) if name]
    lines = (_line("".join(element.itertext("*"))) for element in root.iter("h1"))
    headings = [line for line in islice(lines, MOST_NAMES) if line]
    for heading in headings:
        if any(heading.casefold() in name.casefold() for name in named):
            return heading
    if len(headings) == 1:
        return headings[0]
    return next(iter([*named, *headings]), None)


def _line(text: str | None) -> str:
    return " ".join((text or "").split(maxsplit=TITLE_CHARS))[:TITLE_CHARS]
