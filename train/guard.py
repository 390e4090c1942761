"""When a step must not update the weights: losses and gradients that are not finite, and spikes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import Any

from train.recipe import Guard

LEAST = 0.02
"""A deviation of less than this share of the mean counts as this: a flat curve makes no spike of a ripple."""


class TrainingStopped(Exception):  # noqa: N818 - it is not always an error
    """Training cannot go on, and trying again would not help."""


@dataclass(frozen=True)
class Spike:
    """`what`, the loss or the gradient norm, had a `value` above the `limit`."""

    what: str
    value: float
    limit: float


def not_finite(loss: float, grad_norm: float) -> str | None:
    """What is not finite, in words."""
    for what, value in (("loss", loss), ("gradient norm", grad_norm)):
        if not math.isfinite(value):
            return f"the {what} is {value}"
    return None


def spike(guard: Guard, rows: Sequence[dict[str, Any]], loss: float, grad_norm: float) -> Spike | None:
    """Compare a step with the steps before it, `rows` of the history. Skipped steps set no example."""
    window = [row for row in rows[-2 * guard.window :] if not row["skipped"]][-guard.window :]
    if len(window) < guard.window:
        return None
    for what, value, key in (("loss", loss, "loss"), ("gradient norm", grad_norm, "grad_norm")):
        values = [row[key] for row in window]
        mean = fmean(values)
        limit = mean + guard.deviations * max(pstdev(values), LEAST * mean)
        if not value <= limit:
            return Spike(what, value, limit)
    return None


def skipped_too_often(guard: Guard, rows: Sequence[dict[str, Any]]) -> bool:
    """Whether `guard.skips` of the last `guard.window` steps were skipped."""
    return sum(row["skipped"] for row in rows[-guard.window :]) >= guard.skips
