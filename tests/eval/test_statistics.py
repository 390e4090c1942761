"""Intervals against published values, tests against exact ones, and both against simulated models."""

import math
from collections.abc import Iterable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval import statistics
from eval.statistics import (
    Paired,
    agreement,
    binomial,
    bootstrap,
    calibration,
    holm,
    joined,
    macro_f1,
    mcnemar,
    paired,
    quantile,
    ratio,
    student_p,
    student_t,
    wilson,
)


@pytest.mark.parametrize(
    ("correct", "questions", "low", "high"),
    [  # Newcombe 1998, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_intervals(correct: int, questions: int, low: float, high: float) -> None:
    assert wilson(correct, questions) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 10_000), st.data())
def test_wilson_holds_the_share_and_is_the_same_from_both_sides(questions: int, data: st.DataObject) -> None:
    correct = data.draw(st.integers(0, questions))
    low, high = wilson(correct, questions)
    assert 0 <= low <= correct / questions <= high <= 1
    assert wilson(questions - correct, questions) == pytest.approx((1 - high, 1 - low), abs=1e-9)


@given(st.integers(0, 60), st.floats(0.01, 0.99), st.integers(0, 1_000_000))
def test_a_binomial_number_has_the_probability_of_its_value(count: int, share: float, seed: int) -> None:
    # The numbers 0 to 1 are cut into pieces, one a value, each as long as the value is probable.
    cuts = [place / 2000 for place in range(2000)]
    drawn = [binomial(cut, count, share) for cut in cuts]
    for value in {0, count // 2, count, drawn[seed % 2000]}:
        probable = math.comb(count, value) * share**value * (1 - share) ** (count - value)
        assert drawn.count(value) / 2000 == pytest.approx(probable, abs=1.01 / 1000)


def test_the_bootstrap_agrees_with_wilson_and_does_not_know_the_order() -> None:
    parts = [(float(n % 3 == 0), 1.0) for n in range(900)]
    assert bootstrap(parts) == pytest.approx(wilson(300, 900), abs=0.003)
    assert bootstrap(parts) == bootstrap(parts[::-1])


def test_one_cluster_tells_nothing() -> None:
    assert bootstrap([(3.0, 4.0)]) == bootstrap([]) == (0.0, 1.0)
    assert ratio([]) is ratio([(0, 0)]) is None


@pytest.mark.parametrize(
    ("first", "second", "p"),
    [(0, 0, 1.0), (5, 5, 1.0), (0, 6, 2 / 64), (1, 9, 2 * 11 / 1024), (9, 1, 2 * 11 / 1024), (0, 1, 1.0)],
)
def test_mcnemar_is_the_binomial_test(first: int, second: int, p: float) -> None:
    assert mcnemar(first, second) == p


@given(st.integers(0, 3000), st.integers(0, 3000))
@settings(max_examples=30)
def test_mcnemar_is_a_probability_and_the_same_from_both_sides(first: int, second: int) -> None:
    assert 0 <= mcnemar(first, second) <= 1
    assert mcnemar(first, second) == mcnemar(second, first)


def test_holm_gives_the_published_example() -> None:
    # Holm 1979 as in Wright 1992: each is multiplied by how many are at least as large, and none falls below another.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_keeps_the_order_and_is_no_smaller(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= after <= 1 for p, after in zip(p_values, adjusted, strict=True))
    for a, b in zip(p_values, adjusted, strict=True):
        for c, d in zip(p_values, adjusted, strict=True):
            assert b <= d or a > c


@pytest.mark.parametrize(
    ("t", "freedom", "p"),
    [(12.7062, 1, 0.05), (4.3027, 2, 0.05), (2.2281, 10, 0.05), (3.1693, 10, 0.01), (1.9600, 1e6, 0.05), (0, 3, 1)],
)
def test_students_distribution_has_the_values_of_its_table(t: float, freedom: float, p: float) -> None:
    assert student_p(t, freedom) == pytest.approx(p, rel=1e-4)
    assert student_t(p, freedom) == pytest.approx(t, abs=1e-3)


def test_macro_f1_counts_every_label_alike() -> None:
    pairs = [("yes", "yes")] * 8 + [("no", "yes")] * 2
    assert macro_f1(pairs) == pytest.approx((2 * 8 / (8 + 10) + 0) / 2)
    assert macro_f1([("yes", None), ("no", "no")]) == 0.5
    assert macro_f1([]) is None


def test_no_answer_agrees_with_no_other() -> None:
    assert agreement([("A", "A"), ("A", "B"), (None, None), ("A",)]) == 1 / 3
    assert agreement([("A",)]) is None


def test_a_model_that_knows_what_it_knows_has_no_calibration_error() -> None:
    sure = calibration([([1.0, 0.0], 0)] * 5)
    assert (sure["ece"], sure["brier"]) == (0, 0)
    wrong = calibration([([1.0, 0.0], 1)] * 5)
    assert (wrong["ece"], wrong["brier"]) == (1, 2)
    assert calibration([])["ece"] is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.floats(0, 1))
def test_a_quantile_lies_among_the_values(values: list[float], share: float) -> None:
    values.sort()
    assert values[0] - 1e-6 <= quantile(values, share) <= values[-1] + 1e-6


# Simulated models ----------------------------------------------------------------------------------------------------


def models(random: Random, questions: int, gain: float, in_cluster: int = 1, rounds: int = 1) -> Paired:
    """Two models, of which the second has `gain` more right. Questions differ in how hard they are, clusters even more.

    Each question is answered `rounds` times, and `in_cluster` questions share an abstract.
    """
    first, second, clusters = {}, {}, {}
    for n in range(questions):
        if n % in_cluster == 0:
            hard, shift = random.random() * 0.6 + 0.2, (random.random() - 0.5) * 0.4 * (in_cluster > 1)
        clusters[str(n)] = str(n // in_cluster)
        first[str(n)] = (sum(random.random() < hard for _ in range(rounds)), rounds)
        second[str(n)] = (sum(random.random() < hard + shift + gain for _ in range(rounds)), rounds)
    found = paired(first, second, clusters)
    assert found is not None
    return found


def rate(found: Iterable[Paired]) -> float:
    below = [one.p < 0.05 for one in found]
    return sum(below) / len(below)


@pytest.fixture
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples enough for an error of 5 %."""
    monkeypatch.setattr(statistics, "DRAWS", 200)


ROUNDS = 200
MOST = 0.05 + 2 * math.sqrt(0.05 * 0.95 / ROUNDS)
"""The share of ROUNDS that a test with an error of 5 % finds at most, but for one time in forty."""


@pytest.mark.usefixtures("few_draws")
@pytest.mark.parametrize(("in_cluster", "rounds"), [(1, 1), (4, 1), (1, 3)])
def test_equal_models_are_told_apart_in_one_case_of_twenty_at_most(in_cluster: int, rounds: int) -> None:
    random = Random(in_cluster + 10 * rounds)
    found = [models(random, 200, 0.0, in_cluster, rounds) for _ in range(ROUNDS)]
    assert {one.test for one in found} == {"McNemar" if in_cluster == rounds == 1 else "bootstrap"}
    assert rate(found) <= MOST
    covered = sum(one.low <= 0 <= one.high for one in found) / ROUNDS
    assert covered >= 1 - MOST - 0.01


def test_a_test_that_ignores_clusters_would_find_what_is_not_there() -> None:
    random = Random(3)
    deaf = []
    for _ in range(100):
        first, second = {}, {}
        for n in range(200):
            if n % 10 == 0:
                a, b = random.random() < 0.5, random.random() < 0.5
            first[str(n)], second[str(n)] = (float(a), 1), (float(b), 1)
        found = paired(first, second, {name: name for name in first})
        assert found is not None
        deaf.append(found)
    assert rate(deaf) > 0.3


@pytest.mark.usefixtures("few_draws")
@pytest.mark.parametrize(("in_cluster", "rounds"), [(1, 1), (4, 1), (1, 3)])
def test_a_planted_effect_is_found_as_often_as_promised(in_cluster: int, rounds: int) -> None:
    random = Random(5)
    smallest = models(random, 400, 0.0, in_cluster, rounds).smallest
    power = rate(models(random, 400, smallest, in_cluster, rounds) for _ in range(100))
    assert 0.65 <= power <= 0.95, "80 % is what `smallest` means"


def test_only_questions_that_both_answered_are_compared() -> None:
    first = {"1": (1, 1), "2": (0, 1), "3": (1, 1)}
    second = {"2": (1, 1), "3": (1, 1), "4": (0, 1)}
    found = paired(first, second, {name: name for name in "1234"})
    assert found is not None
    assert (found.difference, found.p) == (0.5, 1.0)
    assert paired(first, {}, {}) is None


def test_equal_answers_exclude_a_large_difference_and_not_every_one() -> None:
    answers = {str(n): (float(n % 2), 1) for n in range(100)}
    found = paired(answers, answers, {name: name for name in answers})
    assert found is not None
    assert (found.difference, found.p) == (0, 1)
    assert -0.05 < found.low < 0 < found.high < 0.05
    assert found.smallest > 0


def test_parts_are_added_by_cluster() -> None:
    assert joined("aba", [(1, 2), (3, 4), (5, 6)]) == [(6, 8), (3, 4)]
