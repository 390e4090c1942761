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
    """A log as tqdm writes to it: every state a line, where a terminal would have it written over the one before."""

    def __init__(self, log: TextIO) -> None:
        self._log = log
        self.encoding = log.encoding

    def write(self, text: str) -> None:
        if state := text.strip():
            self._log.write(f"{state}\n")

    def flush(self) -> None:
        self._log.flush()


def progress(step: str, total: int | None, unit: str) -> tqdm:
    """A tqdm counter to be used as a context manager; `total` None where the end is unknown."""
    shown = {"total": total, "desc": step, "unit": f" {unit}"}
    if sys.stderr.isatty():
        return tqdm(**shown, file=sys.stderr, mininterval=0.5, dynamic_ncols=True, leave=False)
    # The last state stays. With `miniters` no thread of tqdm's writes between two lines, with `position` it moves no
    # cursor where two steps are counted at once.
    return tqdm(**shown, file=Lines(sys.stderr), mininterval=LOG_SECONDS, miniters=1, position=0)


@contextmanager
def watched(step: str, total: int | None, unit: str, look: Callable[[tqdm], None]) -> Iterator[None]:
    """Progress of work that is done elsewhere: `look` brings the counter up to date, every second, in a thread."""
    over = threading.Event()

    def watch() -> None:
        with progress(step, total, unit) as bar:
            while not over.wait(LOOK_SECONDS):
                look(bar)
            # Once more, for the last line of a log.
            look(bar)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
