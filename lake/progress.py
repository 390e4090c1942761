"""Progress on standard error: a bar on a terminal, a line every few seconds in a log."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

LOOK_SECONDS = 1.0


def progress(step: str, total: int | None, unit: str) -> tqdm:
    """A tqdm counter to be used as a context manager; `total` None where the end is unknown."""
    return tqdm(
        total=total,
        desc=step,
        unit=f" {unit}",
        file=sys.stderr,
        mininterval=0.5 if sys.stderr.isatty() else 10,
        dynamic_ncols=True,
        leave=False,
    )


@contextmanager
def watched(step: str, total: int | None, unit: str, look: Callable[[tqdm], None]) -> Iterator[None]:
    """Progress of work that is done elsewhere: `look` brings the counter up to date, every second, in a thread."""
    over = threading.Event()

    def watch() -> None:
        with progress(step, total, unit) as bar:
            while not over.wait(LOOK_SECONDS):
                look(bar)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
