"""Shard: the plan's documents as tokens in Megatron's format, one task a part of the corpus, every shard checked."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lake.dataset import MANIFEST, Output
from lake.error import UserError
from lake.step import Account, Outcome, Step
from mixing.merge import pack
from mixing.shards import FOLDER_OF_SHARDS, REMEDY, Shard, ShardSettings, shard_name, write
from mixing.split import SPLITS, stable_hash
from mixing.tokenizer import FOLDER, Tokenizer
from ray_jobs.cluster import each
from ray_jobs.verify import ShardCheck

INDEX = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("shard", pa.string(), nullable=False),
        pa.field("copy", pa.int32(), nullable=False),
        pa.field("document", pa.int64(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("tokens", pa.int64(), nullable=False),
    ]
)
"""Where each copy of a document lies: its number in the shard, its first token there, its tokens and their end."""

WRITTEN = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("documents", pa.int64(), nullable=False),
        pa.field("tokens", pa.int64(), nullable=False),
        pa.field("bin_sha256", pa.string(), nullable=False),
        pa.field("idx_sha256", pa.string(), nullable=False),
    ]
)
"""The shards of a part as they were written."""

BATCH = 128


def shard(step: Step, settings: ShardSettings, seed: int) -> Outcome:
    """Write the shards that are not there yet, check all, and hold their tokens against the mixture planned.

    Raises:
        UserError: a shard fails its check, the message names it; or the plan keeps no document.
        PlanError: what was written is not what was planned.
    """
    output = step.output
    planned = [row for row in step.input("mix").read_json(MANIFEST)["figures"]["mixture"] if row["source"] != "total"]
    if not any(row[f"{split}_documents"] for row in planned for split in SPLITS):
        raise UserError(f"{step.input('mix').root}: the plan keeps no document; gap status tells where they went")
    job = PartJob(
        step.input("clean"), step.input("mix"), output, step.input("tokenizer").local(FOLDER), seed, settings.pack
    )
    for _ in each(lambda name: job.write(name), job.mix.parts("plan"), step.name, "parts"):
        pass
    shards = sorted(output.scan("written").to_table().select(WRITTEN.names).to_pylist(), key=lambda one: one["name"])
    test = ShardCheck.of(step, settings.pack)
    for checked in each(lambda one: test.check(one), shards, f"{step.name}: check", "shards"):
        if checked.faults:
            raise UserError(f"{checked.faults[0]}; {REMEDY}")
    made = Tokenizer.load(job.tokenizer)
    realised = {split: _by_source(shards, split, "tokens") for split in SPLITS}
    compare(planned, realised)
    accounts = {row["source"]: _account(row, output) for row in planned}
    return Outcome(
        accounts={source: one for source, one in accounts.items() if one.entered},
        figures={
            "shards": shards,
            "tokens": realised,
            "documents": {split: _by_source(shards, split, "documents") for split in SPLITS},
            "vocab_size": made.vocab_size,
            "end_of_document": made.eod,
            "tokenizer": made.fingerprint,
        },
    )


class PlanError(Exception):
    """The shards are not what the plan says; the step is not committed."""


@dataclass(frozen=True)
class PartJob:
    """Where the shards of a part come from and go to; `tokenizer` is a folder, `pack` as in the settings."""

    clean: Output
    mix: Output
    output: Output
    tokenizer: Path
    seed: int
    pack: int | None = None

    def write(self, name: str) -> None:
        """Write a part's shards, at most one a split; its `index` comes last and says that the part is whole."""
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        part, source = Output.part_place(name)
        assert source is not None
        if self.output.has_part("index", part, source):
            return
        plan = {row["id"]: row for row in self.mix.read_part("plan", name).to_pylist()}
        made = Tokenizer.load(self.tokenizer)
        tokens = dict(self._encode(name, plan, made)) if plan else {}
        if lost := plan.keys() - tokens.keys():
            raise PlanError(f"{self.clean.path('documents', name)}: {len(lost)} documents of the plan are not there")
        written: list[dict[str, Any]] = []
        index: list[dict[str, Any]] = []
        for split in SPLITS:
            order = self._order([row for row in plan.values() if row["split"] == split])
            if not order:
                continue
            name_ = shard_name(split, source, part)
            folder = self.output.local(FOLDER_OF_SHARDS)
            one = write(folder, name_, (tokens[id_] for id_, _ in order), made.vocab_size, made.eod)
            if self.pack:
                one = replace(one, idx_sha256=pack(folder / name_, self.pack))
            written.append({"split": split, "source": source, **asdict(one)})
            index += _places(order, tokens, one, {"split": split, "source": source})
        self.output.write_part("written", part, pa.Table.from_pylist(written, WRITTEN), source)
        self.output.write_part("index", part, pa.Table.from_pylist(index, INDEX), source)

    def _encode(
        self, name: str, plan: dict[str, dict[str, Any]], made: Tokenizer
    ) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        rows = self.clean.read_part("documents", name, ["id", "text"])
        rows = rows.filter(pc.is_in(rows["id"], pa.array(plan, pa.string())))
        for batch in rows.to_batches(max_chunksize=BATCH):
            for id_, ids in zip(batch["id"].to_pylist(), made.encode(batch["text"].to_pylist()), strict=True):
                if ids.size != plan[id_]["tokens"]:
                    raise PlanError(f"{id_}: {ids.size} tokens, where {plan[id_]['tokens']} were counted and planned")
                yield id_, ids

    def _order(self, rows: list[dict[str, Any]]) -> list[tuple[str, int]]:
        """Documents and copies in the shard's order: random, by seed, id and copy alone."""
        pairs = [(row["id"], copy) for row in rows for copy in range(row["copies"])]
        hashes = stable_hash((f"{id_}:{copy}" for id_, copy in pairs), f"shard:{self.seed}").tolist()
        return [pair for _, pair in sorted(zip(hashes, pairs, strict=True))]


def _places(
    order: list[tuple[str, int]], tokens: dict[str, npt.NDArray[Any]], written: Shard, same: dict[str, str]
) -> Iterator[dict[str, Any]]:
    offset = 0
    for document, (id_, copy) in enumerate(order):
        size = tokens[id_].size + 1
        place = {"id": id_, "copy": copy, "document": document, "offset": offset, "tokens": size}
        yield place | same | {"shard": written.name}
        offset += size


def _by_source(shards: list[dict[str, Any]], split: str, what: str) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in shards:
        if one["split"] == split:
            total[one["source"]] += one[what]
    return dict(sorted(total.items()))


def compare(planned: list[dict[str, Any]], realised: dict[str, dict[str, int]]) -> None:
    """Hold the tokens of the shards, by split and source, against the mixture's table.

    Raises:
        PlanError: they differ.
    """
    for row in planned:
        for split in SPLITS:
            found, wanted = realised[split].get(row["source"], 0), row[f"{split}_tokens"]
            if found != wanted:
                raise PlanError(f"shard: {row['source']}: {found} {split} tokens were written and {wanted} planned")


def _account(row: dict[str, Any], output: Output) -> Account:
    """Documents of the plan, and those of which the index holds a first copy."""
    entered = sum(row[f"{split}_documents"] for split in SPLITS)
    if not output.parts("index", row["source"]):
        return Account.of(0, entered=entered)
    return Account.of(output.scan("index", row["source"]).count_rows(filter=pc.field("copy") == 0), entered=entered)
