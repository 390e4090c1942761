"""An evaluation as lm-evaluation-harness writes one, and tasks that ask the same prompts."""

import hashlib
import json
from pathlib import Path

import pytest
import yaml

from eval.lmeval import write
from tests.eval.saved import chosen, entry, rated, row, save, written


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    letters, cloze, answer = entry(), entry("cloze"), entry("answer", "number", max_tokens=16)
    rows = [chosen(letters, str(n), "AB"[n % 2], "A") for n in range(4)]
    rows += [rated(cloze, "1", "B", (-2.0, -3.0, -9.0, -9.0)), row(cloze, "2", "A", error="out of memory")]
    rows += [written(answer, "1", "42", "42."), written(answer, "2", "7", "I cannot say")]
    write(save(tmp_path / "evaluate", [letters, cloze, answer], rows), tmp_path / "out", "mine")
    return tmp_path / "out"


def test_results_have_the_harness_s_names(folder: Path) -> None:
    found = json.loads((folder / "results.json").read_text())
    letters, cloze, answer = found["results"].values()
    assert letters == {"alias": "Quiz", "acc,none": 0.5, "acc_stderr,none": pytest.approx((0.25 / 3) ** 0.5)}
    assert (cloze["acc,none"], cloze["acc_norm,none"], cloze["acc_stderr,none"]) == (0, 1, None)
    assert answer["exact_match,strict-match"] == 0.5
    name = "quiz_strict_letters_0-shot"
    assert found["n-samples"][name] == {"original": 4, "effective": 4}
    assert set(found["configs"]) == set(found["versions"]) == set(found["n-shot"]) == set(found["results"])
    assert found["higher_is_better"][name] == {"acc": True}


def test_samples_have_a_line_for_each_answer(folder: Path) -> None:
    lines = (folder / "samples_quiz_strict_cloze_0-shot.jsonl").read_text().splitlines()
    assert len(lines) == 1, "the error is no sample"
    sample = json.loads(lines[0])
    assert sample["arguments"]["gen_args_1"] == {"arg_0": sample["doc"]["prompt"], "arg_1": " beta blockers"}
    assert sample["filtered_resps"][1] == ["-3.0", None]
    assert (sample["target"], sample["acc"], sample["acc_norm"]) == ("1", 0, 1)
    assert sample["prompt_hash"] == hashlib.sha256(sample["doc"]["prompt"].encode()).hexdigest()
    written_ = [
        json.loads(line) for line in (folder / "samples_quiz_strict_answer_0-shot.jsonl").read_text().splitlines()
    ]
    assert [(one["filtered_resps"], one["exact_match"]) for one in written_] == [(["42"], 1), (["[invalid]"], 0)]


def test_a_task_asks_the_same_prompts(folder: Path) -> None:
    task = yaml.safe_load((folder / "quiz_strict_letters_0-shot.yaml").read_text())
    file = folder / task["dataset_kwargs"]["data_files"]["test"]
    docs = [json.loads(line) for line in file.read_text().splitlines()]
    assert [doc[task["doc_to_text"]] for doc in docs] == [f"Question: {n}\nAnswer:" for n in range(4)]
    assert docs[1][task["doc_to_choice"]][docs[1][task["doc_to_target"]]] == " B"
    assert (task["target_delimiter"], task["num_fewshot"]) == ("", 0)
    assert not (folder / "quiz_strict_answer_0-shot.yaml").exists()
