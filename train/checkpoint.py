"""Checkpoints in Megatron's distributed format. They are whole or absent, and any tensor-parallel layout reads them."""

import json
import shutil
import warnings
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
    model: GPTModel,
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
    dist_checkpointing.save(_sharded(model, optimizer, scheduler, loading=False), str(temporary))
    torch.distributed.barrier()
    if first:
        (temporary / STATE).write_text(json.dumps(state, indent=1), encoding="utf-8")
        temporary.rename(final)
        for old in sorted(root.glob("step-*"))[:-KEPT]:
            shutil.rmtree(old)
    torch.distributed.barrier()


def load(
    checkpoint: Path, model: GPTModel, optimizer: MegatronOptimizer, scheduler: OptimizerParamScheduler
) -> dict[str, Any]:
    """Fill model, optimizer and schedule, and return the `state` that `save` wrote; all ranks call it together."""
    loaded = dist_checkpointing.load(_sharded(model, optimizer, scheduler, loading=True), str(checkpoint))
    model.load_state_dict(loaded["model"])
    optimizer.load_state_dict(loaded["optimizer"])
    scheduler.load_state_dict(loaded["scheduler"])
    return read_state(checkpoint)


def load_model(checkpoint: Path, model: GPTModel) -> None:
    """Fill the model alone. Its layout may differ from that of the checkpoint."""
    loaded = dist_checkpointing.load({"model": model.sharded_state_dict()}, str(checkpoint))
    model.load_state_dict(loaded["model"])


def _sharded(
    model: GPTModel, optimizer: MegatronOptimizer, scheduler: OptimizerParamScheduler, loading: bool
) -> dict[str, Any]:
    weights = model.sharded_state_dict()
    return {
        "model": weights,
        "optimizer": optimizer.sharded_state_dict(weights, is_loading=loading),
        "scheduler": scheduler.state_dict(),
    }
