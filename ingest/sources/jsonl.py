"""JSON Lines, plain or packed: one record per line. The config maps its keys to the fields of a document."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from ingest.raw_input import Pace, RawInput
from ingest.records import Records, Rejected, article_url
from ingest.sources.dates import iso_date
from lake.decision import Drop, Reason
from lake.document import META, Document, new_document
from lake.lines import raw_lines

DATE = re.compile(r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2}))?)?")
SURROGATE = re.compile("[\ud800-\udfff]")


class MappedInput(RawInput):
    """Records whose keys are mapped to the fields of a document.

    `fields` maps a field of the document, or of its `meta`, to a key of the record; `a.b` is key b of the object a.
    `text` may have several keys, whose values are joined by line ends. Without a key for `id`, a record's file and line
    identify it. With `title_in_text` the text is title, blank line, body.
    """

    fields: dict[str, str | tuple[str, ...]] = Field(default={"text": "text"})
    title_in_text: bool = False

    @model_validator(mode="after")
    def _known(self) -> Self:
        if "text" not in self.fields:
            raise ValueError("fields: `text` must be mapped to the key that holds it")
        for name, key in self.fields.items():
            if name not in CONVERT:
                raise ValueError(f"fields: a document has no field {name}; it has {', '.join(CONVERT)}")
            if name != "text" and not isinstance(key, str):
                raise ValueError(f"fields: {name} takes one key; only `text` may be joined from several")
            if not key:
                raise ValueError(f"fields: {name} is mapped to no key; name one or leave {name} out")
        if self.title_in_text and "title" not in self.fields:
            raise ValueError("title_in_text: `title` must be mapped in fields")
        return self


class JsonlInput(MappedInput):
    """Files of JSON objects, one per line: gzip where the name ends in `.gz`, Zstandard where it ends in `.zst`."""

    format: Literal["jsonl"]

    @property
    def pace(self) -> Pace:
        """Measured by `python -m benchmarks.stages --data ../shared/data`."""
        return Pace(85, 0.9)

    def read(self, path: Path, name: str) -> Records:
        """Memory holds one line of at most `max_bytes`. Blank lines are not records.

        Evidence carries `name`, and so does the id where no key is mapped to it.
        """
        for native, line in raw_lines(path, name, self.max_bytes):
            yield Rejected(native, line) if isinstance(line, Drop) else parse_record(line, native, self)


class FieldError(Exception):
    """A record's field is missing or of the wrong type."""

    def __init__(self, drop: Drop) -> None:
        super().__init__(drop.evidence)
        self.drop = drop


def parse_record(line: bytes, native: str, settings: MappedInput) -> Document | Rejected:
    """One line as a document; `native` is its place `file:line`, and its id where no key is mapped to `id`."""
    record = parse_object(line, native)
    if isinstance(record, Rejected):
        return record
    try:
        values = {field: _value(record, field, keys) for field, keys in settings.fields.items()}
        return _document(values, native, settings)
    except FieldError as error:
        drop = Drop(error.drop.reason, f"{native}: {error.drop.evidence}")
        return Rejected(native, drop)


def parse_object(line: bytes, native: str) -> dict[str, Any] | Rejected:
    """One line as a JSON object."""
    try:
        record = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return Rejected(native, Drop(Reason.UNDECODABLE, f"{native}: {error.reason} at byte {error.start}"))
    except (ValueError, RecursionError) as error:
        return Rejected(native, Drop(Reason.MALFORMED_JSON, f"{native}: {error}: {_quote(line)}"))
    if not isinstance(record, dict):
        evidence = f"{native}: a record is an object, not {_kind(record)}: {_quote(line)}"
        return Rejected(native, Drop(Reason.WRONG_TYPE, evidence))
    return record


def _document(values: dict[str, Any], native: str, settings: MappedInput) -> Document:
    text = values.pop("text")
    identity = values.pop("id", native)
    known = {"license": settings.license, "redistributable": settings.redistributable, "site": settings.site}
    known |= {name: value for name, value in values.items() if value is not None and value != ""}
    if settings.title_in_text and "title" in known:
        text = f"{known['title']}\n\n{text}"
    meta = {field.name: known.pop(field.name) for field in META if field.name in known}
    known.setdefault("url", article_url(meta))
    return new_document(settings.source, identity, text, meta, **known)


def _value(record: dict[str, Any], field: str, keys: str | tuple[str, ...]) -> Any:
    """The value of a field, converted; None where an optional one is absent, null or an empty string.

    An empty text is no error here: `clean` drops it as empty.
    """
    values = [(key, _descend(record, key)) for key in ([keys] if isinstance(keys, str) else keys)]
    present = [(key, value) for key, value in values if value is not None and (value != "" or field == "text")]
    if not present:
        if field in ("id", "text"):
            raise FieldError(Drop(Reason.MISSING_FIELD, f"no {' or '.join(key for key, _ in values)} for {field}"))
        return None
    converted = []
    for key, value in present:
        try:
            converted.append(CONVERT[field](value))
        except (ValueError, TypeError, OverflowError):
            evidence = f"{key}: {field} does not take {_kind(value)} {value!r:.80}"
            raise FieldError(Drop(Reason.WRONG_TYPE, evidence)) from None
    return "\n".join(filter(None, converted)) if field == "text" else converted[0]


def _descend(record: dict[str, Any], key: str) -> Any:
    if key in record:
        return record[key]
    value: Any = record
    for part in key.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(part)
    return value


def _string(value: Any) -> str:
    """A string, or an integer as a string. Lone surrogates, which JSON can escape, become U+FFFD."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise TypeError
    return SURROGATE.sub("\ufffd", str(value))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return _string(value)


def _line(value: Any) -> str:
    return " ".join(_text(value).split())


def _strings(value: Any) -> list[str]:
    if not isinstance(value, list):
        raise TypeError
    return [_string(item) for item in value]


def _integer(bits: int) -> Callable[[Any], int]:
    def convert(value: Any) -> int:
        number = int(_string(value))
        if not -(2 ** (bits - 1)) <= number < 2 ** (bits - 1):
            raise ValueError
        return number

    return convert


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _date(value: Any) -> str:
    """The ISO date at the beginning of a value, as precise as it is: 2012, 2012-07 or 2012-07-19."""
    match = DATE.match(_string(value))
    date = iso_date(*match.groups("")) if match else None
    if date is None:
        raise ValueError
    return date


def _moment(value: Any) -> datetime:
    moment = datetime.fromisoformat(_text(value))
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _quote(line: bytes) -> str:
    return line[:120].decode("utf-8", "replace").strip()


CONVERT: dict[str, Callable[[Any], Any]] = {
    "id": _string,
    "text": _text,
    "title": _line,
    "url": _text,
    "license": _text,
    "redistributable": _flag,
    "lang": _text,
    "fetched_at": _moment,
    "pmid": _string,
    "pmcid": _string,
    "doi": _text,
    "corpusid": _integer(64),
    "journal": _text,
    "published": _date,
    "publication_types": _strings,
    "mesh": _strings,
    "citations": _integer(32),
    "site": _string,
}
"""The fields that a record can fill, and how a JSON value is converted for each."""
