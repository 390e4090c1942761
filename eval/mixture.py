"""The mixture beyond its table: what the shards have of it, how long its documents are, what upsampling did."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from eval.summary import Manifests


def written(steps: Manifests) -> dict[str, dict[str, Any]]:
    """The rows of the mixture as measured from the shards, by source."""
    return {row["source"]: row for row in steps["shard"].figures["mixture"][:-1]}


@dataclass(frozen=True)
class Split:
    """What the shards of a split hold: documents with their copies, and tokens."""

    name: str
    documents: int
    tokens: int


def splits(steps: Manifests) -> list[Split]:
    shards = steps["shard"].figures["shards"]
    return [
        Split(name, *(sum(one[of] for one in shards if one["split"] == name) for of in ("documents", "tokens")))
        for name in sorted({one["split"] for one in shards})
    ]


@dataclass(frozen=True)
class Lengths:
    """The documents of a source and split that have at least `least` tokens, one copy with its end counted, and less
    than twice as many. `tokens` counts copies, `documents` does not."""

    source: str
    split: str
    least: int
    documents: int
    tokens: int

    @property
    def most(self) -> int:
        return 2 * self.least - 1


def lengths(steps: Manifests) -> dict[str, list[Lengths]]:
    """By source, of those that have a document in the mixture; train before validation, the shortest first."""
    held: Mapping[str, Any] = steps["mix"].figures["lengths"]
    return {source: list(_lengths(source, held[source])) for source in sorted(held) if held[source]}


def _lengths(source: str, held: Mapping[str, Mapping[str, Mapping[str, int]]]) -> Iterable[Lengths]:
    for split in sorted(held):
        for least in sorted(map(int, held[split])):
            of = held[split][str(least)]
            yield Lengths(source, split, least, of["documents"], of["tokens"])


@dataclass(frozen=True)
class Upsampled:
    """What upsampling did to the train documents of a source, before its budget.

    `copies` are documents by their number of copies, the smallest number first: 0 are those filtered out. `categories`
    are those that documents score in or are filtered out for, the commonest first. `citations` are by year the numbers
    that the bottom papers have at most and the top ones exceed.
    """

    source: str
    reference: str
    copies: dict[int, int]
    categories: list[tuple[str, int]]
    citations: list[tuple[str, int, int]]
    tokens_before: int
    tokens_after: int

    @property
    def documents(self) -> int:
        """All that were scored, those filtered out as well."""
        return sum(self.copies.values())

    @property
    def mean_copies(self) -> float | None:
        """Of the documents that stay."""
        staying = self.documents - self.copies.get(0, 0)
        return sum(times * count for times, count in self.copies.items()) / staying if staying else None

    @property
    def factor(self) -> float | None:
        """By how much upsampling, filtering included, changes the number of the source's train tokens."""
        return self.tokens_after / self.tokens_before if self.tokens_before else None


def upsampling(steps: Manifests) -> list[Upsampled]:
    """The sources that upsample."""
    return [_upsampled(source, of) for source, of in sorted(steps["mix"].figures["upsampling"].items())]


def _upsampled(source: str, of: Mapping[str, Any]) -> Upsampled:
    return Upsampled(
        source,
        of["reference"],
        dict(sorted((int(times), count) for times, count in of["documents"].items())),
        sorted(of["categories"].items(), key=lambda one: (-one[1], one[0])),
        [(year, bottom, top) for year, (bottom, top) in sorted(of["citations"].items())],
        of["tokens_before"],
        of["tokens_after"],
    )
