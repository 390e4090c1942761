"""The training benchmark, tiny: three loops take turns, and each does the steps that it is asked for."""

import json
import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.contest import ASKED, DONE, PEERS, Contestant, Turns
from benchmarks.train import main
from train.guard import TrainingStopped


def test_a_contestant_does_the_steps_of_its_turns_until_the_contest_is_over(tmp_path: Path) -> None:
    for pipe in (ASKED, DONE):
        os.mkfifo(tmp_path / pipe)
    asked, done = (os.open(tmp_path / pipe, os.O_RDWR) for pipe in (ASKED, DONE))
    steps: list[int] = []

    def work() -> None:
        turns = Turns(tmp_path)
        with suppress(TrainingStopped):
            while True:
                steps.append(len(steps))
                turns()

    worker = threading.Thread(target=work)
    worker.start()
    seen = [json.loads(os.read(done, 1024)) and len(steps)]
    for number in (3, 2):
        os.write(asked, f"{number}\n".encode())
        seen.append(json.loads(os.read(done, 1024)) and len(steps))
    os.close(asked)
    worker.join()
    os.close(done)
    assert seen == [1, 4, 6]


def _dies(*_: object) -> None:
    raise SystemExit(3)


def test_a_contestant_that_dies_is_named(tmp_path: Path) -> None:
    contestant = Contestant("ours", _dies, tmp_path / "ours")
    with pytest.raises(RuntimeError, match="ours ended with exit code 3"):
        contestant.ready()
    contestant.end()


@pytest.mark.engine
def test_the_figures() -> None:
    done = CliRunner().invoke(main, ["--tiny", "--sequences", "32", "--rounds", "2", "--json"])
    assert done.exit_code == 0, done.output
    (row,) = json.loads(done.stdout.strip().splitlines()[-1])
    assert row["sequence"] == 32
    assert row["ratio_to_bare_megatron"] > 0
    assert row["ratio_to_transformers"] > 0
    for figures in (row["tokens_per_s"], row["peak_mb"]):
        assert set(figures) == {"ours", *PEERS}
        assert all(figure > 0 for figure in figures.values())
    assert all(len(rounds) == 2 for rounds in row["rounds"].values())
