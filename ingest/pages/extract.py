"""A web page to its main text: the element a selector names, or what its structure shows to be the content.

Most pages are read by this project's own structural pass. trafilatura, which is some times slower, reads those on which
that pass finds little.
"""

from itertools import islice
from typing import Final

import trafilatura
from lxml import etree
from resiliparse.parse.html import CSSParserException, HTMLTree

from ingest.pages.blocks import blocks
from ingest.pages.charset import decode
from ingest.pages.content import is_links, main_content
from ingest.pages.page import Page
from ingest.pages.render import render
from lake.decision import Drop, Reason
from lake.error import UserError

MAX_BYTES: Final = 10 * 2**20
MAX_ELEMENTS: Final = 200_000

LITTLE: Final = 500
"""Characters of text under which the structural pass is not believed."""

MAX_MATCHES: Final = 200
"""A selector of the content that matches more elements is wrong."""

CHOSEN: Final = "data-chosen-by-selector"
"""Attribute that carries a match from the parser that knows CSS to the one that builds blocks."""

TITLE_CHARS: Final = 1_000

MOST_NAMES: Final = 50
"""First-level headings and names of a page that are compared: each with each."""

TEI = {"head": "h2", "list": "ul", "item": "li", "row": "tr", "cell": "td", "lb": "br", "quote": "blockquote"}
"""Tags of what trafilatura gives, and those of HTML; a heading tells its own."""

MAX_ELEMENTS_AGAIN: Final = 20_000
"""Pages with more elements are not given to trafilatura: its time is not linear in them."""


def extract(
    html: bytes, content: str | None = None, title: str | None = None, charset: str | None = None
) -> Page | Drop:
    """The title and main text of a page.

    `content` is a CSS selector of the main content, whose matches are joined; without it the page's structure tells.
    `title` is one of the title, by default the page's heading. `charset` is what the HTTP header says. Dropped are
    pages over MAX_BYTES or MAX_ELEMENTS, those that are no text, and those in which nothing was found.

    Raises UserError where a selector is no CSS.
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
    heading, note = _title(root, text, title)
    if content is None:
        found = _by_structure(root, text, elements)
        missing = f"no main content in {elements:,} elements"
    else:
        chosen, missing = _select(text, content)
        found = "\n\n".join(filter(None, (render(blocks(element, whole=True)) for element in chosen)))
    if not found:
        return Drop(Reason.NO_CONTENT, missing)
    return Page(heading, found, note)


def _too_large(size: int, most: int, what: str) -> Drop:
    return Drop(Reason.TOO_LARGE, f"a page of {size:,} {what}; at most {most:,} are parsed", float(size))


def _parse(text: str) -> etree._Element | None:
    parser = etree.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, huge_tree=True, no_network=True)
    try:
        return etree.fromstring(text.encode("utf-8", "replace"), parser)
    except etree.XMLSyntaxError:
        return None


def _by_structure(root: etree._Element, text: str, elements: int) -> str:
    body = root.find("body")
    found = render(main_content(blocks(root if body is None else body)), is_links)
    if len(found) >= LITTLE or elements > MAX_ELEMENTS_AGAIN:
        return found
    again = _by_trafilatura(text)
    return again if len(again) > len(found) else found


def _by_trafilatura(text: str) -> str:
    document = trafilatura.bare_extraction(text, include_comments=False, include_formatting=True)
    if document is None or document.body is None:
        return ""
    for element in document.body.iter(*TEI):
        element.tag = element.get("rend", "h2") if element.tag == "head" else TEI[element.tag]
    for element in document.body.iterfind(".//hi[@rend='#sup']"):
        element.tag = "sup"
    return render(blocks(document.body, whole=True))


def _select(text: str, selector: str) -> tuple[list[etree._Element], str]:
    """The elements a selector matches, and what there is to say if none is; one within another is part of it."""
    tree = HTMLTree.parse(text)
    document = tree.document
    try:
        nodes = [] if document is None else document.query_selector_all(selector)
    except CSSParserException:
        raise _no_css(selector) from None
    if not 0 < len(nodes) <= MAX_MATCHES:
        what = f"matches {len(nodes):,} elements; at most {MAX_MATCHES} are joined" if nodes else "matches nothing"
        return [], f"content: {selector} {what}"
    for node in nodes:
        node.setattr(CHOSEN, "")
    root = None if document is None else _parse(document.html)
    chosen: list[etree._Element] = []
    if root is not None:
        walk = etree.iterwalk(root, events=("start",))
        for _, element in walk:
            if CHOSEN in element.attrib:
                chosen.append(element)
                walk.skip_subtree()
    return chosen, f"content: {selector} is empty"


def _no_css(selector: str) -> UserError:
    return UserError(f"{selector!r} is no CSS selector; mend it in the site's file")


def _title(root: etree._Element, text: str, selector: str | None) -> tuple[str | None, str | None]:
    """The title, and a note where the selector that should find it does not."""
    if selector is None:
        return _heading(root), None
    document = HTMLTree.parse(text).document
    try:
        node = None if document is None else document.query_selector(selector)
    except CSSParserException:
        raise _no_css(selector) from None
    if node is not None and (found := _line(node.text)):
        return found, None
    return _heading(root), f"title: {selector} matches nothing"


def _heading(root: etree._Element) -> str | None:
    """Of the page's first-level headings the one its <title> repeats, or the only one; else what its metadata say."""
    names = (_line(element.get("content")) for element in root.iterfind(".//meta[@property='og:title']"))
    titles = (_line("".join(element.itertext())) for element in root.iterfind(".//title"))
    named = [name for some in (names, titles) for name in islice(some, MOST_NAMES) if name]
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
