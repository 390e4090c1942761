"""Report: the HTML page and the Hub's two cards, made from the manifests of the steps before and nothing else."""

import hashlib
import json
import re
from typing import Any

import jinja2
from huggingface_hub import CardData, DatasetCardData, EvalResult, ModelCardData
from markupsafe import Markup

from eval import numbers
from eval.ledger import ledger
from eval.mixture import splits, upsampling
from eval.report import render
from eval.summary import FUNNEL, Licences, Manifests, by_step, licences, mixture, sources, validation_loss, verdict
from eval.text import code, markdown, one_line
from lake.config import Settings
from lake.step import Body, Kind, Manifest, Outcome, Step

REPORT, DATASET_CARD, MODEL_CARD = "report.html", "dataset_card.md", "model_card.md"

HUB_LICENCES = {
    "apache-2.0",
    "mit",
    "cc0-1.0",
    "pddl",
    "cc-by-2.0",
    "cc-by-2.5",
    "cc-by-3.0",
    "cc-by-4.0",
    "cc-by-sa-3.0",
    "cc-by-sa-4.0",
}
"""Those of the Hub's names for licences under which documents may be redistributed."""

ENGLISH, UNDETERMINED = "en", "und"
"""Of the Hub's codes of languages, those of ISO 639."""

SIZES = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")


def report(step: Step, name: str, manifests: list[Manifest]) -> Outcome:
    """Write the page and the cards of the run `name`. Equal manifests give equal bytes."""
    steps = by_step(manifests)
    written = {
        REPORT: render(name, manifests),
        DATASET_CARD: dataset_card(name, steps),
        MODEL_CARD: model_card(name, steps),
    }
    digests = {}
    for file, text in written.items():
        data = text.encode("utf-8")
        step.output.write_bytes(data, file)
        digests[file] = hashlib.sha256(data).hexdigest()
    return Outcome(figures={"files": digests})


def dataset_card(name: str, steps: Manifests) -> str:
    """The card of the mixture."""
    _, total = mixture(steps)
    held = licences(steps)
    head = DatasetCardData(
        pretty_name=one_line(name),
        language=_languages(steps, held),
        task_categories=["text-generation"],
        size_categories=[size_category(total["train_documents"] + total["validation_documents"])],
        **_licence(held),
        tags=["medical", "pretraining", "megatron"],
    )
    return _card("dataset_card.jinja", head, _facts(name, steps, held))


def model_card(name: str, steps: Manifests) -> str:
    """The card of the exported model, with the medical safety advisory."""
    held = licences(steps)
    results = _results(steps)
    head = ModelCardData(
        model_name=one_line(name) if results else None,
        language=_languages(steps, held),
        library_name="transformers",
        pipeline_tag="text-generation",
        **_licence(held),
        tags=["medical", "pretraining", "megatron", "llama"],
        eval_results=results or None,
    )
    return _card("model_card.jinja", head, _facts(name, steps, held))


def size_category(documents: int) -> str:
    """The Hub's name for a number of documents."""
    for position, bound in enumerate(SIZES):
        if documents < 1000 * 10**position:
            return f"n<{bound}" if position == 0 else f"{SIZES[position - 1]}<n<{bound}"
    return f"n>{SIZES[-1]}"


def _licence(held: Licences) -> dict[str, str]:
    """The licence the Hub shows: a documents' licence where it is the only one and free, else `other`."""
    if held.only is None:
        return {"license": "other", "license_name": "mixed-see-sources"}
    known = held.only.lower()
    if known in HUB_LICENCES:
        return {"license": known}
    return {"license": "other", "license_name": re.sub("[^a-z0-9.]+", "-", known).strip("-")[:60] or "see-sources"}


def _by_language(steps: Manifests, held: Licences) -> tuple[list[str], list[str]]:
    """The mixture's sources of which `clean` kept English alone, and those whose language it did not look at."""
    rules = steps["clean"].config["language"]
    english = [source for source in held.documents if rules.get(source) is not None]
    return english, [source for source in held.documents if source not in english]


def _languages(steps: Manifests, held: Licences) -> list[str] | None:
    english, other = _by_language(steps, held)
    return [ENGLISH] * bool(english) + [UNDETERMINED] * bool(other) or None


def _masked(steps: Manifests, held: Licences) -> dict[str, dict[str, int]]:
    """How much personal data was masked, by the mixture's sources in which it was searched for, and by kind."""
    clean = steps["clean"]
    kinds = {source: clean.config["mask"].get(source) for source in held.documents}
    found = clean.figures["masked"]
    return {source: {one: found.get(source, {}).get(one, 0) for one in some} for source, some in kinds.items() if some}


def _results(steps: Manifests) -> list[EvalResult]:
    """The benchmarks of which a question was answered, for the Hub's index of models."""
    figures = steps["evaluate"].figures
    return [
        EvalResult(
            task_type="multiple-choice",
            task_name=one_line(f"{row['title']}, {figures['mode']}"),
            dataset_type=one_line(row["hub"] if row["hub"] != "none" else row["benchmark"]),
            dataset_name=one_line(row["title"]),
            dataset_config=one_line(row["benchmark"]),
            metric_type="accuracy",
            metric_name=f"accuracy, 95 % interval {row['low']:.3f} to {row['high']:.3f}, chance {row['chance']:.3f}",
            metric_value=round(row["accuracy"], 4),
        )
        for row in figures["benchmarks"]
        if row["accuracy"] is not None
    ]


def _facts(name: str, steps: Manifests, held: Licences) -> dict[str, Any]:
    rows, total = mixture(steps)
    english, undetermined = _by_language(steps, held)
    return {
        "name": name,
        "steps": steps,
        "mixture": rows,
        "total": total,
        "splits": splits(steps),
        "upsampling": upsampling(steps),
        "held": held,
        "licence": _licence(held),
        "english": english,
        "undetermined": undetermined,
        "masked": _masked(steps, held),
        "funnel": [steps[one] for one in FUNNEL],
        "sources": sources(steps),
        "before": validation_loss(steps, 0),
        "after": validation_loss(steps, -1),
        "dtype": steps["pretrain"].figures["precision"],
        "ledger": ledger,
        "verdict": verdict,
    }


def _card(template: str, head: CardData, facts: dict[str, Any]) -> str:
    body = _environment().get_template(template).render(facts)
    return f"---\n{head.to_yaml()}\n---\n\n{body}\n"


def _environment() -> jinja2.Environment:
    """Templates of Markdown, in which everything printed is escaped unless it is marked as safe."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("ray_jobs", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_escaped,
    )
    made.filters.update(
        count=numbers.count,
        compact=numbers.compact,
        percent=numbers.percent,
        decimal=numbers.decimal,
        general=numbers.general,
        code=code,
        literal=_literal,
    )
    return made


def _escaped(value: Any) -> Any:
    return markdown(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _literal(text: str) -> Markup:
    """A string as Python and JSON write it, on one line, for a block of code."""
    return Markup(json.dumps(one_line(text), ensure_ascii=False))  # noqa: S704 - quoted


class ReportSettings(Settings):
    name: str


FILES: dict[str, str] = {}
REPORT = Body[ReportSettings](report, Kind.REPORT, "python", 5)
