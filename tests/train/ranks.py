"""Processes that stay alive, so that many layouts of workers are tried without starting Python for each."""

import multiprocessing
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any


class Ranks:
    """`size` processes. The first ranks run a task, a function of a module, within a process group of their own."""

    def __init__(self, size: int, folder: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.folder, self.meetings = folder, 0
        pipes = [context.Pipe() for _ in range(size)]
        self.pipes = [mine for mine, _ in pipes]
        self.processes = [context.Process(target=_serve, args=(rank, pipe)) for rank, (_, pipe) in enumerate(pipes)]
        for process in self.processes:
            process.start()

    def run(self, ranks: int, task: Callable[..., Any], *arguments: Any) -> list[Any]:
        """The task's result on each rank."""
        self.meetings += 1
        meeting = self.folder / f"meeting-{self.meetings}"
        for pipe in self.pipes[:ranks]:
            pipe.send((ranks, str(meeting), task, arguments))
        answers = [pipe.recv() for pipe in self.pipes[:ranks]]
        faults = [fault for fault, _ in answers if fault]
        assert not faults, "\n".join(faults)
        return [result for _, result in answers]

    def close(self) -> None:
        for pipe, process in zip(self.pipes, self.processes, strict=True):
            pipe.send(None)
            process.join(10)
            process.kill()


def _serve(rank: int, pipe: Connection) -> None:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    while (order := pipe.recv()) is not None:
        ranks, meeting, task, arguments = order
        dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=ranks)
        try:
            pipe.send((None, task(*arguments)))
        except BaseException:  # the test tells it
            pipe.send((traceback.format_exc(), None))
        finally:
            dist.destroy_process_group()


def layout_name(layout: dict[str, Any]) -> str:
    return "-".join(f"{key}{'' if value is True else value}" for key, value in layout.items()) or "alone"


def layouts(*rows: dict[str, Any]) -> Sequence[Any]:
    import pytest

    return [pytest.param(row, id=layout_name(row)) for row in rows]
