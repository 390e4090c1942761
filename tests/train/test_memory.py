"""The memory of training: a case by hand, and what every layout owes to reason."""

from collections.abc import Iterator
from dataclasses import asdict
from itertools import chain
from typing import Any

import pytest
import torch
import torch.distributed as dist
from megatron.core.optimizer import ChainedOptimizer
from torch import Tensor

from lake.config import laid_over
from train import kernels, loss
from train import memory as module
from train.cpu import cudaless
from train.lora import TARGETS
from train.memory import Memory, weights_of
from train.model import build, draw_weights, initialise, parallel_state
from train.optimizer import adamw, distributed
from train.recipe import Llama, Parallel, Recipe

KEYS: dict[str, Any] = {
    "model": {"layers": 8, "hidden": 64, "heads": 8, "kv_heads": 4, "ffn": 128},
    "sequence": 32,
    "batch": {"total": 32, "micro": 2},
    "steps": 10,
    "optimizer": {"lr": 1e-3},
    "validation": {"every": 5},
    "precision": "bfloat16",
}
IDS = 1000


def recipe(**changes: Any) -> Recipe:
    return Recipe.model_validate(laid_over(KEYS, changes))


def memory(**changes: Any) -> Memory:
    return Memory.of(recipe(**changes), IDS)


def state(weights: float, gradients: float, optimizer: float) -> dict[str, float]:
    return {"weights": weights, "gradients": gradients, "optimizer": optimizer, "activations": 0}


def test_a_case_by_hand() -> None:
    """Two layers of hidden 8 on one rank: four queries and two keys and values of size 2, 16 in the middle."""
    shape = {"layers": 2, "hidden": 8, "heads": 4, "kv_heads": 2, "ffn": 16}
    keys = {"model": shape, "sequence": 16, "batch": {"total": 4, "micro": 1}}
    counted = memory(**keys)
    layer = 8 * (8 + 2 * 4) + 8 * 8 + 3 * 8 * 16 + 2 * 8
    weights = 2 * layer + 2 * 1024 * 8 + 8
    assert asdict(counted) | {"activations": 0} == state(2 * weights, 4 * weights, 12 * weights)
    # Input, middle, two normalised; queries, keys and values twice without the values, output; thrice 16.
    inside = 2 * (3 * 8 + (8 + 2 * 4) + (8 + 4) + 8 + 3 * 16) + 4 * (2 + 4)
    waiting = 16 * (2 * inside + 3 * 2 * 8)
    loss = 16 * 2 * (8 + 2 * 8) + 6 * (1024 * 8 + 16 * 1024)
    assert counted.activations == waiting + loss
    # What is not an input of a layer is there for one layer only.
    assert memory(**keys, recompute="full").activations == 16 * (inside + 3 * 2 * 8) + loss


def test_float32_keeps_no_second_weights() -> None:
    weights = weights_of(recipe().model, IDS, recipe().parallel, 0)
    counted = memory(precision="float32")
    assert asdict(counted) | {"activations": 0} == state(4 * weights, 4 * weights, 8 * weights)


def test_tied_embeddings_lie_at_both_ends_of_a_pipeline() -> None:
    shape = Llama.model_validate(KEYS["model"])
    tied = shape.model_copy(update={"tied": True})
    alone, stages = recipe().parallel, recipe(parallel={"pipeline": 4}).parallel
    embedding = 1024 * 64
    assert weights_of(shape, IDS, alone, 0) - weights_of(tied, IDS, alone, 0) == embedding
    for stage in range(4):
        assert weights_of(shape, IDS, stages, stage) == weights_of(tied, IDS, stages, stage)
    assert weights_of(tied, IDS, stages, 0) - weights_of(tied, IDS, stages, 1) == embedding


@pytest.mark.parametrize("start", [{}, {"parallel": {"tensor": 2, "pipeline": 2}}, {"recompute": "full"}])
@pytest.mark.parametrize(
    ("change", "term"),
    [
        ({"parallel": {"tensor": 4}}, "weights"),
        ({"parallel": {"tensor": 4}}, "activations"),
        ({"parallel": {"pipeline": 4}}, "weights"),
        ({"parallel": {"data": 2, "distributed_optimizer": True}}, "optimizer"),
        ({"batch": {"micro": 1}}, "activations"),
        ({"sequence": 16}, "activations"),
        ({"precision": "bfloat16"}, "weights"),
    ],
)
def test_what_saves_memory_does(start: dict[str, Any], change: dict[str, Any], term: str) -> None:
    long = {"sequence": 512, "precision": "float32"}
    before, after = (
        asdict(memory(**laid_over(long, start))),
        asdict(memory(**laid_over(laid_over(long, start), change))),
    )
    assert after[term] < before[term]


def test_recomputation_and_sequence_parallelism_save_activations_alone() -> None:
    long = {"sequence": 512, "parallel": {"tensor": 4}}
    plain = memory(**long)
    for change in ({"recompute": "full"}, {"parallel": {"sequence_parallel": True}}):
        saved = memory(**laid_over(long, change))
        assert saved.activations < 0.9 * plain.activations
        assert asdict(saved) | {"activations": 0} == state(plain.weights, plain.gradients, plain.optimizer)


@pytest.mark.parametrize(("interleave", "factor"), [(1, 1), (2, 1 + 3 / 8)])
def test_the_first_stage_waits_longest(interleave: int, factor: float) -> None:
    """The first of four stages holds the activations of all layers, and more with interleave (section 4.2.3)."""
    deep = {"sequence": 4096, "model": {"layers": 128}}
    long = deep | {"parallel": {"pipeline": 4, "interleave": interleave}}
    first, *_, last = (Memory.of_stage(recipe(**long), IDS, stage).activations for stage in range(4))
    assert first == pytest.approx(factor * memory(**deep).activations, rel=0.05)
    assert last < first


def test_few_micro_batches_fill_no_pipeline() -> None:
    two = recipe(sequence=4096, parallel={"pipeline": 4, "data": 8})
    first, second, third, _ = (Memory.of_stage(two, IDS, stage).activations for stage in range(4))
    assert first == second == third


# Against the model itself --------------------------------------------------------------------------------------------


class NormOfCuda(torch.autograd.Function):
    """Keeps what torch's kernel for CUDA keeps: the input and a scale for each token. On a CPU, torch keeps more."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(hidden, weight, hidden.float().square().mean(-1).rsqrt())
        return hidden * weight


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process group of this process alone, and norms as on CUDA."""
    monkeypatch.setattr(kernels.functional, "rms_norm", lambda hidden, _, weight, eps: NormOfCuda.apply(hidden, weight))
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    with cudaless():
        initialise(Parallel(), 1)
        yield
        parallel_state.destroy_model_parallel()
    dist.destroy_process_group()


def built(recipe: Recipe) -> Any:
    keys = (recipe.model, IDS, recipe.sequence, recipe.parallel, recipe.precision, recipe.recompute, recipe.lora)
    (model,) = build(*keys)
    draw_weights([model], 1)
    return model


def kept(recipe: Recipe) -> int:
    """The bytes that a forward pass of the model keeps for the backward pass, without weights."""
    model = built(recipe)
    # A buffer says which rows of an adapter belong to which target.
    weights = {weight.untyped_storage().data_ptr() for weight in chain(model.parameters(), model.buffers())}
    saved: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        saved.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    tokens = torch.zeros(recipe.batch.micro, recipe.sequence, dtype=torch.long)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(tokens, None, None, labels=tokens, loss_mask=torch.ones(tokens.shape))
    return sum(tensor.untyped_storage().nbytes() for storage, tensor in saved.items() if storage not in weights)


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("micro", [1, 2])
@pytest.mark.parametrize("kv_heads", [2, 8])
def test_a_layer_keeps_what_is_counted(precision: str, micro: int, kv_heads: int) -> None:
    shape = {"kv_heads": kv_heads, "head_size": 16}
    few, many = (
        recipe(precision=precision, batch={"micro": micro}, model=shape | {"layers": layers}) for layers in (2, 4)
    )
    assert kept(many) - kept(few) == module._activations(many, 0) - module._activations(few, 0)


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "targets",
    [TARGETS, ("q_proj", "v_proj"), ("o_proj",), ("up_proj",), ("down_proj", "k_proj"), ("gate_proj", "up_proj")],
)
def test_a_layer_with_adapters_keeps_what_is_counted(precision: str, targets: tuple[str, ...]) -> None:
    few, many = (
        recipe(precision=precision, model={"layers": layers}, lora={"rank": 3, "targets": targets}) for layers in (2, 4)
    )
    assert kept(many) - kept(few) == module._activations(many, 0) - module._activations(few, 0)


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("lora", [None, {}, {"rank": 5, "targets": ("v_proj", "down_proj")}])
def test_the_state_is_what_torch_holds(precision: str, lora: dict[str, Any] | None) -> None:
    settings = recipe(precision=precision, lora=lora)
    (model,) = distributed(settings, [built(settings)])
    optimizer = adamw(settings, [model])
    assert isinstance(optimizer, ChainedOptimizer)
    (inner,) = optimizer.chained_optimizers
    held: dict[int, Tensor] = {}
    for weight in chain.from_iterable(group["params"] for group in inner.optimizer.param_groups):
        held |= {id(tensor): tensor for tensor in inner.optimizer.state_of(weight).values()}
        if precision == "bfloat16":
            held[id(weight)] = weight
    counted = memory(precision=precision, lora=lora)
    assert asdict(counted) | {"activations": 0} == state(
        sum(weight.nbytes for weight in model.parameters()),
        sum(buffer.grad_data.nbytes for buffer in model.buffers),
        sum(tensor.nbytes for tensor in held.values()),
    )


def test_adapters_take_little_but_the_weights_and_activations_stay() -> None:
    """The 8B of Llama 3 on one GPU of 80 GB: only with LoRA."""
    shape = {"layers": 32, "hidden": 4096, "heads": 32, "kv_heads": 8, "ffn": 14336}
    keys = {"model": shape, "sequence": 2048, "batch": {"micro": 1}}
    full, lora = (Memory.of(recipe(**keys, lora=lora), 128_256) for lora in (None, {"rank": 16}))
    adapters = 32 * 16 * (3 * 4096 + 4096 + 2048 + 4096 + 4096 + 2 * 4096 + 2 * 14336 + 14336 + 4096)
    assert asdict(lora) | {"activations": 0} == state(full.weights + 2 * adapters, 4 * adapters, 12 * adapters)
    assert full.total > 80e9 > 40e9 > lora.total


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("lora", [None, {}])
def test_a_recomputed_layer_keeps_its_input(lora: dict[str, Any] | None) -> None:
    few, many = (recipe(recompute="full", lora=lora, model={"layers": layers}) for layers in (2, 4))
    assert kept(many) - kept(few) == module._activations(many, 0) - module._activations(few, 0)


def test_the_loss_holds_as_many_logits_as_are_counted() -> None:
    assert module.LOGITS_AT_ONCE == loss.LOGITS_AT_ONCE
