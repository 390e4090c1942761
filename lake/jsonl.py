"""A line of JSON Lines as an object, and what is common to all who read one."""

import json
import re
from typing import Any

from lake.decision import Reason, RecordError

SURROGATE = re.compile("[\ud800-\udfff]")


def json_object(line: bytes) -> dict[str, Any]:
    """The object on a line.

    Raises:
        RecordError: the line is not UTF-8, not JSON, or holds something else.
    """
    start = line[:120].decode("utf-8", "replace").strip()
    try:
        record = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise RecordError(Reason.UNDECODABLE, f"{error.reason} at byte {error.start}") from None
    except (ValueError, RecursionError) as error:
        raise RecordError(Reason.MALFORMED_JSON, f"{error}: {start}") from None
    if not isinstance(record, dict):
        raise RecordError(Reason.WRONG_TYPE, f"a record is an object, not {kind(record)}: {start}")
    return record


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
