"""The repository of a model: weights, tokenizer, adapters, card, scores."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

from eval.summary import Model, Run, licences, named
from eval.text import markdown, one_line
from gap.cards import Lineage, Origin, model_card
from gap.publish.files import File
from gap.publish.history import State, Version, content_of
from gap.publish.licences import licence_file
from gap.publish.release import Release, made, page
from gap.publish.settings import PART, PublishSettings
from lake.error import UserError
from lake.step import Kind, Manifest, Step, Steps, needed, of_kind
from ray_jobs.export import ADAPTERS
from train.families import ADAPTER_CONFIG, ADAPTER_WEIGHTS, GENERATION

KIND = "model"
FOLDER = "model"
ALLOWED = {".safetensors", ".json", ".jinja", ".model", ".txt"}
"""What a folder of a model may publish: no pickle, no code."""

RESULTS = ".eval_results"
REPOSITORY = re.compile(f"{PART}/{PART}")

Revision = Callable[[str, str], str | None]
"""The revision of what is published in a repository, by its kind and id; None where that is not known."""


def models_of(steps: Steps) -> dict[str, Step[Any]]:
    """The exports of a plan by the names of their trainings."""
    return {step.input("trained").name: step for step in of_kind(steps, Kind.EXPORT)}


def model_release(steps: Steps, training: str, name: str, settings: PublishSettings, revision: Revision) -> Release:
    """Describe the exported model of a training.

    Raises:
        UserError: it is not exported, its files are not those that were exported, or its base has no name on the Hub.
    """
    export = models_of(steps)[training]
    if not export.done:
        raise UserError(f"{training}: the model has not been exported yet; gap run CONFIG {export.name}")
    repository = settings.repository(name, training)
    lineage = _lineage(export, name, repository, settings, revision)
    run = Run(name, tuple(step.manifest() for step in _shown(steps, export).values()))
    model = next(model for model in run.models if model.name == training)
    manifest = export.manifest()
    weights = [*_exported(export, manifest), *_adapters(export, manifest, lineage)]
    if not any(file.path == GENERATION for file in weights):
        weights.append(_generation(manifest))
    state = State(
        content_of(weights),
        {step.step: step.fingerprint for step in run.manifests},
        {"parameters": manifest.figures["parameters"], "bytes": sum(file.size for file in weights)},
        {},
    )
    description = Description(run, model, lineage)
    return Release(repository, KIND, state, weights, description.files)


def _shown(steps: Steps, export: Step[Any]) -> Steps:
    """What the card tells of: all that led to the export, its evaluations, and what it is compared with."""
    compared = [
        step.name
        for step in steps.values()
        if step.kind in (Kind.EVALUATION, Kind.EXPORT) and all(of.done for of in needed(steps, [step.name]).values())
    ]
    (mix,) = of_kind(steps, Kind.MIXTURE)
    return made(steps, mix.name, export.name, *compared)


def _lineage(export: Step[Any], name: str, repository: str, settings: PublishSettings, revision: Revision) -> Lineage:
    """The repositories that a model comes from: the data set, and its base or the model that it was tuned from."""
    trained = export.input("trained")
    documents: Origin | None = None
    if "shards" in trained.inputs or "continued" in trained.inputs:
        dataset = settings.repository(name)
        documents = Origin(dataset, revision("dataset", dataset))
    base: Origin | None = None
    if "continued" in trained.inputs:
        before = settings.repository(name, trained.input("continued").name)
        base = Origin(before, revision(KIND, before))
    elif "base" in trained.inputs:
        if settings.base is None:
            raise UserError(
                f"publish.base: {trained.name} started from a base model; name it as the Hub does: "
                "publish.base.id=OWNER/NAME (and publish.base.revision, where you know it)"
            )
        base = Origin(settings.base.id, settings.base.revision)
    on = base.id if base is not None and "adapters" in export.manifest().figures else None
    return Lineage(repository, documents, base, on)


def _exported(export: Step[Any], manifest: Manifest) -> list[File]:
    """The files that the step wrote, checked against its manifest."""
    files = []
    for name, digest in sorted(manifest.figures["files"].items()):
        place = export.output.local(FOLDER, name)
        if Path(name).name != name or Path(name).suffix not in ALLOWED:
            raise UserError(f"{place}: a file of this kind is not published")
        if not place.is_file():
            raise UserError(f"{place}: it is missing; delete {export.output.root} and run {export.name} again")
        file = File.of(name, place)
        if file.sha256 != digest:
            raise UserError(
                f"{place}: it was changed after the export; delete {export.output.root} and run {export.name} again"
            )
        files.append(file)
    return files


def _adapters(export: Step[Any], manifest: Manifest, lineage: Lineage) -> list[File]:
    """The adapters, whose config names the model on the Hub in place of a folder of this machine."""
    if "adapters" not in manifest.figures:
        return []
    folder = export.output.local(ADAPTERS)
    config = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    config |= {"base_model_name_or_path": lineage.on, "revision": None}
    if lineage.base is not None and lineage.base.revision:
        config["revision"] = lineage.base.revision
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    return [
        File.of(f"{ADAPTERS}/{ADAPTER_CONFIG}", text),
        File.of(f"{ADAPTERS}/{ADAPTER_WEIGHTS}", folder / ADAPTER_WEIGHTS),
    ]


def _generation(manifest: Manifest) -> File:
    """How the model generates by default, for a base that came without: it ends where its config says."""
    ends = {key: value for key, value in manifest.figures["config"].items() if key.endswith("_token_id")}
    return File.of(GENERATION, json.dumps({"_from_model_config": True, **ends}, indent=2, sort_keys=True) + "\n")


@dataclass(frozen=True)
class Description:
    """The files that describe a model."""

    run: Run
    model: Model
    lineage: Lineage

    def files(self, versions: Sequence[Version]) -> list[File]:
        card = model_card(self.run, self.model, self.lineage) + "\n" + changelog(versions)
        return [File.of("README.md", card), File.of("LICENSE.md", self._licences()), *self._results()]

    def _licences(self) -> str:
        counts: dict[str, int] = {}
        for of_source in licences(self.run).by_source.values():
            for licence, count in of_source.items():
                counts[licence] = counts.get(licence, 0) + count
        base = self.lineage.base.id if self.lineage.base is not None else None
        title = self.lineage.repository.partition("/")[2]
        return licence_file(title, dict(sorted(counts.items())), weights=True, base=base)

    def _results(self) -> list[File]:
        """Scores for the Hub's leaderboards, a file for each benchmark that has a data set there.

        The specification (hub-docs/eval_results.yaml) fixes no unit: its examples are 20.90 and 0.412. These are
        fractions of 1, as in the card's index, and the notes say so.
        """
        entries: dict[str, list[EvalResultEntry]] = {}
        for evaluation in self.model.evaluations:
            for row in evaluation.figures["benchmarks"]:
                if row["value"] is not None and REPOSITORY.fullmatch(row["hub"]):
                    name = re.sub("[^a-z0-9]+", "-", row["benchmark"].lower()).strip("-") or "benchmark"
                    entries.setdefault(name, []).append(self._entry(row, evaluation.finished_at))
        return [
            File.of(f"{RESULTS}/{name}.yaml", yaml.safe_dump(eval_result_entries_to_yaml(rows), sort_keys=False))
            for name, rows in sorted(entries.items())
        ]

    def _entry(self, row: Mapping[str, Any], date: str) -> EvalResultEntry:
        return EvalResultEntry(
            dataset_id=row["hub"],
            task_id=one_line(row["benchmark"]),
            value=round(row["value"], 4),
            date=date,
            source_url=page(self.lineage.repository),
            source_name="Model card",
            notes=f"{one_line(named(row))}: {row['metric']} as a fraction of 1, {row['questions']} questions, "
            f"95 % interval {row['low']:.4f} to {row['high']:.4f}",
        )


def changelog(versions: Sequence[Version]) -> str:
    """The end of a model's card."""
    rows = "".join(f"- `{of.tag}` ({of.date}): {markdown(of.change)}\n" for of in reversed(versions))
    return f"## Changelog\n\n{rows}"
