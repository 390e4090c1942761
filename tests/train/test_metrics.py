"""The event files of a run, read back as TensorBoard reads them."""

import struct
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from train.metrics import TENSORBOARD, Metrics


def row(step: int, loss: float, **more: Any) -> dict[str, Any]:
    return {"step": step, "loss": loss, **more}


def events(file: Path) -> list[Event]:
    """The events of a file: records of a length, its checksum, the event and its checksum."""
    data, at, found = file.read_bytes(), 0, []
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        found.append(Event.FromString(data[at + 12 : at + 12 + length]))
        at += length + 16
    return found


def shown(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values by tag. The start of a session voids what earlier files hold from its step on."""
    series: dict[str, list[tuple[int, float]]] = {}
    for file in sorted((folder / TENSORBOARD).iterdir()):
        for event in events(file):
            if event.session_log.status == SessionLog.START:
                series = {tag: [one for one in points if one[0] < event.step] for tag, points in series.items()}
            for value in event.summary.value:
                series.setdefault(value.tag, []).append((event.step, value.simple_value))
    return series


def test_each_number_of_a_row_is_a_series(tmp_path: Path) -> None:
    with Metrics(tmp_path) as metrics:
        metrics.validated({"step": 0, "losses": {"papers": 4.5, "abstracts": 4.25}})
        metrics.observe(row(1, 3.5, phases={"data": 0.5}, mfu=None, documents=["a"], skipped=True))
        metrics.observe(row(2, float("nan")))
    series = shown(tmp_path)
    assert set(series) == {
        "train/loss",
        "train/phases/data",
        "train/skipped",
        "validation/losses/papers",
        "validation/losses/abstracts",
    }
    assert series["validation/losses/papers"] == [(0, 4.5)]
    assert series["train/phases/data"] == [(1, 0.5)]
    assert series["train/loss"][0] == (1, 3.5)
    assert series["train/loss"][1][1] != series["train/loss"][1][1]


def test_a_row_is_on_disk_at_once(tmp_path: Path) -> None:
    Metrics(tmp_path).observe(row(1, 3.5))
    assert shown(tmp_path)["train/loss"] == [(1, 3.5)]


@pytest.mark.parametrize("validated", [True, False], ids=["validated", "not yet validated"])
def test_a_resumed_run_shows_each_step_once(tmp_path: Path, validated: bool) -> None:
    """Killed at step 5, resumed from the checkpoint of step 3, whose history may have the validation of step 3."""
    losses, validation = [row(step, 10.0 - step) for step in range(1, 6)], [{"step": 3, "loss": 9.0}]
    killed = Metrics(tmp_path)
    for one in losses:
        killed.observe(one)
        if one["step"] == 3:
            killed.validated(validation[0])
    with Metrics(tmp_path, losses[:3], validation if validated else ()) as resumed:
        if not validated:
            resumed.validated(validation[0])
        resumed.observe(row(4, 6.5))
    assert shown(tmp_path) == {
        "train/loss": [(1, 9.0), (2, 8.0), (3, 7.0), (4, 6.5)],
        "validation/loss": [(3, 9.0)],
    }
    with Metrics(tmp_path) as afresh:
        afresh.observe(row(1, 8.5))
    assert shown(tmp_path) == {"train/loss": [(1, 8.5)], "validation/loss": []}


def test_without_tensorboardx_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.metrics.find_spec", lambda name: None)
    with Metrics(tmp_path) as metrics:
        metrics.observe(row(1, 3.5))
    assert list(tmp_path.iterdir()) == []


def test_wandb_gets_the_rows_and_stays_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    run = SimpleNamespace(
        log=lambda values, step: asked.append((step, values)), finish=lambda: asked.append("finished")
    )

    def init(**settings: Any) -> SimpleNamespace:
        asked.append((settings["project"], settings["mode"]))
        return run

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    with Metrics(tmp_path, wandb="medicine") as metrics:
        metrics.observe(row(1, 3.5))
    assert asked == [("medicine", "offline"), (1, {"train/loss": 3.5}), "finished"]
