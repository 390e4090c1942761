"""What the mixture is made of, beyond its table: its splits, the lengths of its documents, its upsampling."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from eval.summary import Figures
from lake.step import Manifest


def written(shards: Manifest) -> dict[str, Figures]:
    """The rows of the mixture as counted in the shards, by source."""
    return {row["source"]: row for row in shards.figures["mixture"][:-1]}


@dataclass(frozen=True)
class Split:
    """What the shards of a split hold: documents with their copies, and tokens."""

    name: str
    documents: int
    tokens: int


def splits(shards: Manifest) -> list[Split]:
    rows = shards.figures["shards"]
    return [
        Split(name, *(sum(row[key] for row in rows if row["split"] == name) for key in ("documents", "tokens")))
        for name in sorted({row["split"] for row in rows})
    ]


@dataclass(frozen=True)
class Lengths:
    """The documents of a source and split whose length is at least `least` tokens and less than twice that.

    The length is that of one copy with its end. `tokens` counts copies, `documents` does not.
    """

    source: str
    split: str
    least: int
    documents: int
    tokens: int

    @property
    def most(self) -> int:
        return 2 * self.least - 1


def lengths(mixture: Manifest) -> dict[str, list[Lengths]]:
    """The lengths by source, where it has documents in the mixture: train before validation, the shortest first."""
    sources = mixture.figures["lengths"]
    return {source: list(_lengths(source, sources[source])) for source in sorted(sources) if sources[source]}


def _lengths(source: str, splits: Mapping[str, Mapping[str, Mapping[str, int]]]) -> Iterable[Lengths]:
    for split in sorted(splits):
        for least in sorted(map(int, splits[split])):
            counts = splits[split][str(least)]
            yield Lengths(source, split, least, counts["documents"], counts["tokens"])


@dataclass(frozen=True)
class Upsampled:
    """What upsampling did to the train documents of a source, before its budget.

    `copies` counts documents by their number of copies, in order; those with 0 are filtered out. `categories` counts
    documents by what they score in or are filtered out for, the commonest first. `citations` has a row for each year:
    the most that the bottom papers have, and what the top papers exceed.
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
        """All documents scored, also those filtered out."""
        return sum(self.copies.values())

    @property
    def mean_copies(self) -> float | None:
        """The mean over the documents that stay."""
        staying = self.documents - self.copies.get(0, 0)
        return sum(times * count for times, count in self.copies.items()) / staying if staying else None

    @property
    def factor(self) -> float | None:
        """Train tokens of the source after upsampling and filtering, over those before."""
        return self.tokens_after / self.tokens_before if self.tokens_before else None


def upsampling(mixture: Manifest) -> list[Upsampled]:
    """The sources that are upsampled."""
    return [
        Upsampled(
            source,
            figures["reference"],
            dict(sorted((int(times), count) for times, count in figures["documents"].items())),
            sorted(figures["categories"].items(), key=lambda row: (-row[1], row[0])),
            [(year, bottom, top) for year, (bottom, top) in sorted(figures["citations"].items())],
            figures["tokens_before"],
            figures["tokens_after"],
        )
        for source, figures in sorted(mixture.figures["upsampling"].items())
    ]
