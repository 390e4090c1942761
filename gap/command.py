"""What the commands of `gap` share: arguments, one-line errors, the config, tables."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any

import click
import ray

from gap.config import Config
from lake.config import load
from lake.error import UserError
from ray_jobs import cluster
from ray_jobs.cluster import RaySettings

BAD_USE = 2
CONFIG = click.argument("config", metavar="CONFIG")
OVERRIDES = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")


def user_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Turn a UserError into one line and exit code 2. Other errors keep their traceback."""

    @wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except UserError as error:
            # Ray adds the worker's traceback to a task's error; the cause is the line to show.
            click.echo(f"gap: {getattr(error, 'cause', error)}", err=True)
            sys.exit(BAD_USE)

    return guarded


def load_config(config: str, overrides: Sequence[str]) -> Config:
    return load(config, overrides, Config)


@contextmanager
def ray_up(settings: RaySettings) -> Iterator[None]:
    """Run the block with Ray up."""
    cluster.start(settings)
    try:
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
