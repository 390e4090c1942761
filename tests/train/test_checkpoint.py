"""Any layout of the workers goes on from the checkpoint of any other."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from lake.dataset import Output
from tests.train.ranks import Ranks, layout_name
from train.data import Shards, Vocabulary
from train.history import CHECKPOINTS
from train.loop import Job, Worker
from train.recipe import Recipe

SAVED, STEPS = 3, 5
VOCABULARY = Vocabulary(200, 198, 199, "made here")

TOLERANCE = {"float32": 2e-6, "bfloat16": 2e-2}
"""Relative, of the two losses after a resume in another layout: sums are added up in another order."""

WRITERS: list[dict[str, Any]] = [
    {},
    {"tensor": 2},
    {"pipeline": 2, "interleave": 2},
    {"data": 2, "distributed_optimizer": True},
    {"tensor": 2, "data": 2, "distributed_optimizer": True, "sequence_parallel": True},
    {"tensor": 2, "pipeline": 2},
]
READERS = [*WRITERS[2:5], {"data": 2}]


def recipe(layout: dict[str, Any], **keys: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "model": {"layers": 4, "hidden": 32, "heads": 4, "kv_heads": 2, "ffn": 48, "tied": "precision" in keys},
            "parallel": layout,
            "sequence": 16,
            "batch": {"total": 8, "micro": 2},
            "steps": STEPS,
            "optimizer": {"lr": 2e-3, "warmup": 1},
            "validation": {"every": 10, "sequences": 2},
        }
        | keys
    )


def go_on(settings: Recipe, shards: str, folder: Path, save: bool) -> dict[str, Any]:
    """Train from the newest checkpoint in `folder` to the end, perhaps with a save on the way."""
    from megatron.core import parallel_state

    from train.checkpoint import sharded
    from train.cpu import cudaless
    from train.model import initialise
    from train.saver import _mine, _tensors

    place = Output(shards)
    rows = place.read_json("rows.json")
    train, held_out = (Shards.of(place, rows, split) for split in ("train", "validation"))
    with cudaless():
        initialise(settings.parallel, 3)
        worker = Worker(Job(settings, 3, VOCABULARY, train, held_out, folder))
        for step in range(worker.start(folder / CHECKPOINTS), STEPS):
            worker.step(step)
            worker.saver.poll()
            if save and step + 1 == SAVED:
                state = {"losses": worker.history.losses, "origin": worker.history.origin}
                worker.saver.save(SAVED, worker.chunks, worker.optimizer, worker.scheduler, state)
        worker.saver.finish()
        worker.batches.close()
        last = {
            (tensor.key, tensor.global_offset): tensor.data.detach().float().numpy().copy()
            for tensor in _tensors(_mine(sharded(worker.chunks, worker.optimizer)))
        }
        parallel_state.destroy_model_parallel()
    return {"losses": [row["loss"] for row in worker.history.losses], "last": last}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    import numpy as np

    from mixing.shards import write

    folder, rng, rows = tmp_path_factory.mktemp("shards"), np.random.default_rng(1), []
    for split, name in (("train", "one"), ("validation", "held")):
        documents = (rng.integers(0, 198, size) for size in rng.integers(5, 60, 40))
        shard = write(folder, name, documents, VOCABULARY.vocab_size, VOCABULARY.eod)
        rows.append({"split": split, "source": "papers", "name": name, "tokens": shard.tokens})
    Output(str(folder)).write_json(rows, "rows.json")
    return str(folder)


def equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all((one[key] == other[key]).all() for key in one)


@pytest.mark.parametrize("writer", WRITERS, ids=layout_name)
def test_any_layout_goes_on_from_any_other(ranks: Ranks, shards: str, writer: dict[str, Any], tmp_path: Path) -> None:
    readers(ranks, shards, writer, READERS, tmp_path)


def test_plain_and_distributed_bfloat16_go_on_from_each_other(ranks: Ranks, shards: str, tmp_path: Path) -> None:
    several: list[dict[str, Any]] = [{}, {"pipeline": 2}, {"data": 2, "distributed_optimizer": True}]
    for number, writer in enumerate(several):
        readers(ranks, shards, writer, several, tmp_path / str(number), precision="bfloat16")


def readers(
    ranks: Ranks, shards: str, writer: dict[str, Any], layouts: list[dict[str, Any]], folder: Path, **keys: Any
) -> None:
    settings = recipe(writer, **keys)
    undisturbed = ranks.run(settings.parallel.workers, go_on, settings, shards, folder / "run", True)
    for number, layout in enumerate(layouts):
        copy = folder / str(number)
        shutil.copytree(folder / "run", copy)
        other = recipe(layout, **keys)
        resumed = ranks.run(other.parallel.workers, go_on, other, shards, copy, False)
        expected, losses = undisturbed[0]["losses"], resumed[0]["losses"]
        assert losses[:SAVED] == expected[:SAVED], "they come from the checkpoint"
        assert losses == pytest.approx(expected, rel=TOLERANCE[settings.precision]), layout
        if layout == writer:
            assert losses == expected
            assert all(equal(one["last"], two["last"]) for one, two in zip(resumed, undisturbed, strict=True))
