"""What the commands of `gap` share: arguments, one-line errors, the config, tables."""

import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from types import FrameType
from typing import Any

import click
import ray

from gap.config import Config
from gap.orphans import no_orphans
from lake.config import load
from lake.error import UserError
from ray_jobs import cluster
from ray_jobs.cluster import RaySettings

BAD_USE = 2
OTHER_ERROR = 1
FULL_DISK = tuple(map(os.strerror, (errno.ENOSPC, errno.EDQUOT)))
"""What any engine's error says of a full disk."""

CONFIG = click.argument("config", metavar="CONFIG")
OVERRIDES = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")


def user_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Turn a UserError into one line and exit code 2, Ctrl-C and SIGTERM into one with 130 and 143. Other errors keep
    their traceback, but a full disk is one line with exit code 1.
    """

    @wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            with _terminable():
                command(*args, **kwargs)
        except UserError as error:
            # Ray adds the worker's traceback to a task's error; the cause is the line to show.
            click.echo(f"gap: {getattr(error, 'cause', error)}", err=True)
            sys.exit(BAD_USE)
        except KeyboardInterrupt as end:
            number = signal.SIGTERM if isinstance(end, _Terminated) else signal.SIGINT
            told = "what is done is kept; give the same command again to go on"
            click.echo(f"gap: ended by {number.name}: {told}", err=True)
            sys.exit(128 + number)
        except Exception as error:  # raised again unless a disk is full
            reason = next((reason for reason in FULL_DISK if reason in str(error)), None)
            if reason is None:
                raise
            told = f"{reason}: what is done is kept; free some space and give the same command again"
            click.echo(f"gap: {told}", err=True)
            sys.exit(OTHER_ERROR)

    return guarded


class _Terminated(KeyboardInterrupt):
    """SIGTERM ends a command as Ctrl-C does."""


def _terminate(number: int, frame: FrameType | None) -> None:
    raise _Terminated


@contextmanager
def _terminable() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def load_config(config: str, overrides: Sequence[str]) -> Config:
    return load(config, overrides, Config)


@contextmanager
def ray_up(settings: RaySettings) -> Iterator[None]:
    """Run the block with Ray up. What Ray started ends with it."""
    with no_orphans():
        try:
            cluster.start(settings)
            yield
        finally:
            ray.shutdown()


RULE = "-"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: set[int]) -> str:
    """Lay out text columns, each as wide as its widest cell. Columns in `right` are aligned right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]

    def line(row: Sequence[str]) -> str:
        cells = [f"{cell:{'>' if column in right else '<'}{widths[column]}}" for column, cell in enumerate(row)]
        return "  ".join(cells).rstrip()

    return "\n".join([line(head), "  ".join(RULE * width for width in widths), *map(line, rows)])
