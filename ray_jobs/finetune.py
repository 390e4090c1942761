"""Fine-tune: the loop of pretraining on rows of instructions, of which only the answers are learned."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lake.step import Body, Cost, Kind, Outcome, Step
from mixing.split import TRAIN, VALIDATION
from mixing.tokenizer.tokenizer import Tokenizer
from ray_jobs.instruct import PACKED
from ray_jobs.pretrain import MEGATRON, Gauges, check_training, stop, train_to_the_end, vocabulary
from train.finetune import FinetuneSettings
from train.history import CHECKPOINTS, STOP, Row, checkpoints, newest
from train.recipe import Llama, Recipe

if TYPE_CHECKING:
    from train.data import Span
    from train.loop import Job


def finetune(step: Step[FinetuneSettings], model: Llama) -> Outcome:
    """Train to the recipe's end, from the newest checkpoint if there is one. A worker that dies is replaced.

    Raises:
        ray.train.TrainingFailedError: workers failed more often than the recipe allows.
        UserError: there is no row, or training cannot go on, such as after a loss that is not finite.
    """
    return train_to_the_end(step, tuned(step, model), partial(_job, step, model))


def tuned(step: Step[FinetuneSettings], model: Llama) -> Recipe:
    """The recipe for the rows that are there. Raises UserError if there is none."""
    rows = step.input("rows")
    return step.settings.recipe(model, rows.manifest().figures["rows"][TRAIN], rows.settings.sequence)


def recipe_of(step: Step[Any]) -> Recipe | None:
    """The recipe of any training; of a fine-tuning there is none before its rows are counted."""
    if isinstance(step.settings, Recipe):
        return step.settings
    return tuned(step, step.extra["model"]) if step.input("rows").done else None


def outline_of(step: Step[Any]) -> Recipe:
    """The recipe of any training. The number of steps is wrong before a fine-tuning's rows are counted."""
    return recipe_of(step) or step.settings.recipe(step.extra["model"], 1, step.input("rows").settings.sequence)


def check(step: Step[FinetuneSettings], model: Llama) -> None:
    """See `check_training`. Raises UserError also if the layout does not fit the model."""
    check_training(step)
    outline_of(step)


FINETUNE = Body[FinetuneSettings](finetune, Kind.TRAINING, "ray train", 1, Cost(start=30), check, stop)


def started_from(step: Step[FinetuneSettings]) -> Path:
    """The Megatron checkpoint that fine-tuning starts from."""
    if "base" in step.inputs:
        return Path(step.input("base").output.local(MEGATRON))
    last = newest(checkpoints(step.input("continued").output.local(CHECKPOINTS))).checkpoint
    assert last is not None, "training ends with a checkpoint"
    return last


def _job(step: Step[FinetuneSettings], model: Llama) -> "Job":
    """Made in the worker: the driver would take seconds to import torch and Megatron first."""
    from train.loop import Job
    from train.rows import PackedRows

    assert step.seed is not None
    rows, folder = step.input("rows"), step.output.local()
    return Job(
        tuned(step, model),
        step.seed,
        vocabulary(Tokenizer.of(step.input("tokenizer").output)),
        PackedRows(rows.output, PACKED[TRAIN], step.settings.epochs),
        PackedRows(rows.output, PACKED[VALIDATION]),
        folder,
        base=started_from(step),
        mixture=rows.fingerprint,
        section="finetune",
        documents=_rows_of,
        observe=Gauges(folder.name),
        stop=(folder / STOP).exists,
    )


def _rows_of(spans: Sequence["Span"]) -> list[Row]:
    """A row of instructions stands for its document."""
    return [{"id": f"row {span.offset} of {span.shard}", "source": None, "url": None} for span in spans]
