"""Builds the ranks of a config's training without a GPU and without its memory, and prints what each holds.

Of the replicas, which are alike, it builds the first and the last.

Runs as `python fake_ranks.py CONFIG IDS` in a process of its own, since process groups belong to a process.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore

from gap.config import Config
from lake.config import load
from train.cpu import cudaless
from train.model import build, parallel_state
from train.recipe import Recipe


def ranks(recipe: Recipe, ids: int) -> Iterator[dict[str, Any]]:
    """Of each rank: its place in the layout and its weights."""
    parallel = recipe.parallel
    # Megatron counts tensor ranks first, then replicas.
    for rank in range(parallel.workers):
        if rank // parallel.tensor % parallel.data not in (0, parallel.data - 1):
            continue
        dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=parallel.workers)
        parallel_state.initialize_model_parallel(
            parallel.tensor,
            parallel.pipeline,
            parallel.interleave if parallel.interleave > 1 else None,
            create_gloo_process_groups=False,
        )
        yield built(recipe, ids) | {
            "tensor": parallel_state.get_tensor_model_parallel_rank(),
            "pipeline": parallel_state.get_pipeline_model_parallel_rank(),
            "data": parallel_state.get_data_parallel_rank(),
        }
        parallel_state.destroy_model_parallel()
        dist.destroy_process_group()


def built(recipe: Recipe, ids: int) -> dict[str, int]:
    """The weights of this rank's part of the model, those of norms apart."""
    with torch.device("meta"):
        chunks = build(recipe.model, ids, recipe.sequence, recipe.parallel, recipe.precision, recipe.recompute)
    weights = {
        f"{chunk}.{name}": weight for chunk, part in enumerate(chunks) for name, weight in part.named_parameters()
    }
    assert all(weight.is_meta for weight in weights.values())
    norms = sum(weight.numel() for name, weight in weights.items() if "norm" in name)
    return {
        "norms": norms,
        "matrices": sum(weight.numel() for weight in weights.values()) - norms,
        "bytes": sum(weight.nbytes for weight in weights.values()),
    }


if __name__ == "__main__":
    with cudaless():
        for row in ranks(load(sys.argv[1], [], Config).pretrain, int(sys.argv[2])):
            print(json.dumps(row))
