"""One worker trains without Ray. Steps that would harm the weights are skipped, or end the run."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from megatron.core import parallel_state

from lake.dataset import Output
from mixing.shards import write
from train.cpu import cudaless
from train.data import Shards, Span, Vocabulary
from train.guard import TrainingStopped
from train.history import CHECKPOINTS, checkpoints, folder_of, read_state
from train.loop import Job, Worker, train
from train.model import initialise
from train.recipe import Guard, Recipe

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


def test_two_runs_are_equal_and_history_has_a_row_for_each_step(alone: None, job: Job) -> None:
    job.folder.mkdir()
    train(job)
    whole = losses(job)
    assert len(whole[0]) == STEPS
    assert [row["step"] for row in whole[1]] == [0, 2, STEPS]
    again = replace(job, folder=job.folder.with_name("again"))
    again.folder.mkdir()
    train(again)
    assert losses(again) == whole


class Broken(Worker):
    """The loss of a step is what a fault would make of it."""

    faults: ClassVar[dict[int, float]] = {}

    def _summed(self, sums: Any, asked: float = 0) -> tuple[float, float, float]:
        total, tokens, stop = super()._summed(sums, asked)
        return self.faults.get(len(self.history.losses), total) if self.training else total, tokens, stop

    def step(self, step: int) -> bool:
        self.training = True
        stop = super().step(step)
        self.training = False
        return stop

    training = False


@contextmanager
def working(job: Job, faults: dict[int, float]) -> Iterator[Broken]:
    job.folder.mkdir(exist_ok=True)
    with cudaless():
        initialise(job.recipe.parallel, job.seed)
        worker = Broken(job)
        worker.faults = faults
        yield worker
        worker.batches.close()
        parallel_state.destroy_model_parallel()


def weights(worker: Worker) -> list[torch.Tensor]:
    return [weight.detach().clone() for chunk in worker.chunks for weight in chunk.parameters()]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_stops_before_the_update_and_names_documents(
    alone: None, job: Job, value: float
) -> None:
    named = [{"id": "d1", "source": "papers", "url": "https://example.org/d1"}]
    asked: list[Span] = []
    job = replace(job, documents=lambda spans: asked.extend(spans) or named)
    with working(job, {2: value}) as worker:
        worker.start(job.folder)
        worker.step(0)
        worker.step(1)
        before = weights(worker)
        with pytest.raises(TrainingStopped, match=r"the loss is .* at step 3.*d1 \(papers, https://example.org/d1\)"):
            worker.step(2)
        assert all(torch.equal(*pair) for pair in zip(before, weights(worker), strict=True))
        batch = job.recipe.batch.total
        assert asked == [span for number in range(2 * batch, 3 * batch) for span in worker.data.spans(number)]


def test_a_gradient_that_is_not_finite_stops_before_the_update(alone: None, job: Job) -> None:
    with working(job, {}) as worker:
        worker.start(job.folder)
        with torch.no_grad():
            worker.chunks[0].decoder.final_layernorm.weight[0] = 1e38
        before = weights(worker)
        with pytest.raises(TrainingStopped, match=r"is (nan|inf)"):
            worker.step(0)
        assert all(torch.equal(*pair) for pair in zip(before, weights(worker), strict=True))


def test_a_spike_skips_its_step_and_too_many_stop_the_run(alone: None, job: Job) -> None:
    changes = {"steps": 40, "guard": Guard(window=8, skips=3)}
    job = replace(job, recipe=job.recipe.model_copy(update=changes), section="finetune")
    with working(job, {10: 1e9, 12: 1e9, 13: 1e9}) as worker:
        worker.start(job.folder)
        for step in range(10):
            worker.step(step)
        before = weights(worker)
        worker.step(10)
        assert all(torch.equal(*pair) for pair in zip(before, weights(worker), strict=True))
        worker.step(11)
        assert not all(torch.equal(*pair) for pair in zip(before, weights(worker), strict=True))
        worker.step(12)
        with pytest.raises(TrainingStopped, match=r"3 of .* spikes, up to step 14.* lower finetune\.optimizer\.lr"):
            worker.step(13)
        assert [row["step"] for row in worker.history.losses if row["skipped"]] == [11, 13, 14]
        assert [(row["step"], row["what"]) for row in worker.history.spikes] == [
            (11, "loss"),
            (13, "loss"),
            (14, "loss"),
        ]


def test_asked_to_stop_it_writes_a_checkpoint_and_goes_on_from_it(alone: None, job: Job) -> None:
    job.folder.mkdir()
    whole = replace(job, folder=job.folder.with_name("whole"))
    whole.folder.mkdir()
    train(whole)
    answers = iter([False, True])
    with pytest.raises(TrainingStopped, match="stopped as asked after step 2"):
        train(replace(job, stop=lambda: next(answers)))
    assert checkpoints(job.folder / CHECKPOINTS)[-1] == folder_of(job.folder / CHECKPOINTS, 2)
    train(job)
    assert losses(job) == losses(whole)
    assert read_state(folder_of(job.folder / CHECKPOINTS, STEPS))["resumed_from"] == [2]


def test_other_sequences_than_those_of_the_checkpoint_are_refused_unless_accepted(alone: None, job: Job) -> None:
    job.folder.mkdir()
    train(job)
    longer = {"steps": STEPS + 2, "resume_from": str(job.folder)}
    other = replace(job, folder=job.folder.with_name("other"), recipe=job.recipe.model_copy(update=longer))
    other.folder.mkdir()
    with pytest.raises(TrainingStopped, match=r"other data: mixture \w+ → \w+\. .*accept_changes=\[mixture\]"):
        train(replace(other, mixture="changed"))
    with pytest.raises(TrainingStopped, match=r"sequence 16 → 8, seed 1 → 2"):
        train(replace(other, seed=2, recipe=other.recipe.model_copy(update={"sequence": 8})))
    accepting = other.recipe.model_copy(update={"accept_changes": ("mixture",)})
    train(replace(other, mixture="changed", recipe=accepting))
    state = read_state(folder_of(other.folder / CHECKPOINTS, STEPS + 2))
    assert [row["step"] for row in state["losses"]] == list(range(1, STEPS + 3))
    assert state["resumed_from"] == [STEPS]
    assert [row["loss"] for row in state["losses"]][:STEPS] == losses(job)[0]


def test_a_folder_without_checkpoints_cannot_be_resumed(alone: None, job: Job, tmp_path: Path) -> None:
    job.folder.mkdir()
    with pytest.raises(TrainingStopped, match=r"resume_from: .* has no checkpoints"):
        train(replace(job, recipe=job.recipe.model_copy(update={"resume_from": str(tmp_path / "nowhere")})))
