"""Protocols as data. A YAML file says how questions are asked, how solved ones go before them and how answers are read.

A prompt is what the template says once, the solved questions, and the question, each followed by the mode's stem.
"""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from eval.extract import FILTERS
from eval.task import Task
from eval.wording import Wording
from lake import bundled
from lake.config import Settings
from lake.error import UserError

PROTOCOLS = Path(__file__).parent / "protocols"
OF_OPTIONS = ("letters", "cloze")
"""The modes that compare log-probabilities of options."""


class Way(Settings):
    """How one mode asks and reads.

    Attributes:
        ask: The sentence for {ask}.
        stem: The last line of the prompt, and of a solved question before its answer.
        reply: In a chat the model's turn begins with this, and the stem is not used. Without it the stem ends the
            user's turn, and the model's turn is its own.
        shot: The answer of a solved question, with {answer} and before it, if the way shows reasons, {explanation}.
        stop: A model's text ends before the first of these.
        extract: Filters of eval/extract.py that find the answer in the text, in their order.
    """

    ask: str = ""
    stem: str = ""
    reply: str | None = None
    shot: str = Field(default="{answer}", pattern=r"^(\{explanation\}[^{}]*)?\{answer\}$")
    stop: tuple[str, ...] = ()
    extract: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _known_filters(self) -> Self:
        if strange := next((name for name in self.extract if name not in FILTERS), None):
            raise ValueError(f"extract: no filter {strange}{bundled.nearest(strange, FILTERS)}")
        return self


class Protocol(Settings):
    """How benchmarks are asked.

    Attributes:
        title: The name in reports.
        templates: By kind of task, or by kind and mode, as in `choice cloze`. A task's `prompts` go before them.
        ways: By mode, or by kind and mode. `vote` is `thought` unless it is given.
        option: A line of {options}, with {label} and {text}. A label that is itself the option, as yes is, is a line.
        delimiter: Stands between a stem and an answer.
        separator: Stands after the answer of a solved question.
        strip: Blanks around fields go, and an option is one line.
        control_tokens: Whether the string of a control token in a question is `text` or becomes that token's id.
        blanks: `moved` counts blanks at the end of a prompt as the beginning of each continuation (lm-eval,
            `TemplateLM._encode_pair`).
        draw: How solved questions are drawn (eval/shots.py): one `set` for each seed, or a `sequence` of sets, another
            for each question.
    """

    title: str
    templates: dict[str, Wording]
    ways: dict[str, Way]
    option: str = "{label}. {text}"
    delimiter: str = " "
    separator: str = "\n\n"
    strip: bool = True
    control_tokens: Literal["text", "parsed"] = "text"
    blanks: Literal["kept", "moved"] = "kept"
    draw: Literal["set", "sequence"] = "set"

    def way(self, task: Task, mode: str) -> Way:
        """How a mode asks a task.

        Raises:
            UserError: the protocol has no such way, or the mode needs options and the task has none.
        """
        if mode in OF_OPTIONS and task.kind != "choice":
            raise UserError(
                f"{task.title}: it has no options, as the mode {mode} needs; choose answer, thought or vote"
            )
        modes = (mode, "thought") if mode == "vote" else (mode,)
        for key in (key for one in modes for key in (f"{task.kind} {one}", one)):
            if key in self.ways:
                return self.ways[key]
        known = ", ".join(self.ways)
        raise UserError(f"{task.title}: the protocol {self.title} has no way {mode}; its ways are {known}")

    def template(self, name: str, task: Task, mode: str) -> str:
        """The template for a task by the protocol of this name: one for the mode before one for all, the task's first.

        Raises:
            UserError: the protocol has no template for this kind of task.
        """
        for key, templates in (
            (f"{name} {mode}", task.prompts),
            (f"{task.kind} {mode}", self.templates),
            (name, task.prompts),
            (task.kind, self.templates),
        ):
            if key in templates:
                return templates[key]
        raise UserError(f"{task.title}: the protocol {self.title} has no template for the kind {task.kind}")


def protocol_file(name: str) -> Path:
    """The YAML file of a protocol, by name or path. Raises UserError if there is none."""
    return bundled.locate(name, PROTOCOLS, "protocol")


def load_protocol(name: str) -> Protocol:
    """Raises UserError if the protocol does not exist or its YAML is wrong."""
    return bundled.read(protocol_file(name), Protocol)
