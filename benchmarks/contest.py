"""Training loops in turn: each lives in a process of its own, and one at a time is asked for some steps.

So start-up is not measured, and whatever else the machine does hits all alike.
"""

import json
import os
import select
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, TextIO

from benchmarks.memory import peak
from train.recipe import Recipe

if TYPE_CHECKING:
    from train.loop import Job

ASKED, DONE = "asked", "done"
"""Named pipes: the contest asks for a number of steps, the contestant says how long they took."""

PATIENCE = 10.0
"""Seconds that a contestant has to end by itself."""


class Turns:
    """The contestant's side. It is called after each step, and returns when the next may begin."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pipes: tuple[TextIO, TextIO] | None = None
        self._left = 1  # The first step warms up.
        self._started = monotonic()

    def __call__(self, _: Any = None) -> None:
        """
        Raises:
            TrainingStopped: the contest is over.
        """
        from train.guard import TrainingStopped

        self._left -= 1
        if self._left:
            return
        seconds = monotonic() - self._started
        if self._pipes is None:
            self._pipes = (self.folder / ASKED).open(), (self.folder / DONE).open("w")
        asked, done = self._pipes
        print(json.dumps({"seconds": seconds, "peak_mb": peak()}), file=done, flush=True)
        line = asked.readline()
        if not line:
            raise TrainingStopped("the contest is over")
        self._left, self._started = int(line), monotonic()


class Contestant:
    """The contest's side of a process that calls `work(turns, recipe, vocab_size, threads)`."""

    def __init__(self, name: str, work: Callable[..., None], folder: Path, *given: Any) -> None:
        self.name = name
        folder.mkdir()
        for pipe in (ASKED, DONE):
            os.mkfifo(folder / pipe)
        # Opened both ways, a pipe waits for nobody.
        self._asked, self._done = (os.open(folder / pipe, os.O_RDWR) for pipe in (ASKED, DONE))
        self._process: BaseProcess = get_context("spawn").Process(target=_live, args=(work, folder, *given))
        self._process.start()

    def ready(self) -> None:
        """Wait for the first step."""
        self._answer()

    def run(self, steps: int) -> dict[str, float]:
        """Do some steps. Returns their seconds, and the peak memory of the process in MB."""
        os.write(self._asked, f"{steps}\n".encode())
        return self._answer()

    def end(self) -> None:
        for pipe in (self._asked, self._done):
            os.close(pipe)
        self._process.join(PATIENCE)
        self._process.kill()
        self._process.join()

    def _answer(self) -> dict[str, float]:
        while not select.select([self._done], [], [], 1.0)[0]:
            if not self._process.is_alive():
                raise RuntimeError(f"{self.name} ended with exit code {self._process.exitcode}")
        return json.loads(os.read(self._done, 1024))


def _live(work: Callable[..., None], folder: Path, *given: Any) -> None:
    from train.guard import TrainingStopped

    # Standard output is for figures.
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    with suppress(TrainingStopped):
        work(Turns(folder), *given)


def ours(turns: Turns, recipe: Recipe, vocab_size: int, threads: int) -> None:
    """This project's loop in a worker of Ray Train."""
    import ray

    from ray_jobs.cluster import RaySettings, start
    from ray_jobs.pretrain import fit

    start(RaySettings(cpus=threads))
    fit(partial(_job, turns, recipe, vocab_size), recipe, turns.folder)
    ray.shutdown()


def _job(turns: Turns, recipe: Recipe, vocab_size: int) -> "Job":
    from benchmarks.corpus import job

    return job(recipe, vocab_size, turns.folder, turns)


def bare_megatron(turns: Turns, recipe: Recipe, vocab_size: int, threads: int) -> None:
    import torch
    import torch.distributed as dist

    from benchmarks.peers import megatron_step
    from train.cpu import cudaless

    torch.set_num_threads(threads)
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    with cudaless():
        step = megatron_step(recipe, vocab_size)
        while True:
            step()
            turns()


def transformers(turns: Turns, recipe: Recipe, vocab_size: int, threads: int) -> None:
    import torch

    from benchmarks.peers import transformers_step

    torch.set_num_threads(threads)
    step = transformers_step(recipe, vocab_size)
    while True:
        step()
        turns()


PEERS: Mapping[str, Callable[..., None]] = {"bare_megatron": bare_megatron, "transformers": transformers}


@contextmanager
def _alive(contestants: Mapping[str, Callable[..., None]], folder: Path, *given: Any) -> Iterator[list[Contestant]]:
    living: list[Contestant] = []
    try:
        for name, work in contestants.items():
            living.append(Contestant(name, work, folder / name, *given))
            # One after the other, lest their first steps meet in memory.
            living[-1].ready()
        yield living
    finally:
        for contestant in living:
            contestant.end()


def contest(
    peers: Sequence[str], recipe: Recipe, vocab_size: int, threads: int, steps: int, rounds: int, folder: Path
) -> dict[str, Sequence[dict[str, float]]]:
    """The answers of ours and of some PEERS, one for each round. The one who begins changes from round to round."""
    contestants = {"ours": ours} | {name: PEERS[name] for name in peers}
    answers: dict[str, list[dict[str, float]]] = {name: [] for name in contestants}
    with _alive(contestants, folder, recipe, vocab_size, threads) as living:
        for number in range(rounds):
            first = number % len(living)
            for contestant in living[first:] + living[:first]:
                answers[contestant.name].append(contestant.run(steps))
    return dict(answers)
