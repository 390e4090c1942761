"""A line of JSON Lines as an object, and what is common to all who read one."""

import json
import re
from typing import Any

from lake.characters import REPLACEMENT, decoded
from lake.decision import Reason, RecordError

SURROGATE = re.compile("[\ud800-\udfff]")
MOST_REPLACED = 0.05
"""With a larger share of characters that nobody can decode, a line is no text."""

OPENINGS = (b"[", b"{", b"[{")
ONE_A_LINE = "JSON Lines has one object on each line, and no array around them"


def json_object(line: bytes) -> dict[str, Any]:
    """The object on a line. Bytes that are not UTF-8 are read as Windows-1252 (lake.characters).

    Raises:
        RecordError: the line is in neither, is not JSON, or holds something else.
    """
    start = line[:120].decode("utf-8", "replace").strip()
    try:
        record = json.loads(_text(line))
    except (ValueError, RecursionError) as error:
        if line.strip() in OPENINGS:
            raise RecordError(Reason.MALFORMED_JSON, f"{start} and no more; {ONE_A_LINE}") from None
        raise RecordError(Reason.MALFORMED_JSON, f"{error}: {start}") from None
    if not isinstance(record, dict):
        advice = f"; {ONE_A_LINE}" if isinstance(record, list) else ""
        raise RecordError(Reason.WRONG_TYPE, f"a record is an object, not {kind(record)}{advice}: {start}")
    return record


def _text(line: bytes) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        text = decoded(line)
        # Bytes of another encoding, or none of a text, are neither UTF-8 nor Windows-1252, or do not make up JSON.
        if text.count(REPLACEMENT) <= len(text) * MOST_REPLACED and _is_json(text):
            return text
        raise RecordError(Reason.UNDECODABLE, f"{error.reason} at byte {error.start}") from None


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def value_at(record: dict[str, Any], key: str) -> Any:
    """The value of a key; `a.b` is key b of the object a, unless there is a key `a.b`. None where it is missing."""
    if key in record:
        return record[key]
    value: Any = record
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def kind(value: Any) -> str:
    """The JSON type of a value, for messages."""
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def whole(text: str) -> str:
    """Text that UTF-8 can hold: lone surrogates, which JSON can escape, become U+FFFD."""
    return SURROGATE.sub("\ufffd", text)
