"""Export: write the trained weights and the tokenizer as a Hugging Face folder, if the logits of both models agree."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray

from lake.dataset import Output
from lake.files import sha256
from lake.step import Body, Kind, Outcome, Step
from mixing.shards import FOLDER_OF_SHARDS, read_index_in, read_tokens
from mixing.split import TRAIN
from mixing.tokenizer.tokenizer import Tokenizer
from ray_jobs.pretrain import check_shards, vocabulary
from train.history import CHECKPOINTS, latest
from train.recipe import ExportSettings, Parallel, Recipe

MODEL = "model"


def export(step: Step[ExportSettings]) -> Outcome:
    """Write `model/`. It appears under that name once it has passed the gate.

    Raises:
        ParityError: the logits of the trained and the exported model differ by more than the tolerance.
    """
    trained = step.input("trained")
    shards = step.input("shards").manifest().figures["shards"]
    sample = next(row["name"] for row in shards if row["split"] == TRAIN)
    job = ExportJob(
        trained.settings,
        step.settings,
        trained.output.local(),
        step.input("shards").output.below(FOLDER_OF_SHARDS),
        sample,
        step.input("tokenizer").output,
        step.output.local(MODEL),
    )
    # A separate process, so that Megatron's process groups and stand-ins for CUDA end with it.
    return Outcome(figures=ray.get(ray.remote(num_cpus=1, max_calls=1)(ExportJob.run).remote(job)))


EXPORT = Body[ExportSettings](export, Kind.EXPORT, "ray + torch", 1, check=check_shards)


@dataclass(frozen=True)
class ExportJob:
    """`trained` is the training step's folder, `shard` the name of a shard in `shards`, `model` the folder to write."""

    recipe: Recipe
    settings: ExportSettings
    trained: Path
    shards: Output
    shard: str
    tokenizer: Output
    model: Path

    def run(self) -> dict[str, Any]:
        """Write the model. Returns the step's figures."""
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
            parity = convert.parity(trained, written(tokens).logits)
        if parity.max_logit_difference > self.settings.tolerance:
            raise convert.ParityError(
                f"export: logits differ by up to {parity.max_logit_difference:.2e}, more than export.tolerance "
                f"{self.settings.tolerance:.0e}; the rejected model is in {draft}"
            )
        draft.rename(self.model)
        files = sorted(path for path in self.model.iterdir() if path.is_file())
        return {
            "parameters": parameters,
            "vocab_size": known.vocab_size,
            "sequences": len(tokens),
            "tolerance": self.settings.tolerance,
            "max_logit_difference": parity.max_logit_difference,
            "argmax_agreement": parity.argmax_agreement,
            "config": json.loads((self.model / "config.json").read_text(encoding="utf-8")),
            "files": {path.name: sha256(path) for path in files},
        }

    def _sample(self) -> Any:
        """Token ids [sequences, length] from the start of the shard."""
        length = self.recipe.sequence
        available = read_index_in(self.shards, self.shard).tokens
        sequences = max(1, min(self.settings.sequences, available // length))
        length = min(length, available)
        return read_tokens(self.shards, self.shard, 0, sequences * length).reshape(sequences, length)

    def _trained(self, tokens: Any, vocab_size: int) -> tuple[dict[str, Any], Any]:
        """The last checkpoint's weights in Hugging Face's layout, and its logits without the vocabulary's padding."""
        import torch
        import torch.distributed as dist

        from train import checkpoint, convert
        from train.cpu import cudaless
        from train.model import DTYPES, build, initialise

        recipe = self.recipe
        newest = latest(self.trained / CHECKPOINTS)
        assert newest is not None, "training is done, so its last checkpoint is there"
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
        with cudaless(), torch.no_grad():
            initialise(Parallel(), 0)
            # In float32 whatever the precision of training: the gate compares models, not rounding.
            (model,) = build(recipe.model, vocab_size, recipe.sequence, Parallel(), "float32")
            checkpoint.load_model(newest, [model])
            logits = model.eval()(tokens, None, None)[..., :vocab_size]
        dist.destroy_process_group()
        dtype, state = DTYPES[recipe.precision], model.state_dict().items()
        weights = {name: value.to(dtype) for name, value in state if isinstance(value, torch.Tensor)}
        return convert.to_hf(weights, recipe.model, vocab_size), logits
