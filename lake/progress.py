"""Progress on standard error: a bar on a terminal, a line every few seconds in a log."""

import sys

from tqdm import tqdm


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
