"""A score over a training run: where its noise comes from, and whether there is a trend. It needs Python alone."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import mul
from statistics import NormalDist, fmean, variance

from eval.statistics import Part, bisected, joined, ratio, student_p, student_t

LEAST = 3
"""With fewer checkpoints there is nothing to tell a trend from noise by."""


@dataclass(frozen=True)
class Checkpoint:
    """`tokens` is what the model had seen, `rounds` the parts of the questions in each round (seed), by their ids."""

    tokens: int
    rounds: Sequence[Mapping[str, Part]]

    @property
    def score(self) -> float | None:
        return ratio(part for round_ in self.rounds for part in round_.values())


@dataclass(frozen=True)
class Noise:
    """Where a score's noise comes from, each as a standard deviation. The three overlap, so they do not add up.

    `questions`: other questions of the kind; the mean over checkpoints of the standard error.
    `shots`: other seeds on the same questions; None with one seed.
    `checkpoints`: neighbouring checkpoints on the same questions and shots, from the squares of their differences
    (von Neumann 1941), which a slow trend hardly touches.
    """

    questions: float
    shots: float | None
    checkpoints: float


@dataclass(frozen=True)
class Trend:
    """The change of the fitted line from the first checkpoint to the last, its 95 % interval, and the p-value that
    there is none."""

    change: float
    low: float
    high: float
    p: float
    noise: Noise


def trend(checkpoints: Sequence[Checkpoint], clusters: Mapping[str, str]) -> Trend | None:
    """Fit a line to a score against tokens, on the questions that every checkpoint answered.

    The change has two errors. Checkpoints scatter about the line, for which Student's t stands. And other questions
    would have other slopes, whose variance over clusters is beyond what they scatter about lines of their own, for
    which the normal distribution stands. The interval is the root of the sum of both half widths squared, so it is no
    narrower than either. It is None with fewer than three checkpoints or two clusters.
    """
    points = sorted(checkpoints, key=lambda point: point.tokens)
    common = [id_ for id_ in clusters if all(id_ in round_ for point in points for round_ in point.rounds)]
    if len(points) < LEAST or points[0].tokens == points[-1].tokens:
        return None
    scores, parts = _by_cluster(points, common, clusters)
    if len(parts) < 2:
        return None
    weights, freedom = _slope([point.tokens for point in points]), len(points) - 2
    change = _dot(weights, scores)
    scatter = _residue(scores, weights) / freedom
    own = math.fsum(_residue(row, weights) for row in parts) / freedom / (len(parts) * (len(parts) - 1))
    slopes = variance([_dot(weights, row) for row in parts]) / len(parts)
    # Points that happen to lie on a line still scatter as much as single questions do.
    error = _Error(max(0.0, slopes - own), max(scatter, own), freedom)
    # Of n questions that never changed, up to 3 / n may yet do so (Hanley and Lippman-Hand 1983).
    half = error.half(student_t(0.05, freedom)) or 3 / len(parts)
    low, high = max(-1.0, change - half), min(1.0, change + half)
    return Trend(change, low, high, error.p(change), _noise(points, common, scores, parts))


@dataclass(frozen=True)
class _Error:
    """The variances of a change: of even slopes of other questions, and of scatter with its degrees of freedom."""

    slopes: float
    scatter: float
    freedom: int

    def half(self, t: float) -> float:
        """Half the width of the interval that reaches as far as Student's t."""
        z = -NormalDist().inv_cdf(max(student_p(t, self.freedom) / 2, 1e-300))
        return math.hypot(z * math.sqrt(self.slopes), t * math.sqrt(self.scatter))

    def p(self, change: float) -> float:
        """The p-value: that of the t whose interval just holds 0."""
        return student_p(bisected(lambda t: self.half(t) < abs(change)), self.freedom)


def _dot(weights: Sequence[float], values: Sequence[float]) -> float:
    return math.fsum(map(mul, weights, values))


def _by_cluster(
    points: Sequence[Checkpoint], common: Sequence[str], clusters: Mapping[str, str]
) -> tuple[list[float], list[list[float]]]:
    """The score of each checkpoint, and for each cluster by how much it moves each of these scores.

    That is the residual of its ratio over the mean denominator, which makes an F1 a mean as well.
    """
    scores, columns = [], []
    for point in points:
        rows = [(id_, round_[id_]) for round_ in point.rounds for id_ in common]
        sums = joined((clusters[id_] for id_, _ in rows), (part for _, part in rows))
        score, mean = ratio(sums), math.fsum(bottom for _, bottom in sums) / max(1, len(sums))
        if score is None:
            return [], []
        scores.append(score)
        columns.append([(top - score * bottom) / mean for top, bottom in sums])
    return scores, [list(row) for row in zip(*columns, strict=True)]


def _slope(tokens: Sequence[int]) -> list[float]:
    """Weights of the scores, whose sum is the change of the fitted line from first to last."""
    middle, run = fmean(tokens), tokens[-1] - tokens[0]
    squares = math.fsum((value - middle) ** 2 for value in tokens)
    return [(value - middle) * run / squares for value in tokens]


def _residue(values: Sequence[float], weights: Sequence[float]) -> float:
    """The sum of squared distances from the fitted line, as variance of the change."""
    middle, squares = fmean(values), _dot(weights, weights)
    slope = _dot(weights, values) / squares
    rest = (value - middle - slope * weight for value, weight in zip(values, weights, strict=True))
    return squares * math.fsum(distance * distance for distance in rest)


def _noise(
    points: Sequence[Checkpoint], common: Sequence[str], scores: Sequence[float], parts: Sequence[Sequence[float]]
) -> Noise:
    errors = [math.sqrt(variance(column) / len(parts)) for column in zip(*parts, strict=True)]
    by_round = [[ratio(round_[id_] for id_ in common) or 0.0 for round_ in point.rounds] for point in points]
    shots = [variance(values) for values in by_round if len(values) > 1]
    neighbours = fmean((after - before) ** 2 for before, after in pairwise(scores))
    return Noise(fmean(errors), math.sqrt(fmean(shots)) if shots else None, math.sqrt(neighbours / 2))


def sentence(low: float, high: float, p: float, up: str = "rise", down: str = "fall", either: str = "change") -> str:
    """What the data allow to be said of a difference with this interval and p-value, in points."""
    if p < 0.05 and not low <= 0 <= high:
        least, most = sorted((abs(low), abs(high)))
        return f"A {up if low > 0 else down} of {least * 100:.1f} to {most * 100:.1f} points is shown."
    if max(-low, high) >= 1:
        return f"No {either} is shown, and none is excluded."
    return f"No {either} is shown; one of more than {max(abs(low), abs(high)) * 100:.1f} points is excluded."
