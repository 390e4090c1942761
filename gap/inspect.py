"""`gap inspect`: samples of the fine-tuning data, with the tokens that are learned."""

import sys
from collections.abc import Iterator, Mapping
from itertools import accumulate, groupby, islice, pairwise, zip_longest
from typing import Any

import click

from eval.text import printable
from gap.command import CONFIG, OVERRIDES, load_config, user_errors
from gap.plan import plan
from lake.dataset import Output
from lake.error import UserError
from lake.step import Kind, of_kind
from mixing.split import TRAIN
from mixing.tokenizer.tokenizer import Tokenizer
from ray_jobs.instruct import PACKED

LEARNED, WEIGHTED = ("«", "»"), ("‹", "›")
"""What stands around learned text where there is no colour, and around text of a weight between 0 and 1."""


@click.command()
@CONFIG
@OVERRIDES
@click.option("--number", default=3, show_default=True, type=click.IntRange(1), help="Conversations to show.")
@click.option("--skip", default=0, show_default=True, type=click.IntRange(0), help="Conversations to pass over first.")
@click.option("--color/--no-color", default=None, help="Default: colour if the output is a terminal.")
@user_errors
def inspect(config: str, overrides: tuple[str, ...], number: int, skip: int, color: bool | None) -> None:
    """Show conversations as the model is trained on them: control tokens as they are, learned text marked.

    Learned text is green on a terminal and stands between « and » elsewhere. Text of another weight than 1 and 0 is
    yellow, or stands between ‹ and ›. Run it before an expensive training: what is not marked is not learned.

    \b
    Examples:
      gap inspect configs/tune.yaml
      gap inspect configs/tune.yaml --number 1 --skip 100 | less
    """
    loaded = load_config(config, overrides)
    step = next(iter(of_kind(plan(loaded), Kind.INSTRUCTIONS)), None)
    if step is None:
        raise UserError(f"{config}: no section instructions; docs/finetuning.md says what it has")
    if not step.done:
        raise UserError(f"{step.name} is not done; run it first: gap run {config} {step.name}")
    tokenizer = Tokenizer.of(step.input("tokenizer").output)
    coloured = sys.stdout.isatty() if color is None else color
    for place, one in enumerate(islice(conversations(step.output), skip, skip + number), start=skip):
        weights = one["weights"]
        counted = f"{len(weights):,} tokens, {weights.count(1):,} learned"
        click.secho(f"conversation {place:,}, {one['source']}: {counted}", bold=True)
        click.echo(shown(tokenizer, one, coloured), color=coloured)
        click.echo()


def conversations(output: Output) -> Iterator[Mapping[str, Any]]:
    """Every conversation of the packed rows, of each source in turn: its `source`, `ids` and `weights` [tokens]."""
    streams = (_of(output, source) for source in output.sources(PACKED[TRAIN]))
    return (one for several in zip_longest(*streams) for one in several if one is not None)


def _of(output: Output, source: str) -> Iterator[Mapping[str, Any]]:
    table = PACKED[TRAIN]
    for part in output.parts(table, source):
        for row in output.read_part(table, part, ["input_ids", "loss_mask", "seq_lengths"]).to_pylist():
            for start, end in pairwise(accumulate(row["seq_lengths"], initial=0)):
                yield {"source": source, "ids": row["input_ids"][start:end], "weights": row["loss_mask"][start:end]}


def shown(tokenizer: Tokenizer, one: Mapping[str, Any], coloured: bool) -> str:
    """The text of a conversation, in which runs of tokens of one weight are marked."""
    marked, end, before = "", 0, ""
    for weight, run in groupby(one["weights"]):
        end += len(list(run))
        # Some tokenizers decode a piece otherwise than the whole, so a run is what the whole gains by it.
        whole = tokenizer.decode(one["ids"][:end])
        marked += _marked(printable(whole[len(before) :]), weight, coloured)
        before = whole
    return marked


def _marked(text: str, weight: float, coloured: bool) -> str:
    if weight == 0:
        return text
    if coloured:
        return click.style(text, fg="green" if weight == 1 else "yellow")
    first, last = LEARNED if weight == 1 else WEIGHTED
    return f"{first}{text}{last}"
