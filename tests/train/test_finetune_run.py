"""A fine-tune ends where its epochs end, with the same weights however often it is killed."""

import os
import random
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from megatron.core import parallel_state

from lake.dataset import Output
from tests.train.packed import VOCABULARY, talk, write
from tests.train.test_saver import Killed, files
from train.cpu import cudaless
from train.data import Span
from train.finetune import FinetuneSettings
from train.guard import TrainingStopped
from train.history import CHECKPOINTS, checkpoints, folder_of, read_state
from train.loop import Job, Worker, train
from train.model import initialise
from train.recipe import Llama
from train.rows import PackedRows

LENGTH, ROWS, EPOCHS = 24, 9, 2
STEPS = 5
"""Of 4 rows; the last has two."""

MODEL = Llama(layers=2, hidden=16, heads=2, kv_heads=1, head_size=8, ffn=32)
SETTINGS = FinetuneSettings.model_validate(
    {
        "epochs": EPOCHS,
        "batch": {"total": 4, "micro": 2},
        "optimizer": {"lr": 1e-2, "min_lr": 1e-3, "warmup": 0.2},
        "validation": {"every": 2, "sequences": 3},
        "checkpoints": {"every": 1},
    }
)


def job_in(folder: Path, precision: str = "float32") -> Job:
    output = Output(str(folder / "instruct"))
    if not output.exists("training"):
        for table, seed, rows in (("training", 1, ROWS), ("validation", 2, 3)):
            chance = np.random.default_rng(seed)
            talks = [[talk(chance, size, 0.1) for size in (8, 7, 6)] for _ in range(rows)]
            write(output, 0, talks, LENGTH, group=4, table=table)
    training, held_out = (PackedRows(output, table, EPOCHS) for table in ("training", "validation"))
    (folder / "run").mkdir(exist_ok=True)
    recipe = SETTINGS.recipe(MODEL, ROWS, LENGTH).model_copy(update={"precision": precision})
    return Job(recipe, 1, VOCABULARY, training, held_out, folder / "run", mixture="made", section="finetune")


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return job_in(tmp_path)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Job]:
    """A run in each precision that nothing disturbs."""
    runs = {precision: job_in(tmp_path_factory.mktemp(precision), precision) for precision in ("float32", "bfloat16")}
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    for job in runs.values():
        train(job)
    dist.destroy_process_group()
    return runs


@pytest.fixture(scope="module")
def whole(undisturbed: dict[str, Job]) -> Job:
    return undisturbed["float32"]


def told(job: Job) -> Any:
    state = read_state(folder_of(job.folder / CHECKPOINTS, STEPS))
    return [row["loss"] for row in state["losses"]], state["validation"]


def test_a_run_ends_with_its_epochs_and_validates_answers(whole: Job) -> None:
    losses, validation = told(whole)
    assert len(losses) == STEPS
    assert losses[-1] < losses[0]
    assert [row["step"] for row in validation] == [0, 2, 4, 5]
    assert all(row["sources"]["papers"]["tokens"] == 3 * (4 + 4 + 3) for row in validation)
    assert validation[-1]["sources"]["papers"]["loss"] < validation[0]["sources"]["papers"]["loss"]


def test_each_row_is_learned_from_once_an_epoch(alone: None, job: Job) -> None:
    with cudaless():
        initialise(job.recipe.parallel, job.seed)
        worker = Worker(job)
        micros = [micro for step in range(STEPS) for micro in worker.batches.of(step)]
        worker.batches.close()
        parallel_state.destroy_model_parallel()
    rows = [
        (tuple(row.tolist()), mask.sum())
        for micro in micros
        for row, mask in zip(*map(micro.get, ("tokens", "mask")), strict=True)
    ]
    seen = Counter(row for row, weight in rows if weight > 0)
    assert len(rows) == STEPS * 4
    assert list(seen.values()) == [EPOCHS] * ROWS


@pytest.mark.parametrize(("seed", "precision"), [(0, "float32"), (1, "float32"), (2, "bfloat16")])
def test_killed_at_random_and_resumed_the_weights_are_identical(
    alone: None,
    tmp_path: Path,
    undisturbed: dict[str, Job],
    seed: int,
    precision: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job, whole = job_in(tmp_path, precision), undisturbed[precision]
    chance = random.Random(seed)
    calls = [chance.randrange(1, 20) for _ in range(3)]
    for name in ("_passes", "_update", "validate", "_copy", "_tell"):
        plain = getattr(Worker, name)

        def fatal(self: Worker, *arguments: Any, plain: Any = plain, **keys: Any) -> Any:
            if calls:
                calls[0] -= 1
                if not calls[0]:
                    calls.pop(0)
                    raise Killed
            return plain(self, *arguments, **keys)

        monkeypatch.setattr(Worker, name, fatal)
    while not folder_of(job.folder / CHECKPOINTS, STEPS).exists():
        try:
            train(job)
        except Killed:
            continue
    assert len(calls) < 3
    assert files(job, STEPS) == files(whole, STEPS)
    assert told(job) == told(whole)


def die_at_the_fourth_update(_: int, folder: str) -> None:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    plain = Worker._update

    def fatal(self: Worker, step: int, loss: float) -> Any:
        if step == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return plain(self, step, loss)

    Worker._update = fatal  # type: ignore[method-assign]
    train(job_in(Path(folder)))


def test_a_process_that_is_killed(alone: None, job: Job, whole: Job) -> None:
    with pytest.raises(torch.multiprocessing.ProcessExitedException, match="SIGKILL"):
        torch.multiprocessing.spawn(die_at_the_fourth_update, (str(job.folder.parent),))
    assert checkpoints(job.folder / CHECKPOINTS)
    train(job)
    assert files(job, STEPS) == files(whole, STEPS)
    assert read_state(folder_of(job.folder / CHECKPOINTS, STEPS))["resumed_from"]


def test_other_rows_are_refused(alone: None, job: Job) -> None:
    train(job)
    with pytest.raises(TrainingStopped, match=r"other data: mixture \w+ → \w+\. To train anew, delete .*checkpoints"):
        train(replace(job, mixture="other settings of instructions"))
    output = Output(str(job.folder.parent / "instruct"))
    write(output, 1, [[talk(np.random.default_rng(3), 9)]], LENGTH, table="training")
    with pytest.raises(TrainingStopped, match=r"other data: mixture"):
        train(replace(job, train=PackedRows(output, "training", EPOCHS)))


def test_a_bad_step_names_its_rows(alone: None, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Span] = []
    monkeypatch.setattr(Worker, "_summed", lambda *_: (float("nan"), 1.0, 0.0))
    broken = replace(job, documents=lambda spans: asked.extend(spans) or [])
    monkeypatch.setattr(Worker, "validate", lambda *_: None)
    with pytest.raises(TrainingStopped, match="the loss is nan at step 1"):
        train(broken)
    assert len({span.offset for span in asked}) == 4
    assert all(span.shard == "source=papers/part-00000.parquet" and span.offset % LENGTH == 0 for span in asked)
