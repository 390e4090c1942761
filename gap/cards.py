"""The Hub's cards of a run: of its mixture as a data set, and of each model."""

import re
from dataclasses import dataclass
from typing import Any

from huggingface_hub import CardData, DatasetCardData, EvalResult, ModelCardData
from markupsafe import Markup

from eval import composition, curves, template
from eval.ledger import ledger
from eval.summary import Figures, Licences, Model, Run, layout, licences, named, validation_loss, verdict
from eval.text import one_line
from gap.advisory import ADVISORY
from lake.step import Kind

HUB_LICENCES = frozenset(
    "apache-2.0 mit cc0-1.0 pddl cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0".split()  # noqa: SIM905
)
"""The Hub's names of the licences under which documents may be redistributed."""

MIXED = {"license": "other", "license_name": "mixed-see-sources"}

ENGLISH, UNDETERMINED = "en", "und"
"""The Hub takes ISO 639 codes of languages."""

SIZES = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")


@dataclass(frozen=True)
class Origin:
    """Something on the Hub that a model comes from, and its revision where it is known."""

    id: str
    revision: str | None = None


@dataclass(frozen=True)
class Lineage:
    """The repository of a model, and what it comes from. Its adapters, if it has any, are for the model `on`."""

    repository: str
    dataset: Origin | None
    base: Origin | None = None
    on: str | None = None


def dataset_card(run: Run) -> str:
    """The card of the mixture."""
    held = licences(run)
    head = DatasetCardData(
        pretty_name=one_line(run.name),
        language=languages(run, held),
        task_categories=["text-generation"],
        size_categories=[size_category(run.total["train_documents"] + run.total["validation_documents"])],
        **licence_of(held),
        tags=["medical", "pretraining", "megatron"],
    )
    return card("dataset_card.jinja", head, facts(run, held))


def model_card(run: Run, model: Model, lineage: Lineage | None = None) -> str:
    """The card of a model, with the medical safety advisory. A `lineage` says where it is published.

    Its table has the scores of all models, but the Hub's index takes only those of the model that it is about.
    """
    held, results = licences(run), _results(model)
    tuned = run.is_tuning(model.training)
    licence = MIXED if tuned or run.bases else licence_of(held)
    title = run.name if lineage is None else lineage.repository.partition("/")[2]
    head = ModelCardData(
        model_name=one_line(title) if results else None,
        language=languages(run, held),
        library_name="transformers",
        pipeline_tag="text-generation",
        **licence,
        license_link="LICENSE.md" if lineage is not None and licence["license"] == "other" else None,
        datasets=[lineage.dataset.id] if lineage is not None and lineage.dataset is not None else None,
        base_model=lineage.base.id if lineage is not None and lineage.base is not None else None,
        base_model_relation="finetune" if lineage is not None and lineage.base is not None else None,
        tags=["medical", *(["instruct", "conversational"] if tuned else ["pretraining"]), "megatron", "llama"],
        eval_results=results or None,
    )
    training = {
        "answers": run.input(model.training, "rows"),
        "continued": run.input(model.training, "continued"),
        "before": validation_loss(run, model, 0),
        "after": validation_loss(run, model, -1),
        "measured": curves.before_and_after(model.training.figures),
        "layout": layout,
        "advisory": Markup(ADVISORY),  # noqa: S704 - it is ours
    }
    about = {"title": title, "model": model, "licence": licence, "lineage": lineage}
    about["folder"] = "model" if lineage is None else lineage.repository
    return card("model_card.jinja", head, facts(run, held) | about | training)


def size_category(documents: int) -> str:
    """The Hub's name for a number of documents."""
    for position, bound in enumerate(SIZES):
        if documents < 1000 * 10**position:
            return f"n<{bound}" if position == 0 else f"{SIZES[position - 1]}<n<{bound}"
    return f"n>{SIZES[-1]}"


def licence_of(held: Licences) -> dict[str, str]:
    """The licence that the Hub shows: that of all documents if they have one and are free, else `other`."""
    return licence_named(held.only)


def licence_named(licence: str | None) -> dict[str, str]:
    """The licence in the Hub's keys. None stands for several, or for some that are not free."""
    if licence is None:
        return MIXED
    name = licence.lower()
    if name in HUB_LICENCES:
        return {"license": name}
    return {"license": "other", "license_name": re.sub("[^a-z0-9.]+", "-", name).strip("-")[:60] or "see-sources"}


def _by_language(run: Run, held: Licences) -> tuple[list[str], list[str]]:
    """The sources of which cleaning kept only English, and those whose language it did not check."""
    rules = run.of(Kind.CLEANER).config["language"]
    english = [source for source in held.documents if rules.get(source) is not None]
    return english, [source for source in held.documents if source not in english]


def languages(run: Run, held: Licences) -> list[str] | None:
    """The codes of the languages, for the head of a card."""
    english, undetermined = _by_language(run, held)
    return [ENGLISH] * bool(english) + [UNDETERMINED] * bool(undetermined) or None


def _masked(run: Run, held: Licences) -> dict[str, dict[str, int]]:
    """How much personal data was masked, by source and kind, where the configuration asks for it."""
    clean = run.of(Kind.CLEANER)
    return {
        source: {kind: clean.figures["masked"].get(source, {}).get(kind, 0) for kind in kinds}
        for source in held.documents
        if (kinds := clean.config["mask"].get(source))
    }


def _results(model: Model) -> list[EvalResult]:
    """The benchmarks with an answered question, for the Hub's index of models."""
    return [
        EvalResult(
            task_type="multiple-choice" if row["kind"] == "choice" else "text-generation",
            task_name=one_line(named(row)),
            dataset_type=one_line(row["hub"] if row["hub"] != "none" else row["benchmark"]),
            dataset_name=one_line(row["title"]),
            dataset_config=one_line(row["benchmark"]),
            metric_type=row["metric"],
            metric_name=f"{row['metric']}, 95 % interval {row['low']:.3f} to {row['high']:.3f}{_chance(row)}",
            metric_value=round(row["value"], 4),
        )
        for evaluation in model.evaluations
        for row in evaluation.figures["benchmarks"]
        if row["value"] is not None
    ]


def _chance(row: Figures) -> str:
    return f", chance {row['chance']:.3f}" if row["chance"] is not None else ""


def facts(run: Run, held: Licences) -> dict[str, Any]:
    """What the templates of cards say of a run."""
    english, undetermined = _by_language(run, held)
    return {
        "run": run,
        "Kind": Kind,
        "composition": composition,
        "held": held,
        "licence": licence_of(held),
        "english": english,
        "undetermined": undetermined,
        "masked": _masked(run, held),
        "ledger": ledger,
        "named": named,
        "verdict": verdict,
    }


def card(name: str, head: CardData, facts: dict[str, Any]) -> str:
    """A card with its head."""
    body = template.markdown("gap", ".").get_template(name).render(facts)
    return f"---\n{head.to_yaml()}\n---\n\n{body}\n"
