"""Read instruction data: lines of JSON, whose keys the config names, become conversations."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

from pydantic import Field, model_validator

from lake.config import Settings
from lake.decision import Drop, Reason, RecordError
from lake.jsonl import json_object, value_at, whole
from lake.lines import raw_lines
from mixing.tokenizer.chatml import ROLES, Message, Role


class InstructionInput(Settings):
    """Files of JSON objects, one per line. A name ending in `.gz` is gzip, one ending in `.zst` is Zstandard.

    A record holds a question and its answer under the keys `question` and `answer`. With `messages`, it holds a list
    under that key instead: objects with `role` (system, user or question, assistant or answer) and `content`.
    `system_key` is the key of a system message; `system` is the system message of records that bring none. `a.b` is
    key b of the object a.

    Attributes:
        source: The name of the input in accounts and at the beginning of its datasets' names.
        paths: Patterns below the data folder.
        max_bytes: The longest line. A longer one is dropped and never held in memory.
    """

    source: str = Field(default="instructions", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    paths: tuple[str, ...] = Field(min_length=1)
    question: str = "question"
    answer: str = "answer"
    messages: str | None = None
    system: str | None = None
    system_key: str | None = None
    max_bytes: int = Field(default=2**22, ge=1)

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if self.messages is not None and self.model_fields_set & {"question", "answer", "system_key"}:
            raise ValueError("messages: each message names its role; leave question, answer and system_key out")
        return self


class InstructionSettings(Settings):
    """Instruction data of all `inputs`.

    Attributes:
        sequence: Tokens of a packed sequence.
        other_weight: Weight of the loss outside of answers; within an answer it is 1.
    """

    inputs: tuple[InstructionInput, ...] = Field(min_length=1)
    sequence: int = Field(default=2048, ge=16)
    other_weight: float = Field(default=0.0, ge=0, le=1)


class Conversation(NamedTuple):
    """The messages of a record, or why it is dropped. `native` is its place, `file:line`."""

    native: str
    messages: tuple[Message, ...] | Drop


def read_conversations(path: Path, name: str, settings: InstructionInput) -> Iterator[Conversation]:
    """Every record of a file; blank lines are skipped. Memory holds one line of at most `max_bytes`.

    `name` is the file's name within the data folder. A compressed file that ends early or is corrupt yields what can
    be read, then one dropped record.
    """
    for native, line in raw_lines(path, name, settings.max_bytes):
        try:
            yield Conversation(native, line if isinstance(line, Drop) else parse(line, settings))
        except RecordError as error:
            yield Conversation(native, Drop(error.reason, f"{native}: {error}"))


def parse(line: bytes, settings: InstructionInput) -> tuple[Message, ...]:
    """The messages of one line, at least one of them an answer. Texts stay as they are.

    Raises:
        RecordError: the line is not JSON or lacks the keys that `settings` name, or a message is blank.
    """
    record = json_object(line)
    if settings.messages is None:
        messages = _question_and_answer(record, settings)
    else:
        messages = _message_list(record, settings.messages)
    if settings.system is not None and all(role is not Role.SYSTEM for role, _ in messages):
        messages.insert(0, Message(Role.SYSTEM, settings.system))
    if all(role is not Role.ASSISTANT for role, _ in messages):
        raise RecordError(Reason.MISSING_FIELD, f"{settings.messages}: no message is an answer")
    return tuple(messages)


def _question_and_answer(record: dict[str, Any], settings: InstructionInput) -> list[Message]:
    messages = []
    if settings.system_key is not None and value_at(record, settings.system_key) not in (None, ""):
        messages.append(Message(Role.SYSTEM, _text(record, settings.system_key)))
    messages.append(Message(Role.PROMPTER, _text(record, settings.question)))
    messages.append(Message(Role.ASSISTANT, _text(record, settings.answer)))
    return messages


def _message_list(record: dict[str, Any], key: str) -> list[Message]:
    entries = value_at(record, key)
    if entries is None:
        raise RecordError(Reason.MISSING_FIELD, f"no {key}")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise RecordError(Reason.WRONG_TYPE, f"{key} must be a list of objects")
    messages = []
    for entry in entries:
        role = _text(entry, "role")
        if role not in ROLES:
            raise RecordError(Reason.WRONG_TYPE, f"{key}: the role {role!r:.40} is none of {', '.join(ROLES)}")
        messages.append(Message(ROLES[role], _text(entry, "content")))
    return messages


def _text(record: dict[str, Any], key: str) -> str:
    """A text that is not blank. Lone surrogates, which JSON can escape, become U+FFFD."""
    value = value_at(record, key)
    if value is None:
        raise RecordError(Reason.MISSING_FIELD, f"no {key}")
    if not isinstance(value, str):
        raise RecordError(Reason.WRONG_TYPE, f"{key} must be a text, not {value!r:.80}")
    if not value.strip():
        raise RecordError(Reason.EMPTY, f"{key} is blank")
    return whole(value)
