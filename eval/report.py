"""The page of a run: one HTML file made from its manifests.

It loads nothing and needs no script. Equal manifests give equal bytes. Every step has a section, from the template of
its kind in page/steps, or from general.html where the kind has none. Single questions are in a page of their own
(eval/browser.py), to which it links.
"""

from dataclasses import dataclass
from typing import Any

from eval import composition, curves, numbers, plots, template
from eval.browser import QUESTIONS
from eval.ledger import ledger, way
from eval.summary import Run, layout, named, validation_loss, verdict
from lake.step import Kind

SHARDS_SHOWN = 200
SCORES_SHOWN = 8
"""Headline scores; all are in the sections of evaluations."""


@dataclass(frozen=True)
class Tile:
    """A headline figure."""

    label: str
    value: str
    note: str


def tiles(run: Run) -> list[Tile]:
    """Documents and tokens; parameters and validation loss of the first model."""
    row = []
    if run.funnel:
        entered, kept = run.funnel[0].total.entered, run.funnel[-1].total.kept
        share = numbers.percent(kept / entered if entered else None)
        row.append(Tile("Documents kept", numbers.compact(kept), f"{share} of {entered:,} records"))
    if run.mixture:
        held = f"{numbers.compact(run.total['validation_tokens'])} for validation"
        row.append(Tile("Training tokens", numbers.compact(run.total["train_tokens"]), held))
    for model in run.models[:1]:
        figures, tokenizer = model.training.figures, run.input(model.training, "tokenizer")
        vocabulary = f"vocabulary of {tokenizer.figures['vocab_size']:,}" if tokenizer else ""
        row.append(Tile("Parameters", numbers.compact(figures["parameters"]), vocabulary))
        before, after = validation_loss(run, model, 0), validation_loss(run, model, -1)
        fall = (
            f"from {numbers.decimal(before)}, in {figures['steps']:,} steps" if before is not None else "not measured"
        )
        row.append(Tile("Validation loss", numbers.decimal(after), fall))
    return row


def scores(run: Run) -> list[Tile]:
    """The first model's scores, the first of many."""
    row = []
    for score in [score for model in run.models[:1] for score in model.scores][:SCORES_SHOWN]:
        interval = f"95 %: {numbers.percent(score['low'])} to {numbers.percent(score['high'])}, "
        note = f"{interval if score['value'] is not None else ''}{verdict(score)}"
        row.append(Tile(named(score), numbers.percent(score["value"]), note))
    return row


def versions(run: Run) -> dict[str, str]:
    """Every package that took part, with all its versions where the steps differ."""
    packages: dict[str, set[str]] = {}
    for step in run.manifests:
        for package, version in step.versions.items():
            packages.setdefault(package, set()).add(version)
    return {package: ", ".join(sorted(names)) for package, names in sorted(packages.items())}


def render(run: Run) -> str:
    """The page."""
    context: dict[str, Any] = {
        "run": run,
        "Kind": Kind,
        "tiles": tiles(run),
        "scores": scores(run),
        "sources": run.sources,
        "composition": composition,
        "ledger": ledger,
        "way": way(run.funnel),
        "versions": versions(run),
        "curves": curves,
        "layout": layout,
        "validation_loss": validation_loss,
        "plots": plots,
        "questions": QUESTIONS,
        "named": named,
        "verdict": verdict,
        "seconds": sum(step.seconds for step in run.manifests),
        "finished": max(step.finished_at for step in run.manifests).replace("T", " ").replace("Z", " UTC"),
        "shards_shown": SHARDS_SHOWN,
    }
    return f"{template.html('eval', 'page').get_template('report.html').render(context)}\n"
