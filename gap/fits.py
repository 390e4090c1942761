"""Whether the trainings fit the memory of their GPUs or of this machine, and what would help."""

import os
from collections.abc import Iterator
from dataclasses import asdict
from functools import reduce
from typing import Any

from pydantic import ValidationError

from eval.numbers import SPACE, size
from gap.config import Config
from gap.estimates import on_gpu, vocabulary
from lake.config import Settings, laid_over
from lake.error import UserError
from lake.step import Kind, Steps, of_kind
from ray_jobs import cluster
from ray_jobs.finetune import outline_of
from ray_jobs.machine import LOCAL
from train.gpus import GPUS
from train.memory import Memory
from train.recipe import Recipe

RESERVED = 4e9
"""Bytes of a GPU that go to CUDA, to NCCL's buffers and to gaps between tensors."""

MOST_TENSOR = 8
"""The GPUs of a machine; between machines, tensor parallelism is too slow."""


def check_memory(config: Config, steps: Steps) -> None:
    """Check the trainings that are still to be done.

    Raises:
        UserError: one does not fit its GPU; the line says which term is the largest, and which overrides would help. Or
            the state of one that is meant for CPUs does not fit this machine, where it would run.
    """
    for step in of_kind(steps, Kind.TRAINING):
        recipe = outline_of(step)
        if step.done:
            continue
        ids = vocabulary(config, steps)
        if not on_gpu(recipe):
            if cluster.address_of(config.ray) == LOCAL:
                _check_machine(step.name, recipe, ids)
        elif not fits(recipe, ids):
            memory = Memory.of(recipe, ids)
            section = step.name.replace("pretrain-", "variants.", 1).replace("finetune-", "tuned.", 1)
            terms = asdict(memory)
            largest = max(terms, key=lambda term: terms[term])
            line = (
                f"{step.name}: it takes {size(memory.total)} on the fullest GPU, most of it for {largest} "
                f"({size(terms[largest])}); {recipe.gpu} has {size(GPUS[recipe.gpu].memory - RESERVED)}; "
                f"{_advice(recipe, ids, section)}"
            )
            raise UserError(line.replace(SPACE, " "))


def _check_machine(name: str, recipe: Recipe, ids: int) -> None:
    """Raises UserError where the workers keep more than this machine without GPUs has. Activations are not counted."""
    stages = [Memory.of_stage(recipe, ids, stage) for stage in range(recipe.parallel.pipeline)]
    copies = recipe.parallel.tensor * recipe.parallel.data
    state = copies * sum(stage.weights + stage.gradients + stage.optimizer for stage in stages)
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if state > there and not _has_gpu():
        line = (
            f"{name}: weights, gradients and optimizer take {size(state)}, and this machine has {size(there)}; take a "
            "smaller model or fewer workers, or set ray.address to a cluster"
        )
        raise UserError(line.replace(SPACE, " "))


def _has_gpu() -> bool:
    # Asked last, for it takes seconds to import.
    import torch

    return torch.cuda.is_available()


def fits(recipe: Recipe, ids: int) -> bool:
    """Whether the fullest GPU has room for its share of the training."""
    return Memory.of(recipe, ids).total <= GPUS[recipe.gpu].memory - RESERVED


def _advice(recipe: Recipe, ids: int, section: str) -> str:
    alone = [change for change in _changes(recipe) if fits(_changed(recipe, change), ids)]
    if alone:
        return f"set {' or '.join(_overrides(change, section) for change in alone)}"
    chosen: list[dict[str, Any]] = []
    while further := next(_changes(_changed(recipe, *chosen)), None):
        chosen.append(further)
        if not fits(_changed(recipe, *chosen), ids):
            continue
        for change in list(chosen):
            others = [other for other in chosen if other is not change]
            if fits(_changed(recipe, *others), ids):
                chosen = others
        return f"set {_overrides(reduce(laid_over, chosen), section)}"
    return "no layout of it fits; take another gpu, a shorter sequence or a smaller model"


def _changes(recipe: Recipe) -> Iterator[dict[str, Any]]:
    """Single changes that save memory and keep the result, the cheapest first."""
    parallel, micro = recipe.parallel, recipe.batch.micro
    # The number of GPUs stays as it is where it can.
    data = parallel.data // 2 if parallel.data % 2 == 0 else parallel.data
    possible: list[tuple[bool, dict[str, Any]]] = [
        (parallel.data > 1 and not parallel.distributed_optimizer, {"parallel": {"distributed_optimizer": True}}),
        (parallel.tensor > 1 and not parallel.sequence_parallel, {"parallel": {"sequence_parallel": True}}),
        (micro % 2 == 0, {"batch": {"micro": micro // 2}}),
        (recipe.recompute == "none", {"recompute": "full"}),
        (parallel.tensor < MOST_TENSOR, {"parallel": {"tensor": 2 * parallel.tensor, "data": data}}),
        (True, {"parallel": {"pipeline": 2 * parallel.pipeline, "data": data}}),
    ]
    for sensible, change in possible:
        if sensible:
            try:
                _changed(recipe, change)
            except ValidationError:
                continue
            yield change


def _changed(recipe: Recipe, *changes: dict[str, Any]) -> Recipe:
    keys: Any = {key: dict(value) if isinstance(value, Settings) else value for key, value in recipe}
    return Recipe.model_validate(reduce(laid_over, changes, keys))


def _overrides(change: dict[str, Any], section: str) -> str:
    """As on the command line: pretrain.parallel.tensor=4 pretrain.parallel.data=8."""
    return " ".join(
        _overrides(value, f"{section}.{key}") if isinstance(value, dict) else f"{section}.{key}={value}".lower()
        for key, value in change.items()
    )
