"""Tasks are data, and a wrong task is reported in one line."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from eval.prompts import ending
from eval.task import TASKS, Task, load_task, task_file
from lake import bundled
from lake.error import UserError

PLAIN: dict[str, Any] = {
    "title": "Plain",
    "hub": "none",
    "license": "MIT",
    "files": ["plain.jsonl"],
    "format": "jsonl",
    "fields": {"id": "id", "question": "q", "answer": "a"},
    "options": {"A": "a1", "B": "b1"},
    "prompt": "{question}\n{options}\nAnswer:",
}


def written(folder: Path, **changes: Any) -> str:
    file = folder / "plain.yaml"
    file.write_text(yaml.safe_dump(PLAIN | changes), encoding="utf-8")
    return str(file)


def test_the_known_tasks_are_those_of_the_page() -> None:
    assert bundled.names(TASKS) == ["medmcqa", "medqa-4", "mmlu-medical", "pubmedqa", "sample-qa"]


@pytest.mark.parametrize("name", bundled.names(TASKS))
def test_every_task_that_comes_with_the_project_loads(name: str) -> None:
    task = load_task(name)
    assert ending(task.prompt) == "Answer:"
    assert all(file.startswith("benchmarks/") for file in (*task.files, *filter(None, [task.truth])))


def test_a_task_may_be_a_path(tmp_path: Path) -> None:
    assert load_task(written(tmp_path)).title == "Plain"
    assert task_file("pubmedqa").name == "pubmedqa.yaml"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("medqq", "did you mean medqa-4"),
        ("../tasks/pubmedqa", "no such benchmark"),
        ("nowhere.yaml", "no such benchmark file"),
        ("pubmedqa.yaml", "no such benchmark file"),
    ],
)
def test_an_unknown_task_is_reported_with_the_nearest(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        task_file(name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": "{options}\nAnswer:"}, "it needs {question}"),
        ({"prompt": "{question} {options} {hint}\nAnswer:"}, "nothing else in braces"),
        ({"prompt": "{question} {options} {}\nAnswer:"}, "nothing else in braces"),
        ({"prompt": "{context} {question}\n{options}\nAnswer:"}, "go together"),
        ({"fields": {**PLAIN["fields"], "context": "c"}}, "go together"),
        ({"prompt": "{question}\nAnswer:"}, "unless the labels are themselves the options"),
        ({"options": ["yes", "no"]}, "unless the labels are themselves the options"),
        ({"prompt": "{options}\n{question}"}, "its last line leads to the answer"),
        ({"truth": "truth.json"}, "set one of the two"),
        ({"fields": {"question": "q", "id": "id"}}, "set one of the two"),
        ({"fields": {"question": "q"}, "truth": "truth.json"}, "needs fields.id"),
        ({"format": "csv"}, "set them for csv"),
        ({"columns": ["a"]}, "set them for csv"),
        ({"files": []}, "files"),
        ({"format": "parquet"}, "format"),
        ({"shots": 5}, "shots"),
    ],
)
def test_a_wrong_task_is_reported_in_one_line(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as error:
        load_task(written(tmp_path, **changes))
    assert "plain.yaml" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"a: [", b"\xff\xfe\x00", b"- a list", b"", b"prompt: '{question'"])
def test_a_file_that_is_not_a_task_is_reported(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "new.yaml"
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"new\.yaml"):
        load_task(str(file))


@pytest.mark.parametrize("prompt", ["{question\nAnswer:", "question}\nAnswer:", "{question!z} {options}\nAnswer:"])
def test_an_unbalanced_brace_in_a_prompt_is_reported(prompt: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"plain\.yaml"):
        load_task(written(tmp_path, prompt=prompt))


def test_a_task_does_not_change() -> None:
    task = Task.model_validate(PLAIN)
    with pytest.raises(ValueError, match="frozen"):
        task.title = "Other"  # type: ignore[misc]
