"""What is in a checkpoint: Megatron's distributed format, in which any layout of the workers reads any other's."""

import warnings
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from train.adam import AdamW
from train.history import read_state
from train.lora import is_adapter, trained

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from megatron.core import dist_checkpointing
    from megatron.core.dist_checkpointing.dict_utils import nested_values
    from megatron.core.dist_checkpointing.optimizer import make_sharded_optimizer_tensor
    from megatron.core.dist_checkpointing.utils import extract_sharded_tensors_and_factories
    from megatron.core.optimizer import MegatronOptimizer
    from megatron.core.optimizer.distrib_optimizer import DistributedOptimizer
    from megatron.core.optimizer_param_scheduler import OptimizerParamScheduler

Chunks = Sequence[torch.nn.Module]
"""The groups of layers that a rank holds: GPTModels, bare or within Megatron's DistributedDataParallel."""

Sharded = dict[str, Any]
"""A nested dict whose leaves know their name, their place in the whole tensor and who writes them."""

OPTIMIZER = "optimizer.state"
GATHERED = {"distrib_optim_fully_reshardable_mem_efficient": True}
"""The distributed optimizer's state is gathered in the CPU memory of the first copy of the model, which writes it."""


def sharded(chunks: Chunks, optimizer: MegatronOptimizer, loading: bool = False) -> Sharded:
    """The weights and the optimizer's state: what is to be saved or, if `loading`, what is to be filled.

    Of a model with adapters, these are the adapters alone; the rest is in the checkpoint that training started from.
    All ranks call it together, since the distributed optimizer gathers its state. Names and places do not depend on the
    layout, nor on whether the optimizer is distributed: float32 weights are their own master copy and saved once.
    """
    weights = _weights(chunks)
    inner = _inner(optimizer)
    state: dict[int, Sharded]
    if isinstance(inner, DistributedOptimizer):
        if loading:
            for param in chain.from_iterable(group["params"] for group in inner.optimizer.param_groups):
                inner.optimizer.state_of(param)
        state = inner.sharded_param_state_fully_reshardable(weights, loading, GATHERED) or {}
        for index, param in enumerate(_params(inner) if state else ()):
            if param.dtype == torch.float32:
                del state[index]["param"]
    else:
        state = {
            index: {
                key: make_sharded_optimizer_tensor(weight, tensor, f"{OPTIMIZER}.{key}")
                for key, tensor in _tensors(inner, weight.data).items()
            }
            for index, weight in enumerate(_leaves(weights))
        }
    return {**weights, "optimizer": state}


def common(optimizer: MegatronOptimizer, scheduler: OptimizerParamScheduler) -> dict[str, Any]:
    """What is the same on all ranks."""
    return {"updates": _inner(optimizer).param_groups[0]["step"], "scheduler": scheduler.state_dict()}


def load(
    checkpoint: Path, chunks: Chunks, optimizer: MegatronOptimizer, scheduler: OptimizerParamScheduler
) -> dict[str, Any]:
    """Fill model, optimizer and schedule, and return the `state` that was saved; all ranks call it together."""
    places = sharded(chunks, optimizer, loading=True)
    loaded = dist_checkpointing.load(places, str(checkpoint))
    _fill(chunks, loaded)
    inner = _inner(optimizer)
    with torch.no_grad():
        if isinstance(inner, DistributedOptimizer):
            for index, param in enumerate(_params(inner)):
                loaded["optimizer"][index].setdefault("param", param)
            inner.load_parameter_state_from_fully_reshardable(loaded["optimizer"])
        else:
            for index, weight in enumerate(_leaves(_weights(chunks))):
                for key, tensor in _tensors(inner, weight.data).items():
                    tensor.copy_(loaded["optimizer"][index][key])
    for group in inner.param_groups:
        group["step"] = loaded["updates"]
    scheduler.load_state_dict(loaded["scheduler"])
    return read_state(checkpoint)


def load_model(checkpoint: Path, chunks: Chunks) -> None:
    """Fill the model alone, without adapters; all ranks call it together. Its layout may differ from the saved one."""
    base = {
        chunk: {name: place for name, place in places.items() if not is_adapter(name)}
        for chunk, places in _places(chunks).items()
    }
    _fill(chunks, dist_checkpointing.load(base, str(checkpoint)))


def _weights(chunks: Chunks) -> Sharded:
    """What training changes."""
    return {chunk: trained(places) for chunk, places in _places(chunks).items()}


def _places(chunks: Chunks) -> dict[str, Sharded]:
    bare = [_bare(chunk) for chunk in chunks]
    return {name: chunk.sharded_state_dict() for name, chunk in zip(_names(chunks), bare, strict=True)}


def _fill(chunks: Chunks, loaded: dict[str, Any]) -> None:
    """What `loaded` lacks was not asked for: Megatron refuses a checkpoint without a weight that is wanted."""
    for name, chunk in zip(_names(chunks), chunks, strict=True):
        _bare(chunk).load_state_dict(loaded[name], strict=False)


def _names(chunks: Chunks) -> list[str]:
    """As Megatron names them."""
    return ["model"] if len(chunks) == 1 else [f"model{index}" for index in range(len(chunks))]


def _bare(chunk: torch.nn.Module) -> Any:
    return getattr(chunk, "module", chunk)


def _inner(optimizer: MegatronOptimizer) -> Any:
    """Megatron chains the optimizers of dense and expert layers; there are no experts here."""
    (inner,) = optimizer.chained_optimizers
    return inner


def _leaves(weights: Sharded) -> list[Any]:
    """The weights with their places. Their `data` are the model's parameters."""
    return list(nested_values(extract_sharded_tensors_and_factories(weights)[0]))


def _tensors(inner: Any, param: torch.nn.Parameter) -> dict[str, torch.Tensor]:
    """The state of one parameter in a plain optimizer; with bfloat16 weights also their float32 master copy."""
    adam: AdamW = inner.optimizer
    master = getattr(param, "main_param", param)
    return adam.state_of(master) | ({} if master is param else {"param": master})


def _params(inner: DistributedOptimizer) -> list[torch.nn.Parameter]:
    """In the order in which Megatron numbers their state."""
    return list(chain.from_iterable(buffer.param_index_map for buffer in inner.buffers))
