"""`gap serve`: OpenAI's API and a chat page for the models of a run, or for any Hugging Face folders."""

from pathlib import Path

import click
from pydantic import Field

from gap.command import load_config, user_errors
from gap.serve.keys import Keys
from gap.serve.settings import ServeSettings
from lake.config import Settings, default
from lake.error import UserError
from ray_jobs.cluster import RaySettings


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
    # Asked late, for these take seconds to import.
    from gap.serve import choosing
    from gap.serve.server import run

    choices = choosing.of_folders(folders)
    settings: Alone
    if files:
        config = load_config(files[0], overrides)
        choices = [*choosing.of_run(config, files[0], files[1:]), *choices]
        settings = Alone(ray=config.ray, serve=config.serve)
    else:
        settings = default(overrides, Alone)
    models = choosing.checked(choices, settings.serve, choosing.on_cpu(settings.ray.address))
    run(models, settings.ray, settings.serve, keys, host, port)
