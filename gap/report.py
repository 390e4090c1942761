"""Report: the page, the questions, and the Hub's two cards, made from the manifests of the steps before and the answers
of evaluations."""

import hashlib

from eval import browser
from eval.report import render
from eval.score import read
from eval.summary import Run
from gap.cards import dataset_card, model_card
from lake.config import Settings
from lake.step import Body, Kind, Outcome, Step

FILES = {
    "Report": "report.html",
    "Questions": browser.QUESTIONS,
    "Dataset card": "dataset_card.md",
    "Model card": "model_card.md",
}
"""The files that the step writes, by title."""


class ReportSettings(Settings):
    """`name` is the title of the pages and of the cards."""

    name: str


def report(step: Step[ReportSettings]) -> Outcome:
    """Write FILES. Equal manifests and answers give equal bytes.

    Raises:
        UserError: an evaluation's answers were changed.
    """
    run = Run(step.settings.name, tuple(before.manifest() for before in step.inputs.values()))
    models = {
        before.name: read(before.output, browser.COLUMNS)
        for before in step.inputs.values()
        if before.kind is Kind.EVALUATION
    }
    texts = (render(run), browser.render(run.name, models), dataset_card(run), model_card(run))
    digests = {}
    for name, text in zip(FILES.values(), texts, strict=True):
        data = text.encode("utf-8")
        step.output.write_bytes(data, name)
        digests[name] = hashlib.sha256(data).hexdigest()
    return Outcome(figures={"files": digests})


REPORT = Body[ReportSettings](report, Kind.REPORT, "python", 6)
