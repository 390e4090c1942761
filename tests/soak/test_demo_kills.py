"""The demo, killed at ten moments of ten runs, leaves the files of an undisturbed run, every byte.

Takes a quarter of an hour, so `make soak` runs it, and `make test` does not.
"""

import json
import random
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lake.dataset import MANIFEST
from tests.gap.command import DEMO, ended, gap
from tests.gap.files import files, has_begun

KILLS = 10


@pytest.mark.parametrize("seed", [0])
def test_the_demo_killed_at_ten_moments(seed: int, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(whole)
    seconds = {step: manifest["seconds"] for step, manifest in manifests(whole).items()}
    chance = random.Random(seed)
    for step in sorted(chance.sample(list(seconds), KILLS), key=list(seconds).index):
        moment = chance.random() * seconds[step]
        ended(("run", DEMO, f"lake={killed}"), signal.SIGKILL, partial(has_begun, killed, step), moment)
    run(killed)
    expected, found = files(whole), files(killed)
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []


def run(lake: Path) -> None:
    done = gap("run", DEMO, f"lake={lake}")
    assert done.returncode == 0, done.stderr[-4000:]


def manifests(lake: Path) -> dict[str, dict[str, Any]]:
    """Those of all steps, in the order in which they ended."""
    read = [json.loads(path.read_bytes()) for path in lake.glob(f"*/{MANIFEST}")]
    return {manifest["step"]: manifest for manifest in sorted(read, key=lambda one: str(one["finished_at"]))}
