"""What extraction makes of a web page or a PDF."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Page:
    """A document's title, where it tells one, and its main text.

    The text has headings as `#` to `###`, items as `- `, rows of tables as cells with ` | ` between, and an empty line
    between blocks. `note` says what the text lacks, or which selector found nothing, where there is something to say:
    `what: details`, with `; ` between two. `fallback` says why another reader than the one asked for had to read it.
    """

    title: str | None
    text: str
    note: str | None = None
    fallback: str | None = None
