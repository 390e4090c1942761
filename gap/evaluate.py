"""`gap evaluate`: ask any models the questions of a config, one after the other."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import click

from eval.answers import SCORES
from eval.ask import Sample, samples
from eval.protocol import protocol_file
from eval.questions import raw_files
from eval.score import printed
from gap.command import CONFIG, load_config, ray_up, user_errors
from gap.config import Config
from gap.score import output_at
from lake.dataset import Output
from lake.error import UserError
from lake.files import digest
from ray_jobs.evaluate import EVALUATE, Exam


@click.command()
@CONFIG
@click.argument("words", nargs=-1, required=True, metavar="MODEL... [KEY=VALUE]...")
@click.option("--to", default="evaluations", show_default=True, help="The folder that gets a folder for each model.")
@user_errors
def evaluate(config: str, words: tuple[str, ...], to: str) -> None:
    """Ask each MODEL, a Hugging Face folder, the questions of the config's section `evaluate`.

    Nothing else of the config is run, so a model from anywhere can be asked, and other questions than those that a
    training was kept clean of. For the same reason no question counts as quoted. A model that was asked before, in the
    same way, is not asked again; one that was interrupted goes on.

    \b
    Examples:
      gap evaluate configs/smollm2.yaml models/base models/tuned
      gap evaluate configs/smollm2.yaml models/base evaluate.benchmarks='[{task: gsm8k, mode: thought}]'
      gap compare evaluations/base-* evaluations/tuned-*
    """
    loaded = load_config(config, [word for word in words if "=" in word])
    models = [Path(word) for word in words if "=" not in word]
    if missing := next((model for model in models if not (model / "config.json").is_file()), None):
        raise UserError(f"{missing}: no config.json in it; give the folder of a Hugging Face model")
    asked = samples(loaded.evaluate, loaded.data)
    places = {model: output_at(to).below(f"{_name(model)}-{_fingerprint(loaded, model)}") for model in models}
    waiting = {model: place for model, place in places.items() if not place.exists(SCORES)}
    if waiting:
        output_at(to).check_writable("--to")
        _ask(loaded, asked, waiting)
    for model, place in places.items():
        click.echo(f"\n{model}{'' if model in waiting else '  (done before)'}: {place.root}\n")
        click.echo(printed(place.read_json(SCORES)))


def _ask(config: Config, asked: Sequence[Sample], waiting: dict[Path, Output]) -> None:
    with ray_up(config.ray):
        for model, place in waiting.items():
            exam = Exam(_name(model), config.evaluate, config.data, asked, {})
            exam.hold(model, place, {"model": _weights(model)})


def _name(model: Path) -> str:
    """A run calls the folder itself `model`."""
    whole = model.resolve()
    return whole.parent.name if whole.name == "model" else whole.name


def _weights(model: Path) -> str:
    files = sorted(path for path in model.iterdir() if path.is_file())
    return hashlib.sha256(json.dumps([[path.name, digest(path)] for path in files]).encode()).hexdigest()[:12]


def _fingerprint(config: Config, model: Path) -> str:
    """Of all that the scores follow from."""
    protocols = sorted({protocol_file(benchmark.protocol) for benchmark in config.evaluate.benchmarks})
    files = [digest(path) for path in (*raw_files(config.evaluate, config.data), *protocols)]
    whole = [EVALUATE.version, config.evaluate.model_dump(mode="json"), files, _weights(model)]
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:12]
