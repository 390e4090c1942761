"""`gap` as a user starts it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import psutil
from click.testing import CliRunner

from gap.cli import main

ROOT = Path(__file__).resolve().parents[2]
DEMO = "configs/demo.yaml"
WHOLE = "configs/gap-replay.yaml"
SLOW = 900
SOON = 60
"""Seconds for what takes one or two: machines differ."""


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "gap", *words]


def gap(*words: str, timeout: float = SLOW) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*words), cwd=ROOT, capture_output=True, text=True, timeout=timeout)


def ended(
    words: tuple[str, ...], number: signal.Signals, reached: Callable[[], bool], delay: float = 0.0
) -> subprocess.CompletedProcess[str]:
    """Run `gap` and send it a signal `delay` seconds after `reached()`. All that it started is gone soon after it."""
    pipes: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command(*words), cwd=ROOT, text=True, start_new_session=True, **pipes)
    wait_until(lambda: process.poll() is not None or reached(), SLOW)
    time.sleep(delay)
    assert process.poll() is None, "the run ended before it could be ended"
    children = psutil.Process(process.pid).children(recursive=True)
    # A terminal sends Ctrl-C to all processes that it sees.
    (os.killpg if number is signal.SIGINT else os.kill)(process.pid, number)
    _, errors = process.communicate(timeout=SOON)
    wait_until(lambda: not any(map(alive, children)), SOON)
    return subprocess.CompletedProcess(words, process.returncode, "", errors)


def alive(process: psutil.Process) -> bool:
    """Whether it runs. A zombie has ended, and waits for its parent to ask how."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(reached: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def called(*words: str) -> subprocess.CompletedProcess[str]:
    """The same for a command that starts no engine, within this process, which saves seconds."""
    with chdir(ROOT):
        result = CliRunner().invoke(main, words)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return subprocess.CompletedProcess(words, result.exit_code, result.stdout, result.stderr)
