"""Records of a benchmark's files, whatever format they have."""

import csv
import gzip
import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from eval.sheet import read_sheet
from lake.error import UserError
from lake.lines import BOM, GZIP_FAULTS

DOCUMENT_START = "-DOCSTART-"
"""The token that begins a document in files of IOB tags."""


class MalformedError(Exception):
    """A record is not a question; the message says why."""


class Record(NamedTuple):
    """A record and its place, or what is wrong with it. `document` is the number of the text that it is part of."""

    where: str
    value: dict[str, Any] | MalformedError
    group: str = ""
    document: int | None = None


def read_records(path: Path, columns: Sequence[str]) -> Iterator[Record]:
    """The records of a file, in order. `columns` names the columns of a table without a header.

    Sentences in IOB have the fields `tokens` and `tags`. Records of `.json` are in an object of id → record, in an
    object of group → such an object, in a list, or one a line.

    Raises:
        UserError: the file is not of the format that its ending says.
    """
    name = path.name.removesuffix(".gz")
    ending = Path(name).suffix.lower()
    if ending == ".parquet":
        yield from _parquet(path)
        return
    data = _read(path)
    if ending == ".jsonl":
        yield from _lines(path.name, data)
    elif ending == ".json":
        yield from _json(path, data)
    elif ending == ".csv":
        yield from _table(path, _rows(path, data, ","), columns)
    elif ending == ".xlsx":
        yield from _table(path, read_sheet(path, data), columns)
    elif ending == ".iob2" or (ending == ".tsv" and _is_iob(data)):
        yield from _sentences(path.name, data)
    elif ending == ".tsv":
        yield from _table(path, _rows(path, data, "\t"), columns)
    else:
        known = ".jsonl, .json, .csv, .tsv, .iob2, .parquet or .xlsx"
        raise UserError(f"{path}: the name of a benchmark's file ends in {known}, and .gz where it is packed")


def json_object(path: Path) -> dict[str, Any]:
    """Raises UserError if the file is not one JSON object."""
    records = _json_value(path, _read(path))
    if not isinstance(records, dict):
        raise UserError(f"{path}: not a JSON object of id → answer; download the file again")
    return records


def _read(path: Path) -> bytes:
    """The whole file, without a byte order mark. A benchmark that is cut short would give a wrong score."""
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except GZIP_FAULTS as error:
        raise UserError(f"{path}: not a whole gzip file: {error}; download it again") from None
    return data.removeprefix(BOM)


def _lines(name: str, data: bytes) -> Iterator[Record]:
    for number, line in enumerate(data.split(b"\n"), 1):
        if line.strip():
            yield Record(f"{name}:{number}", _parse(line))


def _parse(line: bytes) -> dict[str, Any] | MalformedError:
    try:
        record = json.loads(line, object_pairs_hook=_keyed)
    except (ValueError, RecursionError) as error:
        return MalformedError(f"not JSON: {error}")
    return _object(record)


def _object(record: Any) -> dict[str, Any] | MalformedError:
    return record if isinstance(record, dict | MalformedError) else MalformedError("not an object")


def _keyed(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. JSON takes a key twice, of which Python keeps the last: an option or an id would be lost."""
    keyed = dict(pairs)
    if len(keyed) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        keyed |= {key: MalformedError(f"{key} occurs twice") for key, count in counts.items() if count > 1}
    return keyed


def _json(path: Path, data: bytes) -> Iterator[Record]:
    first, _, rest = data.lstrip().partition(b"\n")
    if rest.strip() and isinstance(_parse(first), dict):
        yield from _lines(path.name, data)
        return
    records = _json_value(path, data)
    if isinstance(records, list):
        for number, record in enumerate(records, 1):
            yield Record(f"{path.name}:{number}", _object(record))
        return
    if not isinstance(records, dict):
        raise UserError(f"{path}: neither a JSON object nor a list of records; download the file again")
    for key, value in records.items():
        if _is_group(value):
            for inner, record in value.items():
                yield Record(f"{key}/{inner}", _object(record), key)
        else:
            yield Record(key, _object(value))


def _is_group(value: Any) -> bool:
    """Whether an object holds records. A record has a text in it, its question."""
    held = list(value.values()) if isinstance(value, dict) else []
    return any(isinstance(record, dict) for record in held) and not any(isinstance(record, str) for record in held)


def _json_value(path: Path, data: bytes) -> Any:
    try:
        return json.loads(data, object_pairs_hook=_keyed)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON: {error}; download the file again") from None


def _rows(path: Path, data: bytes, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Line and cells of the rows. Bytes that are not UTF-8 become surrogates, which `_table` reports."""
    # Strict, because an open quote would swallow all questions after it.
    text = io.StringIO(data.decode("utf-8", "surrogateescape"), newline="")
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    try:
        for row in filter(None, reader):
            yield reader.line_num, row
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num}: not CSV: {error}; download the file again") from None


def _table(path: Path, rows: Iterator[tuple[int, list[str]]], columns: Sequence[str]) -> Iterator[Record]:
    header = list(columns)
    for number, row in rows:
        if not header:
            header = [cell.strip() for cell in row]
            continue
        yield Record(f"{path.name}:{number}", _row(header, row))


def _row(header: Sequence[str], row: Sequence[str]) -> dict[str, Any] | MalformedError:
    if len(row) != len(header):
        return MalformedError(f"{len(row)} columns instead of {len(header)}")
    if any("\ud800" <= character <= "\udfff" for cell in row for character in cell):
        return MalformedError("not UTF-8")
    return dict(zip(header, row, strict=True))


def _is_iob(data: bytes) -> bool:
    """Whether the first line that is not blank is a token and its tag."""
    cells = data.lstrip(b"\r\n").partition(b"\n")[0].strip(b"\r").split(b"\t")
    return len(cells) == 2 and (cells[1] == b"O" or cells[1][:2] in {b"B-", b"I-"})


def _sentences(name: str, data: bytes) -> Iterator[Record]:
    """Sentences, which blank lines part. A line has a token and its tag."""
    document: int | None = None
    sentence: list[str] = []
    # The added line ends the last sentence.
    for number, line in enumerate([*data.decode("utf-8", "surrogateescape").split("\n"), ""], 1):
        if line.strip():
            sentence.append(line.strip("\r"))
            continue
        if sentence and sentence[0].startswith(DOCUMENT_START):
            document = 1 if document is None else document + 1
            del sentence[0]
        if sentence:
            yield Record(f"{name}:{number - len(sentence)}", _sentence(sentence), "", document)
        sentence = []


def _sentence(lines: Sequence[str]) -> dict[str, Any] | MalformedError:
    pairs = [line.split("\t") for line in lines]
    if odd := next((line for line, pair in zip(lines, pairs, strict=True) if len(pair) != 2), None):
        return MalformedError(f"the line {odd!r:.80} is not a token and its tag")
    if any("\ud800" <= character <= "\udfff" for line in lines for character in line):
        return MalformedError("not UTF-8")
    tokens, tags = zip(*pairs, strict=True)
    return {"tokens": list(tokens), "tags": list(tags)}


def _parquet(path: Path) -> Iterator[Record]:
    try:
        rows = pq.read_table(path).to_pylist()
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: not Parquet: {error}; download the file again".replace("\n", " ")) from None
    for number, row in enumerate(rows, 1):
        yield Record(f"{path.name}:{number}", row)
