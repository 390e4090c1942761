"""Scores: intervals against published values, ties, and counts."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.score import prediction, score, wilson


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


def test_without_questions_there_is_no_score() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    row = score("none", [])
    assert (row["questions"], row["accuracy"], row["chance"], row["majority"], row["clean_accuracy"]) == (
        0,
        None,
        None,
        None,
        None,
    )


def test_the_first_of_equally_likely_labels_is_taken() -> None:
    assert prediction({"A": -2.0, "B": -1.0, "C": -1.0}) == "B"
    assert prediction({"B": -1.0, "A": -1.0}) == "B"
    assert prediction({"A": -math.inf, "B": -math.inf}) == "A"


def answer(id_: str, right: str, chosen: str, options: str = "ABCD", cut: bool = False) -> dict[str, object]:
    return {
        "id": id_,
        "options": [(label, label) for label in options],
        "answer": right,
        "prediction": chosen,
        "correct": right == chosen,
        "cut": cut,
    }


def test_a_benchmark_is_scored_whole_and_without_the_quoted_questions() -> None:
    answers = [
        answer("1", "A", "A"),
        answer("2", "A", "B", cut=True),
        answer("3", "B", "B", options="AB"),
        answer("4", "C", "A"),
    ]
    row = score("new", answers, ["1", "4", "unknown", "1"])
    low, high = wilson(2, 4)
    assert row == {
        "benchmark": "new",
        "questions": 4,
        "correct": 2,
        "accuracy": 0.5,
        "low": low,
        "high": high,
        "chance": pytest.approx((3 * 0.25 + 0.5) / 4),
        "majority": 0.5,
        "clean_questions": 2,
        "clean_accuracy": 0.5,
        "cut": 1,
        "predicted": {"A": 2, "B": 2},
    }
