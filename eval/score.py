"""Accuracy with its interval, beside the scores that need no knowledge."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Z95 = 1.959963984540054


def wilson(correct: int, questions: int) -> tuple[float, float]:
    """The 95 % score interval of a share (Wilson 1927). It stays within 0 and 1 for any number of questions."""
    if not questions:
        return 0.0, 1.0
    share, spread = correct / questions, Z95**2 / questions
    middle = (share + spread / 2) / (1 + spread)
    half = Z95 * math.sqrt(share * (1 - share) / questions + spread / (4 * questions)) / (1 + spread)
    # At 0 and at 1 the bound is exact, which rounding would miss.
    return (0.0 if correct == 0 else middle - half), (1.0 if correct == questions else middle + half)


def prediction(logprobs: Mapping[str, float]) -> str:
    """The label of the largest log-probability, or the first of several."""
    return max(logprobs, key=lambda label: logprobs[label])


def score(benchmark: str, answers: Sequence[Mapping[str, Any]], quoted: Iterable[str] = ()) -> dict[str, Any]:
    """One row of the results from a benchmark's answers (`id`, `options`, `answer`, `prediction`, `correct`, `cut`).

    `chance` is guessing evenly among each question's options; `majority` is always giving the most common right label.
    Clean scores leave out the questions that a document quotes, whose ids are in `quoted`. Shares are null without an
    answer.
    """
    dirty = set(quoted)
    clean = [row for row in answers if row["id"] not in dirty]
    labels = Counter(row["answer"] for row in answers)
    questions, correct = len(answers), sum(row["correct"] for row in answers)
    low, high = wilson(correct, questions)
    return {
        "benchmark": benchmark,
        "questions": questions,
        "correct": correct,
        "accuracy": _share(correct, questions),
        "low": low,
        "high": high,
        "chance": _share(sum(1 / len(row["options"]) for row in answers), questions),
        "majority": _share(max(labels.values(), default=0), questions),
        "clean_questions": len(clean),
        "clean_accuracy": _share(sum(row["correct"] for row in clean), len(clean)),
        "cut": sum(row["cut"] for row in answers),
        "predicted": dict(sorted(Counter(row["prediction"] for row in answers).items())),
    }


def _share(part: float, whole: int) -> float | None:
    return part / whole if whole else None
