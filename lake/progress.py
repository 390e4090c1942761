"""Progress on standard error: a bar on a terminal, a line every ten seconds in a log."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from tqdm import tqdm

LOOK_SECONDS = 1.0
LOG_SECONDS = 10.0


class Lines:
    """A log for tqdm that gets each state as a new line, where a terminal would overwrite the last one."""

    def __init__(self, log: TextIO) -> None:
        self._log = log
        self.encoding = log.encoding

    def write(self, text: str) -> None:
        if state := text.strip():
            self._log.write(f"{state}\n")

    def flush(self) -> None:
        self._log.flush()


def progress(step: str, total: int | None, unit: str) -> tqdm:
    """A tqdm counter, to be used as a context manager. `total` is None if the end is unknown."""
    labels = {"total": total, "desc": step, "unit": f" {unit}"}
    if sys.stderr.isatty():
        return tqdm(**labels, file=sys.stderr, mininterval=0.5, dynamic_ncols=True, leave=False)
    # `miniters` keeps tqdm's thread from writing between two lines; `position` keeps it from moving the cursor when two
    # steps run at once.
    return tqdm(**labels, file=Lines(sys.stderr), mininterval=LOG_SECONDS, miniters=1, position=0)


@contextmanager
def watched(step: str, total: int | None, unit: str, look: Callable[[tqdm], None]) -> Iterator[None]:
    """Show progress of work that runs elsewhere: every second, a thread calls `look` to update the counter."""
    over = threading.Event()

    def watch() -> None:
        with progress(step, total, unit) as bar:
            while not over.wait(LOOK_SECONDS):
                look(bar)
            # The last line of a log shows the end.
            look(bar)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
