"""`python -m benchmarks.evaluate`: what differs from the harness is told, and so is that there is no harness."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks.evaluate import Asked, compare, lines, main
from benchmarks.exam import MMLU, prepare
from benchmarks.harness import Answer
from eval.questions import load_questions, load_shots
from eval.settings import EvaluateSettings

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

needs_data = pytest.mark.skipif(not (DATA / "benchmarks").is_dir(), reason="needs ../shared/data/benchmarks")


def answer(*loglikelihoods: float, prompt: str = "Question: Which?\nAnswer:", texts: str = " A, B") -> Answer:
    return Answer(prompt, texts.split(","), list(loglikelihoods))


def asked(id_: str, *loglikelihoods: float, gold: str = "A") -> Asked:
    return Asked(id_, ["A", "B"], gold, answer(*loglikelihoods))


def test_equal_answers_do_not_differ() -> None:
    ours = [asked("one", -1.0, -2.0), asked("two", -3.0, -2.0)]
    figures = compare(ours, [answer(-1.0005, -2.0), answer(-3.0, -2.0)])
    assert figures["questions"] == 2
    assert figures["max_loglikelihood_difference"] == pytest.approx(5e-4)
    assert figures["differing_questions"] == {}
    assert figures["accuracy"] == {"ours": 0.5, "lm_eval": 0.5}


@pytest.mark.parametrize(
    ("theirs", "why"),
    [
        (answer(-1.0, -2.002), "log-likelihood: differs by up to 2.0e-03"),
        (answer(-1.0, float("nan")), "log-likelihood: differs by up to inf"),
        (answer(-1.0, -0.99), "answer: A, of lm-eval B; log-likelihoods differ by up to 1.0e+00"),
        (
            answer(-1.0, -2.0, prompt="Question: What?\nAnswer:"),
            "prompt: from character 12: 'ich?\\nAnswer:', of lm-eval 'at?\\nAnswer:'",
        ),
        (answer(-1.0, -2.0, texts=" A,B"), "option: from character 0: ' B', of lm-eval 'B'"),
    ],
)
def test_what_differs_is_told(theirs: Answer, why: str) -> None:
    figures = compare([asked("one", -1.0, -2.0)], [theirs])
    assert figures["differing_questions"] == {"one": why}


def test_a_question_that_was_not_asked_differs_and_has_no_score() -> None:
    ours = [Asked("one", [], "", None, "prompt_too_long"), asked("two", -1.0, -2.0)]
    figures = compare(ours, [answer(-9.0, -1.0), answer(-1.0, -2.0)])
    assert figures["questions"] == 1
    assert figures["differing_questions"] == {"one": "prompt_too_long"}
    assert figures["accuracy"] == {"ours": 1.0, "lm_eval": 1.0}


def test_an_answer_too_few_is_an_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        compare([asked("one", -1.0, -2.0)], [])


def test_the_figures_in_lines() -> None:
    row = {"benchmark": "medqa-4"} | compare([asked("one", -1.0, -2.0)], [answer(-1.0, -2.002)])
    figures: Mapping[str, Any] = {
        "shots": 3,
        "backend": "hf",
        "questions": 1,
        "seconds": {"ours": 10.0, "lm_eval": 25.0},
        "ratio_to_lm_eval": 2.5,
        "benchmarks": [row],
    }
    _, _, values, differing, speed = lines([figures]).splitlines()
    assert values.split() == ["medqa-4", "3", "1", "2.0e-03", "1", "1.000", "1.000"]
    assert differing == "medqa-4, 3 shots, one: log-likelihood: differs by up to 2.0e-03"
    assert speed == "3 shots: 1 questions in 10.0 s, lm-eval on hf in 25.0 s: 2.5 times as fast"


def test_without_the_harness_one_line_says_how_to_get_it(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["--model", str(tmp_path), "--lm-eval", str(bare_python(tmp_path))])
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert "has no lm-eval; run python -m benchmarks.harness FOLDER" in line


def bare_python(folder: Path) -> Path:
    """A Python without packages."""
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    return python


@needs_data
def test_ours_reads_the_questions_and_shots_that_the_harness_gets(tmp_path: Path) -> None:
    papers = prepare(DATA, 12, tmp_path / "data")
    names = list(dict.fromkeys(paper.benchmark for paper in papers))
    settings = EvaluateSettings.model_validate({"benchmarks": [{"task": name, "shots": 3} for name in names]})
    questions = load_questions(settings, str(tmp_path / "data"))
    assert all(question.drop is None for question in questions)
    for benchmark in settings.benchmarks:
        theirs = [paper for paper in papers if paper.benchmark == benchmark.name]
        mine = [question.text for question in questions if question.benchmark == benchmark.name]
        assert mine == [text(record) for paper in theirs for record in paper.asked]
        shots = load_shots(benchmark, str(tmp_path / "data"))
        assert [shot.text for shot in shots] == [text(record) for paper in theirs for record in paper.solved]
        assert len(mine) == 12
        assert not {shot.text for shot in shots} & set(mine) or benchmark.name == MMLU


def text(record: Mapping[str, Any]) -> str:
    return next(record[name] for name in ("question", "sent1", "QUESTION") if name in record)
