"""Read: raw files to documents, one task a unit, and a decision for every record."""

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Any

import pyarrow as pa

from ingest.inputs import ReadSettings, Unit, records, units
from ingest.metadata import METADATA
from ingest.records import Fallback, Metadata, Note, Record, Records, Rejected, Unsampled
from lake.dataset import Output
from lake.decision import DECISION, decision
from lake.document import DOCUMENT, Document, document_id
from lake.schema import schema
from lake.step import Body, Cost, Kind, Outcome, Step, account
from ray_jobs.cluster import each
from ray_jobs.decisions import decided

BATCH_ROWS = 10_000
BATCH_CHARACTERS = 16 * 2**20

UNSAMPLED = schema("count int64")
"""A part has one row: the records that were passed over in a unit, by a sample or as papers outside PubMed."""

FALLBACK = schema("document string, why string")
"""PDFs of documents that GROBID was to read and did not: `document` is the document's URL, or where it stood."""

NOTE = schema("document string, what string, details string")
"""What documents that were kept lack: `scanned pages` or `broken pages` of a PDF, a `title` where its selector says."""


def read(step: Step[ReadSettings], data: str) -> Outcome:
    """Write `documents`, partitioned by source, and `decisions`, likewise, with a row for every record.

    A record enters where it is drawn: of an input that is sampled, those passed over have no row in `decisions` and are
    not among the accounts, for at `keep: 0.0004` they are 2,500 times what is read; nor do Semantic Scholar's
    `papers` outside PubMed. Both are counted by unit in the table `unsampled`, and by source in the figure of that
    name. Records that tell of papers and have no text go to the table `metadata`, from which `clean` completes
    documents. Where an input names a GROBID server, the table `fallbacks` has the PDFs that pdfium read in its place,
    and the figure `pdfs_without_grobid` their number by source. What pages and PDFs lack goes to the table `notes`; the
    figure of that name has by source and by what it is the number of documents and the URL of one.

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
            "metadata": step.output.scan("metadata").count_rows() if step.output.parts("metadata") else 0,
        },
    )


# Its time is that of the formats it reads.
READ = Body[ReadSettings](read, Kind.READER, "ray", 7, Cost(start=5, row_bytes=305, text_bytes=0.30))


def unsampled(output: Output) -> dict[str, int]:
    """Records that were passed over, by source, where a source was sampled or told of papers outside PubMed."""
    if not output.parts("unsampled"):
        return {}
    found = output.scan("unsampled").to_table().group_by("source").aggregate([("count", "sum")])
    return dict(sorted(zip(found["source"].to_pylist(), found["count_sum"].to_pylist(), strict=True)))


def pdfs_without_grobid(output: Output) -> dict[str, int]:
    """PDFs that another reader had to read, by source, where GROBID was to read them."""
    if not output.parts("fallbacks"):
        return {}
    return {source: output.scan("fallbacks", source).count_rows() for source in output.sources("fallbacks")}


def notes(output: Output) -> dict[str, dict[str, dict[str, Any]]]:
    """By source and by what documents lack: how many `documents`, and as `example` the first URL in order."""
    if not output.parts("notes"):
        return {}
    found = output.scan("notes").to_table(columns=["source", "what", "document"]).group_by(["source", "what"])
    rows = found.aggregate([("document", "count_distinct"), ("document", "min")]).to_pylist()
    told: dict[str, dict[str, dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: (row["source"], row["what"])):
        told.setdefault(row["source"], {})[row["what"]] = {
            "documents": row["document_count_distinct"],
            "example": row["document_min"],
        }
    return told


@dataclass(frozen=True)
class UnitReader:
    """Writes the part of a unit; memory holds one batch of its records."""

    output: Output
    step: str
    settings: ReadSettings
    data: str

    def read(self, unit: Unit) -> list[dict[str, Any]]:
        """Write the unit's parts unless they are there; its decisions, counted."""
        source = self.settings.inputs[unit.input].source
        return decided(self.output, unit.part, source, lambda: self._write(unit, source))

    def _write(self, unit: Unit, source: str) -> None:
        part, output = unit.part, self.output
        passed = 0
        fallbacks: list[dict[str, str]] = []
        noted: list[dict[str, str]] = []
        tables = self.settings.inputs[unit.input].tables
        with (
            # The inner part appears first: where the decisions are, the documents are too.
            output.part_writer("decisions", part, DECISION, source) as decide,
            output.part_writer("documents", part, DOCUMENT, source) as store,
            output.part_writer("metadata", part, METADATA) if "metadata" in tables else nullcontext() as tell,
        ):
            for batch in _batches(records(unit, self.settings, self.data)):
                entered = [one for one in batch if not isinstance(one, Unsampled | Metadata | Fallback | Note)]
                passed += sum(one.count for one in batch if isinstance(one, Unsampled))
                store(pa.Table.from_pylist([one for one in entered if not isinstance(one, Rejected)], DOCUMENT))
                decide(pa.Table.from_pylist([self._decision(one, source) for one in entered], DECISION))
                noted += [asdict(one) for one in batch if isinstance(one, Note)]
                fallbacks += [asdict(one) for one in batch if isinstance(one, Fallback)]
                if tell is not None:
                    tell(pa.Table.from_pylist(_told(batch), METADATA))
            if passed or "unsampled" in tables:
                output.write_part("unsampled", part, pa.table({"count": [passed]}, UNSAMPLED), source)
            if "fallbacks" in tables:
                output.write_part("fallbacks", part, pa.Table.from_pylist(fallbacks, FALLBACK), source)
            if noted:
                output.write_part("notes", part, pa.Table.from_pylist(noted, NOTE), source)

    def _decision(self, record: Document | Rejected, source: str) -> dict[str, Any]:
        if isinstance(record, Rejected):
            drop = replace(record.drop, native=record.drop.native or record.native)
            return decision(self.step, document_id(source, record.native), source, drop)
        return decision(self.step, record["id"], source, None)


def _told(batch: Iterable[Record]) -> list[dict[str, Any]]:
    """What records without text tell of papers; what a document tells stands in its own meta."""
    found = (one.about if isinstance(one, Rejected) else one for one in batch)
    return [one.row for one in found if isinstance(one, Metadata)]


def _batches(found: Records) -> Iterator[list[Record]]:
    batch: list[Record] = []
    characters = 0
    for record in found:
        batch.append(record)
        characters += len(record["text"]) if isinstance(record, dict) else 0
        if len(batch) >= BATCH_ROWS or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch
