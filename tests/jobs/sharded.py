"""A small lake up to its shards, with a plan written by hand."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from lake.dataset import Output
from lake.document import DOCUMENT, new_document
from lake.step import Account, Outcome, Step
from mixing.mixture import Amount, Budget, mixture_table
from mixing.shards import ShardSettings
from mixing.split import SPLITS, TRAIN
from mixing.tokenizer.build import END, TokenizerSettings
from ray_jobs.count import tokenizer
from ray_jobs.tokenize import shard

SEED = 3
SETTINGS = TokenizerSettings.model_validate({"train": {"vocab_size": 400}})
DEFAULT = ShardSettings(tokens=1000)
"""Several shards a source, of few documents each."""

PARTS = 0, 1, 3
WORDS = [
    "dose",
    "of",
    "the",
    "drug",
    "was",
    "given",
    "daily",
    "to",
    "every",
    "patient",
    "with",
    "fever",
    "and",
    "cough",
]


def text(source: str, n: int) -> str:
    words = [WORDS[(n * step + len(source)) % len(WORDS)] for step in range(1, 20 + n % 30)]
    return f"{source} {n}\n\n{' '.join(words)} [fig] Größe {n} {END} [/fig]"


def documents() -> dict[str, list[dict[str, Any]]]:
    made = {
        source: [
            new_document(source, str(n), text(source, n), title=f"No. {n}", redistributable=n % 2 == 0)
            for n in range(count)
        ]
        for source, count in (("papers", 50), ("replay", 9))
    }
    return {source: sorted(rows, key=lambda row: str(row["id"])) for source, rows in made.items()}


def plan_of(position: int, row: dict[str, Any]) -> dict[str, Any] | None:
    """Every seventh document is not in the plan, every fifth is held out, every fourth is repeated."""
    if position % 7 == 6:
        return None
    held = position % 5 == 4 and row["source"] == "papers"
    return {"split": "validation" if held else "train", "copies": 3 if position % 4 == 0 and not held else 1}


def clean_step(root: Path | str, parts: tuple[int, ...] = PARTS) -> Step:
    step = Step("clean", "spark", 1, {}, str(root))
    for source, rows in documents().items():
        for position, part in enumerate(parts):
            some = pa.Table.from_pylist(rows[position :: len(parts)], DOCUMENT)
            step.output.write_part("documents", part, some, source)
        step.output.write_part("documents", 4, pa.Table.from_pylist([], DOCUMENT), source)
    accounts = {source: Account.of(len(rows)) for source, rows in documents().items()}
    step.complete(lambda: Outcome(accounts))
    return step


def tokenizer_step(root: Path | str, clean: Step, settings: TokenizerSettings = SETTINGS) -> Step:
    step = Step("tokenizer", "ray", 1, {}, str(root), (clean,), follows="clean")
    step.complete(lambda: tokenizer(step, settings))
    return step


def mix_step(root: Path | str, counted: Step) -> Step:
    """A plan written by hand, with the mixture's table that the shard step compares itself with."""
    step = Step("mix", "spark", 1, {}, str(root), (counted,))
    tokens = {row["id"]: row["tokens"] for row in counted.output.scan("counts").to_table().to_pylist()}
    shares: dict[tuple[str, str], Amount] = {}
    budgets: dict[str, Budget] = {}
    for source, rows in documents().items():
        kept = [(row["id"], plan) for position, row in enumerate(rows) if (plan := plan_of(position, row))]
        planned = {id_: {"id": id_, **plan, "tokens": tokens[id_]} for id_, plan in kept}
        for name in counted.output.parts("counts", source):
            mine = counted.output.read_part("counts", name)["id"].to_pylist()
            part = pa.Table.from_pylist([planned[id_] for id_ in reversed(mine) if id_ in planned], PLAN)
            step.output.write_part("plan", Output.part_place(name)[0], part, source)
        for split in SPLITS:
            of = [one for one in planned.values() if one["split"] == split]
            shares[source, split] = Amount(len(of), sum(one["copies"] * (one["tokens"] + 1) for one in of))
        once = sum(one["tokens"] + 1 for one in planned.values() if one["split"] == TRAIN)
        trained = shares[source, TRAIN].tokens
        budgets[source] = Budget(once, trained, trained)
    accounts = {source: Account.of(sum(shares[source, split].documents for split in SPLITS)) for source in budgets}
    step.complete(lambda: Outcome(accounts, {"mixture": mixture_table(shares, budgets)}))
    return step


PLAN = pa.schema([("id", pa.string()), ("split", pa.string()), ("copies", pa.int32()), ("tokens", pa.int32())])


@dataclass(frozen=True)
class Before:
    clean: Step
    counted: Step
    mix: Step

    def sharded(self, root: Path | str, settings: ShardSettings = DEFAULT) -> Step:
        step = Step("shard", "ray", 1, {}, str(root), (self.clean, self.counted, self.mix), follows="mix")
        step.complete(lambda: shard(step, settings, SEED))
        return step


def content(step: Step) -> dict[str, bytes]:
    """The step's files but its manifest, which tells the time."""
    return {name: data for name, data in content_of(step.output.local()).items() if name != "manifest.json"}


def content_of(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
