"""The processes of a Ray that the tests started."""

from contextlib import suppress

import psutil


def ray_workers(title: str) -> list[psutil.Process]:
    """Those below this process whose title begins so. Other runs on the machine have workers of the same titles."""
    titled: set[int] = set()
    workers = []
    for process in psutil.Process().children(recursive=True):  # parents before children
        with suppress(psutil.NoSuchProcess):  # it has ended
            if process.name().startswith(title):
                titled.add(process.pid)
                # While a worker starts a program, all it forks, to any depth, has its own title.
                if process.ppid() not in titled:
                    workers.append(process)
    return workers
