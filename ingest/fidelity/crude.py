"""The crudest readings of raw documents: every visible character, in the order of the file.

They share nothing with the readers that make documents, so that a fault of a reader shows. Blocks and cells end in a
line end, raised text stands after a `^`, and lowered text after a `_`.
"""

import html
import math
import re
from typing import Any, Final

from pypdfium2 import PdfDocument
from resiliparse.parse.html import HTMLTree, NodeType, traverse_dom

from ingest.fidelity.ledger import Ledger
from ingest.pages.charset import decode

INLINE: Final = frozenset(
    """
    a abbr acronym b bdi bdo big cite code data del dfn em font i ins kbd label mark nobr q s samp small span strike
    strong sub sup time tt u var wbr
    abbrev bold chem-struct email ext-link inline-formula italic monospace named-content overline roman sans-serif sc
    styled-content underline uri xref
    """.split()  # noqa: SIM905
)
"""Elements of HTML and JATS that do not end a word. The parts of a formula do."""

UNSEEN: Final = frozenset(
    "script style template noscript iframe title annotation annotation-xml".split()  # noqa: SIM905
)
"""Elements of a page that no reader sees."""

NO_SCRIPT = re.compile(r"<noscript\b.*?</noscript\s*>", re.DOTALL | re.IGNORECASE)
"""What browsers with scripts do not parse."""

TAG = re.compile(
    r"""
    <!--.*?(?:-->|\Z) | <!\[CDATA\[(?P<data>.*?)(?:\]\]>|\Z)
  | <(?P<unseen>(?:\w+:)?annotation(?:-xml)?)(?=[\s/>]) [^>]* (?:/> | > .*? (?:</(?P=unseen)\s*>|\Z))
  | <[/!?]?(?P<name>[a-z][\w:.-]*) (?: [^"'<>] | "[^"]*" | '[^']*' )*+ >
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
SCRIPT_END: Final = "\x1f"
SCRIPTS = re.compile(rf"\^(?=\s?\d{{1,2}}{SCRIPT_END}?\s?[/⁄∕]\s?_?\d)|(?<=[/⁄∕])_|{SCRIPT_END}")
"""The signs of numerators and denominators, and the end of raised or lowered text, behind which a number may begin."""


def page_text(data: bytes, charset: str | None, ledger: Ledger) -> str:
    """All text of a web page, with that of its images, which may be left out. Empty if it cannot be decoded.

    A parser of HTML 5 reads it as browsers do; it is not the one that extraction uses.
    """
    text = decode(data, charset)
    document = HTMLTree.parse(NO_SCRIPT.sub("", text)).document if isinstance(text, str) else None
    pieces: list[str] = []
    unseen = math.inf
    """The depth of the element around the node that no reader sees."""

    def start(context: Any) -> None:
        nonlocal unseen
        node = context.node
        unseen = math.inf if context.depth <= unseen else unseen
        if node.type == NodeType.ELEMENT:
            unseen = context.depth if node.tag in UNSEEN and context.depth < unseen else unseen
            if node.tag == "img" and (shown := node.getattr("alt")):
                ledger.leave_out("image", shown)
                pieces.append(f" {shown} ")
            pieces.append(_opened(node.tag))
        elif node.type == NodeType.TEXT and context.depth < unseen:
            pieces.append(node.text)

    def end(context: Any) -> None:
        if context.node.type == NodeType.ELEMENT:
            pieces.append(_closed(context.node.tag))

    if document is not None:
        traverse_dom(document, start, end)
    return SCRIPTS.sub(_separated, "".join(pieces))


def markup_text(text: str) -> str:
    """All text of XML: what is left without its tags."""

    def plain(match: re.Match[str]) -> str:
        if match["data"] is not None:
            return html.escape(match["data"], quote=False)
        name = (match["name"] or "").lower()
        return "" if not name else _closed(name) if match[0][1] == "/" else _opened(name)

    return SCRIPTS.sub(_separated, html.unescape(TAG.sub(plain, text)))


def _opened(name: str) -> str:
    return {"sup": "^", "sub": "_"}.get(name, "" if name in INLINE else "\n")


def _closed(name: str) -> str:
    return SCRIPT_END if name in ("sup", "sub") else "" if name in INLINE else "\n"


def _separated(sign: re.Match[str]) -> str:
    text, end = sign.string, sign.end()
    return " " if sign[0] == "^" or (sign[0] == SCRIPT_END and text[end : end + 1].isdigit()) else ""


def pdf_characters(data: bytes) -> str:
    """The plain characters that pdfium finds, page by page."""
    document = PdfDocument(data)
    try:
        return "\n".join(page.get_textpage().get_text_range() for page in document)
    finally:
        document.close()
