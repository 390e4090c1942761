"""Time and storage of each step: what it took where it is done, else what its kind lets expect."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gap.expect import BYTES_PER_TOKEN, Foreseen
from lake.marks import FORMAT_TOKENS
from lake.step import Kind, Step, Steps, of_kind
from mixing.shards import token_type
from mixing.shuffle import Layout
from mixing.split import SPLITS
from mixing.tokenizer.chatml import CHAT_TOKENS

if TYPE_CHECKING:
    from gap.config import Config

ADOPTED_VOCABULARY = 32_000 + len(FORMAT_TOKENS) + len(CHAT_TOKENS) + 1
"""Ids of a tokenizer of Llama 2's kind with one token for padding: used while the tokenizer is not there."""

BF16_PEAK, PART_OF_PEAK = 312e12, 0.42
"""FLOP a second of an A100, and the part of it that the MEDITRON paper reached (its section on the 70B model)."""

CORE_TRAINS, CORE_INFERS = 24e9, 50e9
"""FLOP a second of one core in float32: pretraining of configs/demo.yaml, and vLLM on prompts of 127 tokens."""

QUESTIONS, QUESTION_TOKENS = 1_000, 250
"""Questions of a benchmark without a limit, and tokens of a prompt."""

CHECKPOINTS = 2
"""Checkpoints that stay on disk."""

START_TRAINING = 30.0


@dataclass(frozen=True)
class Effort:
    """What a step takes.

    `seconds` from start to end are None where the config does not say on how many cores the step runs. `core_seconds`
    and `gpu_seconds` are those of work, zero where the step is `done`. `size` is in bytes written, `scratch` in bytes
    that the step holds besides while it runs.
    """

    seconds: float | None
    core_seconds: float = 0
    gpu_seconds: float = 0
    on: str = ""
    size: float | None = None
    scratch: float = 0
    done: bool = False


def efforts(config: "Config", steps: Steps, known: Foreseen) -> dict[str, Effort]:
    """By step: what those that are done took, and what to expect of the others."""
    estimator = Estimator(config, known, vocabulary(steps))
    return {name: _taken(step) if step.done else estimator.effort(step) for name, step in steps.items()}


def vocabulary(steps: Steps) -> int:
    """Ids, counted where the tokenizer is there."""
    (tokenizer,) = of_kind(steps, Kind.TOKENIZER)
    if tokenizer.done:
        return int(tokenizer.manifest().figures["vocab_size"])
    trained = tokenizer.settings.train
    return trained.vocab_size if trained else ADOPTED_VOCABULARY


def shards(config: "Config", known: Foreseen) -> dict[str, int]:
    """Shards by source, train and validation."""
    return {
        row["source"]: Layout.of({split: row[f"{split}_tokens"] for split in SPLITS}, config.shard.tokens).total
        for row in known.mixture[:-1]
    }


def _taken(step: Step[Any]) -> Effort:
    return Effort(step.manifest().seconds, size=_size(step), done=True)


def _size(step: Step[Any]) -> float | None:
    """Bytes of the step's folder, where that is a local one."""
    if not step.output.is_local:
        return None
    return sum(path.stat().st_size for path in step.output.local().rglob("*") if path.is_file())


@dataclass(frozen=True)
class Estimator:
    """What to expect of steps of each kind; `ids` is the size of the vocabulary."""

    config: "Config"
    known: Foreseen
    ids: int

    def effort(self, step: Step[Any]) -> Effort:
        special: dict[Kind, Callable[[Step[Any]], Effort]] = {
            Kind.READER: self._reader,
            Kind.SHARDS: self._shards,
            Kind.TRAINING: self._training,
            Kind.EXPORT: self._export,
            Kind.EVALUATION: self._evaluation,
        }
        return special.get(step.kind, self._documents)(step)

    def _documents(self, step: Step[Any]) -> Effort:
        documents, text, cost = self.known.documents, self.known.text, step.body.cost
        return self._on_cores(
            step, cost.core_seconds(documents, text), cost.written(documents, text), text * cost.scratch_bytes
        )

    def _reader(self, step: Step[Any]) -> Effort:
        size = step.body.cost.written(self.known.documents, self.known.text)
        return self._on_cores(step, sum(raw.seconds for raw in self.known.raw.values()), size)

    def _shards(self, step: Step[Any]) -> Effort:
        total, cost = self.known.mixture[-1], step.body.cost
        documents, tokens = (sum(total[f"{split}_{what}"] for split in SPLITS) for what in ("documents", "tokens"))
        text = tokens * BYTES_PER_TOKEN
        size = cost.written(documents, text) + tokens * np.dtype(token_type(self.ids)).itemsize
        # While it runs, the step holds all tokens once more as pieces.
        return self._on_cores(step, cost.core_seconds(documents, text), size, size)

    def _training(self, step: Step[Any]) -> Effort:
        recipe = step.settings
        parameters = recipe.model.parameters(self.ids)
        # Six operations a parameter and token: forward, and twice as many backward.
        flops = 6 * parameters * recipe.tokens
        # Both precisions keep weights in float32 and AdamW's two moments; bfloat16 has its own weights besides.
        size = CHECKPOINTS * parameters * (12 + (2 if _on_gpu(recipe) else 0))
        if _on_gpu(recipe):
            gpus = recipe.parallel.workers
            seconds = flops / BF16_PEAK / PART_OF_PEAK
            return Effort(seconds / gpus, gpu_seconds=seconds, on=_many(gpus, "A100"), size=size)
        return _timed(START_TRAINING, flops / CORE_TRAINS, ray_cores(self.config), size)

    def _export(self, step: Step[Any]) -> Effort:
        recipe = step.input("trained").settings
        parameters = recipe.model.parameters(self.ids)
        # The trained and the written model, each forward on one core.
        flops = 4 * parameters * step.settings.sequences * recipe.sequence
        return _timed(step.body.cost.start, flops / CORE_INFERS, 1, (2 if _on_gpu(recipe) else 4) * parameters)

    def _evaluation(self, step: Step[Any]) -> Effort:
        recipe = step.input("model").input("trained").settings
        questions = sum(benchmark.limit or QUESTIONS for benchmark in step.settings.benchmarks)
        flops = 2 * recipe.model.parameters(self.ids) * QUESTION_TOKENS * questions
        if _on_gpu(recipe):
            seconds = flops / BF16_PEAK / PART_OF_PEAK
            return Effort(step.body.cost.start + seconds, gpu_seconds=seconds, on="1 A100")
        return _timed(step.body.cost.start, flops / CORE_INFERS, ray_cores(self.config))

    def _on_cores(self, step: Step[Any], core_seconds: float, size: float, scratch: float = 0) -> Effort:
        engines = {"spark": spark_cores, "ray": ray_cores}
        cores = engines[step.body.engine](self.config) if step.body.engine in engines else 1
        return _timed(step.body.cost.start, core_seconds, cores, size or None, scratch)


def _on_gpu(recipe: Any) -> bool:
    return bool(recipe.precision == "bfloat16")


def _timed(
    start: float, core_seconds: float, cores: int | None, size: float | None = None, scratch: float = 0
) -> Effort:
    if cores is None:
        return Effort(None, core_seconds, on="the cluster", size=size, scratch=scratch)
    return Effort(start + core_seconds / cores, core_seconds, on=_many(cores, "core"), size=size, scratch=scratch)


def _many(number: int, unit: str) -> str:
    return f"{number:,} {unit}{'' if number == 1 else 's'}"


def ray_cores(config: "Config") -> int | None:
    """CPUs of the embedded Ray; a cluster's are not known."""
    return config.ray.cpus if config.ray.address == "local" else None


def spark_cores(config: "Config") -> int | None:
    """Cores of `local[n]`, or those that the options ask a cluster for."""
    if local := re.fullmatch(r"local(?:\[(\d+|\*)(?:,\d+)?\])?", config.spark.master):
        return (os.cpu_count() or 1) if local[1] == "*" else int(local[1] or 1)
    options = [config.spark.options.get(f"spark.executor.{name}", "") for name in ("instances", "cores")]
    return int(options[0]) * int(options[1]) if all(map(str.isdigit, options)) else None
