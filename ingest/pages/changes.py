"""What extraction changes of a page on purpose: told in the page's notes and, in an audit, in its ledger."""

from dataclasses import dataclass, field
from typing import Final, Protocol

from ingest.fidelity.ledger import Ledger
from ingest.pages.page import PageNote

MOST_QUOTES: Final = 5
QUOTE_CHARS: Final = 80


class HasText(Protocol):
    """A part of a page."""

    def all_text(self) -> str:
        """Its text and that of all its parts."""


@dataclass(slots=True)
class Changes:
    """The changes of one page.

    Attributes:
        ledger: Takes every text that is left out or written; None outside of audits.
        struck: The first MOST_QUOTES texts that are struck out, and `struck_more` the number of the others.
        unspanned: Tables whose spans are so large that they were not applied.
    """

    ledger: Ledger | None = None
    struck: list[str] = field(default_factory=list)
    struck_more: int = 0
    unspanned: int = 0

    def leave_out(self, rule: str, part: str | HasText) -> None:
        """Enter what a rule leaves out."""
        if self.ledger is not None:
            self.ledger.leave_out(rule, part if isinstance(part, str) else part.all_text())

    def write(self, rule: str, text: str) -> None:
        """Enter what a rule writes."""
        if self.ledger is not None:
            self.ledger.write(rule, text)

    def strike(self, text: str) -> None:
        """Note a text that is struck out."""
        quote = " ".join(text[: 4 * QUOTE_CHARS].split())[:QUOTE_CHARS]
        if quote and len(self.struck) < MOST_QUOTES:
            self.struck.append(quote)
        elif quote:
            self.struck_more += 1

    def notes(self) -> tuple[PageNote, ...]:
        """What the page's readers should know."""
        notes = []
        if self.struck:
            more = f" and {self.struck_more:,} more" if self.struck_more else ""
            notes.append(PageNote("struck out text", "; ".join(self.struck) + more))
        if self.unspanned:
            details = f"{self.unspanned:,} table(s) whose cells span too many rows or columns: each cell stands once"
            notes.append(PageNote("table spans", details))
        return tuple(notes)
