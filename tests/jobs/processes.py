"""The processes that Ray works in."""

from contextlib import suppress

import psutil


def ray_workers(title: str) -> list[psutil.Process]:
    """Those below this process whose title begins so. Other runs on the machine have workers of the same titles."""
    workers: dict[int, psutil.Process] = {}
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has ended
            # While a worker starts a program, it has a child with its own title.
            if process.name().startswith(title) and process.ppid() not in workers:
                workers[process.pid] = process
    return list(workers.values())
