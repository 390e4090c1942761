"""Pretrain: Ray Train starts the workers that run train/loop.py, and starts them again if one dies."""

import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from tqdm import tqdm

from lake.dataset import Output
from lake.error import UserError
from lake.progress import watched
from lake.step import Body, Cost, Kind, Outcome, Step
from mixing.shards import FOLDER_OF_SHARDS, read_index_in
from mixing.split import TRAIN, VALIDATION
from mixing.tokenizer.tokenizer import Tokenizer
from train.history import CHECKPOINTS, PROGRESS, latest, read_state
from train.metrics import Row, numbers
from train.recipe import Recipe

if TYPE_CHECKING:
    from train.data import Vocabulary
    from train.loop import Job


def pretrain(step: Step[Recipe]) -> Outcome:
    """Train to the recipe's end, from the newest checkpoint if there is one. A worker that dies is replaced.

    Raises:
        ray.train.TrainingFailedError: workers failed more often than the recipe allows.
    """
    recipe, folder = step.settings, step.output.local()
    assert step.seed is not None
    folder.mkdir(parents=True, exist_ok=True)
    rows = step.input("shards").manifest().figures["shards"]
    where = step.input("shards").output.below(FOLDER_OF_SHARDS)
    made = Tokenizer.of(step.input("tokenizer").output)
    job = partial(_job, recipe, step.seed, step.input("tokenizer").output, where, rows, folder)
    with _watch(step.name, folder / PROGRESS, recipe.steps):
        _fit(job, recipe, folder)
    newest = latest(folder / CHECKPOINTS)
    assert newest is not None, "training writes a checkpoint at its last step"
    history = read_state(newest)
    seconds = sum(row["seconds"] for row in history["losses"])
    return Outcome(
        figures={
            "parameters": recipe.model.parameters(made.vocab_size),
            "steps": recipe.steps,
            "tokens": recipe.tokens,
            "tokens_per_second": recipe.tokens / seconds,
            "precision": recipe.precision,
            "parallel": recipe.parallel.model_dump(),
            "sequence_length": recipe.sequence,
            "global_batch": recipe.batch.total,
            **history,
        }
    )


def check_shards(step: Step[Any]) -> None:
    """Check the shards if they are there; a broken one costs hours when training or export meets it.

    Raises:
        UserError: a shard's index does not open or does not fit its data.
    """
    shards = step.input("shards")
    if shards.done:
        for row in shards.manifest().figures["shards"]:
            read_index_in(shards.output.below(FOLDER_OF_SHARDS), row["name"])


def check(step: Step[Recipe]) -> None:
    """Check the shards, and that what the metrics need is installed.

    Raises:
        UserError: a shard is broken, or the recipe asks for W&B, which is not installed.
    """
    if step.settings.wandb and not find_spec("wandb"):
        raise UserError("pretrain.wandb: wandb is not installed; pip install 'gap-replay[wandb]', or leave the key out")
    check_shards(step)


PRETRAIN = Body[Recipe](pretrain, Kind.TRAINING, "ray train", 1, Cost(start=30), check)


def vocabulary(made: Tokenizer) -> "Vocabulary":
    """What training needs to know about the tokenizer."""
    from train.data import Vocabulary

    return Vocabulary(made.vocab_size, made.eod, made.pad, made.fingerprint)


def _fit(job: Any, recipe: Recipe, folder: Path) -> None:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    workers = recipe.parallel.workers
    resources = ray.cluster_resources()
    gpus = resources.get("GPU", 0) >= workers
    # On a laptop several workers may share a CPU.
    cpus = min(1.0, resources.get("CPU", 1.0) / workers)
    TorchTrainer(
        _work,
        train_loop_config={"job": job, "threads": max(1, int(resources.get("CPU", 1.0)) // workers)},
        torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpus, resources_per_worker={"CPU": cpus}),
        run_config=RunConfig(
            name="ray", storage_path=str(folder), failure_config=FailureConfig(max_failures=recipe.max_failures)
        ),
    ).fit()


def _job(
    recipe: Recipe, seed: int, tokenizer: Output, shards: Output, rows: list[dict[str, Any]], folder: Path
) -> "Job":
    """Made in the worker: the driver would take seconds to import torch and Megatron first."""
    from train.data import Shards
    from train.loop import Job

    train, validation = (Shards.of(shards, rows, split) for split in (TRAIN, VALIDATION))
    return Job(recipe, seed, vocabulary(Tokenizer.of(tokenizer)), train, validation, folder)


def _work(config: dict[str, Any]) -> None:
    """The function that Ray Train runs in each worker."""
    # Megatron requires this: tensor parallelism overlaps its communication only if CUDA uses one queue.
    os.environ["CUDA_DEVICE_MAX_CONNECTIONS"] = "1"
    import torch

    from train.loop import train

    if not torch.cuda.is_available():
        torch.set_num_threads(config["threads"])
    train(config["job"]())


def gauges(run: str) -> Callable[[Row], None]:
    """A function that sets a Ray gauge for each number in the row of a training step, such as gap_train_loss.

    Ray exports them to Prometheus with the tag `run`.
    """
    from ray.util.metrics import Gauge

    made: dict[str, Gauge] = {}

    def observe(row: Row) -> None:
        for path, value in numbers(row, "gap_train"):
            name = path.replace("/", "_")
            if name not in made:
                made[name] = Gauge(name, description=f"{path} of the last training step", tag_keys=("run",))
            made[name].set(value, {"run": run})

    return observe


def _watch(step: str, file: Path, steps: int) -> AbstractContextManager[None]:
    """Show the progress that the first worker writes to a file."""
    file.unlink(missing_ok=True)

    def look(bar: tqdm) -> None:
        if file.is_file():
            row = json.loads(file.read_text(encoding="utf-8"))
            bar.set_postfix_str(f"loss {row['loss']:.3f}", refresh=False)
            bar.update(row["step"] - bar.n)

    return watched(step, steps, "steps", look)
