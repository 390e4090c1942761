"""A small lake up to its shards, with a selection written by hand."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.steps import stand_in
from lake.dataset import Output
from lake.document import DOCUMENT, new_document
from lake.step import Account, Outcome, Step
from mixing.mixture import Amount, Budget, mixture_table
from mixing.shards import ShardSettings
from mixing.split import SPLITS, TRAIN
from mixing.tokenizer.build import END, TokenizerSettings
from ray_jobs.shard import SHARD
from ray_jobs.tokenizer import TOKENIZER
from spark_jobs.mix import SELECTION

SEED = 3
SETTINGS = TokenizerSettings.model_validate({"train": {"vocab_size": 400}})
DEFAULT = ShardSettings(tokens=1000)
"""Several shards a source, of few documents each."""

PARTS = 0, 1, 3
SENTENCE = "dose of the drug was given daily to every patient with fever and cough"
WORDS = SENTENCE.split()


def text(source: str, n: int) -> str:
    words = [WORDS[(n * stride + len(source)) % len(WORDS)] for stride in range(1, 20 + n % 30)]
    return f"{source} {n}\n\n{' '.join(words)} [fig] Größe {n} {END} [/fig]"


def documents() -> dict[str, list[dict[str, Any]]]:
    """By source, in the order of their ids."""
    made = {
        source: [
            new_document(source, str(n), text(source, n), title=f"No. {n}", redistributable=n % 2 == 0)
            for n in range(count)
        ]
        for source, count in (("papers", 50), ("replay", 9))
    }
    return {source: sorted(rows, key=lambda row: str(row["id"])) for source, rows in made.items()}


def selected(position: int, row: dict[str, Any]) -> dict[str, Any] | None:
    """Split and copies of a document. Every seventh is left out, every fifth is held out, every fourth is repeated."""
    if position % 7 == 6:
        return None
    held_out = position % 5 == 4 and row["source"] == "papers"
    return {
        "split": "validation" if held_out else "train",
        "copies": 3 if position % 4 == 0 and not held_out else 1,
    }


def clean_step(root: Path | str, parts: tuple[int, ...] = PARTS) -> Step[Any]:
    step = stand_in("clean", root)
    for source, rows in documents().items():
        for position, part in enumerate(parts):
            table = pa.Table.from_pylist(rows[position :: len(parts)], DOCUMENT)
            step.output.write_part("documents", part, table, source)
        step.output.write_part("documents", 4, pa.Table.from_pylist([], DOCUMENT), source)
    accounts = {source: Account.of(len(rows)) for source, rows in documents().items()}
    step.complete(lambda: Outcome(accounts))
    return step


def tokenizer_step(root: Path | str, clean: Step[Any], settings: TokenizerSettings = SETTINGS) -> Step[Any]:
    step = Step("tokenizer", TOKENIZER, settings, str(root), {"documents": clean}, "documents")
    step.run()
    return step


def mix_step(root: Path | str, counted: Step[Any]) -> Step[Any]:
    """A selection written by hand, with the mixture's table that the shard step compares itself with."""
    step = stand_in("mix", root, {"documents": counted.input("documents"), "tokenizer": counted})
    tokens = {row["id"]: row["tokens"] for row in counted.output.scan("counts").to_table().to_pylist()}
    shares: dict[tuple[str, str], Amount] = {}
    budgets: dict[str, Budget] = {}
    for source, rows in documents().items():
        chosen = {
            row["id"]: {"id": row["id"], "source": source, "tokens": tokens[row["id"]], **how}
            for position, row in enumerate(rows)
            if (how := selected(position, row))
        }
        for name in counted.output.parts("counts", source):
            ids = counted.output.read_part("counts", name)["id"].to_pylist()
            part = pa.Table.from_pylist([chosen[id_] for id_ in reversed(ids) if id_ in chosen], SELECTION)
            step.output.write_part("selection", Output.part_place(name)[0], part, source)
        for split in SPLITS:
            of_split = [row for row in chosen.values() if row["split"] == split]
            shares[source, split] = Amount(len(of_split), sum(row["copies"] * (row["tokens"] + 1) for row in of_split))
        once = sum(row["tokens"] + 1 for row in chosen.values() if row["split"] == TRAIN)
        trained = shares[source, TRAIN].tokens
        budgets[source] = Budget(once, trained, trained)
    accounts = {source: Account.of(sum(shares[source, split].documents for split in SPLITS)) for source in budgets}
    step.complete(lambda: Outcome(accounts, {"mixture": mixture_table(shares, budgets)}))
    return step


@dataclass(frozen=True)
class Before:
    """The finished steps that the shard step reads."""

    clean: Step[Any]
    counted: Step[Any]
    mix: Step[Any]

    def shard(
        self, root: Path | str, settings: ShardSettings = DEFAULT, mix: Step[Any] | None = None
    ) -> Step[ShardSettings]:
        """The shard step, not yet run."""
        inputs = {"documents": self.clean, "tokenizer": self.counted, "mixture": mix or self.mix}
        return Step("shard", SHARD, settings, str(root), inputs, "mixture", seed=SEED)

    def sharded(self, root: Path | str, settings: ShardSettings = DEFAULT) -> Step[ShardSettings]:
        """The shard step, finished."""
        step = self.shard(root, settings)
        step.run()
        return step
