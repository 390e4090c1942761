"""Shard: write the selected documents as tokens in Megatron's format, shuffled as a whole, and check every shard.

The tasks of the first pass encode a part of the corpus each and write its tokens as `pieces`, one for each shard that
they go to. Those of the second put a shard together from the pieces of all parts. So a task holds one part or one
shard, and never the corpus.
"""

import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lake.dataset import Output
from lake.error import UserError
from lake.schema import schema
from lake.step import Account, Body, Cost, Kind, Outcome, Step
from mixing.mixture import Budget, amounts, mixture_table
from mixing.reshard import pack
from mixing.shards import FOLDER_OF_SHARDS, REMEDY, ShardSettings, shard_name, token_type, write
from mixing.shuffle import Layout, order
from mixing.split import SPLITS, TRAIN
from mixing.tokenizer.tokenizer import Tokenizer
from ray_jobs.cluster import each
from ray_jobs.shard_check import Checked, ShardCheck, check_all, lossy

INDEX = schema(
    "id string, source string, split string, shard string, copy int32, document int64, offset int64, tokens int64, "
    "part int32"
)
"""Where each copy of a document lies: its number in the shard (`document`), that of its first token (`offset`), its
tokens with their end, and the `part` of the clean documents with its text. Part numbers are shard numbers."""

WRITTEN = schema(
    "name string, split string, source string, documents int64, firsts int64, tokens int64, bin_sha256 string, "
    "idx_sha256 string"
)
"""The shards as they were written. `firsts` counts documents whose first copy is in the shard."""

PIECE = schema("order int64, id string, copy int32, part int32, ids large_binary")
"""What a part holds for a shard. `ids` are the bytes of a document's tokens as in the shard, without the end."""

PIECES = "pieces"
"""Scratch in Arrow's file format: each part has a file with a batch for each shard. Deleted after the last shard."""

BATCH = 128


def shard(step: Step[ShardSettings]) -> Outcome:
    """Write the missing shards, check all, and compare them with the planned mixture.

    Raises:
        UserError: a shard, named in the message, fails its check; the tokenizer loses text; or no training token is
            selected.
        SelectionError: what was written is not what was planned.
    """
    output = step.output
    job = ShardJob.of(step)
    if not job.layouts:
        raise UserError(f"{job.mix.root}: no document is selected; gap status shows where they went")
    if not any(layout.counts[TRAIN] for layout in job.layouts.values()):
        raise UserError(
            f"{job.mix.root}: no token to train on: each document is held out or its source has no budget; "
            "lower validation or raise tokens in mix.sources"
        )
    places = [(source, number) for source, layout in job.layouts.items() for number in range(layout.total)]
    if not all(output.has_part("index", number, source) for source, number in places):
        parts = [name for name in job.mix.parts("selection") if Output.part_place(name)[1] in job.layouts]
        for _ in each(lambda name: job.encode(name), parts, f"{step.name}: encode", "parts"):
            pass
        for _ in each(lambda place: job.write(*place), places, f"{step.name}: shuffle", "shards"):
            pass
    output.delete(PIECES)
    shards = sorted(output.scan("written").to_table().select(WRITTEN.names).to_pylist(), key=lambda row: row["name"])
    checked: list[Checked] = []
    for result in check_all(ShardCheck.of(step), shards, f"{step.name}: check"):
        if result.faults:
            raise UserError(f"{result.faults[0]}; {REMEDY}")
        checked.append(result)
    if fault := lossy(checked):
        raise UserError(f"tokenizer: {fault}")
    sampled, exact = sum(result.sampled for result in checked), sum(result.exact for result in checked)
    if exact < sampled:
        difference = f"{sampled - exact:,} of {sampled:,} decoded documents differ from their text"
        warnings.warn(f"{difference}: the tokenizer normalises it, or has no ids for some characters", stacklevel=2)
    made = Tokenizer.of(job.tokenizer)
    realised = realise(planned_of(step), shards)
    return Outcome(
        accounts={row["source"]: Account.of(count) for row in realised[:-1] if (count := _documents_of(row))},
        figures={
            "shards": shards,
            "mixture": realised,
            "vocab_size": made.vocab_size,
            "end_of_document": made.eod,
            "tokenizer": made.fingerprint,
            "sampled": sampled,
            "exact": exact,
        },
    )


# From `python -m benchmarks.shards`, as for the tokenizer. `python -m benchmarks.stream` says that pieces, shuffle and
# checks add a core-second for each 80 MB. `row_bytes` include 20 for .idx; the tokens come on top.
SHARD = Body[ShardSettings](shard, Kind.SHARDS, "ray", 4, Cost(start=6, megabytes=24, row_bytes=55))


class SelectionError(Exception):
    """The shards are not what was selected, so the step is not committed."""


@dataclass(frozen=True)
class ShardJob:
    """Where shards come from and go to, and how many each source has.

    `vocab_size` and `eod` are the tokenizer's; `pack` is the setting.
    """

    clean: Output
    mix: Output
    tokenizer: Output
    output: Output
    layouts: dict[str, Layout]
    vocab_size: int
    eod: int
    seed: int
    pack: int | None = None

    @classmethod
    def of(cls, step: Step[ShardSettings]) -> "ShardJob":
        """The job of a shard step, laid out by the mixture's table."""
        clean, mix, tokenizer = (step.input(role).output for role in ("documents", "mixture", "tokenizer"))
        layouts = {
            row["source"]: Layout.of({split: row[f"{split}_tokens"] for split in SPLITS}, step.settings.tokens)
            for row in planned_of(step)[:-1]
        }
        layouts = {source: layout for source, layout in layouts.items() if layout.total}
        made = Tokenizer.of(tokenizer)
        assert step.seed is not None
        pack = step.settings.pack
        return cls(clean, mix, tokenizer, step.output, layouts, made.vocab_size, made.eod, step.seed, pack)

    def encode(self, name: str) -> None:
        """Write a part's pieces for all shards of its source, unless they are there."""
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        part, source = Output.part_place(name)
        assert source is not None
        piece = _piece(name)
        if self.output.exists(PIECES, piece):
            return
        selection = self.mix.read_part("selection", name, ["id", "split", "copies", "tokens"])
        tokens = dict(self._encoded(name, selection))
        if lost := selection.num_rows - len(tokens):
            raise SelectionError(f"{self.clean.path('documents', name)}: {lost} selected documents are missing")
        rows = self._copies(selection, self.layouts[source])
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with (
            self.output.create(PIECES, piece) as stream,
            pa.ipc.new_file(stream, PIECE, options=options) as writer,
        ):
            # A batch's position is the number of its shard.
            for number in range(self.layouts[source].total):
                copies = rows.filter(pc.equal(rows["shard"], number))
                ids = [tokens[id_].tobytes() for id_ in copies["id"].to_pylist()]
                columns = {"part": pa.repeat(part, len(ids)), "ids": pa.array(ids, pa.large_binary())}
                columns |= {name: copies[name].combine_chunks() for name in ("order", "id", "copy")}
                writer.write_batch(pa.RecordBatch.from_pydict({name: columns[name] for name in PIECE.names}, PIECE))

    def _encoded(self, name: str, selection: pa.Table) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        if not selection.num_rows:
            return
        made = Tokenizer.of(self.tokenizer)
        counted = dict(zip(selection["id"].to_pylist(), selection["tokens"].to_pylist(), strict=True))
        rows = self.clean.read_part("documents", name, ["id", "text"])
        rows = rows.filter(pc.is_in(rows["id"], selection["id"].combine_chunks()))
        for batch in rows.to_batches(max_chunksize=BATCH):
            for id_, ids in zip(batch["id"].to_pylist(), made.encode(batch["text"].to_pylist()), strict=True):
                if ids.size != counted[id_]:
                    raise SelectionError(f"{id_}: {ids.size} tokens, but {counted[id_]} were counted and selected")
                yield id_, ids

    def _copies(self, selection: pa.Table, layout: Layout) -> pa.Table:
        """A row for each copy of each document, with its order, id, copy and shard."""
        repeats = selection["copies"].to_numpy()
        ids = selection["id"].take(pa.array(np.repeat(np.arange(repeats.size), repeats)))
        copies = np.arange(repeats.sum()) - np.repeat(np.cumsum(repeats) - repeats, repeats)
        places = order(ids.to_pylist(), copies.tolist(), self.seed)
        shards = np.zeros(places.size, dtype=np.int64)
        splits = np.repeat(selection["split"].to_numpy(zero_copy_only=False), repeats)
        for split in SPLITS:
            shards[splits == split] = layout.numbers(split, places[splits == split])
        return pa.table({"order": places, "id": ids, "copy": copies.astype(np.int32), "shard": shards})

    def write(self, source: str, number: int) -> None:
        """Put a shard together from the pieces of all parts. Its part of `index` comes last and marks it complete."""
        if self.output.has_part("index", number, source):
            return
        split = self.layouts[source].split(number)
        pieces = pa.Table.from_batches(self._pieces(source, number), PIECE)
        rows = pieces.drop_columns("ids")
        sorting = pc.sort_indices(rows, sort_keys=[(column, "ascending") for column in ("order", "id", "copy")])
        rows = rows.take(sorting)
        name = shard_name(split, source, number)
        written: list[dict[str, Any]] = []
        lengths = np.zeros(0, dtype=np.int64)
        if rows.num_rows:
            documents = list(
                _documents(pieces["ids"], sorting.to_numpy().astype(np.int64), token_type(self.vocab_size))
            )
            lengths = np.array([ids.size for ids in documents]) + 1
            with self.output.local_folder(FOLDER_OF_SHARDS) as folder:
                files = write(folder, name, documents, self.vocab_size, self.eod)
                if self.pack:
                    files = replace(files, idx_sha256=pack(folder / name, self.pack))
            firsts = pc.sum(pc.equal(rows["copy"], 0)).as_py()
            written = [{"split": split, "source": source, "firsts": firsts, **asdict(files)}]
        self.output.write_part("written", number, pa.Table.from_pylist(written, WRITTEN), source)
        places = {
            "source": pa.repeat(source, rows.num_rows),
            "split": pa.repeat(split, rows.num_rows),
            "shard": pa.repeat(name, rows.num_rows),
            "document": np.arange(rows.num_rows),
            "offset": np.cumsum(lengths) - lengths,
            "tokens": lengths,
        }
        places |= {column: rows[column] for column in ("id", "copy", "part")}
        index = pa.table({column: places[column] for column in INDEX.names}).cast(INDEX)
        self.output.write_part("index", number, index, source)

    def _pieces(self, source: str, number: int) -> Iterator[pa.RecordBatch]:
        for name in self.mix.parts("selection", source):
            with self.output.open(PIECES, _piece(name)) as file:
                batch = pa.ipc.open_file(file).get_batch(number)
                # An empty array may lack the buffers that _documents reads.
                if batch.num_rows:
                    yield batch


def _piece(part: str) -> str:
    return part.removesuffix(".parquet") + ".arrow"


def _documents(
    pieces: pa.ChunkedArray, rows: npt.NDArray[np.int64], dtype: type[np.generic]
) -> Iterator[npt.NDArray[Any]]:
    """Views of the tokens of the `rows` of `pieces`, in their order."""
    starts = np.cumsum([0, *(len(chunk) for chunk in pieces.chunks)])
    flat = [np.frombuffer(chunk.buffers()[2] or b"", dtype=dtype) for chunk in pieces.chunks]
    bounds = [
        np.frombuffer(chunk.buffers()[1], dtype=np.int64, count=len(chunk) + 1) // np.dtype(dtype).itemsize
        for chunk in pieces.chunks
    ]
    chunks = np.searchsorted(starts, rows, side="right") - 1
    for chunk, row in zip(chunks.tolist(), (rows - starts[chunks]).tolist(), strict=True):
        yield flat[chunk][bounds[chunk][row] : bounds[chunk][row + 1]]


def planned_of(step: Step[ShardSettings]) -> list[dict[str, Any]]:
    """The mixture's table as planned. The last row is the total."""
    table: list[dict[str, Any]] = step.input("mixture").manifest().figures["mixture"]
    return table


def realise(planned: Sequence[dict[str, Any]], shards: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The mixture's table of the shards as they were written.

    Raises:
        SelectionError: it differs from the planned table in documents, tokens or epochs.
    """
    written = amounts((row["source"], row["split"], row["firsts"], row["tokens"]) for row in shards)
    realised = mixture_table(written, {row["source"]: _budget(row) for row in planned[:-1]})
    columns = [*(f"{split}_{count}" for split in SPLITS for count in ("documents", "tokens")), "epochs"]
    for plan, row in zip(planned, realised, strict=True):
        for name in columns:
            if plan[name] != row[name]:
                difference = f"{name} is {row[name]} as written and {plan[name]} as planned"
                raise SelectionError(f"shard: {row['source']}: {difference}")
    return realised


def _budget(row: dict[str, Any]) -> Budget:
    budget = row["budget_tokens"]
    return Budget(row["available_tokens"], budget + row["missing_tokens"], budget)


def _documents_of(row: dict[str, Any]) -> int:
    return sum(row[f"{split}_documents"] for split in SPLITS)
