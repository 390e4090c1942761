"""What the commands of `gap` share: arguments, one line for what a user can mend, the config, tables."""

import difflib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any

import click

from gap.config import Config
from lake.config import load
from lake.error import UserError

BAD_USE = 2
CONFIG = click.argument("config", metavar="CONFIG")
OVERRIDES = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")


def user_errors(command: Callable[..., None]) -> Callable[..., None]:
    """One line and exit code 2 for what the user can mend; anything else keeps its traceback."""

    @wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except UserError as error:
            # Ray hands on a task's error with the worker's traceback; its cause is the line to show.
            click.echo(f"gap: {getattr(error, 'cause', error)}", err=True)
            sys.exit(BAD_USE)

    return guarded


def load_config(config: str, overrides: Sequence[str]) -> Config:
    return load(config, overrides, Config)


def nearest(name: str, known: Iterable[str]) -> str:
    """Advice to add to a message about a name that is not known; empty where no known one is like it."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


@contextmanager
def ray_up(config: Config) -> Iterator[None]:
    """Ray as the config says, for the time of the block."""
    from gap.run import Engines

    with Engines(config) as engines:
        engines.start("ray")
        yield


RULE = "-"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: set[int]) -> str:
    """Text columns as wide as their widest cell; columns in `right` are aligned right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]

    def line(row: Sequence[str]) -> str:
        sized = [cell.rjust(width) if column in right else cell.ljust(width) for column, (cell, width) in pairs(row)]
        return "  ".join(sized).rstrip()

    def pairs(row: Sequence[str]) -> Iterator[tuple[int, tuple[str, int]]]:
        return enumerate(zip(row, widths, strict=True))

    return "\n".join([line(head), "  ".join(RULE * width for width in widths), *map(line, rows)])
