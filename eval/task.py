"""Benchmarks as data. A YAML file says where the questions are, how to read them and how to ask them."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from eval.wording import Wording
from lake import bundled
from lake.config import Settings

TASKS = Path(__file__).parent / "tasks"
Kind = Literal["choice", "number", "text", "entities"]


class Fields(Settings):
    """Which field of a record holds what.

    Without an `id` field, file and line identify a record. A context is a text or a list of texts. `answer` is for
    tasks without `truth`.
    """

    question: str
    id: str | None = None
    context: str | None = None
    answer: str | None = None


class Task(Settings):
    """A multiple-choice benchmark.

    Attributes:
        title: The name in reports.
        hub: The data set on the Hugging Face Hub, or `none`.
        license: The licence of the questions.
        files: Paths below the data folder. At least one must exist; those that exist are read.
        format: `jsonl` has an object per line, `json` one object of id → record, `csv` rows without a header.
        columns: The names of the columns of a `csv`.
        fields: Which field holds what.
        options: The name of a field that holds label → text; or label → the name of the field with its text; or a list
            of labels that are themselves the options.
        answers: Value of the answer field → label. Without it the field holds the label.
        truth: A JSON file of id → answer. Only its ids are asked.
        kind: What an answer is.
        prompts: By protocol, or by protocol and mode, a template that replaces its own.
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
    kind: Kind = "choice"
    prompts: dict[str, Wording] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.fields.answer is None) == (self.truth is None):
            raise ValueError("fields.answer, truth: set one of the two")
        if self.truth is not None and self.format != "json" and self.fields.id is None:
            raise ValueError("truth: it needs fields.id, which identifies a question")
        if (self.format == "csv") != bool(self.columns):
            raise ValueError("columns: set them for csv, and for no other format")
        return self


def task_file(name: str) -> Path:
    """The YAML file of a task, by name or path. Raises UserError if there is none."""
    return bundled.locate(name, TASKS, "benchmark")


def load_task(name: str) -> Task:
    """Raises UserError if the task does not exist or its YAML is wrong."""
    return bundled.read(task_file(name), Task)
