"""`gap serve`: OpenAI's API and a chat page for the models of a run, or for any Hugging Face folders."""

import gc
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click
import uvicorn
from pydantic import Field

from gap.command import load_config, ray_up, user_errors
from gap.serve import choosing
from gap.serve.api import create_app
from gap.serve.desk import Desk
from gap.serve.guard import LOOPBACK, Guard
from gap.serve.keys import VARIABLE, Keys
from gap.serve.settings import ServeSettings
from lake.config import Settings, default
from lake.error import UserError
from ray_jobs.cluster import RaySettings

END_SECONDS = 2
"""How long open connections may go on after Ctrl-C or SIGTERM."""


class Alone(Settings):
    """What is set where folders are served without a config."""

    ray: RaySettings = Field(default_factory=RaySettings)
    serve: ServeSettings = Field(default_factory=ServeSettings)


@click.command()
@click.argument("words", nargs=-1, metavar="[CONFIG] [MODEL]... [KEY=VALUE]...")
@click.option(
    "--model",
    "folders",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A Hugging Face folder; may be given several times.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Another than loopback has no TLS by itself.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535))
@click.option("--no-advisory", is_flag=True, help="Do not put the safety advisory before every chat.")
@user_errors
def serve(words: tuple[str, ...], folders: tuple[Path, ...], host: str, port: int, no_advisory: bool) -> None:
    """Serve models: OpenAI's API below /v1, and a chat page at /.

    Without MODEL, all models of the run that are there are served: `base`, and each training by its name. Whoever asks
    needs a key. The keys come from the environment variable GAP_API_KEY, several separated by commas. The config's
    section `serve` has limits and engines, docs/serving.md examples and metrics.

    \b
    Examples:
      export GAP_API_KEY=$(openssl rand -hex 24)
      gap serve configs/demo.yaml
      gap serve configs/smollm2-tuned.yaml base finetune serve.limits.at_once=8
      gap serve --model models/tuned --port 9000
    """
    keys = Keys.taken_from_environment()
    files = [word for word in words if "=" not in word]
    overrides = [word for word in words if "=" in word] + ["serve.advisory=false"] * no_advisory
    if not files and not folders:
        raise UserError("name a config or a folder: gap serve CONFIG [MODEL]..., or gap serve --model FOLDER")
    choices = choosing.of_folders(folders)
    settings: Alone
    if files:
        config = load_config(files[0], overrides)
        choices = [*choosing.of_run(config, files[0], files[1:]), *choices]
        settings = Alone(ray=config.ray, serve=config.serve)
    else:
        settings = default(overrides, Alone)
    models = choosing.checked(choices, settings.serve, choosing.on_cpu(settings.ray.address))
    with _listening(host, port) as listener, _ends_on_sigterm(), ray_up(settings.ray):
        # Only now, for Ray sets a handler of its own when it starts.
        signal.signal(signal.SIGTERM, _end)
        from gap.serve.deployment import deployed
        from gap.serve.page import add_page

        click.echo(f"Loading {', '.join(model.name for model, _ in models)} ...")
        with deployed([folder for _, folder in models], settings.serve) as engines:
            desk = Desk({model.name: model for model, _ in models}, engines, settings.serve.limits)
            app = create_app(desk)
            add_page(app, desk)
            loopback = host in LOOPBACK
            guarded = Guard(app, keys, settings.serve.limits.body_kb * 1000, loopback)
            _announce(desk, host, port, loopback)
            _Server(guarded).run([listener])
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

    def __init__(self, app: Guard) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                server_header=False,
                date_header=False,
                timeout_graceful_shutdown=END_SECONDS,
            )
        )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn's own would raise a caught SIGTERM again, which would end the process before its engines."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.handle_exit)
        yield
