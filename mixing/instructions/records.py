"""Questions and answers to learn from: lines of JSON, their keys named by the config, to conversations."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

from pydantic import Field, model_validator

from lake.config import Settings
from lake.decision import Drop, Reason
from lake.lines import raw_lines
from mixing.chat import NAMES, Message, Role
from mixing.tokenizer import CHAT_ROLES

SURROGATE = re.compile("[\ud800-\udfff]")
ROLES = {name: role for role, name in NAMES.items()}


class InstructionInput(Settings):
    """Files of JSON objects, one a line; a name that ends in `.gz` is gzip, one in `.zst` Zstandard.

    A record is a question and its answer under the keys `question` and `answer`, or, with `messages`, a list under that
    key of objects with `role` (system, user or question, assistant or answer) and `content`. `system_key` holds what
    the system says; `system` is said where a record has no such message of its own. `a.b` is key b of the object a.

    Attributes:
        source: What accounts call them, and the beginning of their datasets' names.
        paths: Patterns below the data folder.
        max_bytes: Of a line; a longer one is dropped and never held.
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
            raise ValueError("messages: they name who speaks; leave question, answer and system_key out")
        return self


class InstructionSettings(Settings):
    """Instruction data of all `inputs`.

    Attributes:
        sequence: Tokens of a packed sequence.
        other_weight: Weight of the loss where no answer is; an answer's is 1.
    """

    inputs: tuple[InstructionInput, ...] = Field(min_length=1)
    sequence: int = Field(default=2048, ge=16)
    other_weight: float = Field(default=0.0, ge=0, le=1)


class Conversation(NamedTuple):
    """What a record says; `native` is the `file:line` where it stands."""

    native: str
    messages: tuple[Message, ...]


class Rejected(NamedTuple):
    """A record that is no conversation, or a file that cannot be read on."""

    native: str
    drop: Drop


class RecordError(Exception):
    """Why a record is no conversation."""

    def __init__(self, reason: Reason, what: str) -> None:
        super().__init__(what)
        self.reason = reason


def read_conversations(path: Path, name: str, settings: InstructionInput) -> Iterator[Conversation | Rejected]:
    """Every record of a file. Memory holds one line of at most `max_bytes`.

    `name` is the file's name within the data folder. Blank lines are no records. A packed file that ends early or is
    corrupt yields what was readable, then one rejected record.
    """
    for native, line in raw_lines(path, name, settings.max_bytes):
        yield Rejected(native, line) if isinstance(line, Drop) else _conversation(line, native, settings)


def _conversation(line: bytes, native: str, settings: InstructionInput) -> Conversation | Rejected:
    try:
        return Conversation(native, parse(line, settings))
    except RecordError as error:
        return Rejected(native, Drop(error.reason, f"{native}: {error}"))


def parse(line: bytes, settings: InstructionInput) -> tuple[Message, ...]:
    """The messages of one line, at least one of them an answer. Texts are kept as they are.

    Raises:
        RecordError: it is not JSON or not of the form that `settings` tell, or a message is blank.
    """
    try:
        record = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise RecordError(Reason.UNDECODABLE, f"{error.reason} at byte {error.start}") from None
    except (ValueError, RecursionError) as error:
        raise RecordError(Reason.MALFORMED_JSON, str(error)) from None
    if not isinstance(record, dict):
        raise RecordError(Reason.WRONG_TYPE, "a record is an object")
    messages = _listed(record, settings.messages) if settings.messages is not None else _asked(record, settings)
    if settings.system is not None and all(role is not Role.SYSTEM for role, _ in messages):
        messages.insert(0, Message(Role.SYSTEM, settings.system))
    if all(role is not Role.ASSISTANT for role, _ in messages):
        raise RecordError(Reason.MISSING_FIELD, f"{settings.messages}: no message is an answer")
    return tuple(messages)


def _asked(record: dict[str, Any], settings: InstructionInput) -> list[Message]:
    messages = []
    if settings.system_key is not None and _get(record, settings.system_key) not in (None, ""):
        messages.append(Message(Role.SYSTEM, _text(record, settings.system_key)))
    messages.append(Message(Role.PROMPTER, _text(record, settings.question)))
    messages.append(Message(Role.ASSISTANT, _text(record, settings.answer)))
    return messages


def _listed(record: dict[str, Any], key: str) -> list[Message]:
    found = _get(record, key)
    if found is None:
        raise RecordError(Reason.MISSING_FIELD, f"no {key}")
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise RecordError(Reason.WRONG_TYPE, f"{key} is a list of objects")
    messages = []
    for one in found:
        role = _text(one, "role")
        if role not in CHAT_ROLES:
            raise RecordError(Reason.WRONG_TYPE, f"{key}: the role {role!r:.40} is none of {', '.join(CHAT_ROLES)}")
        messages.append(Message(ROLES[CHAT_ROLES[role]], _text(one, "content")))
    return messages


def _text(record: dict[str, Any], key: str) -> str:
    """A text that is not blank. Halves of surrogate pairs, which JSON can escape, become U+FFFD."""
    value = _get(record, key)
    if value is None:
        raise RecordError(Reason.MISSING_FIELD, f"no {key}")
    if not isinstance(value, str):
        raise RecordError(Reason.WRONG_TYPE, f"{key}: a text, not {value!r:.80}")
    if not value.strip():
        raise RecordError(Reason.EMPTY, f"{key} is blank")
    return SURROGATE.sub("\ufffd", value)


def _get(record: dict[str, Any], key: str) -> Any:
    if key in record:
        return record[key]
    value: Any = record
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
