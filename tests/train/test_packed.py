"""Packed, padded and alone: a conversation's loss and gradient do not depend on what stands beside it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lake.dataset import Output
from tests.train.packed import VOCABULARY, Talk, talk, write
from tests.train.ranks import Ranks, layout_name
from tests.train.test_layouts import Recorder, assembled
from train.loop import Job
from train.recipe import Recipe
from train.rows import PackedRows

LENGTH = 36
SIZES = ((14, 9, 13), (20, 11), (5, 6, 7, 8), (12, 24))
"""The first and the last row are full, the others padded."""


def talks(other_weight: float) -> list[list[Talk]]:
    chance = np.random.default_rng(2)
    return [[talk(chance, size, other_weight) for size in sizes] for sizes in SIZES]


def recipe(total: int, **layout: Any) -> Recipe:
    keys = {key: layout.pop(key) for key in list(layout) if key in Recipe.model_fields}
    micro = layout.pop("micro", 1)
    model = {"layers": 6, "hidden": 32, "heads": 4, "kv_heads": 2, "ffn": 48}
    return Recipe.model_validate(
        {
            "model": model,
            "parallel": layout,
            "sequence": LENGTH,
            "batch": {"total": total, "micro": micro},
            "steps": 1,
            "optimizer": {"lr": 1e-3},
            "validation": {"every": 1, "sequences": 3},
        }
        | keys
    )


@contextmanager
def sharp(probe: bool) -> Iterator[None]:
    """Weights so large that attention matters. As a probe, attention depends on the places of tokens themselves.

    Then rotary positions turn by the square of the place. By nature attention depends on distances alone, and positions
    that do not begin anew would go unseen.
    """
    from train import kernels, model

    plain, spread = kernels.rotations, model.SPREAD

    def squared(head_size: int, base: int, factor: float | None, length: int, device: Any) -> Any:
        import torch

        turned = plain(head_size, base, factor, length**2, device)
        return tuple(part[torch.arange(length) ** 2] for part in turned)

    model.SPREAD = 0.3
    if probe:
        kernels.rotations = squared  # type: ignore[assignment]
    try:
        yield
    finally:
        kernels.rotations, model.SPREAD = plain, spread


def trained(settings: Recipe, folder: str, table: str, probe: bool) -> dict[str, Any]:
    """The first step of the loop, and the validation before it."""
    from megatron.core import parallel_state

    from train.cpu import cudaless
    from train.model import initialise

    rows = PackedRows(Output(folder), table)
    with cudaless(), sharp(probe):
        initialise(settings.parallel, 3)
        worker = Recorder(Job(settings, 3, VOCABULARY, rows, rows, Path(folder, "never")))
        worker.start(worker.job.folder)
        worker.validate(0)
        worker.step(0)
        worker.batches.close()
        parallel_state.destroy_model_parallel()
    return {"losses": worker.history.losses, "validation": worker.history.validation, "gradients": worker.gradients}


def formula(settings: Recipe, conversations: Sequence[Talk], probe: bool) -> dict[str, Any]:
    """The formula: each conversation in a forward pass of its own, loss = Σ weight · cross-entropy / Σ weight."""
    import torch
    from megatron.core import parallel_state
    from torch.nn.functional import cross_entropy

    from train.cpu import cudaless
    from train.model import build, draw_weights, initialise, named_weights

    with cudaless(), sharp(probe):
        initialise(settings.parallel, 3)
        (model,) = build(settings.model, VOCABULARY.vocab_size, LENGTH, settings.parallel, "float32")
        draw_weights([model], 3)
        total, weight = torch.zeros(()), 0.0
        for ids, weights in conversations:
            tokens = torch.from_numpy(ids).long()
            logits = model(tokens[None], None, None)[0, :-1, : VOCABULARY.vocab_size]
            losses = cross_entropy(logits, tokens[1:], reduction="none")
            total = total + (losses * torch.from_numpy(weights)[1:]).sum()
            weight += float(weights[1:].sum())
        (total / weight).backward()
        gradients = {name: weights.grad.numpy().copy() for name, weights in named_weights(model)}
        parallel_state.destroy_model_parallel()
    return {"loss": float(total) / weight, "gradients": gradients}


Wanted = dict[tuple[float, bool], dict[str, Any]]


@pytest.fixture(scope="module")
def wanted(ranks: Ranks) -> Wanted:
    """What the formula gives for each weight of what is no answer, by plain and by absolute positions."""
    return {
        (other, probe): ranks.run(1, formula, recipe(1), [one for row in talks(other) for one in row], probe)[0]
        for other in (0, 0.1)
        for probe in (False, True)
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = str(tmp_path_factory.mktemp("rows"))
    for other in (0, 0.1):
        rows = talks(other)
        write(Output(root), 0, rows, LENGTH, table=f"packed-{other}")
        write(Output(root), 0, [[one] for row in rows for one in row], LENGTH, table=f"padded-{other}")
    return root


PACKED, PADDED = ("packed", 4), ("padded", 12)
"""Tables and how many rows they have: those of a step."""

SHORT = ("packed", 8)
"""A step after the last epoch: it lacks rows, on one of two ranks all of them."""

LAYOUTS: list[tuple[tuple[str, int], float, bool, dict[str, Any]]] = [
    (PACKED, 0, False, {}),
    (PACKED, 0.1, False, {"micro": 2}),
    (PACKED, 0.1, True, {}),
    (PACKED, 0, False, {"tensor": 2}),
    (PACKED, 0.1, True, {"tensor": 2, "sequence_parallel": True}),
    (PACKED, 0.1, True, {"tensor": 4, "recompute": "full"}),
    (PACKED, 0, False, {"pipeline": 2}),
    (PACKED, 0, False, {"pipeline": 3}),
    (PACKED, 0.1, True, {"pipeline": 3}),
    (PACKED, 0.1, True, {"pipeline": 3, "micro": 2, "recompute": "full"}),
    (PACKED, 0.1, True, {"pipeline": 2, "interleave": 3}),
    (PACKED, 0.1, False, {"data": 2, "distributed_optimizer": True}),
    (PACKED, 0.1, True, {"tensor": 2, "sequence_parallel": True, "pipeline": 2, "interleave": 3}),
    (SHORT, 0.1, False, {"micro": 2}),
    (SHORT, 0.1, False, {"data": 2, "micro": 2}),
    (SHORT, 0.1, False, {"pipeline": 2, "interleave": 3}),
    (PADDED, 0, False, {}),
    (PADDED, 0.1, True, {"micro": 4}),
    (PADDED, 0, False, {"tensor": 2}),
    (PADDED, 0, False, {"pipeline": 2}),
    (PADDED, 0.1, True, {"pipeline": 3, "micro": 3}),
]


@pytest.mark.parametrize(
    ("rows", "other", "probe", "layout"),
    [
        pytest.param(rows, other, probe, layout, id=f"{rows[0]}-{other}-{'absolute-' * probe}{layout_name(layout)}")
        for rows, other, probe, layout in LAYOUTS
    ],
)
def test_packed_and_padded_rows_give_the_loss_and_the_gradient_of_conversations_alone(
    rows: tuple[str, int],
    other: float,
    probe: bool,
    layout: dict[str, Any],
    ranks: Ranks,
    folder: str,
    wanted: Wanted,
) -> None:
    table, total = rows
    settings, expected = recipe(total, **layout), wanted[other, probe]
    results = ranks.run(settings.parallel.workers, trained, settings, folder, f"{table}-{other}", probe)
    assert all(result["losses"][0]["loss"] == pytest.approx(expected["loss"], rel=1e-6) for result in results)
    gradients = assembled(results)
    assert gradients.keys() >= expected["gradients"].keys()
    for name, gradient in expected["gradients"].items():
        largest = np.abs(gradient).max()
        assert largest > 0
        np.testing.assert_allclose(gradients[name], gradient, rtol=0, atol=1e-5 * largest, err_msg=name)


def test_the_probes_see_what_they_are_for(wanted: Wanted) -> None:
    """Weights of 0.1 and absolute positions change the loss."""
    assert len({round(result["loss"], 4) for result in wanted.values()}) == 4


def losses(settings: Recipe, ids: np.ndarray, lengths: np.ndarray, forgetful: bool) -> np.ndarray | None:
    """The loss of each label of a row, on the last stage. A forgetful second stage has no bounds of conversations."""
    import torch
    from megatron.core import parallel_state, tensor_parallel
    from megatron.core.pipeline_parallel import get_forward_backward_func
    from torch.nn.functional import cross_entropy

    from train.cpu import cudaless
    from train.data import collate
    from train.model import build, draw_weights, initialise
    from train.rows import sample_of

    batch = collate([sample_of(ids, np.ones(ids.size, np.float32), lengths)])

    def forward(_: Any, model: Any) -> Any:
        forgets = forgetful and parallel_state.get_pipeline_model_parallel_rank() == 1
        gather = tensor_parallel.gather_from_tensor_model_parallel_region
        return model(batch["tokens"], None, None if forgets else batch["bounds"]), lambda output, **_: gather(output)

    with cudaless(), torch.no_grad(), sharp(False):
        initialise(settings.parallel, 3)
        chunks = build(settings.model, VOCABULARY.vocab_size, settings.sequence, settings.parallel, "float32")
        draw_weights(chunks, 3)
        out = get_forward_backward_func()(
            forward_step_func=forward,
            data_iterator=None,
            model=chunks[0],
            num_microbatches=1,
            seq_length=settings.sequence,
            micro_batch_size=1,
            forward_only=True,
            collect_non_loss_data=True,
        )
        parallel_state.destroy_model_parallel()
    if not out:
        return None
    return cross_entropy(out[0][0, :, : VOCABULARY.vocab_size], batch["labels"][0], reduction="none").numpy()


@pytest.mark.parametrize(
    ("layout", "forgetful"),
    [
        ({}, False),
        ({"tensor": 2}, False),
        ({"tensor": 2, "sequence_parallel": True}, False),
        ({"pipeline": 2}, False),
        ({"pipeline": 3}, False),
        ({"pipeline": 3}, True),
    ],
)
def test_a_changed_token_changes_no_loss_of_another_conversation(
    layout: dict[str, Any], forgetful: bool, ranks: Ranks
) -> None:
    chance, settings, lengths = np.random.default_rng(4), recipe(1, **layout), np.array([9, 12, 8])
    ids = chance.integers(0, 190, LENGTH).astype(np.int32)
    other = ids.copy()
    other[11] += 1
    first, second = (
        ranks.run(settings.parallel.workers, losses, settings, row, lengths, forgetful)[-1] for row in (ids, other)
    )
    changed = np.flatnonzero(first != second)
    # The label of token 10 is another one; tokens 11 to 20 see another one.
    assert set(range(10, 20)) <= set(changed)
    leaked = set(changed) - set(range(10, 21))
    assert bool(leaked) == forgetful, "the probe must see a stage that forgets, and nothing else"
