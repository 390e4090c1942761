"""Time and storage of each step: measured if it is done, else estimated from its kind."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gap.config import Config
from gap.expect import BYTES_PER_TOKEN, Foreseen
from lake.marks import FORMAT_TOKENS
from lake.step import Kind, Step, Steps, of_kind
from mixing.shards import token_type
from mixing.shuffle import Layout
from mixing.split import SPLITS
from mixing.tokenizer.chatml import CHAT_TOKENS
from ray_jobs.finetune import outline_of, recipe_of
from train.flops import flops_per_token, trained_weights
from train.gpus import GPUS
from train.recipe import Recipe

ADOPTED_VOCABULARY = 32_000 + len(FORMAT_TOKENS) + len(CHAT_TOKENS) + 1
"""The ids of a tokenizer like Llama 2's with a token for padding. It stands in while the tokenizer is missing."""

PART_OF_PEAK = 0.431
"""MFU by train/flops.py of the MEDITRON paper's 70B model: 40,200 tokens a second on 128 A100s."""

RECOMPUTED = 4 / 3
"""The work of a recipe that computes each forward pass twice."""

CORE_TRAINS, CORE_INFERS = 21.5e9, 50e9
"""FLOP a second of one core in float32, measured in pretraining configs/demo.yaml and in vLLM on 127-token prompts."""

QUESTIONS, QUESTION_TOKENS = 1_000, 250
"""Assumed for a benchmark without a limit: its questions, and the tokens of a prompt."""

SAMPLE_TOKENS = 512
"""Tokens of the text on which a base and its conversion are compared."""

CHECKPOINTS = 2
"""Checkpoints that stay on disk."""


@dataclass(frozen=True)
class Effort:
    """What a step takes.

    `seconds` from start to end are None if the config does not say how many cores the step gets. `core_seconds` and
    `gpu_seconds` measure the work and are zero if the step is `done`. The step writes `size` bytes and holds `scratch`
    more while it runs.
    """

    seconds: float | None
    core_seconds: float = 0
    gpu_seconds: float = 0
    on: str = ""
    size: float | None = None
    scratch: float = 0
    done: bool = False


def efforts(config: Config, steps: Steps, known: Foreseen) -> dict[str, Effort]:
    """By step: what it took if it is done, else what to expect."""
    estimator = Estimator(config, known, vocabulary(config, steps))
    return {
        name: Effort(step.manifest().seconds, size=_size(step), done=True) if step.done else estimator.effort(step)
        for name, step in steps.items()
    }


def vocabulary(config: Config, steps: Steps) -> int:
    """The number of ids: that of the tokenizer if it is done, else what is expected."""
    (tokenizer,) = of_kind(steps, Kind.TOKENIZER)
    if tokenizer.done:
        return int(tokenizer.manifest().figures["vocab_size"])
    trained = tokenizer.settings.train
    return trained.vocab_size if trained else config.expected_vocabulary or ADOPTED_VOCABULARY


def shards(config: Config, known: Foreseen) -> dict[str, int]:
    """The number of shards by source, train and validation together."""
    return {
        row["source"]: Layout.of({split: row[f"{split}_tokens"] for split in SPLITS}, config.shard.tokens).total
        for row in known.mixture[:-1]
    }


def _size(step: Step[Any]) -> float | None:
    """Bytes of the step's folder; None if it is not local."""
    if not step.output.is_local:
        return None
    return sum(path.stat().st_size for path in step.output.local().rglob("*") if path.is_file())


@dataclass(frozen=True)
class Estimator:
    """Estimates steps by their kind. `ids` is the size of the vocabulary."""

    config: Config
    known: Foreseen
    ids: int

    def effort(self, step: Step[Any]) -> Effort:
        special: dict[Kind, Callable[[Step[Any]], Effort]] = {
            Kind.READER: self._reader,
            Kind.SHARDS: self._shards,
            Kind.BASE: self._base,
            Kind.TRAINING: self._training,
            Kind.EXPORT: self._export,
            Kind.EVALUATION: self._evaluation,
            Kind.CURVE: self._curve,
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
        # While it runs, the step holds all tokens a second time, as pieces.
        return self._on_cores(step, cost.core_seconds(documents, text), size, size)

    def _base(self, step: Step[Any]) -> Effort:
        recipe = self.config.pretrain
        parameters = recipe.model.parameters(self.ids)
        # The base and the checkpoint, then the checkpoint and the folder, run forward on the sample.
        flops = 8 * parameters * SAMPLE_TOKENS
        # The checkpoint and the folder, in the base's precision.
        return _timed(step.body.cost.start, flops / CORE_INFERS, 1, 2 * (2 if on_gpu(recipe) else 4) * parameters)

    def _training(self, step: Step[Any]) -> Effort:
        recipe = recipe_of(step)
        if recipe is None:
            return Effort(None, on="rows that are still to be counted")
        flops = flops_per_token(recipe.model, self.ids, recipe.sequence, recipe.lora) * recipe.tokens
        if recipe.recompute == "full":
            flops *= RECOMPUTED
        # Both precisions keep float32 weights and AdamW's two moments; bfloat16 adds its own weights.
        trained = trained_weights(recipe.model, recipe.lora) if recipe.lora else recipe.model.parameters(self.ids)
        size = CHECKPOINTS * trained * (12 + (2 if on_gpu(recipe) else 0))
        if on_gpu(recipe):
            gpus = recipe.parallel.workers
            seconds = flops / GPUS[recipe.gpu].peak / PART_OF_PEAK
            return Effort(seconds / gpus, gpu_seconds=seconds, on=f"{gpus} {recipe.gpu}", size=size)
        return _timed(step.body.cost.start, flops / CORE_TRAINS, ray_cores(self.config), size)

    def _export(self, step: Step[Any]) -> Effort:
        recipe = self._recipe(step)
        parameters = recipe.model.parameters(self.ids)
        # One core runs both the trained and the written model forward.
        flops = 4 * parameters * step.settings.sequences * recipe.sequence
        return _timed(step.body.cost.start, flops / CORE_INFERS, 1, (2 if on_gpu(recipe) else 4) * parameters)

    def _evaluation(self, step: Step[Any]) -> Effort:
        return self._asking(step, self._recipe(step.input("model")), 1)

    def _curve(self, step: Step[Any]) -> Effort:
        recipe = self._recipe(step)
        return self._asking(step, recipe, recipe.checkpoints.kept(recipe.steps))

    def _recipe(self, step: Step[Any]) -> Recipe:
        """Of the training that the step reads. A base is like `pretrain`."""
        return self.config.pretrain if step.kind is Kind.BASE else outline_of(step.input("trained"))

    def _asking(self, step: Step[Any], recipe: Recipe, models: int) -> Effort:
        prompts = sum(
            (benchmark.limit or QUESTIONS) * len(benchmark.rounds) * (1 + benchmark.shots)
            for benchmark in step.settings.benchmarks
        )
        flops = 2 * recipe.model.parameters(self.ids) * QUESTION_TOKENS * prompts * models
        if on_gpu(recipe):
            seconds = flops / GPUS[recipe.gpu].peak / PART_OF_PEAK
            return Effort(step.body.cost.start + seconds, gpu_seconds=seconds, on=f"1 {recipe.gpu}")
        return _timed(step.body.cost.start, flops / CORE_INFERS, ray_cores(self.config))

    def _on_cores(self, step: Step[Any], core_seconds: float, size: float, scratch: float = 0) -> Effort:
        engines = {"spark": spark_cores, "ray": ray_cores}
        cores = engines[step.body.engine](self.config) if step.body.engine in engines else 1
        return _timed(step.body.cost.start, core_seconds, cores, size or None, scratch)


def on_gpu(recipe: Recipe) -> bool:
    """Whether the recipe is meant for GPUs."""
    return recipe.precision == "bfloat16"


def _timed(
    start: float, core_seconds: float, cores: int | None, size: float | None = None, scratch: float = 0
) -> Effort:
    if cores is None:
        return Effort(None, core_seconds, on="the cluster", size=size, scratch=scratch)
    return Effort(start + core_seconds / cores, core_seconds, on=_many(cores, "core"), size=size, scratch=scratch)


def _many(number: int, unit: str) -> str:
    return f"{number:,} {unit}{'' if number == 1 else 's'}"


def ray_cores(config: Config) -> int | None:
    """CPUs of the embedded Ray; None for a cluster, whose size is unknown."""
    return config.ray.cpus if config.ray.address == "local" else None


def spark_cores(config: Config) -> int | None:
    """Cores of `local[n]`, or those that the options request from a cluster; None if they name none."""
    if local := re.fullmatch(r"local(?:\[(\d+|\*)(?:,\d+)?\])?", config.spark.master):
        return (os.cpu_count() or 1) if local[1] == "*" else int(local[1] or 1)
    options = [config.spark.options.get(f"spark.executor.{name}", "") for name in ("instances", "cores")]
    return int(options[0]) * int(options[1]) if all(map(str.isdigit, options)) else None
