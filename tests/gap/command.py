"""`gap` as a user starts it."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEMO = "configs/demo.yaml"
WHOLE = "configs/gap-replay.yaml"


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "gap", *words]


def gap(*words: str, timeout: float = 900) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*words), cwd=ROOT, capture_output=True, text=True, timeout=timeout)
