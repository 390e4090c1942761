"""A benchmark is added by its YAML file alone, as CONTRIBUTING.md describes."""

import json
from pathlib import Path

from eval.questions import load_questions, load_shots, sample
from eval.settings import EvaluateSettings
from lake.config import load

TASK = """
title: Fluid balance
hub: none
license: CC0-1.0
files: [fluids.jsonl]
shots: [fluids_solved.jsonl]
fields: {id: key, question: stem, answer: right}
options: {A: first, B: second}
answers: {"1": A, "2": B}
"""
RECORD = {"key": "q1", "stem": "Which fluid is isotonic?", "first": "water", "second": "saline", "right": 2}


def test_ten_lines_of_yaml_add_a_benchmark(tmp_path: Path) -> None:
    assert len(TASK.split("\n")) <= 10
    (tmp_path / "fluids.yaml").write_text(TASK, encoding="utf-8")
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "fluids.jsonl").write_text(json.dumps(RECORD), encoding="utf-8")
    (tmp_path / "benchmarks" / "fluids_solved.jsonl").write_text(json.dumps(RECORD | {"key": "s1"}), encoding="utf-8")
    config = tmp_path / "evaluate.yaml"
    config.write_text(f"benchmarks: [{{task: {tmp_path}/fluids.yaml}}]", encoding="utf-8")

    settings = load(config, [], EvaluateSettings)
    ((question,),) = sample(settings, load_questions(settings, str(tmp_path))).values()
    assert (question.benchmark, question.id, question.text) == ("fluids", "q1", "Which fluid is isotonic?")
    assert (question.options, question.answer) == ({"A": "water", "B": "saline"}, "B")
    assert question.task.title == "Fluid balance"
    assert [shot.id for shot in load_shots(settings.benchmarks[0], str(tmp_path))] == ["s1"]
