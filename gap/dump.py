"""Dump: the plan's documents as Parquet, for trainers that are not Megatron's, one task a part of the corpus."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lake.dataset import Output
from lake.document import DOCUMENT
from lake.error import UserError
from lake.step import Step
from mixing.split import SPLITS
from ray_jobs.cluster import each

COLUMNS = ("id", "source", "title", "text", "url", "license", "redistributable")
DUMPED = pa.schema([*(DOCUMENT.field(name) for name in COLUMNS), pa.field("copies", pa.int32(), nullable=False)])
"""`copies` is how often the plan trains on the document."""

ORIGIN, CARD = "plan.json", "README.md"


@dataclass(frozen=True)
class Dumped:
    """What a part of one split gave: documents, those that were withheld, and documents counted with their copies."""

    split: str
    source: str
    documents: int = 0
    withheld: int = 0
    copies: int = 0


@dataclass(frozen=True)
class DumpJob:
    """Where the plan and its documents are and where they go; `free_only` withholds what may not be redistributed."""

    clean: Output
    mix: Output
    to: Output
    free_only: bool

    def write(self, numbered: tuple[int, str]) -> list[Dumped]:
        """Write a part of each split that the plan's part `numbered` has, unless it is there."""
        number, name = numbered
        _, source = Output.part_place(name)
        assert source is not None
        plan = self.mix.read_part("plan", name, ["id", "split", "copies"])
        found = []
        for split in SPLITS:
            mine = plan.filter(pc.equal(plan["split"], split))
            if not mine.num_rows:
                continue
            if self.to.has_part(split, number):
                rows = self.to.read_part(split, self.to.part_name(number), ["copies"])
            elif (rows := self._rows(name, mine)).num_rows:
                self.to.write_part(split, number, rows)
            copies = rows["copies"].to_pylist()
            found.append(Dumped(split, source, len(copies), mine.num_rows - len(copies), sum(copies)))
        return found

    def _rows(self, name: str, plan: pa.Table) -> pa.Table:
        """The plan's documents in the order of the clean part."""
        rows = self.clean.read_part("documents", name, list(COLUMNS))
        rows = rows.filter(pc.is_in(rows["id"], plan["id"].combine_chunks()))
        if rows.num_rows != plan.num_rows:
            lost = plan.num_rows - rows.num_rows
            raise UserError(f"{self.clean.path('documents', name)}: {lost} documents of the plan are not there")
        at = pc.index_in(rows["id"], plan["id"].combine_chunks())
        rows = rows.append_column("copies", plan["copies"].take(at)).select(DUMPED.names).cast(DUMPED)
        return rows.filter(rows["redistributable"]) if self.free_only else rows


def claim(to: Output, mix: Step, free_only: bool) -> None:
    """Write down in `to` which plan it holds, before an engine starts; a dump that was killed finds its own mark.

    Raises:
        UserError: the plan is not there, or `to` holds something else.
    """
    if not mix.done:
        raise UserError("the plan has not been made yet; gap run CONFIG mix")
    origin = {"mix": mix.fingerprint, "redistributable_only": free_only}
    if to.exists(ORIGIN):
        if to.read_json(ORIGIN) != origin:
            raise UserError(f"{to.root}: it holds the documents of another plan; name another folder")
    elif any(to.exists(one) for one in (*SPLITS, CARD)):
        raise UserError(f"{to.root}: it holds something else; name a new or empty folder")
    to.write_json(origin, ORIGIN)


def dump(mix: Step, clean: Step, to: Output, name: str, free_only: bool) -> list[Dumped]:
    """Write `train/` and `validation/` below `to`, part by part, and a card that `datasets` reads; sums by source.

    A dump that was killed goes on at its first missing part. Equal plans give equal bytes.

    Raises:
        UserError: as `claim`; or nothing of the plan may leave.
    """
    claim(to, mix, free_only)
    to.sweep()
    job = DumpJob(clean.output, mix.output, to, free_only)
    parts = list(enumerate(job.mix.parts("plan")))
    sums: Counter[tuple[str, str, str]] = Counter()
    for one in (one for part in each(lambda part: job.write(part), parts, "dump", "parts") for one in part):
        for what in ("documents", "withheld", "copies"):
            sums[one.split, one.source, what] += getattr(one, what)
    keys = sorted({(split, source) for split, source, _ in sums}, key=lambda key: (SPLITS.index(key[0]), key[1]))
    total = [Dumped(*key, *(sums[(*key, what)] for what in ("documents", "withheld", "copies"))) for key in keys]
    if not any(one.documents for one in total):
        raise UserError(f"{to.root}: nothing to write: the plan has no document that may leave")
    to.write_bytes(card(name, total, free_only).encode(), CARD)
    return total


def card(name: str, found: list[Dumped], free_only: bool) -> str:
    """README.md in the Hub's form, whose head tells `datasets` which file belongs to which split."""
    splits = [split for split in SPLITS if any(one.documents for one in found if one.split == split)]
    files = "".join(f"  - split: {split}\n    path: {split}/*.parquet\n" for split in splits)
    rows = "".join(
        f"| {one.split} | {one.source} | {one.documents:,} | {one.copies:,} | {one.withheld:,} |\n" for one in found
    )
    which = "only those that may be redistributed" if free_only else "of which not all may be redistributed"
    return f"""---
configs:
- config_name: default
  data_files:
{files}---

# {" ".join(name.split())}

The documents of the training plan, {which}.
A document is one row; `copies` says how often the plan trains on it: repeat rows by it to get the mixture. Rows are not
shuffled.

| split | source | documents | with copies | withheld |
| --- | --- | ---: | ---: | ---: |
{rows}"""


def rows_of(found: list[Dumped]) -> list[tuple[Any, ...]]:
    """Cells of the table that the command prints."""
    return [(one.split, one.source, *(f"{n:,}" for n in (one.documents, one.copies, one.withheld))) for one in found]
