"""`gap`: the command line."""

import os
import sys

import click

from gap.compare import compare_models
from gap.convert import convert
from gap.dump import dump
from gap.evaluate import evaluate
from gap.forecast import show_plan
from gap.inspect import inspect
from gap.protocol import protocol
from gap.publish.command import publish
from gap.run import run
from gap.score import score
from gap.serve.command import serve
from gap.shards import merge, split, verify
from gap.status import status
from gap.trace import trace
from gap.web import check, crawl, fetch


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def main() -> None:
    """Take a medical corpus from raw files to an evaluated language model.

    A CONFIG is a YAML file with one section for each step (see configs/demo.yaml, which runs on a laptop in minutes).
    Any key of it can be set on the command line: `gap run configs/demo.yaml dedup.threshold=0.7 lake=/data/lake`.
    `gap plan CONFIG` shows the steps in order, and what each will take.

    A finished step is a folder with a manifest.json. A step runs again only when its config, its code version or an
    input has changed. A run that was killed goes on where it stopped.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for stream in (sys.stdout, sys.stderr):
        # A sign that a terminal's encoding lacks must not end a run.
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]


for command in (
    show_plan,
    run,
    status,
    trace,
    crawl,
    check,
    fetch,
    verify,
    merge,
    split,
    dump,
    convert,
    evaluate,
    score,
    compare_models,
    inspect,
    protocol,
    publish,
    serve,
):
    main.add_command(command)
