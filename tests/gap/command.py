"""`gap` as a user starts it."""

import subprocess
import sys
from contextlib import chdir
from pathlib import Path

from click.testing import CliRunner

from gap.cli import main

ROOT = Path(__file__).resolve().parents[2]
DEMO = "configs/demo.yaml"
WHOLE = "configs/gap-replay.yaml"


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "gap", *words]


def gap(*words: str, timeout: float = 900) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*words), cwd=ROOT, capture_output=True, text=True, timeout=timeout)


def called(*words: str) -> subprocess.CompletedProcess[str]:
    """The same for a command that starts no engine, within this process, which saves seconds."""
    with chdir(ROOT):
        result = CliRunner().invoke(main, words)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return subprocess.CompletedProcess(words, result.exit_code, result.stdout, result.stderr)
