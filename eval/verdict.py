"""Whether a saved answer is right. It needs Python alone."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eval.extract import extract, number

RATED = frozenset({"letters", "cloze"})
"""The modes in which the options are rated. In the others the model writes."""

NOT_A_NUMBER = "not_a_number"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a model answered: a label, a number or text. Without a prediction, `reason` says why.

    `correct` is 1 or 0. `found`, `given` and `wanted` count entities, or the words of a text: those of the answer that
    are right, those of the answer, and those of the right answer. `error` is the engine's, and then there is no answer.
    """

    prediction: str | None
    reason: str | None
    correct: float
    found: int = 0
    given: int = 0
    wanted: int = 0
    error: str | None = None


def verdict(row: Mapping[str, Any], asked: Mapping[str, Any]) -> Verdict:
    """Judge a row of ANSWERS by its entry of ASKED, and by nothing else."""
    kind, gold = asked["kind"], row["gold"]
    wanted = Counter(_pieces(kind, gold))
    if row["error"] is not None:
        return Verdict(None, None, 0.0, wanted=wanted.total(), error=row["error"])
    prediction, reason = _likeliest(sums(row)) if asked["mode"] in RATED else _written(row, asked)
    given = Counter(_pieces(kind, prediction or ""))
    right = prediction is not None and same(kind, prediction) == same(kind, gold)
    return Verdict(prediction, reason, float(right), (given & wanted).total(), given.total(), wanted.total())


def sums(row: Mapping[str, Any]) -> dict[str, float]:
    """The log-probability of each label's continuation."""
    return {rated["label"]: math.fsum(rated["logprobs"]) for rated in row["continuations"]}


def likeliest(scores: Mapping[str, float]) -> str:
    """The label of the largest score, or the first of several."""
    return max(scores, key=lambda label: scores[label])


def same(kind: str, answer: str) -> object:
    """What two answers have in common if they say the same."""
    if kind == "choice":
        return answer
    if kind == "number":
        return number(answer) or answer.strip()
    pieces = _pieces(kind, answer)
    return tuple(pieces) if kind == "text" else frozenset(Counter(pieces).items())


def _likeliest(scores: Mapping[str, float]) -> tuple[str | None, str | None]:
    if any(map(math.isnan, scores.values())):
        return None, NOT_A_NUMBER
    return likeliest(scores), None


def _written(row: Mapping[str, Any], asked: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The answer that most outputs commit to, or the first of several. Outputs without an answer abstain."""
    kind, options = asked["kind"], dict(row["options"])
    found = [extract(asked["extract"], output["text"], kind, options) for output in row["outputs"]]
    answers = [(same(kind, one.answer), one.answer) for one in found if one.answer is not None]
    if not answers:
        return None, found[0].reason
    most = Counter(meaning for meaning, _ in answers).most_common(1)[0][0]
    return next(answer for meaning, answer in answers if meaning == most), None


def _pieces(kind: str, answer: str) -> list[str]:
    """The entities of an answer, one a line, or the words of a text, both without case."""
    if kind == "entities":
        return [" ".join(line.split()).casefold() for line in answer.splitlines() if line.strip()]
    return re.findall(r"\w+", answer.casefold()) if kind == "text" else []


def probabilities(scores: Sequence[float]) -> list[float]:
    """Log-probabilities of the options as probabilities that add up to 1; even if none is possible."""
    highest = max(scores)
    if highest == -math.inf:
        return [1 / len(scores)] * len(scores)
    weights = [math.exp(score - highest) for score in scores]
    whole = math.fsum(weights)
    return [weight / whole for weight in weights]
