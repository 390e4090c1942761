"""Processes that a killed run leaves behind: a small process beside the run waits for its end, and ends them.

Ray's agents and a JVM outlive a driver that gets SIGKILL, by minutes. They hold memory and ports, and they write. What
the run starts inherits a mark in its environment, through sessions of their own, too.
"""

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

MARK = "GAP_RUN"
TRIES = 20
PAUSE = 0.25


@contextmanager
def no_orphans() -> Iterator[None]:
    """All that is started within the block ends with it, and with this process, however that ends."""
    mark = uuid.uuid4().hex
    watcher = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "gap.orphans", mark],
        # The pipe closes when this process ends.
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.environ[MARK] = mark
    try:
        yield
    finally:
        del os.environ[MARK]
        watcher.communicate()


def marked(mark: str) -> Iterator[psutil.Process]:
    """The processes that were started with the mark, without this one."""
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                yield process
        except psutil.Error:
            # It has ended, or it belongs to another user.
            continue


def main(mark: str) -> None:
    sys.stdin.read()
    for _ in range(TRIES):
        left = list(marked(mark))
        for process in left:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        if not left:
            return
        time.sleep(PAUSE)


if __name__ == "__main__":
    main(sys.argv[1])
