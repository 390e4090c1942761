"""A benchmark is added by its YAML file alone, as CONTRIBUTING.md describes."""

import json
from pathlib import Path

from eval.prompts import Prompt, fit
from eval.questions import EvaluateSettings, load_questions, sample
from eval.task import load_task
from lake.config import load

TASK = """
title: Fluid balance
hub: none
license: CC0-1.0
files: [benchmarks/fluids.jsonl]
format: jsonl
fields: {id: key, question: stem, answer: right}
options: {A: first, B: second}
answers: {"1": A, "2": B}
prompt: |
  Question: {question}
  {options}
  Answer:
"""
RECORD = {"key": "q1", "stem": "Which fluid is isotonic?", "first": "water", "second": "saline", "right": 2}


def test_one_yaml_file_adds_a_benchmark(tmp_path: Path) -> None:
    (tmp_path / "fluids.yaml").write_text(TASK, encoding="utf-8")
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "fluids.jsonl").write_text(json.dumps(RECORD), encoding="utf-8")
    config = tmp_path / "evaluate.yaml"
    config.write_text(f"benchmarks: [{{task: {tmp_path}/fluids.yaml}}]", encoding="utf-8")

    settings = load(config, [], EvaluateSettings)
    (question,) = sample(settings, load_questions(settings, str(tmp_path)))["fluids"]
    prompt = fit(load_task(settings.benchmarks[0].task).prompt, question, lambda text: list(text.encode()), 200)

    assert isinstance(prompt, Prompt)
    assert prompt.text == "Question: Which fluid is isotonic?\nA. water\nB. saline\nAnswer:"
    assert question.answer == "B"
