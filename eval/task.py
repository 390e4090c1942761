"""A benchmark as data: a YAML file that says where its questions are, how to read them and how to ask them."""

import difflib
import string
from pathlib import Path
from typing import Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from lake.config import Settings
from lake.error import UserError

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
    return sorted(path.stem for path in TASKS.glob("*.yaml"))


def task_file(name: str) -> Path:
    """The YAML of a task: one of ours by its name, any other by a path that ends in `.yaml`.

    Raises:
        UserError: there is none.
    """
    if name in known_tasks():
        return TASKS / f"{name}.yaml"
    if not name.endswith(".yaml"):
        near = difflib.get_close_matches(name, known_tasks(), n=1)
        advice = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"{name}: no such benchmark; the known ones are {', '.join(known_tasks())}{advice}")
    if not Path(name).is_file():
        raise UserError(f"{name}: no such task file; a benchmark's name or the path of a .yaml is needed")
    return Path(name)


def load_task(name: str) -> Task:
    """Raises UserError where the task does not exist or its YAML is wrong."""
    path = task_file(name)
    try:
        return Task.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path}: {where}: {first['msg'].removeprefix('Value error, ')}") from None
