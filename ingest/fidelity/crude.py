"""The crudest readings of raw documents: every visible character, in the order of the file.

They share nothing with the readers that make documents, so that a fault of a reader shows. Blocks and cells end in a
line end, raised text stands after a `^`, and lowered text after a `_`.
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

FORMULA_NOTES: Final = "annotation|annotation-xml"
NEVER_SHOWN: Final = f"script|style|template|noscript|iframe|title|{FORMULA_NOTES}"
"""Elements of a page that no reader sees, and those of XML."""


def _pattern(unseen: str) -> re.Pattern[str]:
    return re.compile(
        rf"""
        <!--.*?(?:-->|\Z) | <!\[CDATA\[(?P<data>.*?)(?:\]\]>|\Z)
      | <(?P<unseen>{unseen})(?=[\s/>]) [^>]* (?:/> | > .*? (?:</(?P=unseen)\s*>|\Z))
      | <[/!?]?(?P<name>[a-z][\w:.-]*) (?P<rest>(?: [^"'<>] | "[^"]*" | '[^']*' )*+ >)
      | </?[a-z][^<>]*> | <[!?/](?![a-z])[^>]*>
        """,
        re.VERBOSE | re.DOTALL | re.IGNORECASE,
    )


XML, PAGE = _pattern(FORMULA_NOTES), _pattern(NEVER_SHOWN)
ALT = re.compile(r"""\balt\s*=\s*(?:"([^"]*)"|'([^']*)')""", re.IGNORECASE)
SCRIPT_END: Final = "\x1f"
SCRIPTS = re.compile(rf"\^(?=\s?\d{{1,2}}{SCRIPT_END}?\s?[/⁄∕]\s?_?\d)|(?<=[/⁄∕])_|{SCRIPT_END}")
"""The signs of numerators and denominators, and the end of raised or lowered text, behind which a number may begin."""


def page_text(data: bytes, charset: str | None, ledger: Ledger) -> str:
    """All text of a web page, with that of its images, which may be left out. Empty if it cannot be decoded."""
    text = decode(data, charset)
    return markup_text(text, ledger, PAGE) if isinstance(text, str) else ""


def markup_text(text: str, ledger: Ledger, markup: re.Pattern[str] = XML) -> str:
    """All text of XML, or HTML: what is left without its tags."""

    def plain(match: re.Match[str]) -> str:
        if match["data"] is not None:
            return html.escape(match["data"], quote=False)
        name = (match["name"] or "").lower()
        if name == "img" and (alt := ALT.search(match["rest"])):
            shown = alt[1] or alt[2] or ""
            ledger.leave_out("image", html.unescape(shown))
            return f" {shown} "
        if name in ("sup", "sub"):
            return SCRIPT_END if match[0][1] == "/" else "^" if name == "sup" else "_"
        return "" if name in INLINE or (match["name"] is None and not match["unseen"]) else "\n"

    return SCRIPTS.sub(_separated, html.unescape(markup.sub(plain, text)))


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
