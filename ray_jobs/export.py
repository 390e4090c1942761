"""Export: the trained weights as a Hugging Face folder with its tokenizer, let through only if its logits agree."""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray

from lake.dataset import Output
from lake.step import Body, Kind, Outcome, Step
from mixing.shards import FOLDER_OF_SHARDS, read_index_in, read_tokens
from mixing.split import TRAIN
from mixing.tokenizer.tokenizer import Tokenizer
from ray_jobs.pretrain import check_shards, vocabulary
from train.recipe import ExportSettings, Recipe

MODEL = "model"


def export(step: Step[ExportSettings]) -> Outcome:
    """Write `model/`; it appears under that name once the gate is passed.

    Raises:
        ParityError: the logits of the trained and the written model differ by more than the tolerance.
    """
    trained = step.input("trained")
    shards = step.input("shards").manifest().figures["shards"]
    sample = next(one["name"] for one in shards if one["split"] == TRAIN)
    job = ExportJob(
        trained.settings,
        step.settings,
        trained.output.local(),
        step.input("shards").output.below(FOLDER_OF_SHARDS),
        sample,
        step.input("tokenizer").output,
        step.output.local(MODEL),
    )
    # Of its own process: Megatron's process groups and stand-ins for CUDA end with it.
    return Outcome(figures=ray.get(ray.remote(num_cpus=1, max_calls=1)(ExportJob.run).remote(job)))


EXPORT = Body[ExportSettings](export, Kind.EXPORT, "ray + torch", 2, check=check_shards)


@dataclass(frozen=True)
class ExportJob:
    """`trained` is the pretrain step's folder, `shard` the name of one of `shards`, `model` the folder to write."""

    recipe: Recipe
    settings: ExportSettings
    trained: Path
    shards: Output
    shard: str
    tokenizer: Output
    model: Path

    def run(self) -> dict[str, Any]:
        """The figures of the step."""
        import torch

        from train import convert
        from train.data import Vocabulary

        made = Tokenizer.of(self.tokenizer)
        known: Vocabulary = vocabulary(made)
        tokens = torch.from_numpy(self._sample().astype(np.int64))
        weights, trained = self._trained(tokens, known.vocab_size)

        draft = self.model.with_name(f".{self.model.name}")
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(self.model, ignore_errors=True)
        parameters = convert.write_hf(draft, weights, self.recipe.model, known, self.recipe.sequence)
        made.save(draft)
        written = convert.load_hf(draft)
        with torch.no_grad():
            found = convert.parity(trained, written(tokens).logits)
        if found.max_logit_difference > self.settings.tolerance:
            raise convert.ParityError(
                f"export: logits differ by up to {found.max_logit_difference:.2e}, more than export.tolerance "
                f"{self.settings.tolerance:.0e}; the model written is in {draft}"
            )
        draft.rename(self.model)
        files = sorted(path for path in self.model.iterdir() if path.is_file())
        return {
            "parameters": parameters,
            "vocab_size": known.vocab_size,
            "sequences": len(tokens),
            "tolerance": self.settings.tolerance,
            "max_logit_difference": found.max_logit_difference,
            "argmax_agreement": found.argmax_agreement,
            "config": json.loads((self.model / "config.json").read_text(encoding="utf-8")),
            "files": {path.name: _sha256(path) for path in files},
        }

    def _sample(self) -> Any:
        """Token ids [sequences, length] from the beginning of the shard."""
        length = self.recipe.sequence
        available = read_index_in(self.shards, self.shard).tokens
        sequences = max(1, min(self.settings.sequences, available // length))
        length = min(length, available)
        return read_tokens(self.shards, self.shard, 0, sequences * length).reshape(sequences, length)

    def _trained(self, tokens: Any, vocab_size: int) -> tuple[dict[str, Any], Any]:
        """Hugging Face's weights of the last checkpoint, and its logits without those that pad the vocabulary."""
        import torch
        import torch.distributed as dist

        from train import checkpoint, convert
        from train.cpu import cudaless
        from train.loop import CHECKPOINTS
        from train.model import DTYPES, build, initialise

        recipe = self.recipe
        newest = checkpoint.latest(self.trained / CHECKPOINTS)
        assert newest is not None, "pretrain is done, so its last checkpoint is there"
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
        with cudaless(), torch.no_grad():
            initialise(1, 0)
            # In float32 whatever the training's precision: the gate compares models, not roundings.
            model = build(recipe.model, vocab_size, recipe.sequence, 1, "float32").eval()
            checkpoint.load_model(newest, model)
            positions = torch.arange(tokens.shape[1]).expand_as(tokens)
            logits = model(tokens, positions, None)[..., :vocab_size]
        dist.destroy_process_group()
        dtype = DTYPES[recipe.precision]
        weights = {name: one.to(dtype) for name, one in model.state_dict().items() if isinstance(one, torch.Tensor)}
        return convert.to_hf(weights, recipe.model, vocab_size), logits


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
