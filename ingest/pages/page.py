"""What extraction makes of a web page or a PDF."""

from dataclasses import dataclass
from typing import NamedTuple


class PageNote(NamedTuple):
    """Something that a page's text lacks: `what`, such as `scanned pages` or `struck out text`, and `details`."""

    what: str
    details: str


@dataclass(frozen=True, slots=True)
class Page:
    """A document's title, if it has one, and its main text.

    In the text, `#` to `###` mark headings, `- ` marks an item, ` | ` separates the cells of a row, and an empty line
    separates blocks. `notes` say what the text lacks. `fallback` says why another reader than the configured one had to
    read the page.
    """

    title: str | None
    text: str
    notes: tuple[PageNote, ...] = ()
    fallback: str | None = None
