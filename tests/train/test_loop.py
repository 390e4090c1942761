"""One worker trains without Ray, and files that a killed run left do not stop it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch.distributed as dist

from lake.dataset import Output
from mixing.shards import write
from train.checkpoint import folder_of
from train.data import Shards, Vocabulary
from train.history import CHECKPOINTS, read_state
from train.loop import CACHE, Job, train
from train.recipe import Recipe

STEPS = 4
RECIPE = Recipe.model_validate(
    {
        "model": {"layers": 1, "hidden": 16, "heads": 2, "kv_heads": 1, "ffn": 32},
        "parallel": {"tensor": 1, "data": 1},
        "sequence": 16,
        "batch": {"total": 2, "micro": 2},
        "steps": STEPS,
        "optimizer": {"lr": 1e-2, "warmup": 1},
        "validation": {"every": 2, "sequences": 2},
    }
)
VOCABULARY = Vocabulary(100, 98, 99, "made here")


@pytest.fixture
def alone() -> Iterator[None]:
    """A process group of this process alone."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.fixture
def job(tmp_path: Path) -> Job:
    folder, rng = Output(str(tmp_path / "shards")), np.random.default_rng(1)
    rows = []
    for split, name in (("train", "one"), ("train", "two"), ("validation", "held")):
        documents = (rng.integers(0, 98, size) for size in rng.integers(5, 60, 20))
        shard = write(tmp_path / "shards", name, documents, VOCABULARY.vocab_size, VOCABULARY.eod)
        rows.append({"split": split, "source": "papers", "name": name, "tokens": shard.tokens})
    both = (Shards.of(folder, rows, split) for split in ("train", "validation"))
    return Job(RECIPE, 1, VOCABULARY, *both, tmp_path / "run")


def losses(job: Job) -> tuple[list[float], list[dict[str, object]]]:
    state = read_state(folder_of(job.folder / CHECKPOINTS, STEPS))
    return [row["loss"] for row in state["losses"]], state["validation"]


def test_indexes_cut_by_a_kill_are_rebuilt(alone: None, job: Job) -> None:
    job.folder.mkdir()
    train(job)
    whole = losses(job)
    assert len(whole[0]) == STEPS
    shutil.rmtree(job.folder / CHECKPOINTS)
    indexes = sorted((job.folder / CACHE).glob("*_index.npy"))
    assert len(indexes) >= 3 * 3 + 2, "three of each shard, two of the blend"
    before = [path.read_bytes() for path in indexes]
    for path, data in zip(indexes, before, strict=True):
        path.write_bytes(data[: len(data) // 2])
    train(job)
    assert losses(job) == whole
    assert [path.read_bytes() for path in indexes] == before
