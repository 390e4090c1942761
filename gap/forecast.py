"""`gap plan`: the mixture, time and storage to expect, told before anything runs."""

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import click

from eval.numbers import NONE, SPACE, compact, duration, percent, size
from gap.command import CONFIG, OVERRIDES, RULE, load_config, table, user_errors
from gap.config import Config
from gap.estimates import PART_OF_PEAK, Effort, efforts, shards
from gap.expect import BYTES_PER_TOKEN, Foreseen, look_ahead, shortfalls
from gap.plan import plan as steps_of
from gap.raw import RAW, Missing, missing
from lake.step import Kind, Steps, of_kind

WIDTH = 118
ORIGINS = {
    "planned": "as the step mix planned it",
    "counted": "from the tokens counted: an upper bound, before duplicates are dropped",
    "expected": "from the figures that the config expects, not counted: an upper bound, before duplicates are dropped",
    "estimated": f"estimated at {BYTES_PER_TOKEN} bytes of text a token, not counted: before duplicates are dropped",
}


@click.command()
@CONFIG
@OVERRIDES
@user_errors
def plan(config: str, overrides: tuple[str, ...]) -> None:
    """Show the mixture, and of every step whether it is done, its time and its storage; run nothing.

    The mixture is computed as the step `mix` does it: from the tokens counted where the step `tokenizer` is done, else
    from what the section `expected` says the sources will hold, else from the bytes of the raw files. With `expected`,
    the files need not be there yet. Sources that cannot give what is asked of them are told, by how much, and what
    would help.

    Times are estimates: speeds measured on one machine, divided by the cores that `ray` and `spark` name. Work is in
    core-hours, and in GPU-hours of an A100 at 42 % of its bf16 peak where the recipe's precision is bfloat16. A step
    that is done shows what it took.

    \b
    Examples:
      gap plan configs/gap-replay.yaml
      gap plan configs/gap-replay.yaml mix.sources.replay.ratio=0.02 ray.cpus=96
    """
    loaded = load_config(config, overrides)
    # Without `expected` there is nothing to plan with, and the first missing file is an error.
    absent = missing(loaded) if loaded.expected else []
    steps = steps_of(loaded, {files.part for files in absent})
    lacking = frozenset(files.name for files in absent if files.part == RAW)
    known = look_ahead(loaded, steps, lacking)
    for line in page(loaded, steps, known, absent):
        click.echo(line.replace(SPACE, " "))


def page(config: Config, steps: Steps, known: Foreseen, absent: Sequence[Missing]) -> Iterator[str]:
    """The lines to print."""
    if absent:
        yield f"Missing, below {config.data} or elsewhere: a run ends before any engine starts until these are there."
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
    """One line for each source or benchmark and way to get it."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for one in absent:
        grouped.setdefault((one.name, one.remedy), []).extend(one.paths)
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
        yield "Budgets that cannot be met; the sources below give all that they have:"
    for line in short:
        yield from _wrapped(f"  {line}")
    if not known.mixture[-1]["train_tokens"] and not short:
        yield "The mixture is empty: no source has a budget above zero."
    elif not short:
        yield "Every budget can be met" + ("." if known.origin == "planned" else ", by these figures.")
    if any(one.upsample for one in config.mix.sources.values()) and known.origin != "planned":
        yield "Upsampling is not in these figures: how often a paper counts is known once `mix` has read what it is."
    total = known.mixture[-1]["train_tokens"]
    for step in of_kind(steps, Kind.TRAINING) if total else ():
        recipe = step.settings
        batches = f"{recipe.steps:,} steps of {rounded(recipe.tokens // recipe.steps)}"
        passes = f"{recipe.tokens / total:.2f} times the mixture"
        yield f"{step.name} reads {rounded(recipe.tokens)} tokens, {passes}, in {batches}."


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
    left = Effort(
        _sum(one.seconds for one in todo.values() if not one.done),
        sum(one.core_seconds for one in todo.values()),
        sum(one.gpu_seconds for one in todo.values()),
    )
    written = sum(one.size or 0 for one in todo.values())
    yield table(STEPS, rows, right={3, 5, 6})
    yield ""
    raw = sum(one.size for one in known.raw.values())
    if any(not one.done for one in todo.values()):
        time = "on as many cores as the cluster has" if left.seconds is None else f"{duration(left.seconds)} in a row"
        yield f"Still to run: {work(left)}, {time}."
        yield "Times not marked done are estimated from speeds measured on 2 cores, if disks and networks keep up."
    if left.gpu_seconds:
        yield f"GPUs are A100s at {PART_OF_PEAK:.0%} of their bf16 peak, as the MEDITRON paper's training ran."
    yield f"Storage: {size(raw)} of raw files below {config.data}, {size(written)} below {config.lake}."
    if held := [f"{name} {size(effort.scratch)}" for name, effort in todo.items() if effort.scratch]:
        yield f"More while they run: {', '.join(held)}."


def _sum(seconds: Iterator[float | None]) -> float | None:
    total = 0.0
    for one in seconds:
        if one is None:
            return None
        total += one
    return total


def rounded(number: int) -> str:
    """A count to three figures, as tables have it; below 10,000 in full."""
    return f"{number:,}" if number < 10_000 else compact(number)


def work(one: Effort) -> str:
    """Core and GPU time; nothing of a step that is done, which was not measured by core."""
    spent = [(one.core_seconds, "core"), (one.gpu_seconds, "GPU")]
    return " + ".join(_spent(seconds, what) for seconds, what in spent if seconds)


def _spent(seconds: float, what: str) -> str:
    if seconds < 120:
        return f"{max(1, seconds):.0f} {what}-s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} {what}-min"
    return f"{seconds / 3600:,.1f} {what}-h" if seconds < 360_000 else f"{seconds / 3600:,.0f} {what}-h"
