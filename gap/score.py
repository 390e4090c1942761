"""`gap score`: the scores of an evaluation, recomputed from its saved answers."""

import json
from pathlib import Path

import click

from eval.score import printed, recomputed
from gap.command import user_errors
from lake.dataset import Output


def output_at(folder: str) -> Output:
    """A folder by its path or URI."""
    return Output(folder if "://" in folder else str(Path(folder).resolve()))


@click.command()
@click.argument("folder")
@click.option("--json", "as_json", is_flag=True, help="Print every figure as JSON.")
@user_errors
def score(folder: str, as_json: bool) -> None:
    """Recompute every score of an evaluation from its saved answers.

    FOLDER is that of a step `evaluate`. A file that was changed is refused, and so is a saved score that the answers do
    not give. `python -m eval.score FOLDER` does the same where there is nothing but Python and pyarrow.
    """
    rows = recomputed(output_at(folder))
    click.echo(json.dumps(rows, indent=1, ensure_ascii=False) if as_json else printed(rows))
