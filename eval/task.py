"""Benchmarks as data. A YAML file says where the questions are and how to read them.

A benchmark is often published in several forms: by its authors, and on the Hub. The YAML describes each, and the file
itself shows which one it has (eval/questions.py).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from eval.wording import Wording
from lake import bundled
from lake.config import EXTENDS, Settings, laid_over, load, parse_yaml

TASKS = Path(__file__).parent / "tasks"

GROUP = "{group}"
"""What stands in the name of a file for a group, such as a subject of MMLU."""

Kind = Literal["choice", "number", "text", "entities"]
"""What an answer is: one of the options, a number, a text, or the names in a sentence."""


class Fields(Settings):
    """Which field of a record holds what.

    A name with dots leads into objects, and from a list to a list: `options.text` is the texts of all options. Without
    an `id` field, file and line identify a record. A context is a text or a list of texts. Questions that share a
    `cluster`, such as an abstract, do not vary independently.

    A record of `entities` has a list of tokens as its question, and as its answer a list of IOB tags.
    """

    question: str
    id: str | None = None
    answer: str | None = None
    context: str | None = None
    explanation: str | None = None
    group: str | None = None
    cluster: str | None = None


class Form(Settings):
    """One way in which a benchmark is published.

    Texts are kept as they are, blanks and line ends included. Of HTML only whole entities are decoded, such as `&lt;`.

    Attributes:
        files: Paths or patterns below the data folder, its `benchmarks`, or `benchmarks/NAME`, where a copy of the
            data set's repository may lie. Those that exist are read, packed with gzip (`.gz`) or not. The ending says
            what is in a file: `.jsonl`, `.json`, `.csv`, `.tsv`, `.iob2`, `.parquet` or `.xlsx`. {group} stands for
            each of the `groups`.
        shots: Likewise, the files of solved questions.
        columns: The names of the columns of a table without a header.
        fields: Which field holds what.
        options: The name of a field that holds label → text, or a list of texts; or label → the name of the field with
            its text; or a list of labels that are themselves the options.
        labels: The name of a field with a label for each text of `options`. Without it, a list is labelled A, B, C, ….
        choices: How many options each question has. Without it, there may be two or more.
        wrong: The name of a field with wrong answers, a list. `drawn` of them and the right one become the options.
        separator: What stands between wrong answers, where they are one text.
        answers: Value of the answer field → label, tag or text; no text where it is none. Without it the field holds
            the answer itself.
        answer_after: The answer is what follows this text in its field, and what stands before it is the explanation.
        question_until: The question ends before this text, after which its field repeats the options.
        truth: A JSON file of id → answer. Only its ids are asked, and records with other ids may be shots.
        groups: Only these are asked. A single one is the group of all questions.
    """

    files: tuple[str, ...] = Field(min_length=1)
    shots: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    fields: Fields
    options: str | dict[str, str] | tuple[str, ...] | None = None
    labels: str | None = None
    choices: PositiveInt | None = None
    wrong: str | None = None
    drawn: PositiveInt = 3
    separator: str | None = None
    answers: dict[str, str] = Field(default_factory=dict)
    answer_after: str | None = None
    question_until: str | None = None
    truth: str | None = None
    groups: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.fields.answer is None and self.truth is None:
            raise ValueError("fields.answer, truth: set one of the two")
        if self.options is not None and self.wrong is not None:
            raise ValueError("options, wrong: set one of the two")
        if self.labels is not None and not isinstance(self.options, str):
            raise ValueError("labels: it goes with options that are the name of a field")
        if any(GROUP in name for name in (*self.files, *self.shots)) and not self.groups:
            raise ValueError(f"files: {GROUP} needs groups, which it stands for")
        return self


class Task(Settings):
    """A benchmark.

    A YAML file may have the keys of a form at its top, for all forms or for the only one.

    Attributes:
        title: The name in reports.
        hub: The data set on the Hugging Face Hub, or `none`.
        license: The licence of the questions.
        kind: What an answer is.
        context: Whether the context is shown. Without it the model answers from memory.
        prompts: By protocol, or by protocol and mode as in `lm-eval cloze`, a template that replaces its own.
        forms: The ways in which it is published. The files of the first that has any are read.
    """

    title: str
    hub: str
    license: str
    kind: Kind = "choice"
    context: bool = True
    prompts: dict[str, Wording] = Field(default_factory=dict)
    forms: tuple[Form, ...] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _written_out(cls, given: Any) -> Any:
        """The forms with the keys at the top."""
        if not isinstance(given, Mapping):
            return given
        common = {key: value for key, value in given.items() if key in Form.model_fields}
        forms = given.get("forms", [{}])
        if not isinstance(forms, list | tuple) or not common:
            return given
        rest = {key: value for key, value in given.items() if key not in common}
        return rest | {"forms": [laid_over(common, form) for form in forms]}

    @model_validator(mode="after")
    def _check(self) -> Self:
        for form in self.forms:
            if (self.kind == "choice") != (form.options is not None or form.wrong is not None):
                raise ValueError("options: set options or wrong where an answer is a choice, and nowhere else")
        return self


def task_file(name: str) -> Path:
    """The YAML file of a task, by name or path. Raises UserError if there is none."""
    return bundled.locate(name, TASKS, "benchmark")


def task_files(name: str) -> list[Path]:
    """The YAML file of a task, and those that it extends. Raises UserError if there is none."""
    load_task(name)
    files = [task_file(name)]
    while above := parse_yaml(files[-1].read_text(encoding="utf-8")).get(EXTENDS):
        files.append(files[-1].parent / above)
    return files


def load_task(name: str) -> Task:
    """Raises UserError if the task does not exist or its YAML is wrong."""
    return load(task_file(name), [], Task)
