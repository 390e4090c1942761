"""Which plots a report has, and what each shows of the manifests."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from eval import numbers
from eval.charts import GONE, Axes, Bar, Histogram, Interval, Line, Segment, bars, colour, histogram, intervals, lines
from eval.ledger import Ledger
from eval.mixture import Lengths, Upsampled
from lake.step import Manifest

Figures = Mapping[str, Any]

EACH_SIZE = 4
"""Clusters of up to this many documents have a bar each; larger ones share one for every doubling."""


def funnel(steps: Mapping[str, Manifest], names: Sequence[str], sources: Sequence[str]) -> Markup:
    """Documents left after each step by source, and those that it dropped."""
    first = steps[names[0]]
    start = Bar(f"raw {first.unit}", f"{first.total.entered:,}", _parts(first, sources, entered=True))
    rows = [start]
    for name in names:
        total = steps[name].total
        gone = total.entered - total.kept
        said = f"{total.kept:,}" if not gone else f"{total.kept:,} (−{gone:,})"
        rows.append(Bar(name, said, [*_parts(steps[name], sources, entered=False), Segment(gone, GONE)]))
    told = ", ".join(f"{row.label} {row.value}" for row in rows)
    return bars(f"Documents left after each step: {told}", rows)


def _parts(step: Manifest, sources: Sequence[str], entered: bool) -> list[Segment]:
    return [
        Segment(one.entered if entered else one.kept, colour(sources.index(source)))
        for source, one in step.accounts.items()
    ]


def reasons(name: str, ledger: Ledger, sources: Sequence[str]) -> Markup:
    """What a step, or the whole way, dropped by reason, the commonest first, by source."""
    dropped = sorted(ledger.dropped.items(), key=lambda one: (-one[1][0], one[0]))
    rows = [
        Bar(
            reason,
            f"{total:,}",
            [
                Segment(count, colour(sources.index(source)))
                for source, count in zip(ledger.columns, counts, strict=True)
            ],
        )
        for reason, (total, *counts) in dropped
    ]
    told = ", ".join(f"{reason} {total:,}" for reason, (total, *_) in dropped)
    return bars(f"Dropped {name}: {told}", rows)


def shares(rows: Sequence[Figures], sources: Sequence[str]) -> Markup:
    """Each source's part of the training tokens."""
    drawn = [
        Bar(
            row["source"],
            f"{numbers.percent(row['share'])} of tokens, {row['epochs']:.2f} epochs",
            [Segment(row["train_tokens"], colour(sources.index(row["source"])))],
        )
        for row in rows
    ]
    told = ", ".join(f"{row['source']} {numbers.percent(row['share'])}" for row in rows)
    return bars(f"Share of the training tokens: {told}", drawn)


def copies(of: Upsampled, sources: Sequence[str]) -> Markup:
    """An upsampled source's train documents by their number of copies."""
    rows = {_times(times): count for times, count in of.copies.items()}
    told = ", ".join(f"{name} {count:,}" for name, count in rows.items()) or "none"
    style = colour(sources.index(of.source))
    drawn = [
        Bar(name, f"{count:,} ({numbers.percent(count / of.documents)})", [Segment(count, style)])
        for name, count in rows.items()
    ]
    return bars(f"Train documents of {of.source} by their number of copies: {told}", drawn)


def _times(times: int) -> str:
    return "filtered out" if not times else "1 copy" if times == 1 else f"{times:,} copies"


def length_plots(lengths: Mapping[str, Sequence[Lengths]], sources: Sequence[str]) -> dict[str, Markup]:
    """By source, which parts of its documents and of its tokens are in documents of which length; all on one scale."""
    shares = {source: _by_length(rows) for source, rows in lengths.items()}
    found = {least for of in shares.values() for least in of}
    buckets = [1 << power for power in range(min(found).bit_length() - 1, max(found).bit_length())] if found else []
    top = max((share for of in shares.values() for pair in of.values() for share in pair), default=0)
    axes = Axes("tokens a document", "% of the source", (top * 100,))
    edges = [f"{least:,}" for least in (*buckets, *(2 * least for least in buckets[-1:]))]
    drawn = {}
    for source, of in shares.items():
        documents, tokens = ([of.get(least, (0.0, 0.0))[which] * 100 for least in buckets] for which in (0, 1))
        columns = Histogram(edges, documents, tokens, colour(sources.index(source)))
        drawn[source] = histogram(_lengths_told(source, of), columns, axes)
    return drawn


def _by_length(rows: Sequence[Lengths]) -> dict[int, tuple[float, float]]:
    """Shares of documents and of tokens by length, both splits together."""
    documents: Counter[int] = Counter()
    tokens: Counter[int] = Counter()
    for row in rows:
        documents[row.least] += row.documents
        tokens[row.least] += row.tokens
    return {
        least: (documents[least] / documents.total(), tokens[least] / tokens.total()) for least in sorted(documents)
    }


def _lengths_told(source: str, of: Mapping[int, tuple[float, float]]) -> str:
    told = (
        f"{least:,} to {2 * least - 1:,} tokens {numbers.percent(documents)} and {numbers.percent(tokens)}"
        for least, (documents, tokens) in of.items()
    )
    return f"Lengths of {source}, with the part of its documents and of its tokens: {'; '.join(told)}"


def s_curve(figures: Figures, threshold: float) -> Markup:
    """The chance that a pair is compared, by its Jaccard."""
    points = [(0.0, 0.0), *((float(at), chance) for at, chance in figures["curve"].items())]
    axes = Axes("Jaccard of the pair", "chance to be compared", (0, 1), [(threshold, f"threshold {threshold:g}")], True)
    told = f"A pair's chance to be compared, which rises from 0 to 1 around a Jaccard of {threshold:g}"
    return lines(told, [Line(sorted(points), 0)], axes)


def clusters(figures: Figures) -> Markup:
    """Clusters of two documents and more, by size."""
    rows: dict[str, int] = {}
    for size, count in sorted((int(size), count) for size, count in figures["clusters_by_size"].items()):
        if size > 1:
            rows[_size(size)] = rows.get(_size(size), 0) + count
    told = ", ".join(f"{count:,} of {size}" for size, count in rows.items()) or "none"
    drawn = [Bar(f"{size} documents", f"{count:,}", [Segment(count, "c0")]) for size, count in rows.items()]
    return bars(f"Clusters of duplicates by size: {told}", drawn)


def _size(size: int) -> str:
    if size <= EACH_SIZE:
        return str(size)
    top = 2 ** math.ceil(math.log2(size))
    return f"{top // 2 + 1:,} to {top:,}"


def train_loss(figures: Figures) -> Markup:
    """Training loss by step, with the places where training was resumed."""
    points = _series(figures, "loss")
    axes = Axes("step", "loss, nats a token", marks=[(step, "resumed") for step in figures["resumed_from"]])
    return lines(f"Training loss by step{_ends(points)}", [Line(points, 0)], axes)


def validation(figures: Figures, sources: Sequence[str]) -> Markup:
    """Validation loss by step, a line a source."""
    drawn = []
    for position, source in enumerate(sources):
        points = [(one["step"], one["losses"][source]) for one in figures["validation"] if source in one["losses"]]
        drawn.append((source, Line(points, position, dots=True)))
    told = ", ".join(f"{source}{_ends(line.points)}" for source, line in drawn if line.points) or "none"
    return lines(f"Validation loss: {told}", [line for _, line in drawn], Axes("step", "loss, nats a token"))


def rate(figures: Figures) -> Markup:
    """Learning rate by step."""
    points = _series(figures, "lr")
    top = max((height for _, height in points), default=None)
    told = f"Learning rate by step, at most {numbers.general(top)}"
    return lines(told, [Line(points, 0)], Axes("step", "learning rate", (0,)))


def gradient(figures: Figures) -> Markup:
    """Norm of the gradient by step."""
    points = _series(figures, "grad_norm")
    return lines(
        f"Norm of the gradient by step{_ends(points)}", [Line(points, 0)], Axes("step", "norm, before clipping", (0,))
    )


def _series(figures: Figures, name: str) -> list[tuple[float, float]]:
    return [(one["step"], one[name]) for one in figures["losses"] if one[name] is not None]


def _ends(points: Sequence[tuple[float, float]]) -> str:
    """In words, where a curve begins and ends."""
    if not points:
        return ""
    return f" from {numbers.decimal(points[0][1])} to {numbers.decimal(points[-1][1])}"


def scores(rows: Sequence[Figures]) -> Markup:
    """Accuracy with its interval, beside chance and majority."""
    drawn = [
        Interval(
            row["title"],
            numbers.percent(row["accuracy"]) if row["accuracy"] is not None else "no question answered",
            row["accuracy"],
            row["low"],
            row["high"],
            row["chance"],
            row["majority"],
        )
        for row in rows
    ]
    told = "; ".join(
        f"{row['title']} {numbers.percent(row['accuracy'])}, chance {numbers.percent(row['chance'])}" for row in rows
    )
    return intervals(f"Accuracy with 95 % intervals: {told}", drawn)
