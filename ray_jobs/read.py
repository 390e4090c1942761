"""Read: raw files to documents, one task a unit, and a decision for every record."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pyarrow as pa

from ingest.inputs import ReadSettings, Unit, records, units
from ingest.records import Records, Rejected
from lake.dataset import Output
from lake.decision import DECISION, decision
from lake.document import DOCUMENT, Document, document_id
from lake.step import Outcome, Step, account
from ray_jobs.cluster import each

BATCH_ROWS = 10_000
BATCH_CHARACTERS = 16 * 2**20


def read(step: Step, settings: ReadSettings, data: str) -> Outcome:
    """Write `documents`, partitioned by source, and `decisions`, likewise, with a row for every record.

    Raises:
        UserError: a pattern matches no file, or a file cannot be read.
    """
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
        },
    )


@dataclass(frozen=True)
class UnitReader:
    """Writes the part of a unit; memory holds one batch of its records."""

    output: Output
    step: str
    settings: ReadSettings
    data: str

    def read(self, unit: Unit) -> list[dict[str, Any]]:
        """Write the unit's parts unless they are there.

        Returns:
            Its decisions, counted: rows of source, keep, reason and count.
        """
        source = self.settings.inputs[unit.input].source
        if not self.output.has_part("decisions", unit.part, source):
            self._write(unit, source)
        name = Output.part_name(unit.part, source)
        rows = self.output.read_part("decisions", name, ["source", "keep", "reason"])
        counted = rows.group_by(["source", "keep", "reason"]).aggregate([([], "count_all")])
        return counted.rename_columns({"count_all": "count"}).to_pylist()

    def _write(self, unit: Unit, source: str) -> None:
        part, output = unit.part, self.output
        with (
            # The inner part appears first: where the decisions are, the documents are too.
            output.part_writer("decisions", part, DECISION, source) as decide,
            output.part_writer("documents", part, DOCUMENT, source) as store,
        ):
            for batch in _batches(records(unit, self.settings, self.data)):
                documents = [one for one in batch if not isinstance(one, Rejected)]
                store(pa.Table.from_pylist(documents, DOCUMENT))
                decide(pa.Table.from_pylist([self._decision(one, source) for one in batch], DECISION))

    def _decision(self, record: Document | Rejected, source: str) -> dict[str, Any]:
        if isinstance(record, Rejected):
            return decision(self.step, document_id(source, record.native), source, record.drop)
        return decision(self.step, record["id"], source, None)


def _batches(found: Records) -> Iterator[list[Document | Rejected]]:
    batch: list[Document | Rejected] = []
    characters = 0
    for record in found:
        batch.append(record)
        characters += 0 if isinstance(record, Rejected) else len(record["text"])
        if len(batch) >= BATCH_ROWS or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch
