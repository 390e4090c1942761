"""Processes that a killed run leaves behind: a small process beside the run waits for its end, and ends them.

Ray's agents and a JVM outlive a driver that gets SIGKILL, by minutes. They hold memory and ports, and they write.
"""

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

PAUSE = 1.0
"""Seconds between two looks at what the run has started."""


@contextmanager
def no_orphans() -> Iterator[None]:
    """All that this process starts within the block ends with it, and with this process, however that ends."""
    watcher = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "gap.orphans", str(os.getpid())],
        # The pipe closes when this process ends.
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    # It has seen what was there before.
    assert watcher.stdout is not None
    watcher.stdout.read(1)
    try:
        yield
    finally:
        watcher.communicate()


def main(pid: int) -> None:
    """Watch the process `pid`. Its end, or that of its block, closes this one's standard input."""
    me, run = psutil.Process(), psutil.Process(pid)
    before = {me, *run.children()}
    os.write(1, b"-")
    started: set[psutil.Process] = set()
    over = False
    while not over:
        over = bool(select.select([sys.stdin], [], [], PAUSE)[0])
        started = {process for process in started if process.is_running()}
        with suppress(psutil.NoSuchProcess):  # killed; of its last second nothing is known
            started |= set().union(*map(family, set(run.children()) - before))
    for process in set().union(*map(family, started)):
        with suppress(psutil.NoSuchProcess):
            process.kill()


def family(process: psutil.Process) -> set[psutil.Process]:
    """A process and all below it."""
    with suppress(psutil.NoSuchProcess):
        return {process, *process.children(recursive=True)}
    return set()


if __name__ == "__main__":
    main(int(sys.argv[1]))
