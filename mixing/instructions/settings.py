"""The section `instructions`: what a model is to learn from, and in which rows."""

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from lake.bundled import tag
from lake.config import Settings
from lake.values import Amount, Count, Prose, Share, ShareBelowAll, Text
from mixing.instructions.packing import Overlong

SOURCE = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
ANSWER = "{answer}"


class RecordInput(Settings):
    """Files of JSON objects, one per line, gzip in `.gz`, Zstandard in `.zst`; or of Parquet in `.parquet`.

    A record holds a question and its answer under the keys `question` and `answer`. With `messages`, it holds a list
    under that key instead: objects with `role` (system, user or question, assistant or answer) and `content`; an answer
    with a `weight` of 0 is read and not learned.
    `system_key` is the key of a system message; `system` is the system message of records that bring none. `a.b` is
    key b of the object a.

    Attributes:
        source: The name of the input in accounts and at the beginning of its datasets' names.
        paths: Patterns below the data folder.
        explanation: The key of the reasons for the answer, which then go before it. Every record must have them.
        ending: How an answer is said after its explanation.
        max_bytes: The longest line or row. A longer one is dropped; a line is never held in memory.
    """

    source: Annotated[Text, Field(pattern=SOURCE, max_length=100)] = "instructions"
    paths: tuple[Text, ...] = Field(min_length=1)
    question: Text = "question"
    answer: Text = "answer"
    explanation: Text | None = None
    ending: Prose = f"Answer: {ANSWER}"
    messages: Text | None = None
    system: Prose | None = None
    system_key: Text | None = None
    max_bytes: Amount = 2**22

    @field_validator("ending")
    @classmethod
    def _with_answer(cls, ending: str) -> str:
        if ANSWER not in ending:
            raise ValueError(f"write {ANSWER} where the answer stands")
        return ending

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if self.messages is not None and self.model_fields_set & {"question", "answer", "explanation", "system_key"}:
            raise ValueError("messages: each names its role; leave question, answer, explanation and system_key out")
        return self


class QuestionInput(Settings):
    """Training questions of a benchmark, in files as its authors publish them, asked as evaluation asks a chat model.

    Attributes:
        task: The name of a file in eval/tasks, or the path of a YAML file.
        files: Paths below the data folder. The default are the files from which evaluation takes its solved questions.
        mode: What is answered: the label after what the protocol lets the model's turn begin with (`letters`), the
            answer alone (`answer`), or the explanation and then the answer (`thought`), where there is one.
        protocol: The name of a file in eval/protocols, or the path of a YAML file.
        source: The name of the input in accounts and at the beginning of its datasets' names.
    """

    task: Text
    files: tuple[Text, ...] = ()
    mode: Literal["letters", "answer", "thought"] = "letters"
    protocol: Text = "strict"
    source: Annotated[Text, Field(pattern=SOURCE, max_length=100)] = ""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        if isinstance(given, dict) and "source" not in given and isinstance(given.get("task"), str):
            return given | {"source": f"{tag(given['task'])}-{given.get('mode', 'letters')}"}
        return given


def _form(given: Any) -> str:
    """Which of the two forms an input has; only questions of a benchmark have a task."""
    task = "task" in given if isinstance(given, dict) else isinstance(given, QuestionInput)
    return "questions" if task else "records"


Input = Annotated[
    Annotated[RecordInput, Tag("records")] | Annotated[QuestionInput, Tag("questions")], Discriminator(_form)
]


class InstructionSettings(Settings):
    """Instruction data of all `inputs`.

    Attributes:
        sequence: Tokens of a row.
        packing: Put several conversations in a row. Otherwise each has a row of its own.
        overlong: Whether a conversation longer than a row is dropped or loses its end.
        other_weight: Weight of the loss outside of answers; within an answer it is 1. At 1, validation counts all, too.
        validation: Share of the records that are held out. A question that is asked in two ways falls on one side.
    """

    inputs: tuple[Input, ...] = Field(min_length=1)
    sequence: Annotated[Count, Field(ge=16)] = 2048
    packing: bool = True
    overlong: Overlong = "drop"
    other_weight: Share = 0.0
    validation: ShareBelowAll = 0.05

    @model_validator(mode="after")
    def _sources_apart(self) -> Self:
        asked = [one.source for one in self.inputs if isinstance(one, QuestionInput)]
        named = [one.source for one in self.inputs if isinstance(one, RecordInput)]
        if twice := next((name for name in asked if [*asked, *named].count(name) > 1), None):
            raise ValueError(f"inputs: {twice} is named twice; give one of them another source")
        return self
