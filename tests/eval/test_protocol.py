"""Protocols as data: every one that is bundled is whole, and a wrong YAML is refused with a word on what to do."""

from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from eval.protocol import PROTOCOLS, load_protocol, protocol_file
from eval.task import TASKS, Task, load_task
from eval.wording import Wording, fill, split
from lake import bundled
from lake.error import UserError

NAMES = bundled.names(PROTOCOLS)


@pytest.mark.parametrize("name", NAMES)
def test_a_protocol_is_called_as_its_file(name: str) -> None:
    assert load_protocol(name).title == name


@pytest.mark.parametrize("task", bundled.names(TASKS))
def test_strict_asks_every_task_in_every_mode(task: str) -> None:
    strict, loaded = load_protocol("strict"), load_task(task)
    modes = ["letters", "cloze", "answer", "thought", "vote"] if loaded.kind == "choice" else ["answer"]
    for mode in modes:
        assert strict.template("strict", loaded, mode)
        way = strict.way(loaded, mode)
        assert way.stem
        assert bool(way.extract) == bool(way.stop) == (mode not in ("letters", "cloze"))


def test_what_is_special_goes_before_what_is_common() -> None:
    task = load_task("medqa-4").model_copy(update={"prompts": {"p": "1 {question}", "p cloze": "2 {question}"}})
    protocol = load_protocol("strict").model_copy(
        update={"templates": {"choice": "3 {question}", "choice cloze": "4 {question}", "choice vote": "5 {question}"}}
    )
    found = [protocol.template(*asked) for asked in (("p", task, "letters"), ("p", task, "cloze"), ("p", task, "vote"))]
    assert found == ["1 {question}", "2 {question}", "5 {question}"]
    assert protocol.template("q", task, "cloze") == "4 {question}"
    assert protocol.template("q", task, "letters") == "3 {question}"


@pytest.mark.parametrize("mode", ["letters", "cloze"])
def test_options_cannot_be_compared_where_there_are_none(mode: str) -> None:
    with pytest.raises(UserError, match=f"GSM8K: it has no options, as the mode {mode} needs"):
        load_protocol("strict").way(load_task("gsm8k"), mode)


def test_a_kind_that_a_protocol_does_not_know_is_refused() -> None:
    with pytest.raises(UserError, match="MedicationQA: the protocol lm-eval has no template for the kind text"):
        load_protocol("lm-eval").template("lm-eval", load_task("medicationqa"), "answer")


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"lmeval: no such protocol; the known ones are .*; did you mean lm-eval"):
        protocol_file("lmeval")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title: x\ntemplates: {choice: '{questoin}'}\nways: {}", "{questoin} is no field; the fields are question"),
        ("title: x\ntemplates: {choice: 'Why?'}\nways: {}", "the part for a question, .* needs {question}"),
        ("title: x\ntemplates: {choice: '{question}{shots}'}\nways: {}", "which follows the shots, needs {question}"),
        (
            "title: x\ntemplates: {choice: '{shots}{shots}{question}'}\nways: {}",
            "{shots} and {first_shots} have one place",
        ),
        (
            "title: x\ntemplates: {choice: '{question!r}'}\nways: {}",
            "a field is written {question} or {question:strip}",
        ),
        ("title: x\ntemplates: {choice: '{question'}\nways: {}", "a brace that is text is written twice"),
        ("title: x\ntemplates: {choice: '{shots}{ask}{question}'}\nways: {}", "{ask} stands before the shots"),
        (
            "title: x\ntemplates: {}\nways: {answer: {extract: [commited]}}",
            "no filter commited; did you mean committed?",
        ),
        ("title: x\ntemplates: {}\nways: {answer: {shot: '{text}'}}", "ways.answer.shot"),
        ("title: x\ntemplates: {}\nways: {}\nstirp: true", "stirp: unknown key; did you mean strip?"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=message):
        load_protocol(str(file))


def test_a_line_goes_where_its_field_is_empty() -> None:
    part = "Read.\n{ask}\n\nContext: {context}\nQuestion: {question:strip}\n{options}"
    empty = {"ask": "", "context": "", "question": " Why? ", "options": "", "group": ""}
    assert fill(part, empty) == "Read.\n\nQuestion: Why?"
    assert fill(part, empty | {"context": "{x}", "options": "A"}) == "Read.\n\nContext: {x}\nQuestion: Why?\nA"
    assert fill("{ask}\n\n", empty) == ""


def test_a_template_is_parted_at_its_shots() -> None:
    assert split("About {group}.\n{first_shots}{question}") == ("About {group}.\n", "first_shots", "{question}")
    assert split("{question}") == ("", "", "{question}")


def test_a_task_takes_the_templates_that_a_protocol_takes() -> None:
    wording: TypeAdapter[str] = TypeAdapter(Wording)
    assert wording.validate_python("{shots}{{Q}} {question}") == "{shots}{{Q}} {question}"
    keys = load_task("sample-qa").model_dump()
    with pytest.raises(ValidationError, match="is no field"):
        Task.model_validate(keys | {"prompts": {"strict": "{prompt}"}})
