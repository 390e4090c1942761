"""One document beside its raw record: the audit of its critical tokens, with its losses marked."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gap.sidebyside import beside, side_by_side
from ingest.clean import clean_document
from ingest.fidelity.audit import Audit, Finding, audit
from ingest.fidelity.ledger import Ledger
from ingest.fidelity.tokens import readable
from ingest.inputs import ReadSettings, Unit, records, units
from ingest.records import Original
from lake.dataset import Output
from lake.error import UserError
from lake.step import Kind, Steps, of_kind

ROWS = 400
"""Rows of the two texts that are shown."""


class Reread(NamedTuple):
    """A document read again: all text of its raw record, its clean text, and the audit of both."""

    source: str
    clean: str
    audit: Audit


def reread(settings: ReadSettings, data: str, steps: Steps, identity: str) -> Reread:
    """Read the raw record of a document below the data folder again, and clean it.

    Raises:
        UserError: no document with this id was read, its raw file is gone, or its format gives no raw text.
    """
    cleaner = next(iter(of_kind(steps, Kind.CLEANER)))
    for unit in _units(settings, data, steps, identity):
        original: Original | None = None
        for record in records(unit, settings, data, originals=True):
            if isinstance(record, Original):
                original = record
            elif isinstance(record, dict) and record["id"] == identity and original is not None:
                ledger = Ledger()
                source = original.read(ledger)
                clean = clean_document(record["text"], record["title"], record["source"], cleaner.settings, ledger)
                return Reread(source, clean.text, audit(source, clean.text, ledger))
    raise UserError(f"{identity}: no raw record of this document; run gap run CONFIG read, and then trace its id again")


def _units(settings: ReadSettings, data: str, steps: Steps, identity: str) -> Iterator[Unit]:
    """The units of which a part has the document. A unit and its part have the same number."""
    for reader in of_kind(steps, Kind.READER):
        parts = set(reader.output.parts("documents")) if reader.done else set()
        for unit in units(settings, data):
            name = Output.part_name(unit.part, settings.inputs[unit.input].source)
            if name in parts and identity in reader.output.read_part("documents", name, ["id"])["id"].to_pylist():
                yield unit


def shown(document: Reread, width: int) -> list[str]:
    """The audit in words, then the raw record on the left and the clean text on the right.

    `»x«` is a token that is lost (left) or invented (right). `[-words-]` are only in the raw record, `{+words+}` only
    in the clean text.
    """
    result = document.audit
    rules = [f"{count:,} left out by {rule}" for rule, count in sorted(result.left_out.items())]
    rules += [f"{count:,} written by {rule}" for rule, count in sorted(result.written.items())]
    counts = [f"{result.tokens:,} critical tokens, {result.kept:,} kept", *rules]
    counts += [f"{result.lost:,} lost, {result.invented:,} invented"]
    left = _marked(readable(document.source), result.losses)
    right = _marked(readable(document.clean), result.inventions)
    return [*counts, "", *beside(["raw record"], ["clean text"], width), "", *side_by_side(left, right, width, ROWS)]


def _marked(text: str, findings: Sequence[Finding]) -> str:
    pieces, end = [], 0
    for finding in findings:
        pieces += [text[end : finding.start], f"»{text[finding.start : finding.end]}«"]
        end = finding.end
    return "".join([*pieces, text[end:]])
