"""Tasks are data, and a wrong task is reported in one line."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from eval.task import TASKS, Task, load_task, task_file, task_files
from lake import bundled
from lake.error import UserError

PLAIN: dict[str, Any] = {
    "title": "Plain",
    "hub": "none",
    "license": "MIT",
    "files": ["plain.jsonl"],
    "fields": {"id": "id", "question": "q", "answer": "a"},
    "options": {"A": "a1", "B": "b1"},
}
NER = {"bc2gm", "bc5chem", "bc5disease", "jnlpba", "ncbi-disease"}
CHOICE = {"medmcqa", "medqa-4", "medqa-5", "medxpertqa", "mirage", "mmlu-general", "mmlu-medical"}
CHOICE |= {"pubmedqa", "pubmedqa-closed", "sample-qa", "truthfulqa"}


def written(folder: Path, **changes: Any) -> str:
    file = folder / "plain.yaml"
    keys = {key: value for key, value in (PLAIN | changes).items() if value is not None}
    file.write_text(yaml.safe_dump(keys), encoding="utf-8")
    return str(file)


def test_the_known_tasks_are_those_of_the_page() -> None:
    kinds = {name: load_task(name).kind for name in bundled.names(TASKS)}
    expected = dict.fromkeys(NER, "entities") | dict.fromkeys(CHOICE, "choice")
    assert kinds == expected | {"gsm8k": "number", "medicationqa": "text"}


def test_a_task_may_be_a_path(tmp_path: Path) -> None:
    assert load_task(written(tmp_path)).title == "Plain"
    assert task_file("pubmedqa").name == "pubmedqa.yaml"


def test_the_keys_at_the_top_are_those_of_every_form(tmp_path: Path) -> None:
    forms = [{"answers": {"1": "A"}}, {"files": ["other.csv"], "fields": {"id": None}}]
    first, second = load_task(written(tmp_path, forms=forms)).forms
    assert (first.files, second.files) == (("plain.jsonl",), ("other.csv",))
    assert (first.fields.id, second.fields.id, second.fields.question) == ("id", None, "q")
    assert (first.answers, second.answers) == ({"1": "A"}, {})


def test_a_task_may_extend_another_and_both_files_count(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "closed.yaml").write_text("{extends: plain.yaml, title: Closed, context: false}", encoding="utf-8")
    task = load_task(str(tmp_path / "closed.yaml"))
    assert (task.title, task.context, task.hub) == ("Closed", False, "none")
    assert [file.name for file in task_files(str(tmp_path / "closed.yaml"))] == ["closed.yaml", "plain.yaml"]
    assert [file.name for file in task_files("mmlu-general")] == ["mmlu-general.yaml", "mmlu-medical.yaml"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("medqq", "did you mean medqa-"),
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
        ({"options": None}, "set options or wrong"),
        ({"options": None, "wrong": "w", "kind": "text"}, "set options or wrong"),
        ({"wrong": "w"}, "options, wrong: set one"),
        ({"kind": "number"}, "set options or wrong"),
        ({"kind": "song"}, "kind: "),
        ({"fields": {"question": "q", "id": "id"}}, "set one of the two"),
        ({"labels": "o.key"}, "labels: it goes with options"),
        ({"files": []}, "files"),
        ({"files": None}, "files: this key is required"),
        ({"files": ["{group}.jsonl"]}, "needs groups"),
        ({"forms": []}, "forms"),
        ({"forms": [{"filles": ["a"]}]}, "did you mean"),
        ({"prompt": "{question}"}, "prompt: unknown key; did you mean prompts"),
        ({"format": "jsonl"}, "format: unknown key"),
        ({"drawn": 0}, "drawn"),
    ],
)
def test_a_wrong_task_is_reported_in_one_line(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as error:
        load_task(written(tmp_path, **changes))
    assert "plain.yaml" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"a: [", b"\xff\xfe\x00", b"- a list", b"", b"title: '{question'"])
def test_a_file_that_is_not_a_task_is_reported(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "new.yaml"
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"new\.yaml"):
        load_task(str(file))


def test_a_task_does_not_change() -> None:
    task = Task.model_validate(PLAIN)
    with pytest.raises(ValueError, match="frozen"):
        task.title = "Other"  # type: ignore[misc]
