"""Training that is killed at random moments, or whose disk is full, ends with the weights of an undisturbed run.

Takes half an hour, so `make soak` runs it, and `make test` does not.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.gap.command import DEMO, ROOT
from train.history import CHECKPOINTS, DIGESTS, PROGRESS, checkpoints, read_state

STEPS = 80
KEYS = ["pretrain.parallel={tensor: 2, data: 1}", "pretrain.checkpoints={every: 5}", "pretrain.max_failures=3"]


def gap(lake: Path, step: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "gap", "run", DEMO, step, f"lake={lake}", *KEYS]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(run: subprocess.Popen[str]) -> None:
    output, _ = run.communicate(timeout=600)
    assert run.returncode == 0, output[-3000:]


def training(lake: Path) -> Path:
    """The folder of the training, once it is there."""
    while not (found := list(lake.glob("pretrain-*"))):
        time.sleep(0.1)
    return found[0]


def result(lake: Path) -> tuple[dict[str, Any], list[float]]:
    """Digests of the last checkpoint's tensors, and the losses of all steps."""
    last = checkpoints(training(lake) / CHECKPOINTS)[-1]
    digests = json.loads((last / DIGESTS).read_text())
    tensors = {name: digest for name, digest in digests.items() if name.endswith(".distcp")}
    return tensors, [row["loss"] for row in read_state(last)["losses"]]


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lake = tmp_path_factory.mktemp("lakes") / "sharded"
    finish(gap(lake, "shard"))
    return lake


@pytest.fixture(scope="module")
def undisturbed(sharded: Path) -> tuple[dict[str, Any], list[float]]:
    lake = sharded.with_name("undisturbed")
    shutil.copytree(sharded, lake)
    finish(gap(lake, "pretrain"))
    tensors, losses = result(lake)
    assert len(losses) == STEPS
    return tensors, losses


def when_step(lake: Path, step: int, delay: float, then: Callable[[], None]) -> None:
    """Wait for a step of training, and a moment longer."""
    progress = training(lake) / PROGRESS
    while not progress.is_file() or json.loads(progress.read_text())["step"] < step:
        time.sleep(0.02)
    time.sleep(delay)
    then()


def kill_a_worker(run: subprocess.Popen[str], chance: random.Random) -> None:
    children = psutil.Process(run.pid).children(recursive=True)
    chance.choice([child for child in children if child.name().startswith("ray::RayTrain")]).kill()


@pytest.mark.parametrize("seed", range(10))
def test_a_worker_killed_at_a_random_moment(seed: int, sharded: Path, undisturbed: Any) -> None:
    chance = random.Random(seed)
    lake = sharded.with_name(f"worker-{seed}")
    shutil.copytree(sharded, lake)
    run = gap(lake, "pretrain")
    when_step(lake, chance.randrange(1, STEPS - 5), chance.random(), lambda: kill_a_worker(run, chance))
    finish(run)
    assert read_state(checkpoints(training(lake) / CHECKPOINTS)[-1])["resumed_from"] != []
    assert result(lake) == undisturbed


@pytest.mark.parametrize("seed", range(10, 13))
def test_the_driver_killed_at_a_random_moment(seed: int, sharded: Path, undisturbed: Any) -> None:
    chance = random.Random(seed)
    lake = sharded.with_name(f"driver-{seed}")
    shutil.copytree(sharded, lake)
    run = gap(lake, "pretrain")
    when_step(lake, chance.randrange(1, STEPS - 5), chance.random(), lambda: os.kill(run.pid, signal.SIGKILL))
    run.wait(60)
    finish(gap(lake, "pretrain"))
    assert result(lake) == undisturbed


def test_a_driver_that_is_asked_to_end(sharded: Path, undisturbed: Any) -> None:
    lake = sharded.with_name("asked")
    shutil.copytree(sharded, lake)
    run = gap(lake, "pretrain")
    when_step(lake, 23, 0, run.terminate)
    output, _ = run.communicate(timeout=120)
    assert run.returncode == 143, output[-3000:]
    assert "SIGTERM: pretrain saves what it has and ends" in output
    saved = checkpoints(training(lake) / CHECKPOINTS)[-1]
    assert f"stopped as asked after step {int(saved.name[5:])}" in output
    finish(gap(lake, "pretrain"))
    assert result(lake) == undisturbed


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip(reason="mount is not permitted here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_disk_that_is_full_for_some_saves(small_disk: Path, sharded: Path, undisturbed: Any) -> None:
    lake = small_disk / "lake"
    shutil.copytree(sharded, lake)
    run = gap(lake, "pretrain")
    filler = small_disk / "filler"

    def fill() -> None:
        with filler.open("wb") as stream:
            stream.write(bytes(shutil.disk_usage(small_disk).free - 2**20))

    when_step(lake, 12, 0, fill)
    when_step(lake, 37, 0, filler.unlink)
    finish(run)
    failed = read_state(checkpoints(training(lake) / CHECKPOINTS)[-1])["failed_saves"]
    assert failed
    assert all("no space" in row["reason"].lower() for row in failed)
    assert result(lake) == undisturbed
