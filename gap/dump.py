"""`gap dump`: the selected documents as Parquet, for trainers other than Megatron."""

from collections import Counter
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
import pyarrow.compute as pc

from gap.command import CONFIG, OVERRIDES, load_config, ray_up, table, user_errors
from gap.plan import plan
from lake.dataset import Output
from lake.document import DOCUMENT
from lake.error import UserError
from lake.step import Kind, Step, of_kind
from mixing.split import SPLITS

COLUMNS = ("id", "source", "title", "text", "url", "license", "redistributable")
DUMPED = pa.schema([*(DOCUMENT.field(name) for name in COLUMNS), pa.field("copies", pa.int32(), nullable=False)])
"""`copies` says how often the mixture trains on the document."""

ORIGIN, CARD = "selection.json", "README.md"


@click.command()
@CONFIG
@click.argument("folder", metavar="OUT")
@OVERRIDES
@click.option("--redistributable-only", is_flag=True, help="Leave out documents that may not be redistributed.")
@user_errors
def dump(config: str, folder: str, overrides: tuple[str, ...], redistributable_only: bool) -> None:
    """Write the selected documents as Parquet to OUT/train and OUT/validation, for trainers other than Megatron.

    A row is a document: id, source, title, text, url, license, redistributable, and `copies`, how often the mixture
    trains on it. OUT is a folder or a URI (s3://…). A dump that was killed goes on where it stopped.

    \b
    Example:
      gap dump configs/demo.yaml /data/demo
      python -c 'import datasets; print(datasets.load_dataset("/data/demo"))'
    """
    loaded = load_config(config, overrides)
    (mix,) = of_kind(plan(loaded), Kind.MIXTURE)
    to = Output(folder if "://" in folder else str(Path(folder).resolve()))
    claim(to, mix, redistributable_only)
    with ray_up(loaded.ray):
        dumped = write(mix, to, loaded.name, redistributable_only)
    rows = [
        (part.split, part.source, f"{part.documents:,}", f"{part.copies:,}", f"{part.withheld:,}") for part in dumped
    ]
    click.echo(table(("split", "source", "documents", "with copies", "withheld"), rows, {2, 3, 4}))
    click.echo(to.root)


@dataclass(frozen=True)
class Dumped:
    """What a part of one split holds: documents written and withheld, and documents counted with their copies."""

    split: str
    source: str
    documents: int = 0
    withheld: int = 0
    copies: int = 0


@dataclass(frozen=True)
class DumpJob:
    """Where selection and documents are, and where they go. `free_only` withholds what is not redistributable."""

    clean: Output
    mix: Output
    to: Output
    free_only: bool

    def write(self, numbered: tuple[int, str]) -> list[Dumped]:
        """Write the part of each split that the selection's part `numbered` holds, unless it is there."""
        number, name = numbered
        _, source = Output.part_place(name)
        assert source is not None
        selection = self.mix.read_part("selection", name, ["id", "split", "copies"])
        dumped = []
        for split in SPLITS:
            selected = selection.filter(pc.equal(selection["split"], split))
            if not selected.num_rows:
                continue
            if self.to.has_part(split, number):
                rows = self.to.read_part(split, self.to.part_name(number), ["copies"])
            elif (rows := self._rows(name, selected)).num_rows:
                self.to.write_part(split, number, rows)
            copies = rows["copies"].to_pylist()
            dumped.append(Dumped(split, source, len(copies), selected.num_rows - len(copies), sum(copies)))
        return dumped

    def _rows(self, name: str, selection: pa.Table) -> pa.Table:
        """The selected documents in the order of the clean part."""
        rows = self.clean.read_part("documents", name, list(COLUMNS))
        rows = rows.filter(pc.is_in(rows["id"], selection["id"].combine_chunks()))
        if rows.num_rows != selection.num_rows:
            lost = selection.num_rows - rows.num_rows
            raise UserError(f"{self.clean.path('documents', name)}: {lost} selected documents are missing")
        places = pc.index_in(rows["id"], selection["id"].combine_chunks())
        rows = rows.append_column("copies", selection["copies"].take(places)).select(DUMPED.names).cast(DUMPED)
        return rows.filter(rows["redistributable"]) if self.free_only else rows


def claim(to: Output, mix: Step[Any], free_only: bool) -> None:
    """Record in `to` which selection it holds, before an engine starts, so that a killed dump can go on.

    Raises:
        UserError: the selection is not there, or `to` holds something else.
    """
    if not mix.done:
        raise UserError("the mixture has not been made yet; gap run CONFIG mix")
    origin = {"mix": mix.fingerprint, "redistributable_only": free_only}
    if to.exists(ORIGIN):
        if to.read_json(ORIGIN) != origin:
            raise UserError(f"{to.root}: the folder holds the documents of another mixture; name another one")
    elif any(to.exists(name) for name in (*SPLITS, CARD)):
        raise UserError(f"{to.root}: the folder holds something else; name a new or empty one")
    to.write_json(origin, ORIGIN)


def write(mix: Step[Any], to: Output, name: str, free_only: bool) -> list[Dumped]:
    """Write `train/` and `validation/` below `to`, part by part, and a card for `datasets`. Returns sums by source.

    A killed dump goes on at its first missing part. Equal selections give equal bytes.

    Raises:
        UserError: as `claim`; or no selected document may be redistributed.
    """
    from ray_jobs.cluster import each

    claim(to, mix, free_only)
    to.sweep()
    job = DumpJob(mix.input("documents").output, mix.output, to, free_only)
    parts = list(enumerate(job.mix.parts("selection")))
    sums: Counter[tuple[str, str, str]] = Counter()
    for part in chain.from_iterable(each(lambda part: job.write(part), parts, "dump", "parts")):
        for count in ("documents", "withheld", "copies"):
            sums[part.split, part.source, count] += getattr(part, count)
    keys = sorted({(split, source) for split, source, _ in sums}, key=lambda key: (SPLITS.index(key[0]), key[1]))
    total = [Dumped(*key, *(sums[(*key, count)] for count in ("documents", "withheld", "copies"))) for key in keys]
    if not any(part.documents for part in total):
        raise UserError(f"{to.root}: nothing to write: no selected document may be redistributed")
    to.write_bytes(card(name, total, free_only).encode(), CARD)
    return total


def card(name: str, dumped: list[Dumped], free_only: bool) -> str:
    """README.md in the Hub's form. Its head maps splits to files for `datasets`."""
    splits = [split for split in SPLITS if any(part.documents for part in dumped if part.split == split)]
    files = "".join(f"  - split: {split}\n    path: {split}/*.parquet\n" for split in splits)
    rows = "".join(
        f"| {part.split} | {part.source} | {part.documents:,} | {part.copies:,} | {part.withheld:,} |\n"
        for part in dumped
    )
    which = "only those that may be redistributed" if free_only else "of which not all may be redistributed"
    return f"""---
configs:
- config_name: default
  data_files:
{files}---

# {" ".join(name.split())}

The documents of the training mixture, {which}.
Each row is a document. `copies` says how often the mixture trains on it: repeat each row that
many times to get the mixture.
Rows are not shuffled.

| split | source | documents | with copies | withheld |
| --- | --- | ---: | ---: | ---: |
{rows}"""
