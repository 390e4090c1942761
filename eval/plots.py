"""Which plots a report has, and what each shows of the manifests."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from eval import numbers
from eval.charts import GONE, Axes, Bar, Interval, Line, Segment, bars, colour, intervals, lines
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


def reasons(step: Manifest, sources: Sequence[str]) -> Markup:
    """What the step dropped by reason, the commonest first, by source."""
    dropped = sorted(step.total.dropped.items(), key=lambda one: (-one[1], one[0]))
    rows = [
        Bar(
            reason,
            f"{count:,}",
            [
                Segment(one.dropped.get(reason, 0), colour(position))
                for position, source in enumerate(sources)
                if (one := step.accounts.get(source))
            ],
        )
        for reason, count in dropped
    ]
    told = ", ".join(f"{reason} {count:,}" for reason, count in dropped)
    return bars(f"Dropped by {step.step}: {told}", rows)


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
