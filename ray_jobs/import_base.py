"""Import: turn the base model into a Megatron checkpoint to start from, and into a folder to hold results against."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

from lake.dataset import Output
from lake.error import UserError
from lake.marks import FORMAT_TOKENS
from lake.step import Body, Kind, Outcome, Step
from mixing.tokenizer.build import GGUF, TokenizerSettings, adopted_size, package_file
from mixing.tokenizer.chatml import CHAT_TOKENS
from mixing.tokenizer.kept import base_settings
from mixing.tokenizer.tokenizer import Tokenizer
from ray_jobs.export import Like, write_model
from ray_jobs.pretrain import MEGATRON
from train.families import CONFIG, read_config, shape_of
from train.history import MODEL
from train.recipe import BaseSettings, Llama

if TYPE_CHECKING:
    from train.hf import Model

LONGEST = 512
"""Tokens at the gate."""


def import_base(step: Step[BaseSettings], model: Llama) -> Outcome:
    """Write `megatron/`, weights only, and `model/`, the base with the project's tokenizer. Both have passed the gate.

    `model` is the architecture that is to be trained.

    Raises:
        UserError: the base is missing, of another architecture, or cannot be converted.
        ParityError: a converted model is not the base.
    """
    job = ImportJob(step.settings, step.input("tokenizer").output, step.output.local())
    return Outcome(figures=ray.get(ray.remote(num_cpus=1, max_calls=1)(ImportJob.run).remote(job)))


def check(step: Step[BaseSettings], model: Llama) -> None:
    """Compare the base with the recipe, and its weights with its config, before any engine starts.

    Raises:
        UserError: as `import_base`.
    """
    if step.done:
        return
    settings = step.settings
    found = shape_of_base(settings)
    wanted, own = model.model_dump(), found.model_dump()
    if different := [f"{key} is {wanted[key]}, in the base {own[key]}" for key in own if own[key] != wanted[key]]:
        raise UserError(f"pretrain.model: not the architecture of the base; {'; '.join(different)}")
    if settings.path is not None:
        open_base(settings).check()


IMPORT = Body[BaseSettings](import_base, Kind.BASE, "ray + torch", 1, check=check)


def place_of(settings: BaseSettings) -> Path:
    """The folder, or the GGUF file.

    Raises:
        UserError: it is not there.
    """
    if settings.path is not None:
        folder = Path(settings.path)
        if not (folder / CONFIG).is_file():
            raise UserError(f"base.path: {folder} has no {CONFIG}; give the folder of a Hugging Face model")
        return folder
    assert settings.package is not None
    file = package_file(settings.package, "base.package")
    if file.suffix != GGUF or not file.is_file():
        raise UserError(f"base.package: {settings.package} is no GGUF file of a package; write package/file.gguf")
    return file


def files_of(settings: BaseSettings) -> list[Path]:
    """The files that determine what is imported.

    Raises:
        UserError: the base or a shard of its weights is missing.
    """
    place = place_of(settings)
    if place.is_file():
        return [place]
    from train.hf import weight_files

    beside = [*place.glob("*.json"), *place.glob("*.jinja")]
    return sorted({*beside, *weight_files(place)})


def shape_of_base(settings: BaseSettings) -> Llama:
    """The architecture that the base's config describes.

    Raises:
        UserError: the base is missing, or cannot be converted.
    """
    place = place_of(settings)
    if place.is_dir():
        return shape_of(read_config(place), str(place / CONFIG))
    from train.hf import gguf_config

    return shape_of(gguf_config(place), str(place))


def open_base(settings: BaseSettings) -> "Model":
    """Raises UserError as `place_of` and `train.hf`."""
    from train.hf import open_folder, open_gguf

    place = place_of(settings)
    return open_folder(place) if place.is_dir() else open_gguf(place)


@dataclass(frozen=True)
class ImportJob:
    """`folder` is the step's."""

    settings: BaseSettings
    tokenizer: Output
    folder: Path

    def run(self) -> dict[str, Any]:
        """Write both folders. Returns the step's figures."""
        from train.convert import Gate, rows_of, to_megatron
        from train.gate import sample

        made, base = Tokenizer.of(self.tokenizer), open_base(self.settings)
        base.check()
        adopted = TokenizerSettings(path=self.settings.path, package=self.settings.package)
        vocabulary = made.backend.get_vocab(with_added_tokens=True)
        used = [vocabulary[token] for token in (*FORMAT_TOKENS, *CHAT_TOKENS, made.end, made.padding)]
        rows = rows_of(base, made.vocab_size, adopted_size(adopted), used)
        longest = min(LONGEST, base.shape.window or LONGEST)
        tokens = sample(lambda text: made.encode([text])[0].tolist(), rows)[:, :longest]
        gate = Gate(tokens, self.settings.tolerance)

        checkpoint = self.folder / MEGATRON
        draft = checkpoint.with_name(f".{MEGATRON}")
        for left in (draft, checkpoint):
            shutil.rmtree(left, ignore_errors=True)
        figures = to_megatron(base, draft, rows, gate, "import")
        draft.rename(checkpoint)
        like = Like(base.config, base.generation, base_settings(adopted))
        written = write_model(checkpoint, base.shape, made, like, gate, self.folder / MODEL, "import")
        return {**figures, "config": written["config"], "files": written["files"]}
