"""The end of a run: on a full disk, by Ctrl-C before its engines are up, or killed; what it started ends with it."""

import os
import signal
import subprocess
import sys
import time

import click
import psutil
import pytest
from click.testing import CliRunner

from gap.__main__ import start
from gap.command import user_errors
from gap.orphans import PAUSE
from tests.gap.command import ROOT, SOON, alive, wait_until

CHILD = "import subprocess, time; subprocess.Popen(['sleep', '600'], start_new_session=True); time.sleep(600)"
DRIVER = f"""
import subprocess, sys, time
from gap.orphans import no_orphans
subprocess.Popen(["sleep", "600"])
with no_orphans():
    subprocess.Popen([sys.executable, "-c", {CHILD!r}], start_new_session=True)
    {{}}
"""


@pytest.mark.parametrize("end", ["time.sleep(600)", "input()"], ids=["killed", "ends"])
def test_what_a_process_starts_ends_with_it(end: str) -> None:
    driver = subprocess.Popen([sys.executable, "-c", DRIVER.format(end)], cwd=ROOT, stdin=subprocess.PIPE)
    below = psutil.Process(driver.pid)
    # A sleeper before the block, the watcher, a child in it, and the child's sleeper.
    wait_until(lambda: len(below.children(recursive=True)) == 4, SOON)
    children = below.children(recursive=True)
    before = next(child for child in children if child.cmdline() == ["sleep", "600"] and child.ppid() == driver.pid)
    if end == "input()":
        driver.communicate(b"\n")
    else:
        time.sleep(3 * PAUSE)
        driver.kill()
        driver.wait()
    wait_until(lambda: not any(alive(child) for child in children if child != before), SOON)
    assert alive(before), "it was there before, and was none of its own"
    before.kill()


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyboardInterrupt(), 128 + signal.SIGINT, "gap: ended by SIGINT: what is done is kept; give the same command"),
        (OSError(28, os.strerror(28), "/lake/part"), 1, "gap: No space left on device: what is done is kept; free "),
        (RuntimeError(f"a JVM: java.io.IOException: {os.strerror(122)}\n\tat x"), 1, "gap: Disk quota exceeded: what "),
    ],
)
def test_an_end_that_a_user_can_mend_is_one_line(error: BaseException, code: int, line: str) -> None:
    @click.command()
    @user_errors
    def command() -> None:
        raise error

    done = CliRunner().invoke(command, [])
    assert done.exit_code == code
    assert done.stderr.startswith(line)
    assert len(done.stderr.splitlines()) == 1


def test_sigterm_ends_a_command_as_ctrl_c_does() -> None:
    @click.command()
    @user_errors
    def command() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(SOON)

    before = signal.getsignal(signal.SIGTERM)
    done = CliRunner().invoke(command, [])
    assert done.exit_code == 128 + signal.SIGTERM
    assert done.stderr == "gap: ended by SIGTERM: what is done is kept; give the same command again to go on\n"
    assert signal.getsignal(signal.SIGTERM) == before


def test_ctrl_c_while_it_is_imported_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted:
        def __getattr__(self, name: str) -> None:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "gap.cli", Interrupted())
    with pytest.raises(SystemExit) as ended:
        start()
    assert ended.value.code == 128 + signal.SIGINT
