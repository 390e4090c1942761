"""Questions of benchmarks, read from the authors' files into one shape."""

import csv
import gzip
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from eval.settings import BenchmarkSettings, EvaluateSettings
from eval.task import Task, load_task, task_file
from lake.decision import EVIDENCE_CHARS, Drop, Reason
from lake.error import UserError
from lake.lines import GZIP_FAULTS

MOST_OPTIONS = 26
LONGEST_LABEL = 16


@dataclass(frozen=True, slots=True)
class Question:
    """A question, identified by benchmark and id. `options` is label → text, `answer` the right label.

    With `drop` the record was malformed, and the other fields are empty.
    """

    task: Task
    benchmark: str
    id: str
    text: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    answer: str = ""
    context: str = ""
    explanation: str = ""
    group: str = ""
    cluster: str = ""
    drop: Drop | None = None


class MalformedError(Exception):
    """A record is not a question; the message says why."""


def raw_files(settings: EvaluateSettings, data: str) -> list[Path]:
    """The files that decide what is asked and how: each task's YAML, its questions and its truth.

    Raises:
        UserError: a benchmark lacks a file below `data`.
    """
    return [path for benchmark in settings.benchmarks for path in (task_file(benchmark.task), *_files(benchmark, data))]


def _files(benchmark: BenchmarkSettings, data: str) -> list[Path]:
    task = load_task(benchmark.task)
    paths = [Path(data, name) for name in benchmark.files or task.files]
    present = [path for path in paths if path.is_file()]
    missing = [path for path in paths if path not in present] if benchmark.files or not present else []
    if task.truth is not None:
        truth = Path(data, task.truth)
        present.append(truth)
        missing += [] if truth.is_file() else [truth]
    if missing:
        where = f"evaluate.benchmarks: {benchmark.name}"
        raise UserError(f"{where}: no file {missing[0]}; set data= to the folder that holds it")
    return present


def load_questions(settings: EvaluateSettings, data: str) -> list[Question]:
    """Every record of every benchmark, in the order of config and files, before any limit.

    Raises:
        UserError: a file is missing or not of its format.
    """
    return [question for benchmark in settings.benchmarks for question in _load(benchmark, data)]


def _load(benchmark: BenchmarkSettings, data: str) -> Iterator[Question]:
    task = load_task(benchmark.task)
    files = _files(benchmark, data)
    truth = None
    if task.truth is not None:
        truth = {_encodable(key): answer for key, answer in _json_object(files.pop()).items()}
    seen: set[str] = set()
    for where, record in (pair for path in files for pair in _records(path, task)):
        key = record.get(task.fields.id) if task.fields.id and isinstance(record, dict) else where
        usable = isinstance(key, str | int) and str(key).strip() != ""
        native = _encodable(str(key) if usable else where)
        if truth is not None and native not in truth:
            continue
        try:
            if isinstance(record, MalformedError):
                raise record
            if not usable or native in seen:
                raise MalformedError(f"the id {native} occurs before" if usable else f"no {task.fields.id}")
            question = _question(benchmark.name, native, record, task, truth)
        except MalformedError as error:
            question = _malformed(benchmark.name, where if native in seen else native, f"{where}: {error}")
        seen.add(native)
        yield question
    for native in sorted((truth or {}).keys() - seen):
        yield _malformed(benchmark.name, native, f"{task.truth} has {native}, the questions do not")


def _malformed(benchmark: str, native: str, evidence: str) -> Question:
    return Question(
        load_task("sample-qa"), benchmark, native, drop=Drop(Reason.MALFORMED_QUESTION, evidence[:EVIDENCE_CHARS])
    )


def _question(
    benchmark: str, native: str, record: dict[str, Any], task: Task, truth: Mapping[str, Any] | None
) -> Question:
    options = _options(record, task)
    value = truth[native] if truth is not None else record.get(task.fields.answer or "")
    text = str(value).strip() if isinstance(value, str | int) else ""
    answer = task.answers.get(text, "") if task.answers else text
    if answer not in options:
        raise MalformedError(f"the answer {value!r:.40} is none of {', '.join(options)}")
    question = _text(record, task.fields.question)
    return Question(task, benchmark, native, question, options, answer, _context(record, task))


def _options(record: dict[str, Any], task: Task) -> dict[str, str]:
    """Label → text of the options, two or more."""
    if isinstance(task.options, tuple):
        return {label: label for label in task.options}
    if isinstance(task.options, dict):
        return {label: _text(record, name) for label, name in task.options.items()}
    texts = record.get(task.options)
    if not isinstance(texts, dict) or not 2 <= len(texts) <= MOST_OPTIONS or not all(map(_is_label, texts)):
        raise MalformedError(f"{task.options} is not a map of 2 to {MOST_OPTIONS} short labels to texts")
    return {label: _text(texts, label) for label in texts}


def _is_label(label: str) -> bool:
    return 0 < len(label) <= LONGEST_LABEL and label.isprintable() and label == label.strip()


def _text(record: dict[str, Any], name: str) -> str:
    value = record.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise MalformedError(f"{name} is missing, empty or not text")
    return _encodable(value.strip())


def _encodable(text: str) -> str:
    """Replace lone surrogates. JSON can spell them, but neither a tokenizer nor a table takes them."""
    return text.encode("utf-8", "replace").decode()


def _context(record: dict[str, Any], task: Task) -> str:
    if task.fields.context is None:
        return ""
    value = record.get(task.fields.context)
    paragraphs = value if isinstance(value, list) and value else [value]
    return "\n".join(_text({task.fields.context: paragraph}, task.fields.context) for paragraph in paragraphs)


def _records(path: Path, task: Task) -> Iterator[tuple[str, Any]]:
    """The place of each record and its object, or an error where it is not an object."""
    if task.format == "json":
        for key, value in _json_object(path).items():
            yield key, value if isinstance(value, dict) else MalformedError("not an object")
        return
    if task.format == "csv":
        yield from _rows(path, task.columns)
        return
    for number, line in enumerate(_read(path).split(b"\n"), 1):
        if line.strip():
            yield f"{path.name}:{number}", _parse(line)


def _parse(line: bytes) -> Any:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        return MalformedError(f"not JSON: {error}")
    return record if isinstance(record, dict) else MalformedError("not an object")


def _rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, Any]]:
    # Strict, because an open quote would swallow all questions after it.
    reader = csv.reader(io.StringIO(_read(path).decode("utf-8", "replace"), newline=""), strict=True)
    try:
        for row in filter(None, reader):
            whole = len(row) == len(columns)
            error = MalformedError(f"{len(row)} columns instead of {len(columns)}")
            yield f"{path.name}:{reader.line_num}", dict(zip(columns, row, strict=True)) if whole else error
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num}: not CSV: {error}; download the file again") from None


def _json_object(path: Path) -> dict[str, Any]:
    try:
        records = json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON: {error}; download the file again") from None
    if not isinstance(records, dict):
        raise UserError(f"{path}: not a JSON object of id → record; download the file again")
    return records


def _read(path: Path) -> bytes:
    """The whole file. A benchmark that is cut short would give a wrong score."""
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except GZIP_FAULTS as error:
        raise UserError(f"{path}: not a whole gzip file: {error}; download it again") from None


def sample(settings: EvaluateSettings, questions: Iterable[Question]) -> dict[str, list[Question]]:
    """The questions to ask, by benchmark and within its limit. They stay in order."""
    samples: dict[str, list[Question]] = {benchmark.name: [] for benchmark in settings.benchmarks}
    for question in questions:
        samples[question.benchmark].append(question)
    for benchmark in settings.benchmarks:
        if benchmark.limit is not None:
            keys = (f"{question.benchmark}\x00{question.id}".encode() for question in samples[benchmark.name])
            ranked = sorted(enumerate(keys), key=lambda pair: hashlib.sha256(pair[1]).digest())
            places = sorted(place for place, _ in ranked[: benchmark.limit])
            samples[benchmark.name] = [samples[benchmark.name][place] for place in places]
    return samples


def question_table(questions: Iterable[Question]) -> pa.Table:
    """Usable questions for decontamination, with the columns benchmark, question (its id) and text."""
    schema = pa.schema([pa.field(name, pa.string(), nullable=False) for name in ("benchmark", "question", "text")])
    rows = [(question.benchmark, question.id, question.text) for question in questions if question.drop is None]
    return pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema)
