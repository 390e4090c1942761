"""A run and its models as their manifests tell them, and the figures that both page and cards show."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lake.step import Kind, Manifest

Figures = Mapping[str, Any]


@dataclass(frozen=True)
class Model:
    """A training, its export and the evaluations of that export. A run may lack all but the training."""

    training: Manifest
    export: Manifest | None
    evaluations: tuple[Manifest, ...]

    @property
    def name(self) -> str:
        return self.training.step

    @property
    def scores(self) -> list[Figures]:
        """The rows of eval.score from all evaluations."""
        return [row for evaluation in self.evaluations for row in evaluation.figures["benchmarks"]]


@dataclass(frozen=True)
class Base:
    """The model that training started from, and its evaluations."""

    imported: Manifest
    evaluations: tuple[Manifest, ...]

    @property
    def name(self) -> str:
        return self.imported.step

    @property
    def scores(self) -> list[Figures]:
        """The rows of eval.score from all evaluations."""
        return [row for evaluation in self.evaluations for row in evaluation.figures["benchmarks"]]


@dataclass(frozen=True)
class Run:
    """The steps that a report is about. In `manifests` each comes after those that it reads."""

    name: str
    manifests: tuple[Manifest, ...]

    @cached_property
    def steps(self) -> dict[str, Manifest]:
        return {step.step: step for step in self.manifests}

    @cached_property
    def _by_folder(self) -> dict[str, Manifest]:
        return {step.folder: step for step in self.manifests}

    def all(self, kind: Kind) -> list[Manifest]:
        return [step for step in self.manifests if step.kind is kind]

    def of(self, kind: Kind) -> Manifest:
        """The first step of a kind, for kinds of which a run has one.

        Raises:
            LookupError: the run has none.
        """
        if steps := self.all(kind):
            return steps[0]
        raise LookupError(f"{self.name}: no step of the kind {kind}")

    def input(self, step: Manifest, role: str) -> Manifest | None:
        """The step that `step` reads in this role, if it is part of the run."""
        return self._by_folder.get(step.inputs.get(role, ""))

    @cached_property
    def funnel(self) -> list[Manifest]:
        """The longest chain of steps of which each takes in what the one before kept."""
        chains: dict[str, list[Manifest]] = {}
        for step in self.manifests:
            before = step.inputs[step.follows] if step.follows else ""
            chains[step.folder] = [*chains.get(before, []), step]
        return max(chains.values(), key=len, default=[])

    @cached_property
    def models(self) -> list[Model]:
        """In the order of their trainings."""
        models = []
        for training in self.all(Kind.TRAINING):
            exports = self._readers(Kind.EXPORT, "trained", training)
            evaluations = [step for export in exports for step in self._readers(Kind.EVALUATION, "model", export)]
            models.append(Model(training, next(iter(exports), None), tuple(evaluations)))
        return models

    def is_tuning(self, training: Manifest) -> bool:
        """Whether a training learned the answers of instructions, not text."""
        return "rows" in training.inputs

    @cached_property
    def bases(self) -> list[Base]:
        """None, or the one model that the trainings started from."""
        return [Base(step, tuple(self._readers(Kind.EVALUATION, "model", step))) for step in self.all(Kind.BASE)]

    @property
    def compared(self) -> list[Base | Model]:
        """The models to stand side by side: the base and those that were trained from it."""
        return [*self.bases, *self.models]

    def _readers(self, kind: Kind, role: str, step: Manifest) -> list[Manifest]:
        return [reader for reader in self.all(kind) if reader.inputs.get(role) == step.folder]

    @property
    def _mixture(self) -> list[Figures]:
        return [row for step in self.all(Kind.MIXTURE)[:1] for row in step.figures["mixture"]]

    @property
    def mixture(self) -> list[Figures]:
        """The rows of the mixture by source."""
        return self._mixture[:-1]

    @property
    def total(self) -> Figures:
        """The last row of the mixture, with its sums. The run must have a mixture."""
        return self._mixture[-1]

    @cached_property
    def sources(self) -> list[str]:
        """Every source, sorted, whether it gave a document or not. Its place decides its colour."""
        entered = {source for step in self.funnel for source in step.accounts}
        measured = {source for model in self.models for source in measured_sources(model.training.figures)}
        return sorted(entered | measured | {row["source"] for row in self.mixture})

    @property
    def benchmarks(self) -> dict[str, str]:
        """Titles of the scores that any model has, by their names."""
        return {row["score"]: named(row) for model in self.compared for row in model.scores}


def measured_sources(training: Figures) -> list[str]:
    """The sources that have a validation loss, from the figures of a training."""
    return sorted({source for validation in training["validation"] for source in validation["sources"]})


def layout(training: Figures) -> str:
    """The workers of a training and what they share, in words."""
    parallel: dict[str, int] = training["parallel"]
    ranks = {name: parallel[name] for name in ("tensor", "pipeline", "data") if name in parallel}
    workers = math.prod(ranks.values())
    words = [f"{name} parallel {count}" for name, count in ranks.items()]
    more = [
        name.replace("_", " ") if value is True else f"{name} {value}"
        for name, value in parallel.items()
        if value is True or (name not in ranks and value > 1)
    ]
    return f"{workers:,} worker{'s' if workers > 1 else ''}: {', '.join(words + more)}"


def validation_loss(run: Run, model: Model, position: int) -> float | None:
    """Mean loss over the sources at the first (0) or last (-1) validation, weighted by their validation tokens.

    It is None without a validation, and where a loss is not finite.
    """
    validations: Sequence[Figures] = model.training.figures["validation"]
    sources: Figures = validations[position]["sources"] if validations else {}
    losses: dict[str, float] = {source: measured["loss"] for source, measured in sources.items()}
    if not losses or not all(map(math.isfinite, losses.values())):
        return None
    if run.is_tuning(model.training):
        tokens = {source: measured["tokens"] for source, measured in sources.items()}
    else:
        tokens = {row["source"]: row["validation_tokens"] for row in run.mixture}
    weights = {source: tokens.get(source, 0) for source in losses}
    if not sum(weights.values()):
        weights = dict.fromkeys(losses, 1)
    return sum(losses[source] * weight for source, weight in weights.items()) / sum(weights.values())


def named(row: Figures) -> str:
    """The benchmark's title and how it was asked, since scores that were asked otherwise do not compare."""
    return f"{row['title']}, {row['score'].partition(' ')[2]}"


def verdict(row: Figures) -> str:
    """What a benchmark's interval says about guessing."""
    if row["value"] is None:
        return "no question answered"
    if row["chance"] is None:
        return "–"
    if row["low"] > row["chance"]:
        return "above chance"
    return "below chance" if row["high"] < row["chance"] else "not distinguishable from chance"


@dataclass(frozen=True)
class Licences:
    """Licences of the sources in the mixture, counted after cleaning, the last step that sees a document's licence.

    `by_source` has documents by licence; `redistributable` and `documents` count those that may be passed on, and all.
    """

    by_source: dict[str, dict[str, int]]
    redistributable: dict[str, int]
    documents: dict[str, int]

    @property
    def free(self) -> bool:
        """Whether every document may be redistributed."""
        return all(self.redistributable[source] == count for source, count in self.documents.items())

    @property
    def only(self) -> str | None:
        """The licence, where all documents have the same one and may be redistributed."""
        names = {name for counts in self.by_source.values() for name in counts}
        return names.pop() if self.free and len(names) == 1 and "unknown" not in names else None


def licences(run: Run) -> Licences:
    """The licences of the sources that give the mixture a document."""
    clean = run.of(Kind.CLEANER)
    used = [row["source"] for row in run.mixture if row["train_documents"] or row["validation_documents"]]
    return Licences(
        {source: clean.figures["licenses"].get(source, {}) for source in used},
        {source: clean.figures["redistributable"].get(source, 0) for source in used},
        {source: clean.accounts[source].kept for source in used},
    )
