"""Intervals, paired tests and calibration. It needs Python alone, and its figures are the same everywhere.

Sums are those of `math.fsum`, because the sum of Python 3.12 rounds in another way than that of 3.11. Random numbers
are those of `random.random`, which no version changes.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import mul
from random import Random
from statistics import stdev

Z95 = 1.959963984540054
Z80 = 0.8416212335729143
"""Quantiles of the normal distribution: of a two-sided 95 % interval, and of a power of 80 %."""

DRAWS = 2_000
SEED = 1234
BINS = 10

Part = Sequence[float]
"""What a question or cluster adds to the numerator and to the denominator of a score. For accuracy these are right
answers and answers; for F1, twice the entities found rightly, and all entities given and wanted."""


def wilson(correct: float, questions: int) -> tuple[float, float]:
    """The 95 % score interval of a share (Wilson 1927). It stays within 0 and 1 for any number of questions."""
    if not questions:
        return 0.0, 1.0
    share, spread = correct / questions, Z95**2 / questions
    middle = (share + spread / 2) / (1 + spread)
    half = Z95 * math.sqrt(share * (1 - share) / questions + spread / (4 * questions)) / (1 + spread)
    # At 0 and at 1 the bound is exact, which rounding would miss.
    return (0.0 if correct == 0 else middle - half), (1.0 if correct == questions else middle + half)


def ratio(parts: Iterable[Part]) -> float | None:
    """All numerators over all denominators; None if these are 0."""
    return share_of(*map(math.fsum, zip(*parts, strict=True)))


def share_of(numerator: float = 0.0, denominator: float = 0.0) -> float | None:
    """The quotient, or None if there is nothing to divide by."""
    return numerator / denominator if denominator else None


def joined(clusters: Iterable[str], rows: Iterable[Sequence[float]]) -> list[tuple[float, ...]]:
    """The rows of each cluster added up, in the order in which clusters come."""
    sums: dict[str, list[Sequence[float]]] = {}
    for cluster, row in zip(clusters, rows, strict=True):
        sums.setdefault(cluster, []).append(row)
    return [tuple(map(math.fsum, zip(*of, strict=True))) for of in sums.values()]


def resampled(rows: Sequence[Sequence[float]], statistic: Callable[..., float | None]) -> list[float]:
    """The statistic of DRAWS samples of rows with replacement (Efron 1979), sorted, without those that have none.

    The statistic is computed from the sums of the columns. Rows are few distinct ones, so how often each is drawn is
    drawn at once. The order of the rows makes no difference.
    """
    random, count = Random(SEED).random, len(rows)
    times = Counter(map(tuple, rows))
    distinct = sorted(times)
    columns = list(zip(*distinct, strict=True))
    values = []
    for _ in range(DRAWS):
        left, tickets, drawn = count, count, []
        for row in distinct:
            drawn.append(binomial(random(), left, times[row] / tickets))
            left -= drawn[-1]
            tickets -= times[row]
        value = statistic(*(math.fsum(map(mul, column, drawn)) for column in columns))
        if value is not None:
            values.append(value)
    return sorted(values)


def binomial(uniform: float, count: int, share: float) -> int:
    """The number of successes in `count` trials that a uniform number from 0 to 1 selects.

    Numbers are tried from the most likely one outwards (Kemp 1986), so it takes few steps.
    """
    if not count or share >= 1:
        return count
    odds = share / (1 - share)
    low = high = min(count, int((count + 1) * share))
    ways = math.lgamma(count + 1) - math.lgamma(high + 1) - math.lgamma(count - high + 1)
    below = above = math.exp(ways + high * math.log(share) + (count - high) * math.log1p(-share))
    uniform -= above
    middle = high
    while uniform >= 0 and (low > 0 or high < count):
        if high < count:
            above *= (count - high) / (high + 1) * odds
            high += 1
            uniform -= above
            if uniform < 0:
                return high
        if low > 0:
            below *= low / (count - low + 1) / odds
            low -= 1
            uniform -= below
            if uniform < 0:
                return low
    return middle


def quantile(values: Sequence[float], share: float) -> float:
    """The quantile of sorted values, linear between them."""
    place = share * (len(values) - 1)
    below = math.floor(place)
    above = min(below + 1, len(values) - 1)
    return values[below] + (values[above] - values[below]) * (place - below)


def bootstrap(parts: Sequence[Part]) -> tuple[float, float]:
    """The 95 % percentile interval of a ratio from its parts by cluster; 0 to 1 with fewer than two clusters."""
    values = resampled(parts, share_of) if len(parts) > 1 else []
    return (quantile(values, 0.025), quantile(values, 0.975)) if values else (0.0, 1.0)


# Two models on the same questions ------------------------------------------------------------------------------------


def mcnemar(only_first: int, only_second: int) -> float:
    """The exact two-sided p-value that questions which one of two models has right fall to either evenly.

    McNemar 1947, with the binomial distribution. Questions that both have right, or both wrong, tell nothing.
    """
    count, least = only_first + only_second, min(only_first, only_second)
    ways, tail = 1, 1
    for place in range(1, least + 1):
        ways = ways * (count - place + 1) // place
        tail += ways
    return min(1.0, 2 * tail / 2**count)


@dataclass(frozen=True)
class Paired:
    """The second model's score less the first's: the difference, its 95 % interval, the p-value that there is none, and
    the smallest difference that questions of this number and kind show with a power of 80 %. `test` names the test.
    """

    difference: float
    low: float
    high: float
    p: float
    smallest: float
    test: str


def paired(first: Mapping[str, Part], second: Mapping[str, Part], clusters: Mapping[str, str]) -> Paired | None:
    """Compare two models by the parts of the questions that both answered, which `clusters` groups by question.

    If each question is a cluster and was answered once, the test is McNemar's exact one, and the interval that of
    Agresti and Min (2005), which adds half a question to each of the four cells. Else the clusters are sampled: the
    p-value is the share of samples that differ from the measured difference by as much as that differs from 0. It is
    None without a question that both answered.
    """
    common = [question for question in first if question in second]
    pairs = [(*first[question], *second[question]) for question in common]
    if not pairs:
        return None
    alone = len({clusters[question] for question in common}) == len(common)
    if alone and all(a in (0, 1) and b in (0, 1) and wa == wb == 1 for a, wa, b, wb in pairs):
        return _discordant(Counter((a, b) for a, _, b, _ in pairs))
    return _sampled(joined((clusters[question] for question in common), pairs))


def _discordant(cells: Counter[tuple[float, float]]) -> Paired:
    lost, won, count = cells[1, 0], cells[0, 1], cells.total()
    middle = (won - lost) / (count + 2)
    error = math.sqrt((lost + won + 1) - (won - lost) ** 2 / (count + 2)) / (count + 2)
    low, high = max(-1.0, middle - Z95 * error), min(1.0, middle + Z95 * error)
    difference = (won - lost) / count
    return Paired(difference, low, high, mcnemar(lost, won), (Z95 + Z80) * error, "McNemar")


def _gap(a: float, wa: float, b: float, wb: float) -> float | None:
    return b / wb - a / wa if wa and wb else None


def _sampled(pairs: Sequence[Sequence[float]]) -> Paired | None:
    difference = _gap(*map(math.fsum, zip(*pairs, strict=True)))
    values = resampled(pairs, _gap) if len(pairs) > 1 else []
    if difference is None or len(values) < 2:
        return None
    # Rounding must not part values that are equal.
    beyond = sum(abs(value - difference) >= abs(difference) - 1e-12 for value in values)
    low, high = quantile(values, 0.025), quantile(values, 0.975)
    p = (1 + beyond) / (1 + len(values))
    return Paired(difference, low, high, p, (Z95 + Z80) * stdev(values), "bootstrap")


def holm(p_values: Sequence[float]) -> list[float]:
    """Each p-value adjusted for all (Holm 1979): those below 0.05 hold together with an error of 5 %."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


# Student's distribution ----------------------------------------------------------------------------------------------


def student_p(t: float, freedom: float) -> float:
    """The two-sided p-value of Student's t with any positive degrees of freedom."""
    return _beta(freedom / 2, 0.5, freedom / (freedom + t * t))


def student_t(p: float, freedom: float) -> float:
    """The t that has this two-sided p-value."""
    return bisected(lambda t: student_p(t, freedom) > p)


def bisected(below: Callable[[float], bool], most: float = 1e9) -> float:
    """The positive number, or `most`, from which on `below` is false."""
    low, high = 0.0, 1.0
    while high < most and below(high):
        low, high = high, 2 * high
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) else (low, middle)
    return high


def _beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function, by its continued fraction (Abramowitz and Stegun 26.5.8)."""
    if x >= 1:
        return 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta(b, a, 1 - x)
    fraction = 1.0
    # Evaluated from its end. It needs about as many terms as the square root of the larger argument.
    for m in range(30 + int(6 * math.sqrt(max(a, b))), 0, -1):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m - 1) * (a + b + m - 1) * x / ((a + 2 * m - 2) * (a + 2 * m - 1))
        fraction = 1 + odd / (1 + even / fraction)
    scale = (
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x) if x else -math.inf
    )
    return math.exp(scale) / (a * fraction)


# Other figures -------------------------------------------------------------------------------------------------------


def agreement(rounds: Iterable[Sequence[object]]) -> float | None:
    """The share of questions that got one and the same answer in all of their rounds. No answer agrees with none."""
    alike = [answers[0] is not None and len(set(answers)) == 1 for answers in rounds if len(answers) > 1]
    return sum(alike) / len(alike) if alike else None


def macro_f1(pairs: Iterable[tuple[str, str | None]]) -> float | None:
    """The mean of the F1 of each label that is right or predicted somewhere, from pairs of the two labels."""
    pairs = list(pairs)
    wanted = Counter(gold for gold, _ in pairs)
    given = Counter(label for _, label in pairs if label is not None)
    hits = Counter(gold for gold, label in pairs if gold == label)
    scores = [2 * hits[label] / (wanted[label] + given[label]) for label in sorted(wanted | given)]
    return math.fsum(scores) / len(scores) if scores else None


def calibration(answers: Sequence[tuple[Sequence[float], int]], bins: int = BINS) -> dict[str, object]:
    """How far a model's probabilities can be believed: from those of the options, and the place of the right one.

    `ece` is the expected calibration error, the mean distance of confidence and accuracy in `bins` of equal width by
    confidence (Guo et al. 2017, section 2). `brier` is the mean squared distance of all probabilities from 1 for the
    right option and 0 for the others (Brier 1950), so it is from 0 to 2.
    """
    binned: list[list[tuple[float, bool]]] = [[] for _ in range(bins)]
    squares = []
    for probabilities, right in answers:
        confidence = max(probabilities)
        hit = probabilities.index(confidence) == right
        binned[min(bins - 1, int(confidence * bins))].append((confidence, hit))
        squares.append(math.fsum((p - (place == right)) ** 2 for place, p in enumerate(probabilities)))
    rows = [
        {
            "from": place / bins,
            "to": (place + 1) / bins,
            "answers": len(of),
            "confidence": math.fsum(confidence for confidence, _ in of) / len(of),
            "accuracy": sum(hit for _, hit in of) / len(of),
        }
        for place, of in enumerate(binned)
        if of
    ]
    gaps = [row["answers"] * abs(row["confidence"] - row["accuracy"]) for row in rows]
    count = len(answers)
    return {
        "ece": math.fsum(gaps) / count if count else None,
        "brier": math.fsum(squares) / count if count else None,
        "bins": rows,
    }
