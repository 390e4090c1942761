"""Read: raw files to documents, with a decision for every record. Each unit is a task."""

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Any

import pyarrow as pa

from ingest.fidelity.audit import Audit
from ingest.fidelity.sample import audit_figures, audit_table, sampled
from ingest.inputs import ReadSettings, Unit, audited, records, units
from ingest.metadata import METADATA
from ingest.records import Audited, Fallback, Metadata, Note, Original, Record, Records, Rejected, Unsampled
from lake.dataset import Output
from lake.decision import DECISION, decision
from lake.document import DOCUMENT, Document, document_id
from lake.schema import schema
from lake.step import Body, Cost, Kind, Outcome, Step, account
from ray_jobs.cluster import each
from ray_jobs.decisions import decided

BATCH_ROWS = 10_000
BATCH_CHARACTERS = 16 * 2**20

ASIDE = Unsampled | Metadata | Fallback | Note | Original | Audited
"""Records without a decision."""

UNSAMPLED = schema("count int64")
"""A part has a single row: how many records of the unit were skipped, by a sample or as papers outside PubMed."""

FALLBACK = schema("document string, why string")
"""PDFs that GROBID should have read but did not. `document` is the URL, or else the place of the record."""

NOTE = schema("document string, what string, details string")
"""`what` kept documents lack: `scanned pages` or `broken pages` of a PDF, or a `title` that its selector missed."""


def read(step: Step[ReadSettings], data: str) -> Outcome:
    """Write `documents` and `decisions`, partitioned by source, with a decision for every record.

    A record of a sampled input enters only if it is drawn. Skipped records have no row in `decisions` and no place in
    the accounts, for at `keep: 0.0004` there are 2,500 for each record that is read. Semantic Scholar's `papers`
    outside PubMed are skipped, too. The table `unsampled` counts both by unit, the figure `unsampled` by source.

    Metadata without text go to the table `metadata`, from which `clean` completes documents. If an input names a GROBID
    server, the table `fallbacks` lists the PDFs that pdfium read instead; the figure `pdfs_without_grobid` counts them
    by source. The table `notes` says what kept pages and PDFs lack; the figure `notes` counts the documents by source
    and kind, with an example. The table `audits` and the figure of that name say what became of the critical tokens of
    a sample of documents.

    Raises:
        UserError: a pattern matches no file, or a file cannot be read.
    """
    settings = step.settings
    todo = units(settings, data)
    reader = UnitReader(step.output, step.name, settings, data)
    verdicts = list(chain.from_iterable(each(lambda unit: reader.read(unit), todo, step.name, "parts")))
    files = [(settings.inputs[unit.input].source, path) for unit in todo for path in unit.files]
    sources = sorted({source for source, _ in files})
    return Outcome(
        accounts=account(verdicts),
        figures={
            "files": len(files),
            "bytes": sum(path.stat().st_size for _, path in files),
            "files_by_source": {name: sum(source == name for source, _ in files) for name in sources},
            "unsampled": unsampled(step.output),
            "pdfs_without_grobid": pdfs_without_grobid(step.output),
            "notes": notes(step.output),
            "audits": audits(step.output),
            "metadata": step.output.scan("metadata").count_rows() if step.output.parts("metadata") else 0,
        },
    )


# The time depends on the formats that are read.
READ = Body[ReadSettings](read, Kind.READER, "ray", 8, Cost(start=5, row_bytes=305, text_bytes=0.30))


def unsampled(output: Output) -> dict[str, int]:
    """Skipped records by source, for sources with a sample or with papers outside PubMed."""
    if not output.parts("unsampled"):
        return {}
    sums = output.scan("unsampled").to_table().group_by("source").aggregate([("count", "sum")])
    return dict(sorted(zip(sums["source"].to_pylist(), sums["count_sum"].to_pylist(), strict=True)))


def pdfs_without_grobid(output: Output) -> dict[str, int]:
    """PDFs that pdfium read instead of GROBID, by source."""
    return {source: output.scan("fallbacks", source).count_rows() for source in output.sources("fallbacks")}


def notes(output: Output) -> dict[str, dict[str, dict[str, Any]]]:
    """By source and by what they lack: how many `documents`, and the first URL in order as `example`."""
    if not output.parts("notes"):
        return {}
    groups = output.scan("notes").to_table(columns=["source", "what", "document"]).group_by(["source", "what"])
    rows = groups.aggregate([("document", "count_distinct"), ("document", "min")]).to_pylist()
    counts: dict[str, dict[str, dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: (row["source"], row["what"])):
        counts.setdefault(row["source"], {})[row["what"]] = {
            "documents": row["document_count_distinct"],
            "example": row["document_min"],
        }
    return counts


def audits(output: Output) -> dict[str, dict[str, Any]]:
    """By source: what became of the critical tokens of its audited documents."""
    return {source: audit_figures(output.scan("audits", source).to_table()) for source in output.sources("audits")}


@dataclass(frozen=True)
class UnitReader:
    """Writes a unit's parts. Memory holds one batch of records at a time."""

    output: Output
    step: str
    settings: ReadSettings
    data: str

    def read(self, unit: Unit) -> list[dict[str, Any]]:
        """Write the unit's parts unless they are there. Returns its decisions, counted."""
        source = self.settings.inputs[unit.input].source
        return decided(self.output, unit.part, source, lambda: self._write(unit, source))

    def _write(self, unit: Unit, source: str) -> None:
        part, output = unit.part, self.output
        skipped = 0
        fallbacks: list[dict[str, str]] = []
        lacks: list[dict[str, str]] = []
        audits: list[tuple[str, Audit]] = []
        tables = self.settings.inputs[unit.input].tables
        with (
            # Inner parts appear first, so decisions appear after their documents.
            output.part_writer("decisions", part, DECISION, source) as decide,
            output.part_writer("documents", part, DOCUMENT, source) as store,
            output.part_writer("metadata", part, METADATA) if "metadata" in tables else nullcontext() as describe,
        ):
            chosen = sampled(self.settings.audit)
            for batch in _batches(audited(records(unit, self.settings, self.data, originals=True), chosen)):
                entered = [record for record in batch if not isinstance(record, ASIDE)]
                skipped += sum(record.count for record in batch if isinstance(record, Unsampled))
                documents = [record for record in entered if not isinstance(record, Rejected)]
                store(pa.Table.from_pylist(documents, DOCUMENT))
                decide(pa.Table.from_pylist([self._decision(record, source) for record in entered], DECISION))
                lacks += [asdict(record) for record in batch if isinstance(record, Note)]
                audits += [(record.id, record.audit) for record in batch if isinstance(record, Audited)]
                fallbacks += [asdict(record) for record in batch if isinstance(record, Fallback)]
                if describe is not None:
                    describe(pa.Table.from_pylist(_metadata(batch), METADATA))
            if skipped or "unsampled" in tables:
                output.write_part("unsampled", part, pa.table({"count": [skipped]}, UNSAMPLED), source)
            if "fallbacks" in tables:
                output.write_part("fallbacks", part, pa.Table.from_pylist(fallbacks, FALLBACK), source)
            if audits:
                output.write_part("audits", part, audit_table(audits), source)
            if lacks:
                output.write_part("notes", part, pa.Table.from_pylist(lacks, NOTE), source)

    def _decision(self, record: Document | Rejected, source: str) -> dict[str, Any]:
        if isinstance(record, Rejected):
            drop = replace(record.drop, native=record.drop.native or record.native)
            return decision(self.step, document_id(source, record.native), source, drop)
        return decision(self.step, record["id"], source, None)


def _metadata(batch: Iterable[Record]) -> list[dict[str, Any]]:
    """The metadata of records without text. A document has its metadata in `meta`."""
    described = (record.about if isinstance(record, Rejected) else record for record in batch)
    return [metadata.row for metadata in described if isinstance(metadata, Metadata)]


def _batches(records: Records) -> Iterator[list[Record]]:
    batch: list[Record] = []
    rows = characters = 0
    for record in records:
        batch.append(record)
        # Audits are for a share of the documents, which must not move the limits of batches.
        rows += not isinstance(record, Audited)
        characters += len(record["text"]) if isinstance(record, dict) else 0
        if rows >= BATCH_ROWS or characters >= BATCH_CHARACTERS:
            yield batch
            batch, rows, characters = [], 0, 0
    if batch:
        yield batch
