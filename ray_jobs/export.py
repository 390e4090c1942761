"""Export: write the trained weights and the tokenizer as a Hugging Face folder, if the logits of both models agree."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import ray

from lake.dataset import Output
from lake.files import sha256
from lake.step import Body, Kind, Outcome, Step
from mixing.instructions.template import ChatTemplate
from mixing.shards import FOLDER_OF_SHARDS, read_index_in, read_tokens
from mixing.split import TRAIN
from mixing.tokenizer.kept import settings_of, write_settings
from mixing.tokenizer.tokenizer import Tokenizer
from ray_jobs.finetune import recipe_of, started_from
from ray_jobs.instruct import PACKED, kept_settings
from ray_jobs.pretrain import check_shards
from train.families import config_of
from train.history import CHECKPOINTS, MODEL, check_checkpoints, checkpoints, newest
from train.recipe import ExportSettings, Llama, Recipe

if TYPE_CHECKING:
    from train.convert import Gate, Tuned

ADAPTERS = "adapters"
"""The folder of adapters beside the model."""

Tokens = npt.NDArray[np.int64]
"""Ids [sequences, length]."""

LONGEST = 1024
"""Tokens of a sequence at the gate: its logits are in memory, and more tokens show nothing new."""


def export(step: Step[ExportSettings]) -> Outcome:
    """Write `model/`. It appears under that name once it has passed the gate.

    Raises:
        ParityError: the exported model is not the trained one (train/gate.py), or a weight is not finite.
    """
    return Outcome(figures=export_in_a_process(export_job(step, step.settings)))


def export_job(step: Step[Any], settings: ExportSettings) -> "ExportJob":
    """The export of the last checkpoint to the step's output."""
    trained = step.input("trained")
    last = newest(checkpoints(trained.output.local(CHECKPOINTS))).checkpoint
    recipe = recipe_of(trained)
    assert last is not None, "check_trained has seen it"
    assert recipe is not None, "what is trained has its rows"
    if "continued" in trained.inputs:
        # Short rows do not shorten what the model takes.
        longest = max(recipe.sequence, trained.input("continued").settings.sequence)
        recipe = recipe.model_copy(update={"sequence": longest})
    return ExportJob(
        recipe,
        settings.tolerance,
        last,
        step.inputs["base"].output.local(MODEL) if "base" in step.inputs else None,
        partial(_of_rows if "rows" in step.inputs else _of_shard, step, recipe.sequence, settings.sequences),
        step.input("tokenizer").output,
        step.output.local(MODEL),
        _tuning(step, trained) if "rows" in step.inputs else None,
    )


def _tuning(step: Step[Any], trained: Step[Any]) -> "Tuning":
    template = ChatTemplate.of(Tokenizer.of(step.input("tokenizer").output), kept_settings(step))
    origin = str(trained.input("base").output.local(MODEL)) if "base" in trained.inputs else ""
    return Tuning(started_from(trained), origin, template.turn_end)


def export_in_a_process(job: "ExportJob") -> dict[str, Any]:
    """Run the job in a process of its own: Megatron's process groups and stand-ins for CUDA end with it."""
    return ray.get(ray.remote(num_cpus=1, max_calls=1)(ExportJob.run).remote(job))


def check_trained(step: Step[Any]) -> None:
    """Check the shards, where training reads them, and the checkpoints if training is done.

    Raises:
        UserError: a shard is broken, or no checkpoint is whole.
    """
    if "shards" in step.inputs:
        check_shards(step)
    trained = step.input("trained")
    if trained.done:
        check_checkpoints(trained.output.local())


EXPORT = Body[ExportSettings](export, Kind.EXPORT, "ray + torch", 2, check=check_trained)


class Like(NamedTuple):
    """What a folder starts from: config.json, generation_config.json, and the settings of the base's tokenizer."""

    config: Mapping[str, Any]
    generation: Mapping[str, Any]
    tokenizer: Mapping[str, Any]

    def ending_with(self, *ends: int) -> Self:
        """The same, whose texts also end with these tokens."""
        config, generation = (
            dict(of) | {"eos_token_id": _all_ends(of, ends)} if of else of for of in (self.config, self.generation)
        )
        return self._replace(config=config, generation=generation)


def _all_ends(config: Mapping[str, Any], ends: Sequence[int]) -> int | list[int]:
    known = config.get("eos_token_id")
    listed = known if isinstance(known, list) else [known] if known is not None else []
    every = list(dict.fromkeys([*ends, *listed]))
    return every if len(every) > 1 else every[0]


class Tuning(NamedTuple):
    """What a fine-tuning began with: a Megatron checkpoint, and its Hugging Face folder or "" where there is none; and
    the token with which its answers end."""

    checkpoint: Path
    model: str
    turn_end: int


@dataclass(frozen=True)
class ExportJob:
    """`checkpoint` is exported. `base` is the folder of the base model with the project's tokenizer, if any.

    `sample` gives the tokens for the gate, and `model` is the folder to write. The adapters of a `tuning` are merged
    into what it began with, and written beside the model as peft reads them.
    """

    recipe: Recipe
    tolerance: float
    checkpoint: Path
    base: Path | None
    sample: Callable[[], Tokens]
    tokenizer: Output
    model: Path
    tuning: Tuning | None = None

    def run(self) -> dict[str, Any]:
        """Write the model. Returns the step's figures."""
        import torch

        from train.convert import Gate, Tuned
        from train.hf import read_configs
        from train.peft import to_peft

        made, shape = Tokenizer.of(self.tokenizer), self.recipe.model
        if self.base is None:
            like = Like(config_of(shape, made.vocab_size, self.recipe.sequence), {"_from_model_config": True}, {})
        else:
            like = Like(*read_configs(self.base), settings_of(self.base))
        gate = Gate(torch.from_numpy(self.sample()), self.tolerance)
        tuning, lora = self.tuning, self.recipe.lora
        if tuning is not None:
            like = like.ending_with(made.eod, tuning.turn_end)
        if tuning is None or lora is None:
            return write_model(self.checkpoint, shape, made, like, gate, self.model, "export")
        tuned = Tuned(lora, self.checkpoint)
        figures = write_model(tuning.checkpoint, shape, made, like, gate, self.model, "export", tuned)
        adapters = self.model.with_name(ADAPTERS)
        shutil.rmtree(adapters, ignore_errors=True)
        return figures | {"adapters": to_peft(self.checkpoint, shape, lora, adapters, tuning.model)}


def _of_shard(step: Step[Any], longest: int, sequences: int) -> Tokens:
    """From the start of a shard."""
    folder = step.input("shards").output.below(FOLDER_OF_SHARDS)
    shard = next(row["name"] for row in step.input("shards").manifest().figures["shards"] if row["split"] == TRAIN)
    available = read_index_in(folder, shard).tokens
    length = min(longest, LONGEST, available)
    whole = max(1, min(sequences, available // length))
    return read_tokens(folder, shard, 0, whole * length).reshape(whole, length).astype(np.int64)


def _of_rows(step: Step[Any], longest: int, sequences: int) -> Tokens:
    """From the start of the first rows of instructions."""
    from train.rows import Table

    output, split = step.input("rows").output, PACKED[TRAIN]
    rows = Table(output, split, output.parts(split))
    ids = [rows.row(number)[0] for number in range(min(sequences, len(rows)))]
    return np.stack(ids)[:, : min(longest, LONGEST)].astype(np.int64)


def write_model(
    checkpoint: Path,
    shape: Llama,
    made: Tokenizer,
    like: Like,
    gate: "Gate",
    model: Path,
    label: str,
    tuned: "Tuned | None" = None,
) -> dict[str, Any]:
    """Write the Hugging Face folder `model` of a Megatron checkpoint, and return the figures of a step.

    Adapters that were `tuned` on the checkpoint are merged into it.

    Raises:
        ParityError: the folder did not pass the gate; it stays under a name with a dot.
    """
    from train.convert import Target, to_hf
    from train.weights import ParityError

    draft = model.with_name(f".{model.name}")
    shutil.rmtree(draft, ignore_errors=True)
    shutil.rmtree(model, ignore_errors=True)
    target = Target(draft, like.config, made.vocab_size, made.eod, made.pad, like.generation)
    try:
        figures = to_hf(checkpoint, shape, target, gate, label, tuned=tuned)
    except ParityError as error:
        raise ParityError(f"{error}; the rejected model is in {draft}") from None
    made.save(draft)
    write_settings(draft, like.tokenizer)
    draft.rename(model)
    files = sorted(path for path in model.iterdir() if path.is_file())
    return {
        **figures,
        "config": json.loads((model / "config.json").read_text(encoding="utf-8")),
        "files": {path.name: sha256(path) for path in files},
    }
