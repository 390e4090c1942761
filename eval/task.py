"""A benchmark as data: a YAML file that says where its questions are, how to read them and how to ask them."""

import string
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from lake import bundled
from lake.config import Settings

TASKS = Path(__file__).parent / "tasks"


class Fields(Settings):
    """Which field of a record holds what. A record without an `id` field is known by file and line.

    `context` may be text or a list of texts; `answer` is not read where the task has `truth`.
    """

    question: str
    id: str | None = None
    context: str | None = None
    answer: str | None = None


class Task(Settings):
    """A multiple-choice benchmark.

    Attributes:
        title: Name as it is written.
        hub: Data set on the Hugging Face Hub.
        license: Licence of the questions.
        files: Below the data folder. Those that are there are read, and there must be one.
        format: `jsonl`: an object a line; `json`: one object, id → record; `csv`: rows without a header.
        columns: Names of the columns of a `csv`.
        fields: Which field holds what.
        options: Name of a field that holds label → text; or label → name of the field with its text; or a list of
            labels that are the options themselves.
        answers: What the answer field may hold → the label meant; without it the field holds the label.
        truth: A JSON file of id → answer: only its ids are asked.
        prompt: Template with {question}, {context} and {options}; the model continues it with a blank and a label.
    """

    title: str
    hub: str
    license: str
    files: tuple[str, ...] = Field(min_length=1)
    format: Literal["jsonl", "json", "csv"]
    columns: tuple[str, ...] = ()
    fields: Fields
    options: str | dict[str, str] | tuple[str, ...]
    answers: dict[str, str] = Field(default_factory=dict)
    truth: str | None = None
    prompt: str

    @model_validator(mode="after")
    def _check(self) -> Self:
        parsed = string.Formatter().parse(self.prompt)
        named = {f"{name}{spec}{how or ''}" for _, name, spec, how in parsed if name is not None}
        if "question" not in named or named - {"question", "context", "options"}:
            raise ValueError("prompt: it holds {question} and may hold {context} and {options}, nothing else in braces")
        if "{" in self.prompt.rstrip().rpartition("\n")[2]:
            raise ValueError("prompt: its last line leads to the answer, as Answer: does, and holds nothing in braces")
        if ("context" in named) != (self.fields.context is not None):
            raise ValueError("prompt: {context} and fields.context go together")
        if ("options" in named) == isinstance(self.options, tuple):
            raise ValueError("prompt: it holds {options}, unless the labels are the options themselves")
        if (self.fields.answer is None) == (self.truth is None):
            raise ValueError("fields.answer, truth: give one of the two")
        if self.truth is not None and self.format != "json" and self.fields.id is None:
            raise ValueError("truth: it needs fields.id to know a question by")
        if (self.format == "csv") != bool(self.columns):
            raise ValueError("columns: needed for csv, and for nothing else")
        return self


def known_tasks() -> list[str]:
    """Names of the tasks that come with the project."""
    return bundled.names(TASKS)


def task_file(name: str) -> Path:
    """The YAML of a task, by name or path. Raises UserError where there is none."""
    return bundled.locate(name, TASKS, "benchmark")


def load_task(name: str) -> Task:
    """Raises UserError where the task does not exist or its YAML is wrong."""
    return bundled.read(task_file(name), Task)
