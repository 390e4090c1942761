"""JSON Lines, plain or packed: one record per line. The config maps its keys to the fields of a document."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from ingest.fidelity.ledger import Ledger
from ingest.raw_input import Pace, RawInput
from ingest.records import Note, Original, Records, Rejected, article_url, rejected
from ingest.sources.dates import stated_date, utc
from lake.characters import C1, is_utf8
from lake.decision import Drop, Reason, RecordError
from lake.document import META, Document, new_document
from lake.jsonl import json_object, kind, value_at, whole
from lake.lines import raw_lines
from lake.values import Text

LARGEST_WHOLE = 2**53
"""Floats from here on do not tell two neighbouring integers apart, so they are no ids and no dates."""

FLAGS = {"true": True, "True": True, "false": False, "False": False}

NOT_UTF8 = ("bytes that are not UTF-8", "read as Windows-1252")
"""What a note says of a line that had some."""

LEGAL = {"license", "redistributable"}
"""Where one of these is wrong, the input's own settings do not stand in for it."""


class MappedInput(RawInput):
    """Records whose keys are mapped to the fields of a document.

    `fields` maps a field of the document, or of its `meta`, to a key of the record; `a.b` is key b of the object a.
    `text` may have several keys, whose values are joined by line ends. Without a key for `id`, a record's file and line
    identify it. With `title_in_text` the text is title, blank line, body.
    """

    fields: dict[Text, Text | tuple[Text, ...]] = Field(default={"text": "text"})
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
            if isinstance(line, Drop):
                yield Rejected(native, line)
            else:
                yield from parse_record(line, native, self)


def parse_record(line: bytes, native: str, settings: MappedInput) -> Records:
    """One line as a document; `native` is its place `file:line`, and its id where no key is mapped to `id`.

    A wrong detail is left out and noted, for the text is worth keeping without it. A wrong id or text is an error.
    """
    try:
        record = json_object(line)
        values: dict[str, Any] = {}
        wrong: dict[str, str] = {}
        for field, keys in settings.fields.items():
            try:
                values[field] = _value(record, field, keys)
            except RecordError as error:
                if field in ("id", "text"):
                    raise
                wrong[field] = str(error)
        document = _document(values, native, settings, not wrong.keys() & LEGAL)
    except RecordError as error:
        yield rejected(native, error.reason, str(error))
        return
    if not is_utf8(line):
        yield Note(document["url"] or native, *NOT_UTF8)
    yield from (Note(document["url"] or native, f"wrong {field}", fault) for field, fault in wrong.items())
    yield Original(partial(_original, record, settings))
    yield document


def _original(record: dict[str, Any], settings: MappedInput, ledger: Ledger) -> str:
    """The strings of the record that are its text, and its title where that is part of the text."""
    keys = settings.fields["text"]
    title = settings.fields.get("title") if settings.title_in_text else None
    names = (*([title] if isinstance(title, str) else []), *([keys] if isinstance(keys, str) else keys))
    return "\n".join(str(value) for name in names if (value := value_at(record, name)) is not None)


def _document(values: dict[str, Any], native: str, settings: MappedInput, is_clear: bool) -> Document:
    """`is_clear` says that nothing the record states of its licence and redistribution was wrong."""
    text = values.pop("text")
    identity = values.pop("id", native)
    known = {"license": settings.license, "redistributable": settings.redistributable, "site": settings.site}
    if not is_clear:
        known |= {"license": None, "redistributable": False}
        values.pop("redistributable", None)
    known |= {name: value for name, value in values.items() if value is not None and value != ""}
    if settings.title_in_text and "title" in known:
        text = f"{known['title']}\n\n{text}"
    meta = {field.name: known.pop(field.name) for field in META if field.name in known}
    known.setdefault("url", article_url(meta))
    return new_document(settings.source, identity, text, meta, **known)


def _value(record: dict[str, Any], field: str, keys: str | tuple[str, ...]) -> Any:
    """The value of a field, converted; None where an optional one is absent, null, NaN or an empty string.

    An empty text is no error here: `clean` drops it as empty.
    """
    values = [(key, value_at(record, key)) for key in ([keys] if isinstance(keys, str) else keys)]
    present = [(key, value) for key, value in values if not is_null(value) and (value != "" or field == "text")]
    if not present:
        if field in ("id", "text"):
            raise RecordError(Reason.MISSING_FIELD, f"no {' or '.join(key for key, _ in values)} for {field}")
        return None
    converted = []
    for key, value in present:
        try:
            converted.append(CONVERT[field](value))
        except (ValueError, TypeError, OverflowError):
            evidence = f"{key}: {field} does not take {kind(value)} {value!r:.80}"
            raise RecordError(Reason.WRONG_TYPE, evidence) from None
    return "\n".join(filter(None, converted)) if field == "text" else converted[0]


def is_null(value: Any) -> bool:
    """pandas writes a missing value as NaN."""
    return value is None or value != value


def _string(value: Any) -> str:
    """A string, or an integer as a string, which pandas may write as 123.0. Lone surrogates become U+FFFD."""
    if isinstance(value, float) and value.is_integer() and abs(value) < LARGEST_WHOLE:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise TypeError
    return whole(str(value))


def _number(value: Any) -> str:
    """A number, which pandas may have written as the string "123.0"."""
    return _string(value).removesuffix(".0")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return _string(value)


def _line(value: Any) -> str:
    return " ".join(_text(value).translate(C1).split())


def _strings(value: Any) -> list[str]:
    if not isinstance(value, list):
        raise TypeError
    return [_string(item) for item in value if not is_null(item)]


def _integer(bits: int) -> Callable[[Any], int]:
    def convert(value: Any) -> int:
        number = int(_number(value))
        if not -(2 ** (bits - 1)) <= number < 2 ** (bits - 1):
            raise ValueError
        return number

    return convert


def _flag(value: Any) -> bool:
    flag = FLAGS.get(value) if isinstance(value, str) else value
    if not isinstance(flag, bool):
        raise TypeError
    return flag


def _date(value: Any) -> str:
    date = stated_date(_string(value))
    if date is None:
        raise ValueError
    return date


CONVERT: dict[str, Callable[[Any], Any]] = {
    "id": _string,
    "text": _text,
    "title": _line,
    "url": _text,
    "license": _text,
    "redistributable": _flag,
    "lang": _text,
    "fetched_at": lambda value: utc(_text(value)),
    "pmid": _number,
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
