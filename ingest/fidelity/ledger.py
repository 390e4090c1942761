"""What a reader left out of a document and what it wrote itself, each entry with the rule behind it."""

from dataclasses import dataclass, field
from typing import NamedTuple


class Entry(NamedTuple):
    """A stretch of text, and the rule that left it out or wrote it, such as `references` or `hidden`."""

    rule: str
    text: str


@dataclass(frozen=True, slots=True)
class Ledger:
    """The changes that a reader or a cleaning rule makes on purpose, in the document's order.

    A reader takes a ledger as an optional argument and fills it only for the audit (ingest.fidelity.audit): whatever is
    neither in the clean text nor here is a loss.
    """

    left_out: list[Entry] = field(default_factory=list)
    written: list[Entry] = field(default_factory=list)

    def leave_out(self, rule: str, text: str) -> None:
        """Enter a text of the source that is not in the document."""
        if text and not text.isspace():
            self.left_out.append(Entry(rule, text))

    def write(self, rule: str, text: str) -> None:
        """Enter a text of the document that its source does not have."""
        if text and not text.isspace():
            self.written.append(Entry(rule, text))
