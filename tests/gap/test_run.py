"""Steps of different engines overlap, steps of one do not, and a failure loses nothing of what runs beside it."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import pytest

from gap.config import Config
from gap.run import run_steps
from lake.config import Settings, load
from lake.error import UserError
from lake.step import Body, Kind, Outcome, Step
from tests.gap.command import DEMO, ROOT

Work = Callable[[Step[Any]], Outcome]


class Room:
    """A lake for steps whose engines need no start."""

    def __init__(self, lake: Path) -> None:
        self.lake = lake
        self.steps: dict[str, Step[Any]] = {}
        self.lines: list[tuple[str, bool]] = []

    def add(self, name: str, engine: str, work: Work, *inputs: str, stop: Callable[..., bool] | None = None) -> None:
        read = {role: self.steps[role] for role in inputs}
        body = Body[Settings](work, Kind.READER, engine, 1, stop=stop)
        self.steps[name] = Step(name, body, Settings(), str(self.lake), read)

    def run(self) -> None:
        config = load(str(ROOT / DEMO), [f"lake={self.lake}", f"data={ROOT}/samples", "crawl=null"], Config)
        run_steps(config, self.steps, lambda step, manifest, _: self.lines.append((step.name, manifest is not None)))


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    monkeypatch.chdir(ROOT)
    return Room(tmp_path)


def test_steps_of_two_engines_run_at_the_same_time(room: Room) -> None:
    both = Barrier(2, timeout=20)

    def meet(_: Step[Any]) -> Outcome:
        both.wait()
        return Outcome()

    room.add("a", "one", meet)
    room.add("b", "two", meet)
    room.run()
    assert sorted(room.lines[:2]) == [("a", False), ("b", False)]


def test_steps_of_one_engine_run_one_after_the_other(room: Room) -> None:
    for name in "abc":
        room.add(name, "one and more", lambda _: Outcome())
    room.run()
    assert room.lines == [(name, done) for name in "abc" for done in (False, True)]


def test_a_failure_is_told_at_once_and_raised_when_the_step_beside_it_is_done(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Event()
    warnings: list[str] = []

    def warn(lines: list[str]) -> None:
        warnings.extend(lines)
        told.set()

    def fail(_: Step[Any]) -> Outcome:
        raise OSError("Traceback\n  File x, line 1\nthe disk is full")

    def outlive(_: Step[Any]) -> Outcome:
        assert told.wait(20)
        return Outcome()

    monkeypatch.setattr("gap.run.warn", warn)
    room.add("broken", "one", fail)
    room.add("beside", "two", outlive)
    room.add("after", "one", lambda _: Outcome(), "broken")
    room.add("later", "two", lambda _: Outcome(), "beside")
    with pytest.raises(OSError, match="the disk is full"):
        room.run()
    assert warnings == ["broken failed: the disk is full; the run ends after beside"]
    assert [name for name, step in room.steps.items() if step.done] == ["beside"]


def test_what_is_no_longer_in_the_lake_ends_the_run(room: Room) -> None:
    room.add("a", "one", lambda _: Outcome())
    room.run()

    def lose(step: Step[Any]) -> Outcome:
        (room.steps["a"].output.local() / "manifest.json").unlink()
        return Outcome()

    room.add("b", "one", lose)
    room.add("c", "one", lambda _: Outcome(), "a", "b")
    with pytest.raises(UserError, match="c: what it reads is no longer in the lake; run again"):
        room.run()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_a_step_save_what_it_has_and_starts_no_other(
    room: Room, capsys: pytest.CaptureFixture, number: signal.Signals
) -> None:
    asked = Event()

    def work(_: Step[Any]) -> Outcome:
        os.kill(os.getpid(), number)
        assert asked.wait(20)
        raise UserError("stopped as asked after step 3")

    def stop(_: Step[Any]) -> bool:
        asked.set()
        return True

    room.add("train", "one", work, stop=stop)
    room.add("export", "one", lambda _: Outcome(), "train")
    with pytest.raises(SystemExit) as ended:
        room.run()
    assert ended.value.code == 128 + number
    assert room.lines == [("train", False)]
    assert capsys.readouterr().err.splitlines() == [
        f"gap: {number.name}: train saves what it has and ends",
        "gap: train: stopped as asked after step 3",
    ]


@pytest.mark.parametrize(
    ("stop", "signals"),
    [(None, 1), (lambda step: False, 1), (lambda step: True, 2)],
    ids=["cannot save", "nothing to save", "asked twice"],
)
def test_a_signal_ends_a_run_that_waits_for_nothing(room: Room, stop: Callable[..., bool] | None, signals: int) -> None:
    over = Event()

    def work(_: Step[Any]) -> Outcome:
        for _ in range(signals):
            time.sleep(0.2)
            os.kill(os.getpid(), signal.SIGTERM)
        over.wait(20)
        return Outcome()

    room.add("train", "one", work, stop=stop)
    with pytest.raises(SystemExit):
        room.run()
    assert not over.is_set()
    over.set()
