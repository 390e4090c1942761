"""Checkpoints in Megatron's distributed format. They are whole or absent, and any tensor-parallel layout reads them."""

import json
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from train.history import STATE, read_state

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from megatron.core import dist_checkpointing
    from megatron.core.models.gpt import GPTModel
    from megatron.core.optimizer import MegatronOptimizer
    from megatron.core.optimizer_param_scheduler import OptimizerParamScheduler

KEPT = 2
"""Checkpoints that stay on disk. The last is enough to resume; the one before is there in case the disk fills up."""


def folder_of(root: Path, step: int) -> Path:
    return root / f"step-{step:08d}"


def save(
    root: Path,
    step: int,
    chunks: Sequence[GPTModel],
    optimizer: MegatronOptimizer,
    scheduler: OptimizerParamScheduler,
    state: dict[str, Any],
) -> None:
    """Write the checkpoint of a step; all ranks call it together.

    The folder has a temporary name until all ranks are done, so every checkpoint is whole.
    """
    first = torch.distributed.get_rank() == 0
    final = folder_of(root, step)
    temporary = final.with_name(f".{final.name}")
    if first:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
    torch.distributed.barrier()
    dist_checkpointing.save(_sharded(chunks, optimizer, scheduler, loading=False), str(temporary))
    torch.distributed.barrier()
    if first:
        (temporary / STATE).write_text(json.dumps(state, indent=1), encoding="utf-8")
        temporary.rename(final)
        for old in sorted(root.glob("step-*"))[:-KEPT]:
            shutil.rmtree(old)
    torch.distributed.barrier()


def load(
    checkpoint: Path, chunks: Sequence[GPTModel], optimizer: MegatronOptimizer, scheduler: OptimizerParamScheduler
) -> dict[str, Any]:
    """Fill model, optimizer and schedule, and return the `state` that `save` wrote; all ranks call it together."""
    loaded = dist_checkpointing.load(_sharded(chunks, optimizer, scheduler, loading=True), str(checkpoint))
    _fill(chunks, loaded)
    optimizer.load_state_dict(loaded["optimizer"])
    scheduler.load_state_dict(loaded["scheduler"])
    return read_state(checkpoint)


def load_model(checkpoint: Path, chunks: Sequence[GPTModel]) -> None:
    """Fill the model alone. Its layout may differ from that of the checkpoint."""
    _fill(chunks, dist_checkpointing.load(_weights(chunks), str(checkpoint)))


def _weights(chunks: Sequence[GPTModel]) -> dict[str, Any]:
    """Megatron's optimizers name the weights of the only chunk `model`, of several `model0`, `model1`, …"""
    if len(chunks) == 1:
        return {"model": chunks[0].sharded_state_dict()}
    return {f"model{number}": chunk.sharded_state_dict() for number, chunk in enumerate(chunks)}


def _fill(chunks: Sequence[GPTModel], loaded: dict[str, Any]) -> None:
    for name, chunk in zip(_weights(chunks), chunks, strict=True):
        chunk.load_state_dict(loaded[name])


def _sharded(
    chunks: Sequence[GPTModel], optimizer: MegatronOptimizer, scheduler: OptimizerParamScheduler, loading: bool
) -> dict[str, Any]:
    weights = _weights(chunks)
    return {
        **weights,
        "optimizer": optimizer.sharded_state_dict(weights, is_loading=loading),
        "scheduler": scheduler.state_dict(),
    }
