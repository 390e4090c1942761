"""The server of `gap serve`: the port, Ray, the engines and the ingress, and their end in order."""

import gc
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import click
import uvicorn

from gap.command import ray_up
from gap.serve.api import create_app
from gap.serve.deployment import Deployed, deployed
from gap.serve.desk import Desk
from gap.serve.guard import LOOPBACK, Guard
from gap.serve.keys import VARIABLE, Keys
from gap.serve.models import Model
from gap.serve.page import add_page
from gap.serve.settings import ServeSettings
from lake.error import UserError
from ray_jobs.cluster import RaySettings


def run(
    models: Sequence[tuple[Model, Deployed]],
    ray: RaySettings,
    settings: ServeSettings,
    keys: Keys,
    host: str,
    port: int,
) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Raises:
        UserError: the port is taken.
    """
    with _listening(host, port) as listener, _ends_on_sigterm(), ray_up(ray):
        # Only now, for Ray sets a handler of its own when it starts.
        signal.signal(signal.SIGTERM, _end)
        click.echo(f"Loading {', '.join(model.name for model, _ in models)} ...")
        with deployed([folder for _, folder in models], settings) as engines:
            desk = Desk({model.name: model for model, _ in models}, engines, settings.limits)
            app = create_app(desk)
            add_page(app, desk)
            loopback = host in LOOPBACK
            _announce(desk, host, port, loopback)
            _Server(Guard(app, keys, settings.limits.body_kb * 1000, loopback).config()).run([listener])
    # The interpreter would walk through all of vLLM's objects once more, for seconds.
    gc.freeze()


def _announce(desk: Desk, host: str, port: int, loopback: bool) -> None:
    shown = f"[{host}]" if ":" in host else host
    if not loopback:
        warning = f"gap: {host} is open to other machines, and there is no TLS: put a proxy with TLS before it"
        click.echo(warning, err=True)
    click.echo(f"API      http://{shown}:{port}/v1, with a key of {VARIABLE}")
    click.echo(f"Page     http://{shown}:{port}/, any name, and the key as the password")
    for model in desk.models.values():
        click.echo(f"Model    {model.name}, {model.context:,} tokens")
    click.echo("Ctrl-C ends it.")


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """The port, taken before anything is loaded.

    Raises:
        UserError: another program has it, or it may not be taken.
    """
    try:
        (family, *_, address) = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.create_server(address[:2], family=family, backlog=128) as listener:
            yield listener
    except (OSError, OverflowError) as error:
        raise UserError(f"{host}:{port} cannot be listened on: {error}; choose another --port") from None


def _end(number: int, _: FrameType | None) -> None:
    raise SystemExit(0)


@contextmanager
def _ends_on_sigterm() -> Iterator[None]:
    """SIGTERM and Ctrl-C alike end the block in order."""
    before = signal.signal(signal.SIGTERM, _end)
    try:
        yield
    except KeyboardInterrupt:
        raise SystemExit(0) from None
    finally:
        signal.signal(signal.SIGTERM, before)


class _Server(uvicorn.Server):
    """uvicorn, which ends in order on the first signal and at once on the second."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn's own would raise a caught SIGTERM again, which would end the process before its engines."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.handle_exit)
        yield
