"""Solved questions before a question: the same everywhere, never the question itself, and lm-eval's where asked."""

import random
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.protocol import load_protocol
from eval.questions import Question
from eval.settings import SEEDS, BenchmarkSettings
from eval.shots import draw_of, shots_of
from eval.task import load_task
from lake.error import UserError

TASK = load_task("medqa-4")
STRICT, LM_EVAL = load_protocol("strict"), load_protocol("lm-eval")


def question(number: int, **fields: Any) -> Question:
    fields = {"cluster": str(number), "options": {"A": "x", "B": "y"}, "answer": "A"} | fields
    return Question(TASK, "medqa-4", str(number), f"Why {number}?", **fields)


def ids(shots: list[list[Question]]) -> list[list[str]]:
    return [[shot.id for shot in one] for one in shots]


def asked(count: int, protocol: str = "strict", **keys: Any) -> BenchmarkSettings:
    return BenchmarkSettings(**({"task": "medqa-4", "protocol": protocol, "shots": count} | keys))


POOL = [question(number) for number in range(40)]
GOLDEN = [["29", "11", "6"], ["32", "14", "15"], ["9", "24", "5"]]
"""The shots of the first question for each of SEEDS."""


@given(st.integers(1, 8), st.integers(), st.permutations(POOL), st.sets(st.sampled_from(range(40)), min_size=1))
def test_a_set_depends_on_the_seed_alone(count: int, seed: int, mixed: list[Question], chosen: set[int]) -> None:
    """Neither on the order of candidates nor on what else is asked."""
    every = ids(shots_of(POOL, POOL, STRICT, asked(count), seed))
    some = ids(shots_of([POOL[place] for place in sorted(chosen)], mixed, STRICT, asked(count), seed))
    assert some == [every[place] for place in sorted(chosen)]
    for one, shots in zip(POOL, every, strict=True):
        assert one.id not in shots
        assert len(set(shots)) == count


def test_a_set_is_the_same_in_other_processes_and_versions() -> None:
    """The ids are written here, so that a change of the draw is seen."""
    assert [ids(shots_of(POOL[:1], POOL, STRICT, asked(3), seed))[0] for seed in SEEDS] == GOLDEN
    drawn = "[ids(shots_of(POOL[:1], POOL, STRICT, asked(3), seed))[0] for seed in SEEDS]"
    code = f"from tests.eval.test_shots import *; print({drawn})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "7"}
    )
    assert done.stdout == f"{GOLDEN}\n"


def test_no_shot_shares_an_abstract_with_the_question() -> None:
    pool = [question(number, cluster=str(number // 2)) for number in range(10)]
    for one, shots in zip(pool, shots_of(pool, pool, STRICT, asked(8), 1234), strict=True):
        assert {shot.cluster for shot in shots} == {str(number) for number in range(5)} - {one.cluster}


def test_no_shot_is_the_question_under_another_id() -> None:
    pool = [question(number) for number in range(4)]
    again = [Question(TASK, "medqa-4", "again", "Why 0?", cluster="again", options=pool[0].options, answer="A")]
    (shots,) = shots_of(pool[:1], [*again, *pool[1:]], STRICT, asked(3), 1234)
    assert {shot.id for shot in shots} == {"1", "2", "3"}


def test_shots_of_the_same_subject_come_first() -> None:
    pool = [question(number, group="ab"[number % 2]) for number in range(10)]
    (shots,) = shots_of([question(99, group="b")], pool, STRICT, asked(6), 32)
    assert [shot.group for shot in shots] == ["b"] * 5 + ["a"]


def test_a_thought_is_shown_only_by_questions_that_have_one() -> None:
    pool = [question(number, explanation="So." if number < 3 else " ") for number in range(10)]
    (shots,) = shots_of([question(99)], pool, STRICT, asked(3, mode="thought"), 1234)
    assert {shot.id for shot in shots} == {"0", "1", "2"}
    with pytest.raises(
        UserError, match="medqa-4: 4 shots, but some question has 3 solved ones; set shots to 3 or less"
    ):
        shots_of([question(99)], pool, STRICT, asked(4, mode="vote"), 1234)


def test_no_shots_need_no_candidates() -> None:
    assert shots_of(POOL[:2], [], STRICT, asked(0), 1) == [[], []]
    assert shots_of([], [], STRICT, asked(3), 1) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_lm_eval_draws_from_other_files_as_its_sampler_does(seed: int) -> None:
    """One generator draws k for question after question (api/samplers.py, `ContextSampler.sample`)."""
    generator = random.Random(seed)
    expected = [[shot.id for shot in generator.sample(POOL[10:], 3)] for _ in range(10)]
    assert ids(shots_of(POOL[:10], POOL[10:], LM_EVAL, asked(3, "lm-eval"), seed)) == expected
    assert len({tuple(shots) for shots in expected}) > 1


def test_lm_eval_draws_one_more_from_the_questions_themselves() -> None:
    generator = random.Random(1234)
    expected = []
    for one in POOL:
        drawn = generator.sample(POOL, 4)
        expected.append([shot.id for shot in drawn if shot is not one][:3])
    assert ids(shots_of(POOL, POOL, LM_EVAL, asked(3, "lm-eval"), 1234)) == expected


def test_lm_eval_takes_the_first_of_a_subject_for_mmlu() -> None:
    task = load_task("mmlu-medical")
    pool = [Question(task, "mmlu-medical", f"dev{n}", "?", group="ab"[n % 2], cluster=f"dev{n}") for n in range(10)]
    one = Question(task, "mmlu-medical", "1", "?", group="b", cluster="1")
    way = asked(3, "lm-eval", task="mmlu-medical")
    assert draw_of(LM_EVAL, way, task) == "first"
    for seed in SEEDS:
        assert ids(shots_of([one], pool, LM_EVAL, way, seed)) == [["dev1", "dev3", "dev5"]]
    with pytest.raises(UserError, match="5 solved ones"):
        shots_of([one], pool, LM_EVAL, asked(6, "lm-eval", task="mmlu-medical"), 1)


@pytest.mark.parametrize("protocol", [STRICT, LM_EVAL])
def test_too_few_candidates_are_refused(protocol: Any) -> None:
    with pytest.raises(UserError, match="medqa-4: 3 shots, but some question has 2"):
        shots_of(POOL[:2], POOL[:3], protocol, asked(3, protocol.title), 1)
