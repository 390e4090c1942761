"""A step's folder has one writer at a time, of several processes, and a crash leaves it free."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lake.dataset import Output
from lake.error import UserError
from lake.lock import AFTERMATH, check_free, owned, owns, refuse

HOLD = """
import sys, time
from lake.dataset import Output
from lake.lock import owned, refuse
with owned(Output(sys.argv[1]), refuse):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""
COUNT = """
import sys, time
from pathlib import Path
from lake.dataset import Output
from lake.lock import owned
for _ in range(int(sys.argv[2])):
    with owned(Output(sys.argv[1]), lambda line: None):
        number = Path(sys.argv[1], "number")
        value = int(number.read_text())
        time.sleep(0.001)
        number.write_text(str(value + 1))
"""


def holder(folder: Path, seconds: float) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_run_hears_who_writes_and_waits(tmp_path: Path) -> None:
    folder = tmp_path / "clean-0123"
    first = holder(folder, 1)
    said: list[str] = []
    with owned(Output(str(folder)), said.append):
        assert owns(Output(str(folder)))
        assert first.wait() == 0
    assert len(said) == 1
    assert said[0].startswith(f"clean-0123: process {first.pid} on ")
    assert f"(-c {folder} 1" in said[0]
    assert said[0].endswith("UTC) writes it")
    assert not owns(Output(str(folder)))
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_does_not_wait_is_refused_in_one_line(tmp_path: Path) -> None:
    folder = Output(str(tmp_path / "clean-0123"))
    check_free(folder)
    first = holder(folder.local(), 60)
    try:
        for attempt in (check_free, lambda folder: owned(folder, refuse).__enter__()):
            with pytest.raises(UserError, match=rf"^clean-0123: process {first.pid} on .* writes it; run again when"):
                attempt(folder)
    finally:
        first.kill()
        first.wait()
    check_free(folder)


def test_a_crash_leaves_the_folder_free(tmp_path: Path) -> None:
    folder = tmp_path / "clean-0123"
    first = holder(folder, 60)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    taken = time.monotonic()
    with owned(Output(str(folder)), refuse):
        assert time.monotonic() - taken >= AFTERMATH, "what the killed process had started may still write"
    assert list(tmp_path.iterdir()) == []
    taken = time.monotonic()
    with owned(Output(str(folder)), refuse):
        assert time.monotonic() - taken < AFTERMATH


def test_a_block_that_raises_frees_the_folder(tmp_path: Path) -> None:
    folder = Output(str(tmp_path / "clean-0123"))
    with pytest.raises(ZeroDivisionError), owned(folder, refuse):
        _ = 1 / 0
    assert not owns(folder)
    with owned(folder, refuse):
        pass


def test_many_processes_take_turns(tmp_path: Path) -> None:
    folder = tmp_path / "clean-0123"
    folder.mkdir()
    (folder / "number").write_text("0")
    runs = [subprocess.Popen([sys.executable, "-c", COUNT, str(folder), "10"]) for _ in range(3)]
    assert [run.wait() for run in runs] == [0, 0, 0]
    assert (folder / "number").read_text() == "30"


def test_object_storage_has_no_lock() -> None:
    folder = Output("s3://bucket/lake/clean-0123")
    check_free(folder)
    with owned(folder, refuse):
        pass
