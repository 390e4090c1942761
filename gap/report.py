"""Report: the page and the Hub's two cards, made from nothing but the manifests of the steps before."""

import hashlib

from eval.report import render
from eval.summary import Run
from gap.cards import dataset_card, model_card
from lake.config import Settings
from lake.step import Body, Kind, Outcome, Step

FILES = {"Report": "report.html", "Dataset card": "dataset_card.md", "Model card": "model_card.md"}
"""The files that the step writes, by title."""


class ReportSettings(Settings):
    """`name` is the title of the page and of the cards."""

    name: str


def report(step: Step[ReportSettings]) -> Outcome:
    """Write FILES. Equal manifests give equal bytes."""
    run = Run(step.settings.name, tuple(before.manifest() for before in step.inputs.values()))
    digests = {}
    for name, text in zip(FILES.values(), (render(run), dataset_card(run), model_card(run)), strict=True):
        data = text.encode("utf-8")
        step.output.write_bytes(data, name)
        digests[name] = hashlib.sha256(data).hexdigest()
    return Outcome(figures={"files": digests})


REPORT = Body[ReportSettings](report, Kind.REPORT, "python", 5)
