"""A run is not lost: whatever happens to a save, it goes on from a whole checkpoint and ends with the same weights."""

import json
import os
import resource
import shutil
import signal
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist

from lake.dataset import Output
from mixing.shards import write
from train import saver
from train.data import Shards, Vocabulary
from train.guard import TrainingStopped
from train.history import CHECKPOINTS, DIGESTS, folder_of, read_state
from train.loop import Job, Worker, train
from train.recipe import Recipe

STEPS = 6
VOCABULARY = Vocabulary(100, 98, 99, "made here")


class Killed(BaseException):
    """Ends a save as a SIGKILL would: nothing after it runs but what Python runs for any exception."""


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return job_in(tmp_path)


def job_in(folder: Path, data: int = 1, **settings: Any) -> Job:
    recipe = Recipe.model_validate(
        {
            "model": {"layers": 1, "hidden": 16, "heads": 2, "kv_heads": 1, "ffn": 32},
            "parallel": {"data": data},
            "sequence": 16,
            "batch": {"total": 2, "micro": 1},
            "steps": STEPS,
            "optimizer": {"lr": 1e-2, "warmup": 1},
            "validation": {"every": 10, "sequences": 2},
            "checkpoints": {"every": 2} | settings,
        }
    )
    if not (folder / "shards").is_dir():
        rng = np.random.default_rng(1)
        for name in ("one", "held"):
            documents = (rng.integers(0, 98, size) for size in rng.integers(5, 60, 20))
            write(folder / "shards", name, documents, VOCABULARY.vocab_size, VOCABULARY.eod)
    rows = [
        {"split": split, "source": "papers", "name": name, "tokens": 500}
        for split, name in (("train", "one"), ("validation", "held"))
    ]
    both = (Shards.of(Output(str(folder / "shards")), rows, split) for split in ("train", "validation"))
    (folder / "run").mkdir(exist_ok=True)
    return Job(recipe, 1, VOCABULARY, *both, folder / "run")


def files(job: Job, step: int = STEPS) -> dict[str, Any]:
    """Size and digest of each file of tensors; equal ones mean that weights and optimizer are equal to the bit."""
    digests = json.loads((folder_of(job.folder / CHECKPOINTS, step) / DIGESTS).read_text())
    return {name: digest for name, digest in digests.items() if name.endswith(".distcp")}


def undisturbed(job: Job, name: str = "undisturbed") -> Job:
    other = replace(job, folder=job.folder.with_name(name))
    other.folder.mkdir()
    train(other)
    return other


def names(job: Job) -> list[str]:
    return sorted(path.name for path in (job.folder / CHECKPOINTS).iterdir())


def steps(*numbers: int) -> list[str]:
    return [f"step-{number:08d}" for number in numbers]


def state(job: Job) -> dict[str, Any]:
    return read_state(folder_of(job.folder / CHECKPOINTS, STEPS))


def test_the_last_and_every_third_stay(alone: None, tmp_path: Path) -> None:
    job = job_in(tmp_path, every=1, keep_every=3)
    train(job)
    assert names(job) == steps(3, 5, 6)
    rows = state(job)["saves"]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5], "the last one cannot tell of itself"
    assert all(0 < row["stall"] <= row["seconds"] and row["bytes"] > 0 for row in rows)


@pytest.mark.parametrize("fsync", range(1, 10))
def test_a_kill_leaves_whole_checkpoints(alone: None, job: Job, fsync: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each fsync of the second save: the tensors, the files beside, the folder, the name; then one of the third."""
    whole, calls = undisturbed(job), 8
    real, done = os.fsync, []

    def fatal(descriptor: int) -> None:
        # Metrics are flushed, too.
        if CHECKPOINTS in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            done.append(descriptor)
        if len(done) == calls + fsync:
            raise Killed
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fatal)
    with pytest.raises(Killed):
        train(job)
    monkeypatch.undo()
    assert set(names(job)) <= {*steps(2, 4), ".step-00000004", ".step-00000006"}
    train(job)
    assert names(job) == steps(4, 6)
    assert files(job) == files(whole)
    assert state(job)["resumed_from"] in ([2], [4])


def die_in_a_save(_: int, folder: str) -> None:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    real = saver._write

    def fatal(path: Path, chunks: Any) -> Any:
        if path.parent.name == ".step-00000004":
            path.write_bytes(next(iter(chunks))[:50])
            os.kill(os.getpid(), signal.SIGKILL)
        return real(path, chunks)

    saver._write = fatal
    train(job_in(Path(folder)))


def test_a_process_that_is_killed_while_it_writes(alone: None, job: Job) -> None:
    whole = undisturbed(job)
    with pytest.raises(torch.multiprocessing.ProcessExitedException, match="SIGKILL"):
        torch.multiprocessing.spawn(die_in_a_save, (str(job.folder.parent),))
    assert names(job) == [".step-00000004", *steps(2)]
    train(job)
    assert names(job) == steps(4, 6)
    assert files(job) == files(whole)


def test_a_kill_while_an_old_one_is_deleted(alone: None, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, real = undisturbed(job), shutil.rmtree

    def fatal(path: Path, **options: Any) -> None:
        (path / DIGESTS).unlink()
        raise Killed

    monkeypatch.setattr(shutil, "rmtree", fatal)
    with pytest.raises(Killed):
        train(job)
    monkeypatch.setattr(shutil, "rmtree", real)
    assert names(job) == [".step-00000002", *steps(4, 6)]
    train(job)
    assert names(job) == steps(4, 6)
    assert files(job) == files(whole)


def test_a_full_disk_is_told_and_training_goes_on(alone: None, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, free = undisturbed(job), iter([2**40, 2**10, 2**40])
    monkeypatch.setattr(saver.shutil, "disk_usage", lambda _: SimpleNamespace(free=next(free)))
    train(job)
    (row,) = state(job)["failed_saves"]
    assert row["step"] == 4
    assert "no space" in row["reason"]
    assert names(job) == steps(2, 6)
    assert files(job) == files(whole)


def test_a_run_whose_last_save_failed_is_not_done(alone: None, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    free = iter([2**40, 2**40, 0])
    monkeypatch.setattr(saver.shutil, "disk_usage", lambda _: SimpleNamespace(free=next(free)))
    with pytest.raises(TrainingStopped, match="last step: no space"):
        train(job)
    assert names(job) == steps(2, 4)


def test_after_a_loss_that_is_not_finite_a_new_run_ends_with_the_same_weights(
    alone: None, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Worker._summed

    def broken(self: Worker, sums: Any, asked: float = 0) -> tuple[float, float, float]:
        total, tokens, stop = whole(self, sums, asked)
        return (float("nan") if len(self.history.losses) == 3 else total), tokens, stop

    with monkeypatch.context() as patch:
        patch.setattr(Worker, "_summed", broken)
        with pytest.raises(TrainingStopped, match="the loss is nan at step 4"):
            train(job)
    assert names(job) == steps(2)
    train(job)
    assert files(job) == files(undisturbed(job))


def test_a_broken_newest_gives_way_and_is_told(alone: None, job: Job) -> None:
    whole = undisturbed(job)
    train(job)
    newest = folder_of(job.folder / CHECKPOINTS, STEPS)
    os.truncate(newest / "__0_0.distcp", 100)
    (job.folder / CHECKPOINTS / ".step-00000008").mkdir()
    train(job)
    assert names(job) == steps(4, 6), "broken and half ones are gone"
    assert files(job) == files(whole)
    (row,) = state(job)["failed_saves"]
    assert row["step"] == STEPS
    assert "__0_0.distcp has 100 of" in row["reason"]


def test_what_is_written_is_the_step_of_the_save(alone: None, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the background, training changes the weights before they are written."""
    recipe = job.recipe.model_copy(
        update={"checkpoints": job.recipe.checkpoints.model_copy(update={"background": False})}
    )
    whole, later, real = undisturbed(replace(job, recipe=recipe)), threading.Event(), saver._write_part

    class Late(Worker):
        def step(self, step: int) -> bool:
            answer = super().step(step)
            if step % 2 == 0 and step > 0:
                later.set()
            return answer

    def late(*arguments: Any) -> Any:
        later.wait(60 if "step-00000006" not in str(arguments[0]) else 0)
        later.clear()
        return real(*arguments)

    monkeypatch.setattr(saver, "_write_part", late)
    monkeypatch.setattr("train.loop.Worker", Late)
    train(job)
    assert [files(job, step) for step in (4, 6)] == [files(whole, step) for step in (4, 6)]


def fail_on_one(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    job = job_in(Path(folder), data=2)
    real = saver._write_part

    def limited(half: Path, *rest: Any) -> Any:
        # The kernel refuses to write more: a real error in the middle of a file, on the rank that has one.
        limit = 5_000 if half.name == ".step-00000004" else resource.RLIM_INFINITY
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        return real(half, *rest)

    saver._write_part = limited
    told: list[Any] = []
    saved = Worker._saved
    Worker._saved = lambda self, row: (told.append((row.step, row.reason)), saved(self, row))[1]  # type: ignore[method-assign]
    train(job)
    Path(folder, f"told-{rank}.json").write_text(json.dumps(told))
    dist.destroy_process_group()


def test_all_ranks_agree_that_a_save_failed_on_one(tmp_path: Path) -> None:
    job = job_in(tmp_path, data=2)
    torch.multiprocessing.spawn(fail_on_one, (str(tmp_path),), nprocs=2)
    told = [json.loads((tmp_path / f"told-{rank}.json").read_text()) for rank in range(2)]
    assert told[0] == told[1]
    assert [step for step, reason in told[0] if reason] == [4]
    assert "too large" in told[0][1][1]
    assert names(job) == steps(2, 6)
