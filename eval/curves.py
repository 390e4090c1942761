"""The curves of a training, from the rows of its history (train/history.py)."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from markupsafe import Markup

from eval import numbers
from eval.charts import Axes, Line, lines
from eval.summary import Figures, measured_sources

MEASURES = {
    "loss": "loss, nats per token",
    "perplexity": "perplexity",
    "bits_per_byte": "bits per byte",
}
"""What is measured on held-out text, with the title of its axis. Bits per byte compare models of any tokenizer."""

Points = list[tuple[float, float]]


def train_loss(figures: Figures) -> Markup:
    """Training loss by step, with the places where training was resumed, a step was skipped or a save failed."""
    points = _series(figures, "loss")
    marks = [
        *((step, "resumed") for step in figures["resumed_from"]),
        *((row["step"], "skipped") for row in figures["losses"] if row["skipped"]),
        *((row["step"], "save failed") for row in figures["failed_saves"]),
    ]
    axes = Axes("step", "loss, nats per token", marks=marks)
    marked = "".join(f", {word} at step {step}" for step, word in sorted(marks))
    return lines(f"Training loss by step{_ends(points)}{marked}", [Line(points, 0)], axes)


def validation(figures: Figures, sources: Sequence[str], measure: str) -> Markup:
    """One of MEASURES on held-out text by step, with a line for each source."""
    series = _by_source(figures, sources, measure)
    axes = Axes("step", MEASURES[measure])
    return lines(f"Validation, {axes.y}: {_listed(series)}", list(series.values()), axes)


def change(figures: Figures, sources: Sequence[str]) -> Markup:
    """Perplexity on held-out text against that before the first step, in %: below 0 is learned, above 0 is forgotten.

    It shows the dip that training begins with, and what the base model knew and loses.
    """
    series = {
        source: Line(
            [(step, (value / line.points[0][1] - 1) * 100) for step, value in line.points], line.position, True
        )
        for source, line in _by_source(figures, sources, "perplexity").items()
        if line.points and line.points[0][0] == 0
    }
    axes = Axes("step", "change of perplexity since step 0, %", (0,))
    return lines(f"Change of perplexity since step 0, in %: {_listed(series)}", list(series.values()), axes)


def rate(figures: Figures) -> Markup:
    """Learning rate by step."""
    points = _series(figures, "lr")
    top = max((height for _, height in points), default=None)
    description = f"Learning rate by step, at most {numbers.general(top)}"
    return lines(description, [Line(points, 0)], Axes("step", "learning rate", (0,)))


def gradient(figures: Figures) -> Markup:
    """Norm of the gradient by step, with the steps that were skipped."""
    points = _series(figures, "grad_norm")
    marks = [(row["step"], "skipped") for row in figures["losses"] if row["skipped"]]
    axes = Axes("step", "norm, before clipping", (0,), marks)
    return lines(f"Norm of the gradient by step{_ends(points)}", [Line(points, 0)], axes)


def speed(figures: Figures) -> Markup:
    """Tokens a second by step."""
    points = _series(figures, "tokens_per_second")
    return lines(f"Tokens a second by step{_ends(points)}", [Line(points, 0)], Axes("step", "tokens per second", (0,)))


def mfu(figures: Figures) -> Markup | None:
    """Model FLOPs utilization by step, in %; None where the device's peak is not known, as on a CPU."""
    points = [(step, share * 100) for step, share in _series(figures, "mfu")]
    axes = Axes("step", "MFU, %", (0,))
    return lines(f"Model FLOPs utilization by step, in %{_ends(points)}", [Line(points, 0)], axes) if points else None


def time_by_phase(figures: Figures) -> str:
    """The share of the steps' time that each phase took, in words; empty where it was not measured."""
    sums: Counter[str] = Counter()
    for row in figures["losses"]:
        sums.update(row["phases"])
    total = sum(sums.values())
    shares = {phase: seconds / total for phase, seconds in sums.items()} if total else {}
    return ", ".join(f"{phase.replace('_', ' and ')} {numbers.percent(share)}" for phase, share in shares.items())


def median(figures: Figures, name: str) -> float | None:
    """The median of a column of the steps, which the first, slow step does not move."""
    values = sorted(value for _, value in _series(figures, name) if math.isfinite(value))
    return values[len(values) // 2] if values else None


def peak(figures: Figures, name: str) -> float | None:
    """The largest value of a column of the steps."""
    return max((value for _, value in _series(figures, name)), default=None)


def before_and_after(figures: Figures) -> list[Figures]:
    """By source, what was measured before the first step and after the last: {source, before, after}, each a mapping.

    Before the first step, the model is the base model.
    """
    validations: Sequence[Figures] = figures["validation"]
    nothing = dict.fromkeys(MEASURES)
    return [
        {
            "source": source,
            "before": validations[0]["sources"].get(source, nothing),
            "after": validations[-1]["sources"].get(source, nothing),
        }
        for source in measured_sources(figures)
    ]


def _by_source(figures: Figures, sources: Sequence[str], measure: str) -> dict[str, Line]:
    return {source: Line(_measured(figures, source, measure), n, True) for n, source in enumerate(sources)}


def _measured(figures: Figures, source: str, measure: str) -> Points:
    rows = ((row["step"], row["sources"].get(source, {}).get(measure)) for row in figures["validation"])
    return [(step, value) for step, value in rows if value is not None]


def _series(figures: Figures, name: str) -> Points:
    return [(row["step"], row[name]) for row in figures["losses"] if row.get(name) is not None]


def _listed(series: dict[str, Line]) -> str:
    words: Iterable[str] = (f"{source}{_ends(line.points)}" for source, line in series.items() if line.points)
    return ", ".join(words) or "none"


def _ends(points: Sequence[tuple[float, float]]) -> str:
    """In words, where a curve begins and ends."""
    if not points:
        return ""
    return f" from {numbers.decimal(points[0][1])} to {numbers.decimal(points[-1][1])}"
