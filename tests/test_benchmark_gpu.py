"""The GPU benchmark, tiny and on the CPU: parts print their figures, and one that fails does not stop the next."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import gpu

ROOT = Path(__file__).resolve().parents[1]
QUICK = ("device", "gate", "documents", "kernels", "transformers")
TRAINED = ("losses", "resume", "speed", "save")


def figures(*parts: str) -> dict[str, gpu.Figures]:
    """The figures of some parts, on a machine whose GPU is hidden."""
    chosen = [word for part in parts for word in ("--part", part)]
    command = [sys.executable, "-m", "benchmarks.gpu", "--json", "--tiny", "--slow", "10", *chosen]
    hidden = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=hidden, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_parts_without_training() -> None:
    found = figures(*QUICK)
    assert found["device"][0]["device"] == "cpu"
    assert [row["direction"] for row in found["gate"] if row["argmax_agreement"] == 1] == ["import", "export"]
    assert found["documents"][0]["largest_difference_from_documents_alone"] < 1e-5
    rungs = {row["kernel"]: row for row in found["kernels"]}
    assert {name for name in rungs if "ours" in name and "ms" not in rungs[name]} == set()
    assert rungs["attention: Megatron's own"]["ms"] > 0
    assert "failed" in rungs["attention: SDPA, CUDNN_ATTENTION"]
    assert found["transformers"][0]["tokens_per_s"] > 0


@pytest.mark.engine
def test_parts_that_train() -> None:
    found = figures(*TRAINED)
    whole, half = found["losses"]
    assert (whole["precision"], half["precision"]) == ("float32", "bfloat16")
    assert 0 < half["largest_difference"] < 0.05
    assert found["resume"] == [{"resumed_from": [5], "largest_loss_difference": 0, "validation_equal": True}]
    assert found["speed"][0]["tokens_per_s"] > 0
    assert [row["stall_s"] > 0 for row in found["save"]] == [True, True]


def test_a_part_that_fails_or_is_late_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    (late,) = gpu.run("device", True, 0.1)
    assert late == {"failed": "not done in 0 s"}
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert gpu.run("device", True, 10) == [{"failed": ""}]


def test_a_row_is_a_line() -> None:
    assert gpu.lines("speed", [{"tokens_per_s": 54_000, "mfu": None}]) == ["speed: tokens_per_s 54,000, mfu None"]
