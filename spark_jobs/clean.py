"""Clean: write the clean documents, and a decision for every document that was read."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain

import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from ingest.clean import CleanSettings, PartCleaner, regroup
from ingest.fidelity.sample import audit_figures
from ingest.metadata import KNOWN
from ingest.tally import Tally
from lake.dataset import Output
from lake.decision import DECISION
from lake.document import DOCUMENT
from lake.step import Body, Cost, Kind, Outcome, Step
from spark_jobs.pubmed import part_of, write_known
from spark_jobs.session import read_table, session

COMPRESSION = 3
"""About how much larger text is than its zstd in the parts of `read`."""


def clean(step: Step[CleanSettings]) -> Outcome:
    """Write the clean `documents`, partitioned by source, the `decisions`, the `tally` of both, and `audits`.

    A document goes to the part that its id hashes to; parts are sorted by id. Each text is shuffled once, as it was
    read, and is cleaned and written where it arrives. Records with the same id meet there, ordered by a hash of
    all their fields. If `read` found metadata, they are first joined to the documents in the table `known`, with the
    same parts.
    """
    settings, spark = step.settings, session()
    read, output = step.input("documents").output, step.output
    counts = {source: _parts(read, source, settings) for source in read.sources("documents")}
    if read.parts("metadata"):
        write_known(read, output, counts, spark)
    for source, parts in counts.items():
        writer = CleanWriter(output, step.name, source, settings)
        missing = [part for part in range(parts) if not output.has_part("tally", part, source)]
        if missing:
            _write(read, writer, parts, missing, spark)
        for part in missing:
            if not output.has_part("tally", part, source):
                writer.write(part, iter(()))
    tally = Tally(output.scan("tally").to_table())
    audits = {name: audit_figures(output.scan("audits", name).to_table()) for name in output.sources("audits")}
    return Outcome(accounts=tally.accounts(), figures=tally.figures() | {"audits": audits})


# From `python -m benchmarks.stages --data DATA` with single sources: 920 pages of 3.5 KB, 80 papers of 59 KB or 1,360
# abstracts of 1.7 KB a second.
COST = Cost(start=10, documents=2_600, megabytes=4.9, row_bytes=305, text_bytes=0.30)
CLEAN = Body[CleanSettings](clean, Kind.CLEANER, "spark", 6, COST)


def _parts(read: Output, source: str, settings: CleanSettings) -> int:
    """How many parts a source gets. This depends only on the size of what was read, not on this run."""
    table = read.scan("documents", source)
    size = sum(info.size for info in table.filesystem.get_file_info(table.files))
    return 1 + int(size * COMPRESSION / (settings.part_mb * 1e6))


def _write(read: Output, writer: "CleanWriter", parts: int, missing: list[int], spark: SparkSession) -> None:
    rows = read_table(spark, read, "documents").where(F.col("source") == writer.source).drop("source")
    record = F.xxhash64(*(name for name in DOCUMENT.names if name not in ("id", "source")))
    placed = rows.withColumns({"part": part_of("id", F.lit(parts)), "record": record}).where(
        F.col("part").isin(missing)
    )
    ordered = placed.repartitionById(parts, "part").sortWithinPartitions("id", "record").drop("record")
    ordered.mapInArrow(partial(_to_part, writer=writer), "part int").collect()


def _to_part(batches: Iterable[pa.RecordBatch], writer: "CleanWriter") -> Iterator[pa.RecordBatch]:
    filled = (batch for batch in batches if batch.num_rows)
    first = next(filled, None)
    if first is not None:
        part = first["part"][0].as_py()
        writer.write(part, chain([first], filled))
        yield pa.RecordBatch.from_pydict({"part": pa.array([part], pa.int32())})


@dataclass(frozen=True)
class CleanWriter:
    """Cleans and writes a part's rows, which arrive sorted by id."""

    output: Output
    step: str
    source: str
    settings: CleanSettings

    def write(self, part: int, batches: Iterator[pa.RecordBatch]) -> None:
        """Memory holds some ten MB of text at a time. The tally comes last and marks the part as complete."""
        known = None
        if self.output.has_part("known", part, self.source):
            known = self.output.read_part("known", Output.part_name(part, self.source), KNOWN.names).cast(KNOWN)
        cleaner = PartCleaner(self.source, self.settings, self.step, known)
        with (
            self.output.part_writer("documents", part, DOCUMENT, self.source) as store,
            self.output.part_writer("decisions", part, DECISION, self.source) as decide,
        ):
            for rows in regroup(batches):
                documents, decisions = cleaner.clean(rows)
                store(documents)
                decide(decisions)
        audits = cleaner.audits()
        if len(audits):
            self.output.write_part("audits", part, audits, self.source)
        self.output.write_part("tally", part, cleaner.tally(), self.source)
