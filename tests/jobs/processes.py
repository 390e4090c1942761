"""The processes that Ray works in."""

from contextlib import suppress

import psutil


def ray_workers(title: str) -> list[psutil.Process]:
    """Those below this process whose title begins so. Other runs on the machine have workers of the same titles."""
    workers = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has ended
            if process.name().startswith(title):
                workers.append(process)
    return workers
