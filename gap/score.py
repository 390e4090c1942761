"""`gap score`: the scores of an evaluation, recomputed from its saved answers."""

import json
from pathlib import Path

import click

from eval.lmeval import write
from eval.score import printed, recomputed
from gap.command import user_errors
from lake.dataset import Output


def output_at(folder: str) -> Output:
    """A folder by its path or URI."""
    return Output(folder if "://" in folder else str(Path(folder).resolve()))


@click.command()
@click.argument("folder")
@click.option("--json", "as_json", is_flag=True, help="Print every figure as JSON.")
@click.option("--lm-eval", type=click.Path(file_okay=False, path_type=Path), help="Write it for that harness here.")
@user_errors
def score(folder: str, as_json: bool, lm_eval: Path | None) -> None:
    """Recompute every score of an evaluation from its saved answers.

    FOLDER is that of a step `evaluate`. A file that was changed is refused, and so is a saved score that the answers do
    not give. `python -m eval.score FOLDER` does the same where there is nothing but Python and pyarrow.
    """
    output = output_at(folder)
    rows = recomputed(output)
    if lm_eval is not None:
        write(output, lm_eval, output.root.rpartition("/")[2])
    click.echo(json.dumps(rows, indent=1, ensure_ascii=False) if as_json else printed(rows))
