"""Which solved questions go before a question. The draw is the same on every machine, and needs no state."""

import hashlib
import random
from collections.abc import Iterator, Sequence
from itertools import islice

from eval.protocol import Protocol
from eval.questions import Question
from eval.settings import BenchmarkSettings
from eval.task import Task
from eval.wording import FIRST, split
from lake import bundled
from lake.error import UserError


def shots_of(
    asked: Sequence[Question],
    candidates: Sequence[Question],
    protocol: Protocol,
    settings: BenchmarkSettings,
    seed: int,
) -> list[list[Question]]:
    """The solved questions for each of `asked`, which are all questions of a score in their order.

    `candidates` are the benchmark's solved questions, or all of its questions where it has none: a question is never
    its own shot. A way that shows explanations draws from those that have one.

    A `set` is the candidates with the smallest hashes of seed and id, those of the question's group before others, and
    none of its cluster. A `sequence` is lm-eval's: one generator for each seed draws for one question after the other
    (api/samplers.py, `ContextSampler`). The `first` of a group are lm-eval's for MMLU (`FirstNSampler`).

    Raises:
        UserError: there are too few candidates.
    """
    if not settings.shots or not asked:
        return [[] for _ in asked]
    task = asked[0].task
    if "{explanation}" in protocol.way(task, settings.mode).shot:
        candidates = [candidate for candidate in candidates if candidate.explanation.strip()]
    draw = draw_of(protocol, settings, task)
    if draw == "first":
        drawn = [_first(question, candidates, settings.shots) for question in asked]
    elif draw == "sequence":
        drawn = _sequence(asked, candidates, settings.shots, seed)
    else:
        drawn = _set(asked, candidates, settings.shots, seed)
    if short := next((shots for shots in drawn if len(shots) < settings.shots), None):
        raise UserError(
            f"evaluate.benchmarks: {settings.name}: {settings.shots} shots, but some question has {len(short)} solved "
            f"ones; set shots to {len(short)} or less"
        )
    return drawn


def draw_of(protocol: Protocol, settings: BenchmarkSettings, task: Task) -> str:
    """How shots are drawn for a task: `set`, `sequence`, or `first`, which makes all seeds the same."""
    first = split(protocol.template(bundled.tag(settings.protocol), task, settings.mode))[1] == FIRST
    return "first" if first else protocol.draw


def _set(asked: Sequence[Question], candidates: Sequence[Question], count: int, seed: int) -> list[list[Question]]:
    ranked = sorted(candidates, key=lambda one: hashlib.sha256(f"{seed}\0{one.benchmark}\0{one.id}".encode()).digest())
    of_group = {
        group: sorted(ranked, key=lambda one: one.group != group) for group in {question.group for question in asked}
    }
    return [list(islice(_others(of_group[question.group], question), count)) for question in asked]


def _others(candidates: Sequence[Question], question: Question) -> Iterator[Question]:
    """Without the question itself, also under another id, and without those of its cluster."""
    return (
        one
        for one in candidates
        if one.id != question.id and one.text != question.text and (one.cluster or one.id) != question.cluster
    )


def _sequence(asked: Sequence[Question], candidates: Sequence[Question], count: int, seed: int) -> list[list[Question]]:
    generator = random.Random(seed)
    own = not {one.id for one in candidates}.isdisjoint(question.id for question in asked)
    if len(candidates) < count + own:
        return [list(candidates[own:])]
    # Where a question may draw itself, one more is drawn and the question taken out, or else the last.
    drawn = (generator.sample(candidates, count + own) for _ in asked)
    return [
        [one for one in shots if one.id != question.id][:count] for question, shots in zip(asked, drawn, strict=True)
    ]


def _first(question: Question, candidates: Sequence[Question], count: int) -> list[Question]:
    return [one for one in candidates if one.group == question.group and one.id != question.id][:count]
