"""Pretrain: Ray Train starts the workers that run train/loop.py, and starts them again if one dies."""

import json
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import ray
from tqdm import tqdm

from lake.dataset import Output
from lake.error import UserError
from lake.files import replace
from lake.progress import watched
from lake.step import Body, Cost, Kind, Outcome, Step
from mixing.shards import FOLDER_OF_SHARDS, read_index_in
from mixing.split import TRAIN, VALIDATION
from mixing.tokenizer.token_bytes import token_bytes
from mixing.tokenizer.tokenizer import Tokenizer
from train.copies import Copies
from train.history import CHECKPOINTS, PROGRESS, STOP, STOPPED, Row, checkpoints, damage, newest, read_state
from train.metrics import numbers
from train.recipe import Recipe

MEGATRON = "megatron"
"""The folder of the base's checkpoint in the output of the import."""

if TYPE_CHECKING:
    from train.data import Span, Vocabulary
    from train.loop import Job


def pretrain(step: Step[Recipe]) -> Outcome:
    """Train to the recipe's end, from the newest checkpoint if there is one. A worker that dies is replaced.

    Raises:
        ray.train.TrainingFailedError: workers failed more often than the recipe allows.
        UserError: training cannot go on, such as after a loss that is not finite.
    """
    return train_to_the_end(step, step.settings, partial(_job, step, step.output.local()))


def train_to_the_end(step: Step[Any], recipe: Recipe, job: Callable[[], "Job"]) -> Outcome:
    """Run a step's training. Each worker makes the job, whose folder is that of the step."""
    folder = step.output.local()
    folder.mkdir(parents=True, exist_ok=True)
    for left in (STOPPED, STOP):
        (folder / left).unlink(missing_ok=True)
    if recipe.checkpoints.copy_to is not None:
        # Here and not in a worker, for those wait for each other only so long.
        Copies(recipe.checkpoints.copy_to, folder, recipe.checkpoints.keep_last).fetch()
    with _watch(step.name, folder / PROGRESS, recipe.steps):
        fit(job, recipe, folder)
    if (stopped := folder / STOPPED).is_file():
        raise UserError(f"{step.name}: {json.loads(stopped.read_text(encoding='utf-8'))['reason']}")
    last = newest(checkpoints(folder / CHECKPOINTS)).checkpoint
    assert last is not None, "training ends with a checkpoint"
    history = read_state(last)
    # It tells of a run that goes on. One that was killed after its last step, and resumed, has none.
    (folder / PROGRESS).unlink(missing_ok=True)
    seconds = sum(row["seconds"] for row in history["losses"])
    return Outcome(
        figures={
            "parameters": recipe.model.parameters(Tokenizer.of(step.input("tokenizer").output).vocab_size),
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
    """See `check_training`. Raises UserError also if a shard is broken."""
    check_training(step)
    check_shards(step)


def check_training(step: Step[Any]) -> None:
    """Check the place of the copies, that training can go on if it has begun, and what the metrics need.

    Raises:
        UserError: all checkpoints are broken, the copies cannot be read, or W&B is asked for and missing.
    """
    if step.settings.wandb and not find_spec("wandb"):
        section = step.name.partition("-")[0]
        raise UserError(
            f"{section}.wandb: wandb is not installed; pip install 'gap-replay[wandb]', or leave the key out"
        )
    if not step.done and step.output.is_local:
        newest(checkpoints(step.output.local(CHECKPOINTS)), partial(damage, contents=False))
        if (url := step.settings.checkpoints.copy_to) is not None:
            Copies(url, step.output.local(), step.settings.checkpoints.keep_last).check()


def stop(step: Step[Any]) -> bool:
    """Ask for a checkpoint and the end after the step that is running; False if this run has not done a step yet."""
    if not step.output.local(PROGRESS).is_file():
        return False
    step.output.local(STOP).touch()
    return True


PRETRAIN = Body[Recipe](pretrain, Kind.TRAINING, "ray train", 3, Cost(start=30), check, stop)


def vocabulary(made: Tokenizer) -> "Vocabulary":
    """What training needs to know about the tokenizer."""
    from train.data import Vocabulary

    return Vocabulary(made.vocab_size, made.eod, made.pad, made.fingerprint, token_bytes(made))


KEEPING = {"MALLOC_MMAP_THRESHOLD_": str(2**32), "MALLOC_TRIM_THRESHOLD_": str(2**34)}
"""glibc keeps what a freed tensor took. Given back to Linux, its pages are cleared and mapped anew in each layer."""


def fit(job: Callable[[], "Job"], recipe: Recipe, folder: Path) -> None:
    """Run training on Ray Train. Each worker makes the job."""
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
            name="ray",
            storage_path=str(folder),
            failure_config=FailureConfig(max_failures=recipe.max_failures),
            worker_runtime_env={"env_vars": KEEPING},
        ),
    ).fit()


def _job(step: Step[Recipe], folder: Path) -> "Job":
    """Made in the worker: the driver would take seconds to import torch and Megatron first."""
    from train.data import Shards
    from train.loop import Job

    assert step.seed is not None
    shards = step.input("shards").output
    rows = step.input("shards").manifest().figures["shards"]
    below = shards.below(FOLDER_OF_SHARDS)
    train, validation = (Shards.of(below, rows, split) for split in (TRAIN, VALIDATION))
    known = vocabulary(Tokenizer.of(step.input("tokenizer").output))
    return Job(
        step.settings,
        step.seed,
        known,
        train,
        validation,
        folder,
        base=step.input("base").output.local(MEGATRON) if "base" in step.inputs else None,
        mixture=step.input("shards").fingerprint,
        documents=partial(documents_of, shards, step.input("documents").output),
        observe=Gauges(folder.name),
        stop=(folder / STOP).exists,
    )


def documents_of(shards: Output, clean: Output, spans: Sequence["Span"]) -> list[dict[str, Any]]:
    """The documents of which tokens lie in the spans, as rows of id, source and url, in the order of the spans."""
    import pyarrow.compute as pc

    found: dict[str, None] = {}
    by_shard: dict[str, pa.Table] = {}
    for span in spans:
        if span.shard not in by_shard:
            by_shard[span.shard] = shards.scan("index").to_table(
                columns=["id", "offset", "tokens"], filter=pc.field("shard") == span.shard
            )
        rows = by_shard[span.shard]
        starts = rows["offset"].to_numpy()
        inside = (starts < span.offset + span.tokens) & (starts + rows["tokens"].to_numpy() > span.offset)
        found |= dict.fromkeys(rows["id"].filter(pa.array(inside)).to_pylist())
    ids = pc.field("id").isin(pa.array(found, pa.string()))
    known = clean.scan("documents").to_table(columns=["id", "source", "url"], filter=ids)
    by_id = {row["id"]: row for row in known.to_pylist()}
    return [by_id.get(id_, {"id": id_, "source": None, "url": None}) for id_ in found]


def _work(config: dict[str, Any]) -> None:
    """The function that Ray Train runs in each worker."""
    # Megatron requires this: tensor parallelism overlaps its communication only if CUDA uses one queue.
    os.environ["CUDA_DEVICE_MAX_CONNECTIONS"] = "1"
    import torch

    from train.guard import TrainingStopped
    from train.loop import train

    if not torch.cuda.is_available():
        torch.set_num_threads(config["threads"])
    job = config["job"]()
    try:
        train(job)
    except TrainingStopped as stopped:
        # Ray Train would start the workers again, to stop at the same step.
        if torch.distributed.get_rank() == 0:
            replace(job.folder / STOPPED, json.dumps({"reason": str(stopped)}).encode())


class Gauges:
    """Sets a Ray gauge for each number in the row of a training step, such as gap_train_loss.

    Ray exports them to Prometheus with the tag `run`. They live in the process that calls it first.
    """

    def __init__(self, run: str) -> None:
        self.run = run
        self._made: dict[str, Any] = {}

    def __call__(self, row: Row) -> None:
        from ray.util.metrics import Gauge

        for path, value in numbers(row, "gap_train"):
            name = path.replace("/", "_")
            if name not in self._made:
                self._made[name] = Gauge(name, description=f"{path} of the last training step", tag_keys=("run",))
            self._made[name].set(value, {"run": self.run})


def _watch(step: str, file: Path, steps: int) -> AbstractContextManager[None]:
    """Show the progress that the first worker writes to a file."""
    file.unlink(missing_ok=True)

    def look(bar: tqdm) -> None:
        if file.is_file():
            row = json.loads(file.read_text(encoding="utf-8"))
            bar.set_postfix_str(f"loss {row['loss']:.3f}", refresh=False)
            bar.update(row["step"] - bar.n)

    return watched(step, steps, "steps", look)
