"""Time and storage of each step: from speeds that were measured, or the step's own where it is done."""

import math
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lake.marks import FORMAT_TOKENS
from lake.step import Step
from mixing.shards import token_type
from mixing.shuffle import Layout
from mixing.split import SPLITS
from mixing.tokenizer.chatml import CHAT_TOKENS
from ray_jobs.expect import BYTES_PER_TOKEN, Foreseen
from ray_jobs.raw import MB

if TYPE_CHECKING:
    from ray_jobs.pipeline import Pipeline

ADOPTED_VOCABULARY = 32_000 + len(FORMAT_TOKENS) + len(CHAT_TOKENS) + 1
"""Of a tokenizer of Llama 2's kind, as long as it is not there to be asked; with one token for padding."""


@dataclass(frozen=True)
class Speed:
    """Seconds to start, then for one core: documents a second, and MB of text a second; the two times add up."""

    start: float
    documents: float = math.inf
    megabytes: float = math.inf

    def core_seconds(self, documents: float, text: float) -> float:
        return documents / self.documents + text / self.megabytes / MB


# Measured on 2 cores, single runs; starts are about those of steps on small corpora.
SPEEDS = {
    # `python -m benchmarks.stages --data ../shared/data`, which reads by format: ray_jobs/raw.py.
    "read": Speed(5),
    # That benchmark's `clean` on one source at a time, which it does not print apart: 920 pages of 3.5 KB, 80 papers of
    # 59 KB or 1,360 abstracts of 1.7 KB a second.
    "clean": Speed(10, documents=2_600, megabytes=4.9),
    # `python -m benchmarks.shards --input ../shared/data/guidelines/medquad.jsonl.gz --tokenizer
    # mistral_common/data/tokenizer.model.v1`: read, encode and write; the same speed encodes to count.
    "tokenizer": Speed(4, megabytes=34),
    # As much to encode; `python -m benchmarks.stream` says what pieces, shuffle and checks add: 1 core-s in 80 MB.
    "shard": Speed(6, megabytes=24),
    # docs/dedup.md, by `python -m benchmarks.dedup`: the whole step at a million documents, and signatures, 75,000 of
    # 2.8 KB a second.
    "dedup": Speed(15, documents=7_376, megabytes=210),
    # `python -m benchmarks.stages --data ../shared/data`: 34,900 documents of 3.8 KB a second.
    "decontaminate": Speed(4, megabytes=130),
    # `python -m benchmarks.mix`: the full mix, 21.8 M documents.
    "mix": Speed(9, documents=42_000),
}

# Bytes written a document and a byte of text: `du -sb` of what `gap run configs/nih.yaml data=../shared/data shard`
# writes, and of a mix of 1,000,000 made-up documents. Text is in zstd; a row of decisions takes 18 bytes, its id 16.
WRITTEN = {
    "read": (305, 0.30),
    "clean": (305, 0.30),
    "tokenizer": (20, 0.0),
    "dedup": (55, 0.0),
    "decontaminate": (18, 0.0),
    "mix": (37, 0.0),
    "shard": (55, 0.0),
}
"""`shard` without its tokens: 20 bytes a document are .idx."""

SIGNED = 1.0
"""Bytes a byte of text that dedup has on disk while it runs, signatures and shingles: docs/dedup.md."""

BF16_PEAK, PART_OF_PEAK = 312e12, 0.42
"""FLOP a second of an A100, and what of it the MEDITRON paper's training reached (its section on the 70B model)."""

CORE_TRAINS, CORE_INFERS = 24e9, 50e9
"""FLOP a second of one core in float32: pretraining of configs/demo.yaml, and vLLM on prompts of 127 tokens."""

QUESTIONS, QUESTION_TOKENS = 1_000, 250
"""Of a benchmark without a limit, and tokens of a prompt."""

CHECKPOINTS = 2
"""That stay on disk."""

OTHER_SECONDS = 15.0


@dataclass(frozen=True)
class Effort:
    """Of one step. `seconds` from start to end are None where the config does not say on how many cores it runs.

    `core_seconds` and `gpu_seconds` are those of work, zero where the step is `done`; `size` are the bytes it writes.
    """

    seconds: float | None
    core_seconds: float = 0
    gpu_seconds: float = 0
    on: str = ""
    size: float | None = None
    done: bool = False


def efforts(config: "Pipeline", steps: dict[str, Step], known: Foreseen) -> dict[str, Effort]:
    """By step: of those done what they took, of the others what to expect."""
    return {
        name: _taken(step) if step.done else _expected(name, config, known, vocabulary(config, steps))
        for name, step in steps.items()
    }


def vocabulary(config: "Pipeline", steps: dict[str, Step]) -> int:
    """Ids, counted where the tokenizer is there."""
    if steps["tokenizer"].done:
        return int(steps["tokenizer"].manifest().figures["vocab_size"])
    return config.tokenizer.train.vocab_size if config.tokenizer.train else ADOPTED_VOCABULARY


def shards(config: "Pipeline", known: Foreseen) -> dict[str, int]:
    """By source, train and validation."""
    return {
        row["source"]: Layout.of({split: row[f"{split}_tokens"] for split in SPLITS}, config.shard.tokens).total
        for row in known.mixture[:-1]
    }


def _taken(step: Step) -> Effort:
    return Effort(step.manifest().seconds, size=_size(step), done=True)


def _size(step: Step) -> float | None:
    """Bytes of the step's folder, where that is a local one."""
    if not step.output.is_local:
        return None
    return sum(path.stat().st_size for path in step.output.local().rglob("*") if path.is_file())


def _expected(name: str, config: "Pipeline", known: Foreseen, ids: int) -> Effort:
    if name in SPEEDS:
        return _data_step(name, config, known, ids)
    parameters = config.pretrain.model.parameters(ids)
    gpu = config.pretrain.precision == "bfloat16"
    weight = 2 if gpu else 4
    if name == "pretrain":
        # Six operations a parameter and token: forward, and twice as many backward.
        flops = 6 * parameters * config.pretrain.tokens
        # Both keep weights in float32 and AdamW's two moments; bfloat16 has its own weights besides.
        size = CHECKPOINTS * parameters * (12 + (weight if gpu else 0))
        if gpu:
            gpus = config.pretrain.parallel.workers
            taken = flops / BF16_PEAK / PART_OF_PEAK
            return Effort(taken / gpus, gpu_seconds=taken, on=_many(gpus, "A100"), size=size)
        return _on_cores(30, flops / CORE_TRAINS, ray_cores(config), size)
    if name == "export":
        # The trained and the written model, each forward on one core.
        tokens = config.export.sequences * config.pretrain.sequence
        return _on_cores(OTHER_SECONDS, 4 * parameters * tokens / CORE_INFERS, 1, weight * parameters)
    if name == "evaluate":
        asked = sum(one.limit or QUESTIONS for one in config.evaluate.benchmarks)
        flops = 2 * parameters * QUESTION_TOKENS * asked
        if gpu:
            taken = flops / BF16_PEAK / PART_OF_PEAK
            return Effort(OTHER_SECONDS + taken, gpu_seconds=taken, on="1 A100")
        return _on_cores(OTHER_SECONDS, flops / CORE_INFERS, ray_cores(config))
    return _on_cores(OTHER_SECONDS, 0, 1)


def _data_step(name: str, config: "Pipeline", known: Foreseen, ids: int) -> Effort:
    documents, text = float(known.documents), known.text
    a_document, a_byte = WRITTEN[name]
    size = documents * a_document + text * a_byte
    spark = name in {"clean", "dedup", "decontaminate", "mix"}
    cores = spark_cores(config) if spark else ray_cores(config)
    if name == "read":
        return _on_cores(SPEEDS[name].start, sum(one.seconds for one in known.raw.values()), cores, size)
    if name == "shard":
        total = known.mixture[-1]
        tokens = sum(total[f"{split}_tokens"] for split in SPLITS)
        documents = sum(total[f"{split}_documents"] for split in SPLITS)
        text = tokens * BYTES_PER_TOKEN
        size = documents * a_document + tokens * np.dtype(token_type(ids)).itemsize
    return _on_cores(SPEEDS[name].start, SPEEDS[name].core_seconds(documents, text), cores, size)


def _on_cores(start: float, core_seconds: float, cores: int | None, size: float | None = None) -> Effort:
    if cores is None:
        return Effort(None, core_seconds, on="the cluster", size=size)
    return Effort(start + core_seconds / cores, core_seconds, on=_many(cores, "core"), size=size)


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def ray_cores(config: "Pipeline") -> int | None:
    """CPUs of the embedded Ray; a cluster's are not known."""
    return config.ray.cpus if config.ray.address == "local" else None


def spark_cores(config: "Pipeline") -> int | None:
    """Cores of `local[n]`, or those that the options ask a cluster for."""
    if local := re.fullmatch(r"local(?:\[(\d+|\*)(?:,\d+)?\])?", config.spark.master):
        return (os.cpu_count() or 1) if local[1] == "*" else int(local[1] or 1)
    asked = [config.spark.options.get(f"spark.executor.{one}", "") for one in ("instances", "cores")]
    return int(asked[0]) * int(asked[1]) if all(map(str.isdigit, asked)) else None
