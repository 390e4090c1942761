"""Metrics for those who watch a run: TensorBoard's event files and, where the recipe asks for it, W&B offline."""

import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from train.history import Row

TENSORBOARD = "tensorboard"


class Metrics:
    """Writes the rows of steps and validations below `folder`; the first rank has one, as a context manager.

    `losses` and `validation` are the rows of the history from which the run resumes. What earlier attempts wrote of
    later steps is void from now on. A machine for training alone may lack tensorboardX; then there are no event files.
    """

    def __init__(
        self, folder: Path, losses: Sequence[Row] = (), validation: Sequence[Row] = (), wandb: str | None = None
    ) -> None:
        step = losses[-1]["step"] if losses else 0
        self._events = _Events(folder / TENSORBOARD, step) if find_spec("tensorboardX") else None
        self._wandb = _wandb(wandb, folder, step) if wandb else None
        # The marker of a resumed run voids this step, too, since its validation may be still to come.
        for name, rows in (("train", losses), ("validation", validation)):
            for row in rows[-1:]:
                if row["step"] == step:
                    self._write(name, row)

    def observe(self, row: Row) -> None:
        """Write the row of a training step: each number in it, by its keys."""
        self._write("train", row)

    def validated(self, row: Row) -> None:
        """Write the row of a validation, likewise."""
        self._write("validation", row)

    def close(self) -> None:
        if self._events:
            self._events.close()
        if self._wandb:
            self._wandb.finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _write(self, name: str, row: Row) -> None:
        values = dict(numbers({key: value for key, value in row.items() if key != "step"}, name))
        if self._events:
            self._events.write(row["step"], values)
        if self._wandb:
            self._wandb.log(values, step=row["step"])


def numbers(row: Mapping[str, Any], name: str) -> Iterator[tuple[str, float]]:
    """The numbers of a row, each named by its path, such as train/phases/data."""
    for key, value in row.items():
        path = f"{name}/{key}"
        if isinstance(value, Mapping):
            yield from numbers(value, path)
        elif isinstance(value, int | float):
            yield path, float(value)


class _Events:
    """An event file. Each row is on disk once it is written, so a killed run lacks none before its last checkpoint."""

    def __init__(self, folder: Path, step: int) -> None:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import SessionLog

        folder.mkdir(parents=True, exist_ok=True)
        # Files are read in the order of their names. A name has the second; two attempts may share it.
        self._file = EventsWriter(str(folder / "events"), f".{time.time_ns()}")
        # Readers forget what earlier files hold from this step on.
        self._add(step, session_log=SessionLog(status=SessionLog.START))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        from tensorboardX.proto.summary_pb2 import Summary

        scalars = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._add(step, summary=Summary(value=scalars))

    def close(self) -> None:
        self._file.close()

    def _add(self, step: int, **content: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._file.write_event(Event(wall_time=time.time(), step=step, **content))
        self._file.flush()


def _wandb(project: str, folder: Path, step: int) -> Any:
    """A W&B run on disk only. Its steps cannot be taken back, so each attempt is a run of its own, in one group."""
    import wandb

    name = f"from step {step}"
    return wandb.init(project=project, group=folder.name, name=name, dir=folder, mode="offline", save_code=False)
