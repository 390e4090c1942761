"""Read instruction data: records of JSON Lines or Parquet, whose keys the config names, become conversations."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from lake.decision import Drop, Reason, RecordError
from lake.jsonl import json_object, value_at, whole
from lake.lines import raw_lines
from mixing.instructions.settings import ANSWER, RecordInput
from mixing.tokenizer.chatml import ROLES, Message, Role

PARQUET = ".parquet"
ROWS = 256
"""Rows of Parquet that are read at once."""


class Conversation(NamedTuple):
    """The messages of a record, or why it is dropped.

    `native` is its place, `file:line` or `file:row`. `subject` decides on which side of the split it falls, and with
    what it is compared: a question that is asked in several ways has one.
    """

    native: str
    messages: tuple[Message, ...] | Drop
    subject: str


def read_conversations(path: Path, name: str, settings: RecordInput) -> Iterator[Conversation]:
    """Every record of a file; blank lines are skipped. Memory holds one line of at most `max_bytes`, or ROWS rows.

    `name` is the file's name within the data folder. A file that ends early or is corrupt yields what can be read, then
    one dropped record.
    """
    records = _rows(path, name) if path.suffix.lower() == PARQUET else raw_lines(path, name, settings.max_bytes)
    for native, record in records:
        try:
            yield Conversation(native, record if isinstance(record, Drop) else parse(record, settings), native)
        except RecordError as error:
            yield Conversation(native, Drop(error.reason, f"{native}: {error}"), native)


def _rows(path: Path, name: str) -> Iterator[tuple[str, dict[str, Any] | Drop]]:
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(ROWS):
                for row in range(len(batch)):
                    number += 1
                    yield (native := f"{name}:{number}"), _row(batch.slice(row, 1), native)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's, not the file's
        native = f"{name}:{number + 1}"
        fault = " ".join(str(error).split())
        yield native, Drop(Reason.TRUNCATED_FILE, f"{native}: nothing is readable from here on: {fault}")


def _row(row: pa.RecordBatch, native: str) -> dict[str, Any] | Drop:
    try:
        (record,) = row.to_pylist()
    except UnicodeDecodeError as error:
        return Drop(Reason.UNDECODABLE, f"{native}: {error.reason} at byte {error.start} of a text")
    return record


def parse(record: bytes | dict[str, Any], settings: RecordInput) -> tuple[Message, ...]:
    """The messages of a line or a row, at least one of them an answer. Texts stay as they are.

    Raises:
        RecordError: the line is not JSON or lacks the keys that `settings` name, a message is blank, or the roles are
            not those of a talk.
    """
    if isinstance(record, bytes):
        record = json_object(record)
    if settings.messages is None:
        messages = _question_and_answer(record, settings)
    else:
        messages = _message_list(record, settings.messages)
    if settings.system is not None and all(message.role is not Role.SYSTEM for message in messages):
        messages.insert(0, Message(Role.SYSTEM, settings.system))
    if (size := sum(len(message.text.encode()) for message in messages)) > settings.max_bytes:
        raise RecordError(Reason.TOO_LARGE, f"{size:,} bytes of text; max_bytes is {settings.max_bytes:,}")
    return tuple(messages)


def _question_and_answer(record: dict[str, Any], settings: RecordInput) -> list[Message]:
    messages = []
    if settings.system_key is not None and value_at(record, settings.system_key) not in (None, ""):
        messages.append(Message(Role.SYSTEM, _text(record, settings.system_key)))
    messages.append(Message(Role.PROMPTER, _text(record, settings.question)))
    answer = _text(record, settings.answer)
    if settings.explanation is not None:
        ending = settings.ending.replace(ANSWER, answer.strip())
        answer = f"{_text(record, settings.explanation).strip()}\n{ending}"
    messages.append(Message(Role.ASSISTANT, answer))
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
            raise RecordError(Reason.UNKNOWN_ROLE, f"{key}: the role {role!r:.40} is none of {', '.join(ROLES)}")
        messages.append(Message(ROLES[role], _text(entry, "content"), _learned(entry)))
    if all(message.role is not Role.ASSISTANT for message in messages):
        raise RecordError(Reason.NO_ANSWER, f"{key}: no message is an answer")
    _check_order([message.role for message in messages], key)
    return messages


def _learned(entry: dict[str, Any]) -> bool:
    """OpenAI's form has a weight of 0 at an answer that is not to be learned."""
    weight = entry.get("weight")
    if weight is not None and weight not in (0, 1):
        raise RecordError(Reason.WRONG_TYPE, f"weight must be 0 or 1, not {weight!r:.40}")
    return weight != 0


def _check_order(roles: list[Role], key: str) -> None:
    """A system message may stand first. Then questions and answers follow each other."""
    expected = Role.PROMPTER
    for place, role in enumerate(roles):
        if role is Role.SYSTEM and place == 0:
            continue
        if role is not expected:
            raise RecordError(
                Reason.ROLE_ORDER,
                f"{key}: message {place + 1} is of the role {role.name.lower()}, where {expected.name.lower()} is due",
            )
        expected = Role.ASSISTANT if role is Role.PROMPTER else Role.PROMPTER


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
