"""Report: the page and the Hub's cards from the manifests of the steps before, and the page of questions."""

import hashlib
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from eval import browser
from eval.browser import Quoting
from eval.report import render
from eval.score import read
from eval.summary import Run
from gap.cards import dataset_card, model_card
from lake.config import Settings
from lake.step import Body, Kind, Outcome, Step, of_kind

FILES = {
    "report.html": "Report",
    browser.QUESTIONS: "Questions",
    "dataset_card.md": "Dataset card",
    "model_card.md": "Model card",
}
"""Titles of the files that the step writes. The card of a model after the first has a name of its own."""


class ReportSettings(Settings):
    """`name` is the title of the pages and of the cards."""

    name: str


def report(step: Step[ReportSettings]) -> Outcome:
    """Write the files. Equal manifests, answers and hits give equal bytes.

    Raises:
        UserError: an evaluation's answers were changed.
    """
    run = Run(step.settings.name, tuple(before.manifest() for before in step.inputs.values()))
    cards = [model_card(run, model) for model in run.models]
    texts = dict(zip(FILES, (render(run), _questions(step), dataset_card(run), *cards[:1]), strict=True))
    texts |= {f"model_card-{model.name}.md": card for model, card in zip(run.models[1:], cards[1:], strict=True)}
    digests = {}
    for name, text in texts.items():
        data = text.encode("utf-8")
        step.output.write_bytes(data, name)
        digests[name] = hashlib.sha256(data).hexdigest()
    return Outcome(figures={"files": digests})


def _questions(step: Step[ReportSettings]) -> str:
    evaluations = of_kind(step.inputs, Kind.EVALUATION)
    models = {evaluation.name: read(evaluation.output, browser.COLUMNS) for evaluation in evaluations}
    return browser.render(step.settings.name, models, _quoting(of_kind(step.inputs, Kind.DECONTAMINATION)))


def _quoting(searched: Iterable[Step[Any]]) -> dict[tuple[str, str], list[Quoting]]:
    """The documents that quote a question, by benchmark and id."""
    found: dict[tuple[str, str], list[Quoting]] = {}
    for step in searched:
        hits = step.output.scan("hits").to_table(["benchmark", "question", "source", "id"]).to_pylist()
        documents = step.input("documents").output.scan("documents")
        ids = pc.field("id").isin(pa.array(sorted({hit["id"] for hit in hits}), pa.string()))
        urls = dict(zip(*documents.to_table(["id", "url"], filter=ids).to_pydict().values(), strict=True))
        for hit in hits:
            quoting = Quoting(f"{hit['source']} {hit['id']}", urls.get(hit["id"]))
            found.setdefault((hit["benchmark"], hit["question"]), []).append(quoting)
    return found


REPORT = Body[ReportSettings](report, Kind.REPORT, "python", 10)
