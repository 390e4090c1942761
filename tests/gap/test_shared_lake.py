"""Several runs over one lake: what they share is made once, and none removes what another writes."""

import subprocess
import sys
import time
from pathlib import Path

from lake.dataset import Output
from tests.gap.command import ROOT
from tests.gap.shared_lake import HOLD, steps


def start(tmp_path: Path, lr: float, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.gap.shared_lake", str(tmp_path / "lake"), str(lr), str(tmp_path / "log")]
    return subprocess.Popen([*command, *words], cwd=ROOT, stderr=subprocess.PIPE, text=True)


def lines(tmp_path: Path) -> list[list[str]]:
    return [line.split() for line in (tmp_path / "log").read_text().splitlines()] if (tmp_path / "log").exists() else []


def wait_for_a_writer(tmp_path: Path) -> None:
    while not lines(tmp_path):
        time.sleep(0.05)


def test_a_sweep_over_one_lake_makes_what_is_shared_once(tmp_path: Path) -> None:
    runs = [start(tmp_path, lr) for lr in (1.0, 2.0, 3.0)]
    said = [run.communicate()[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], said
    assert sorted(" ".join(line[:2]) for line in lines(tmp_path)) == [
        "clean 0.0",
        "read 0.0",
        "train 1.0",
        "train 2.0",
        "train 3.0",
    ]
    assert any("this run waits for it" in told for told in said)
    folders = [path for path in (tmp_path / "lake").iterdir() if path.is_dir()]
    assert all(len(Output(str(folder)).parts("rows")) == 5 for folder in folders)
    assert len(list((tmp_path / "lake").iterdir())) == len(folders) == 5


def test_a_killed_run_is_gone_on_with_by_the_one_that_waits(tmp_path: Path) -> None:
    (tmp_path / HOLD).touch()
    first = start(tmp_path, 1.0)
    wait_for_a_writer(tmp_path)
    second = start(tmp_path, 1.0)
    assert second.stderr is not None
    assert "this run waits for it" in second.stderr.readline()
    first.kill()
    first.communicate()
    (tmp_path / HOLD).unlink()
    said = second.communicate()[1]
    assert second.returncode == 0, said
    assert all(step.done for step in steps(str(tmp_path / "lake"), 1.0, tmp_path / "log").values())
    assert not [path for path in (tmp_path / "lake").rglob(".*") if path.is_file()]


def test_no_wait_says_who_writes_and_ends(tmp_path: Path) -> None:
    (tmp_path / HOLD).touch()
    first = start(tmp_path, 1.0)
    wait_for_a_writer(tmp_path)
    second = start(tmp_path, 2.0, "--no-wait")
    said = second.communicate()[1]
    (tmp_path / HOLD).unlink()
    assert first.communicate()[1] == ""
    assert first.returncode == 0
    assert second.returncode == 1
    assert said.startswith("gap: read-")
    assert f": process {first.pid} on " in said
    assert len(said.splitlines()) == 1
