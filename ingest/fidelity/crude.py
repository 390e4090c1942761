"""The crudest readings of raw documents: every visible character, in the order of the file.

They share nothing with the readers that make documents, so that a fault of a reader shows. Blocks and cells end in a
line end, and raised text stands after a `^`.
"""

import html
import re
from typing import Final

from pypdfium2 import PdfDocument

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

UNSEEN: Final = "script|style|template|noscript|iframe|title|annotation|annotation-xml"

MARKUP = re.compile(
    rf"""
    <!--.*?(?:-->|\Z) | <!\[CDATA\[(?P<data>.*?)(?:\]\]>|\Z)
  | <(?P<unseen>{UNSEEN})\b [^>]* (?:/> | > .*? (?:</(?P=unseen)\s*>|\Z))
  | <[/!?]?(?P<name>[a-z][\w:.-]*) (?P<rest>(?: [^"'<>] | "[^"]*" | '[^']*' )*+ >)
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
ALT = re.compile(r"""\balt\s*=\s*(?:"([^"]*)"|'([^']*)')""", re.IGNORECASE)
NUMERATOR = re.compile(r"\^(?=\s?\d{1,2}\s?[/⁄∕])")


def page_text(data: bytes, charset: str | None, ledger: Ledger) -> str:
    """All text of a web page, with that of its images, which may be left out. Empty if it cannot be decoded."""
    text = decode(data, charset)
    return markup_text(text, ledger) if isinstance(text, str) else ""


def markup_text(text: str, ledger: Ledger) -> str:
    """All text of HTML or XML: what is left without its tags. Linear in the length, but for tags that do not end."""

    def plain(match: re.Match[str]) -> str:
        if match["data"] is not None:
            return html.escape(match["data"], quote=False)
        name = (match["name"] or "").lower()
        if name == "img" and (alt := ALT.search(match["rest"])):
            shown = alt[1] or alt[2] or ""
            ledger.leave_out("image", html.unescape(shown))
            return f" {shown} "
        if name == "sup":
            return "" if match[0][1] == "/" else "^"
        return "" if name in INLINE or (match["name"] is None and not match["unseen"]) else "\n"

    return NUMERATOR.sub(" ", html.unescape(MARKUP.sub(plain, text)))


def pdf_characters(data: bytes) -> str:
    """The plain characters that pdfium finds, page by page."""
    document = PdfDocument(data)
    try:
        return "\n".join(page.get_textpage().get_text_range() for page in document)
    finally:
        document.close()
