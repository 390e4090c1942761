"""What the manifests of a run come to: the figures that head the page and fill the cards."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lake.step import Manifest

Manifests = Mapping[str, Manifest]
"""The manifests of the steps before the report, by step."""

FUNNEL = ("read", "clean", "dedup", "decontaminate", "mix", "shard")
"""The steps a document passes; `tokenizer` only counts."""


def by_step(manifests: Sequence[Manifest]) -> dict[str, Manifest]:
    return {one.step: one for one in manifests}


def sources(steps: Manifests) -> list[str]:
    """Every source of the run, sorted, those that gave no document as well."""
    entered = {source for name in FUNNEL for source in steps[name].accounts}
    return sorted(entered | {row["source"] for row in mixture(steps)[0]})


def mixture(steps: Manifests) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rows of the mixture by source, and its total."""
    *rows, total = steps["mix"].figures["mixture"]
    return rows, total


def validation_loss(steps: Manifests, position: int) -> float | None:
    """Mean loss over the sources at the first (0) or last (-1) validation, weighted by their validation tokens.

    None where there was no validation or a loss is not finite.
    """
    held: Sequence[dict[str, Any]] = steps["pretrain"].figures["validation"]
    losses: dict[str, float] = held[position]["losses"] if held else {}
    if not losses or not all(map(math.isfinite, losses.values())):
        return None
    tokens = {row["source"]: row["validation_tokens"] for row in mixture(steps)[0]}
    weights = {source: tokens.get(source, 0) for source in losses}
    if not sum(weights.values()):
        weights = dict.fromkeys(losses, 1)
    return sum(losses[source] * weight for source, weight in weights.items()) / sum(weights.values())


def verdict(row: Mapping[str, Any]) -> str:
    """What a benchmark's interval says against guessing."""
    if row["accuracy"] is None:
        return "no question answered"
    if row["low"] > row["chance"]:
        return "above chance"
    return "below chance" if row["high"] < row["chance"] else "not distinguishable from chance"


@dataclass(frozen=True)
class Licences:
    """Licences of the documents in the mixture: documents by licence and source, and whether all may be passed on.

    Counted after cleaning, the last step that sees a document's licence.
    """

    by_source: dict[str, dict[str, int]]
    redistributable: dict[str, int]
    documents: dict[str, int]

    @property
    def free(self) -> bool:
        """Every document of every source used may be redistributed."""
        return all(self.redistributable[source] == count for source, count in self.documents.items())

    @property
    def only(self) -> str | None:
        """The one licence of all documents, where all may be redistributed under it."""
        names = {name for counts in self.by_source.values() for name in counts}
        return names.pop() if self.free and len(names) == 1 and "unknown" not in names else None


def licences(steps: Manifests) -> Licences:
    """Of the sources that give the mixture at least one document."""
    clean = steps["clean"]
    rows, _ = mixture(steps)
    used = [row["source"] for row in rows if row["train_documents"] or row["validation_documents"]]
    named: dict[str, dict[str, int]] = clean.figures["licenses"]
    free: dict[str, int] = clean.figures["redistributable"]
    return Licences(
        {source: named.get(source, {}) for source in used},
        {source: free.get(source, 0) for source in used},
        {source: clean.accounts[source].kept for source in used},
    )
