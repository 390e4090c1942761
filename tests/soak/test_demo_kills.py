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
from tests.gap.files import files

KILLS = 10

MEASURED = {"seconds", "tokens_per_second", "memory_gb", "mfu", "phases", "saves", "resumed_from", "state.json"}
"""Keys of training's JSON files whose values no two runs share, and the digest of a file that has such."""

SHOW_MEASURED = ("model_card.md", "report.html")


@pytest.mark.parametrize("seed", [0])
def test_the_demo_killed_at_ten_moments(seed: int, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(whole)
    steps = [folder.name for folder in sorted(whole.glob("*-*"), key=finished)]
    chance = random.Random(seed)
    for step in sorted(chance.sample(steps, KILLS), key=steps.index):
        moment = chance.randrange(1, written(whole / step))
        done = ended(("run", DEMO, f"lake={killed}"), signal.SIGKILL, partial(has_written, killed / step, moment))
        print(f"{step}: killed with {written(killed / step)} files of {written(whole / step)}")
        assert done.returncode == -signal.SIGKILL
    run(killed)
    expected, found = compared(whole), compared(killed)
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []


def run(lake: Path) -> None:
    done = gap("run", DEMO, f"lake={lake}")
    assert done.returncode == 0, done.stderr[-4000:]


def finished(step: Path) -> str:
    return str(json.loads((step / MANIFEST).read_bytes())["finished_at"])


def written(step: Path) -> int:
    return sum(path.is_file() for path in step.rglob("*"))


def has_written(step: Path, count: int) -> bool:
    return written(step) >= count


def compared(lake: Path) -> dict[str, Any]:
    """All files; those of training without what they tell of time and memory, and of the report not what shows these.

    The names of TensorBoard's files have a time and the number of a process.
    """
    found: dict[str, Any] = {}
    for name, content in files(lake).items():
        if "/tensorboard/" in name:
            continue
        if name.endswith(SHOW_MEASURED):
            content = {}
        elif name.startswith("pretrain-") and name.endswith(".json"):
            content = json.loads(content) if isinstance(content, bytes) else content
        found[name] = without(content, {*MEASURED, *SHOW_MEASURED}) if isinstance(content, dict) else content
    return found


def without(value: Any, keys: set[str]) -> Any:
    """A JSON value without some keys, at any depth."""
    if isinstance(value, dict):
        return {key: without(inner, keys) for key, inner in value.items() if key not in keys}
    return [without(inner, keys) for inner in value] if isinstance(value, list) else value
