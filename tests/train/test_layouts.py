"""One loss in every layout: the same sequences give the same losses, gradients and weights as on one worker."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lake.dataset import Output
from mixing.shards import write
from tests.train.ranks import Ranks, layouts
from train.data import Sample, Shards, Vocabulary
from train.loop import Job, Worker
from train.recipe import Recipe

STEPS = 20
SHAPE = {"layers": 4, "hidden": 32, "heads": 4, "kv_heads": 2, "ffn": 48}
VOCABULARY = Vocabulary(200, 198, 199, "made here")

TOLERANCE = 2e-5
"""Relative, of losses and norms in float32 over 20 steps. Layouts add up in another order, and Adam's first steps
divide small gradients by their own size."""


def recipe(**layout: Any) -> Recipe:
    keys = {key: layout.pop(key) for key in list(layout) if key in Recipe.model_fields}
    micro = layout.pop("micro", 2)
    return Recipe.model_validate(
        {
            "model": SHAPE,
            "parallel": layout,
            "sequence": 32,
            "batch": {"total": 8, "micro": micro},
            "steps": STEPS,
            "optimizer": {"lr": 2e-3, "warmup": 3},
            "validation": {"every": 10, "sequences": 5},
        }
        | keys
    )


class Masked:
    """Training data in which some labels do not count, as many as the sequence's number says."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __getitem__(self, number: int) -> Sample:
        sample = self.data[number]
        sample["mask"][: number % 29] = 0
        return sample


class Recorder(Worker):
    """Keeps the gradient of the first step, and what each step read."""

    gradients: dict[str, Any]

    def _update(self, step: int, loss: float) -> tuple[float, bool]:
        if step == 0:
            self.gradients = self._whole_gradients()
        return super()._update(step, loss)

    def _whole_gradients(self) -> dict[str, Any]:
        """This rank's parts, by name: their place in the whole and their values."""
        import torch.distributed as dist
        from megatron.core import parallel_state

        from train.model import named_weights

        if self.recipe.parallel.distributed_optimizer:
            group = parallel_state.get_data_parallel_group()
            for model in self.models:
                for bucket in (bucket for buffer in model.buffers for bucket in buffer.buckets):
                    shard = bucket.grad_data.chunk(group.size())[group.rank()].clone()
                    dist.all_gather_into_tensor(bucket.grad_data, shard, group=group)
        tensor = parallel_state.get_tensor_model_parallel_rank()
        return {
            name: (
                getattr(weight, "partition_dim", -1) if getattr(weight, "tensor_model_parallel", False) else -1,
                getattr(weight, "partition_stride", 1),
                tensor,
                weight.main_grad.float().numpy().copy(),
            )
            for chunk in self.chunks
            for name, weight in named_weights(chunk)
            if weight.requires_grad
        }


def run(settings: Recipe, folder: str, masked: bool) -> dict[str, Any]:
    from megatron.core import parallel_state

    from train.cpu import cudaless
    from train.data import TrainingData
    from train.model import initialise

    shards = Output(folder)
    rows = shards.read_json("rows.json")
    train, held_out = (Shards.of(shards, rows, split) for split in ("train", "validation"))
    job = Job(settings, 3, VOCABULARY, train, held_out, Path(folder, "never"))
    data = TrainingData(train, settings.sequence, VOCABULARY, 3)
    with cudaless():
        initialise(settings.parallel, 3)
        worker = Recorder(job, Masked(data) if masked else data)
        worker.start(job.folder)
        for step in range(settings.steps):
            worker.step(step)
        worker.validate(settings.steps)
        worker.batches.close()
        parallel_state.destroy_model_parallel()
    return {"losses": worker.history.losses, "validation": worker.history.validation, "gradients": worker.gradients}


def assembled(results: list[dict[str, Any]], key: str = "gradients") -> dict[str, np.ndarray]:
    """The whole gradient, from the parts of all ranks."""
    parts: dict[str, dict[int, Any]] = {}
    for result in results:
        for name, (dim, stride, tensor, values) in result[key].items():
            parts.setdefault(name, {})[tensor] = (dim, stride, values)
    whole = {}
    for name, by_rank in parts.items():
        dim, stride, first = by_rank[0]
        if dim < 0:
            whole[name] = first
            continue
        pieces = [np.split(by_rank[rank][2], stride, dim) for rank in sorted(by_rank)]
        whole[name] = np.concatenate([piece[part] for part in range(stride) for piece in pieces], dim)
    return whole


def logits(settings: Recipe, tokens: np.ndarray) -> np.ndarray | None:
    """The logits [length, vocabulary] of new weights, on the last stage of the pipeline with all of the vocabulary."""
    import torch
    from megatron.core import parallel_state, tensor_parallel
    from megatron.core.pipeline_parallel import get_forward_backward_func

    from train.cpu import cudaless
    from train.data import document_bounds
    from train.model import build, draw_weights, initialise

    row = torch.from_numpy(tokens)[None]
    bounds = document_bounds(row, VOCABULARY.eod) if settings.document_mask else None

    def forward(_: Any, model: Any) -> Any:
        return model(row, None, bounds), lambda output, **_: tensor_parallel.gather_from_tensor_model_parallel_region(
            output
        )

    with cudaless(), torch.no_grad():
        initialise(settings.parallel, 3)
        chunks = build(settings.model, 200, settings.sequence, settings.parallel, "float32")
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
    return out[0][0].numpy() if out else None


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder, rng = tmp_path_factory.mktemp("shards"), np.random.default_rng(1)
    rows = []
    for split, name in (("train", "one"), ("train", "two"), ("validation", "held")):
        # Something to learn: a walk round the vocabulary.
        documents = ((rng.integers(0, 99) + np.arange(size) * 3) % 198 for size in rng.integers(5, 90, 40))
        shard = write(folder, name, documents, VOCABULARY.vocab_size, VOCABULARY.eod)
        rows.append({"split": split, "source": "papers", "name": name, "tokens": shard.tokens})
    Output(str(folder)).write_json(rows, "rows.json")
    return str(folder)


@pytest.fixture(scope="module")
def alone(ranks: Ranks, shards: str) -> dict[tuple[str, bool], list[dict[str, Any]]]:
    """What one worker does, by what changes the result."""
    return {
        (kind, masked): ranks.run(1, run, recipe(**KINDS[kind]), shards, masked)
        for kind, masked in (
            ("plain", False),
            ("plain", True),
            ("tied", False),
            ("documents", False),
            ("one key", False),
        )
    }


KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "tied": {
        "model": {"layers": 4, "hidden": 32, "heads": 4, "kv_heads": 2, "ffn": 48, "tied": True, "qkv_bias": True}
    },
    "documents": {"document_mask": True},
    "one key": {"model": {"layers": 4, "hidden": 32, "heads": 4, "kv_heads": 1, "ffn": 48}},
}

LAYOUTS = layouts(
    {"tensor": 2},
    {"pipeline": 2},
    {"data": 2},
    {"micro": 4},
    {"micro": 1},
    {"recompute": "full"},
    {"tensor": 2, "sequence_parallel": True},
    {"data": 2, "distributed_optimizer": True},
    {"data": 2, "distributed_optimizer": True, "tensor": 2},
    {"pipeline": 2, "interleave": 2},
    {"tensor": 2, "pipeline": 2},
    {"tensor": 2, "data": 2},
    {"pipeline": 2, "data": 2},
    {"tensor": 2, "sequence_parallel": True, "pipeline": 2},
    {"tensor": 2, "sequence_parallel": True, "data": 2, "distributed_optimizer": True},
    {"pipeline": 2, "interleave": 2, "data": 2, "distributed_optimizer": True},
    {"tensor": 2, "sequence_parallel": True, "pipeline": 2, "interleave": 2, "recompute": "full"},
    {"pipeline": 4, "micro": 1},
)


def check(one: list[dict[str, Any]], several: list[dict[str, Any]]) -> None:
    for key in ("loss", "grad_norm"):
        expected = [row[key] for row in one[0]["losses"]]
        for result in several:
            assert [row[key] for row in result["losses"]] == pytest.approx(expected, rel=TOLERANCE)
    expected_gradients, gradients = assembled(one), assembled(several)
    assert gradients.keys() >= expected_gradients.keys()
    for name, gradient in expected_gradients.items():
        assert np.abs(gradient).max() > 0
        np.testing.assert_allclose(
            gradients[name], gradient, rtol=0, atol=1e-6 * np.abs(gradient).max() + 1e-8, err_msg=name
        )
    (first,), (last,) = one[0]["validation"], several[-1]["validation"]
    assert last["sources"]["papers"]["loss"] == pytest.approx(first["sources"]["papers"]["loss"], rel=TOLERANCE)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_gives_the_losses_and_gradients_of_one_worker(
    layout: dict[str, Any], ranks: Ranks, shards: str, alone: dict[Any, Any]
) -> None:
    settings = recipe(**layout)
    check(alone["plain", False], ranks.run(settings.parallel.workers, run, settings, shards, False))


@pytest.mark.parametrize(
    ("kind", "masked", "layout"),
    [
        ("plain", True, {"data": 2, "micro": 1}),
        ("plain", True, {"tensor": 2, "sequence_parallel": True, "pipeline": 2}),
        ("tied", False, {"tensor": 2}),
        ("tied", False, {"pipeline": 2, "data": 2, "distributed_optimizer": True}),
        ("one key", False, {"tensor": 2, "sequence_parallel": True}),
        ("one key", False, {"tensor": 4}),
        ("documents", False, {"tensor": 2, "pipeline": 2}),
        ("documents", False, {"pipeline": 2, "interleave": 2, "recompute": "full"}),
    ],
)
def test_uneven_masks_tied_weights_and_documents_agree_too(
    kind: str, masked: bool, layout: dict[str, Any], ranks: Ranks, shards: str, alone: dict[Any, Any]
) -> None:
    settings = recipe(**KINDS[kind], **layout)
    check(alone[kind, masked], ranks.run(settings.parallel.workers, run, settings, shards, masked))


def test_the_kinds_differ(alone: dict[Any, Any]) -> None:
    """Else the tests above would compare the same thing several times."""
    losses = {tuple(row["loss"] for row in results[0]["losses"]) for results in alone.values()}
    assert len(losses) == len(alone)


@pytest.mark.parametrize("layout", layouts({}, {"tensor": 2}, {"pipeline": 2}))
def test_a_document_sees_nothing_of_the_one_before(layout: dict[str, Any], ranks: Ranks) -> None:
    rng = np.random.default_rng(4)
    tokens = rng.integers(0, 198, 32)
    tokens[11] = VOCABULARY.eod
    other = np.concatenate([rng.integers(0, 198, 11), tokens[11:]])

    def both(masked: bool) -> list[np.ndarray]:
        settings = recipe(document_mask=masked, **layout)
        results = (ranks.run(settings.parallel.workers, logits, settings, ids) for ids in (tokens, other))
        return [result[-1] for result in results]

    first, second = both(masked=True)
    assert np.array_equal(first[12:], second[12:])
    assert not np.allclose(first[:12], second[:12])
    first, second = both(masked=False)
    assert not np.allclose(first[12:], second[12:], atol=1e-6), "without the mask, the probe must see the leak"
