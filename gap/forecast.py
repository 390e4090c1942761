"""`gap plan`: the mixture, time and storage to expect, before anything runs."""

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import click

from eval.numbers import NONE, SPACE, compact, duration, percent, size
from gap.command import CONFIG, OVERRIDES, RULE, load_config, table, user_errors
from gap.config import Config
from gap.estimates import Effort, efforts, on_gpu, shards, vocabulary
from gap.expect import BYTES_PER_TOKEN, Foreseen, look_ahead, shortfalls
from gap.fits import check_memory
from gap.plan import plan
from gap.raw import RAW, Missing, missing
from lake.step import Kind, Steps, of_kind
from ray_jobs.finetune import outline_of, recipe_of
from train.flops import flops_per_token, mfu
from train.gpus import GPUS
from train.memory import Memory
from train.recipe import Recipe

WIDTH = 118
ORIGINS = {
    "planned": "as the step mix selected it",
    "counted": "from the tokens counted: an upper bound, before duplicates are dropped",
    "expected": "from the figures in `expected`, not counted: an upper bound, before duplicates are dropped",
    "estimated": f"estimated at {BYTES_PER_TOKEN} bytes of text a token, not counted: before duplicates are dropped",
}


@click.command("plan")
@CONFIG
@OVERRIDES
@user_errors
def show_plan(config: str, overrides: tuple[str, ...]) -> None:
    """Show the mixture, and the state, time and storage of every step. Nothing runs.

    The mixture is computed as in the step `mix`: from counted tokens if the step `tokenizer` is done, else from the
    section `expected`, else from the size of the raw files. With `expected`, the files need not be there yet. If a
    source has too few tokens, a line says how many are missing and what would help.

    Times are estimates: speeds measured on one machine, divided by the cores that `ray` and `spark` name. Work is in
    core-hours, and for recipes in bfloat16 in hours of their `gpu` at 43 % of its bf16 peak. A finished step shows the
    time it took. The memory of a training is that of its fullest GPU; what does not fit is an error.

    \b
    Examples:
      gap plan configs/gap-replay.yaml
      gap plan configs/gap-replay.yaml mix.sources.replay.ratio=0.02 ray.cpus=96
    """
    loaded = load_config(config, overrides)
    # Without `expected` a missing file leaves nothing to plan with, so it is an error.
    absent = missing(loaded) if loaded.expected else []
    steps = plan(loaded, {files.part for files in absent})
    lacking = frozenset(files.name for files in absent if files.part == RAW)
    known = look_ahead(loaded, steps, lacking)
    for line in page(loaded, steps, known, absent):
        click.echo(line.replace(SPACE, " "))
    check_memory(loaded, steps)


def page(config: Config, steps: Steps, known: Foreseen, absent: Sequence[Missing]) -> Iterator[str]:
    """The lines to print."""
    if absent:
        yield f"Missing, below {config.data} or elsewhere. A run stops before any engine starts until these are there:"
        yield from _absent(absent)
        yield ""
    yield from _wrapped(f"Mixture, {ORIGINS[known.origin]}:")
    yield ""
    yield _mixture(config, known)
    yield ""
    yield from _budgets(config, steps, known)
    yield ""
    yield from _steps(config, steps, known)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _absent(absent: Sequence[Missing]) -> Iterator[str]:
    """One line for each source or benchmark and each way to get its files."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for files in absent:
        grouped.setdefault((files.name, files.remedy), []).extend(files.paths)
    rows = [
        (f"  {name}", paths[0] + (f" and {len(paths) - 1} more" if len(paths) > 1 else ""), f"→ {remedy}")
        for (name, remedy), paths in grouped.items()
    ]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for name, paths, remedy in rows:
        yield f"{name:<{widths[0]}}  {paths:<{widths[1]}}  {remedy}"


MIXTURE = (
    "source",
    "train docs",
    "validation docs",
    "train tokens",
    "validation tokens",
    "held out",
    "share",
    "epochs",
    "shards",
)


def _mixture(config: Config, known: Foreseen) -> str:
    pieces = shards(config, known)
    rows = [_row(row, pieces.get(row["source"], sum(pieces.values())), known) for row in known.mixture]
    rule = tuple(RULE * max(len(row[column]) for row in (MIXTURE, *rows)) for column in range(len(MIXTURE)))
    return table(MIXTURE, [*rows[:-1], rule, rows[-1]], right=set(range(1, len(MIXTURE))))


def _row(row: dict[str, Any], pieces: int, known: Foreseen) -> tuple[str, ...]:
    counted = known.origin != "estimated"
    return (
        row["source"],
        rounded(row["train_documents"]) if counted else NONE,
        rounded(row["validation_documents"]) if counted else NONE,
        rounded(row["train_tokens"]),
        rounded(row["validation_tokens"]),
        percent(row["held_out"]) if counted else NONE,
        percent(row["share"]),
        f"{row['epochs']:.2f}",
        f"{pieces:,}",
    )


def _budgets(config: Config, steps: Steps, known: Foreseen) -> Iterator[str]:
    short = shortfalls(config.mix, known.mixture)
    if short:
        yield "Budgets that cannot be met (these sources give all that they have):"
    for line in short:
        yield from _wrapped(f"  {line}")
    if not known.mixture[-1]["train_tokens"] and not short:
        yield "The mixture is empty: no source has a budget above zero."
    elif not short:
        yield "Every budget can be met" + ("." if known.origin == "planned" else ", by these figures.")
    if any(source.upsample for source in config.mix.sources.values()) and known.origin != "planned":
        yield "These figures leave out upsampling: how often a paper counts is known once `mix` has read its metadata."
    total = known.mixture[-1]["train_tokens"]
    trainings = [(step, outline_of(step)) for step in of_kind(steps, Kind.TRAINING)]
    for step, recipe in trainings if total else ():
        if step.settings is not recipe:
            continue
        batches = f"{recipe.steps:,} steps of {rounded(recipe.tokens // recipe.steps)}"
        passes = f"{recipe.tokens / total:.2f} times the mixture"
        yield f"The step {step.name} reads {rounded(recipe.tokens)} tokens, {passes}, in {batches}."
    for step, recipe in trainings:
        yield from _wrapped(_memory(step.name, recipe, vocabulary(config, steps)))


def _memory(name: str, recipe: Recipe, ids: int) -> str:
    """The weights of a training, and the bytes on the fullest of its workers, with and without recomputation."""
    memory = Memory.of(recipe, ids)
    other = recipe.model_copy(update={"recompute": "full" if recipe.recompute == "none" else "none"})
    workers, unit = recipe.parallel.workers, recipe.gpu if on_gpu(recipe) else "worker"
    return (
        f"The step {name} trains {compact(recipe.model.parameters(ids))} weights, with {size(memory.total)} on "
        f"{'the fullest of ' if workers > 1 else ''}{workers} {unit}{'s' if workers > 1 and unit == 'worker' else ''}: "
        f"weights {size(memory.weights)}, gradients {size(memory.gradients)}, optimizer {size(memory.optimizer)}, "
        f"activations {size(memory.activations)} "
        f"({size(Memory.of(other, ids).activations)} with recompute: {other.recompute})."
    )


STEPS = ("step", "engine", "state", "work", "on", "time", "storage", "fingerprint")


def _steps(config: Config, steps: Steps, known: Foreseen) -> Iterator[str]:
    todo = efforts(config, steps, known)
    rows = [
        (
            name,
            step.body.engine,
            "done" if effort.done else "to do",
            work(effort),
            effort.on,
            duration(effort.seconds),
            size(effort.size),
            step.fingerprint if step.settled else NONE,
        )
        for (name, step), effort in zip(steps.items(), todo.values(), strict=True)
    ]
    waiting = [effort.seconds for effort in todo.values() if not effort.done]
    left = Effort(
        None if None in waiting else sum(filter(None, waiting)),
        sum(effort.core_seconds for effort in todo.values()),
        sum(effort.gpu_seconds for effort in todo.values()),
    )
    written = sum(effort.size or 0 for effort in todo.values())
    yield table(STEPS, rows, right={3, 5, 6})
    yield ""
    raw = sum(files.size for files in known.raw.values())
    if not all(effort.done for effort in todo.values()):
        time = (
            "on as many cores as the cluster has" if left.seconds is None else f"{duration(left.seconds)} in sequence"
        )
        yield f"Still to run: {work(left)}, {time}."
        yield "Their times are estimates from speeds measured on 2 cores; disks and networks may be slower."
    for step in of_kind(steps, Kind.TRAINING):
        effort, recipe = todo[step.name], recipe_of(step)
        if recipe and effort.gpu_seconds and effort.seconds:
            speed = recipe.tokens / effort.seconds
            flops = flops_per_token(recipe.model, vocabulary(config, steps), recipe.sequence, recipe.lora)
            share = percent(mfu(speed, flops, recipe.parallel.workers, GPUS[recipe.gpu].peak), 0)
            yield (
                f"The step {step.name} reads {rounded(round(speed))} tokens/s on {effort.on}, by the MEDITRON paper's "
                f"speed: an MFU of {share}."
            )
    yield f"Storage: {size(raw)} of raw files below {config.data}, {size(written)} below {config.lake}."
    if held := [f"{name} {size(effort.scratch)}" for name, effort in todo.items() if effort.scratch]:
        yield f"More while they run: {', '.join(held)}."


def rounded(number: int) -> str:
    """A count to three figures for tables; below 10,000 in full."""
    return f"{number:,}" if number < 10_000 else compact(number)


def work(effort: Effort) -> str:
    """Core and GPU time; empty for a finished step, whose time was not measured by core."""
    spent = [(effort.core_seconds, "core"), (effort.gpu_seconds, "GPU")]
    return " + ".join(_spent(seconds, unit) for seconds, unit in spent if seconds)


def _spent(seconds: float, unit: str) -> str:
    if seconds < 120:
        return f"{max(1, seconds):.0f} {unit}-s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} {unit}-min"
    return f"{seconds / 3600:,.{1 if seconds < 360_000 else 0}f} {unit}-h"
