"""Questions of benchmarks, read from the files of any of their forms into one shape."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from eval.content import content, encodable, field_of, on_one_line
from eval.records import MalformedError, Record, json_object, read_records
from eval.settings import BenchmarkSettings, EvaluateSettings
from eval.task import GROUP, Form, Task, load_task, task_files
from lake.decision import EVIDENCE_CHARS, Drop, Reason
from lake.error import UserError

MOST_MALFORMED = 0.03
"""The share of malformed records above which a file does not have the form that it was read in."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question, identified by benchmark and id.

    With `drop` the record was malformed or asked before, and the fields after `id` are empty.

    Attributes:
        task: What it is asked by.
        options: Label → text. Empty unless the task's kind is choice.
        answer: The right label; the number, without commas; the reference text; or the names, one a line.
        context: What is shown before the question.
        explanation: The authors' reasons for the answer, which a solved example may show.
        group: Its subject or category.
        cluster: What it shares with other questions, such as an abstract. Otherwise its id.
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


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    group: str


def raw_files(settings: EvaluateSettings, data: str) -> list[Path]:
    """The files that decide what is asked and how: each task's YAML, its questions, their truth and their shots.

    Raises:
        UserError: a benchmark lacks a file below `data`.
    """
    paths: list[Path] = []
    for benchmark in settings.benchmarks:
        task = load_task(benchmark.task)
        paths += [*task_files(benchmark.task), *(file.path for file in _question_files(benchmark, task, data))]
        paths += filter(None, (_truth_file(benchmark, form, data) for form in task.forms))
        paths += [file.path for file in _shot_files(benchmark, task, data)] if benchmark.shots else []
    return list(dict.fromkeys(paths))


def load_questions(settings: EvaluateSettings, data: str) -> list[Question]:
    """Every record of every benchmark, in the order of config and files, before any limit.

    A benchmark is read once, however many ways it is asked.

    Raises:
        UserError: a file is missing, not of its format, or not in one of the forms that its task describes, for many
            of its records are malformed; or two benchmarks have one name.
    """
    sources: dict[str, BenchmarkSettings] = {}
    for benchmark in settings.benchmarks:
        first = sources.setdefault(benchmark.name, benchmark)
        if (first.task, first.files) != (benchmark.task, benchmark.files):
            raise UserError(f"{_where(benchmark)}: two sets of questions have this name; name one of their YAMLs anew")
    return [question for benchmark in sources.values() for question in _load(benchmark, data)]


def _load(benchmark: BenchmarkSettings, data: str) -> list[Question]:
    task = load_task(benchmark.task)
    files = _question_files(benchmark, task, data)
    questions = _read(benchmark, task, files, data, solved=False)
    clusters: dict[tuple[str, ...], str] = {}
    asked: set[tuple[str, ...]] = set()
    for place, question in enumerate(questions):
        key = _said(question)
        if question.drop is None and (question.group, *key) in asked:
            drop = Drop(Reason.EXACT_DUPLICATE, f"{question.id}: asked before: {question.text}"[:EVIDENCE_CHARS])
            questions[place] = Question(task, benchmark.name, question.id, drop=drop)
        elif question.drop is None:
            # Subjects may share a question, as 78 of MMLU's college medicine are in clinical knowledge too.
            questions[place] = replace(question, cluster=clusters.setdefault(key, question.cluster))
            asked.add((question.group, *key))
    return questions


def _said(question: Question) -> tuple[str, ...]:
    """What makes two questions the same: all that is shown, whatever the order of the options."""
    return tuple(map(on_one_line, (question.text, question.context, *sorted(question.options.values()))))


def load_shots(benchmark: BenchmarkSettings, data: str) -> list[Question]:
    """The solved questions of a benchmark, in the order of its files; none if there is no file of them.

    Whoever draws from them leaves out the question that is asked, for a test's question may be among them.

    Raises:
        UserError: as load_questions.
    """
    task = load_task(benchmark.task)
    files = _shot_files(benchmark, task, data)
    shots = _read(benchmark, task, files, data, solved=True) if files else []
    return [shot for shot in shots if shot.drop is None]


def load_training(benchmark: BenchmarkSettings, data: str) -> list[Question]:
    """Every record of a benchmark's training files: those that its settings name, or else those of its shots.

    Where a file of answers says which questions are asked, these are left out.

    Raises:
        UserError: as load_questions.
    """
    task = load_task(benchmark.task)
    return _read(benchmark, task, _training_files(benchmark, task, data), data, solved=True)


def training_files(benchmark: BenchmarkSettings, data: str) -> list[Path]:
    """The files that decide what `load_training` reads.

    Raises:
        UserError: there are none below `data`.
    """
    task = load_task(benchmark.task)
    paths = [file.path for file in _training_files(benchmark, task, data)]
    paths += filter(None, (_truth_file(benchmark, form, data) for form in task.forms))
    return [*task_files(benchmark.task), *dict.fromkeys(paths)]


# Files ---------------------------------------------------------------------------------------------------------------


def _where(benchmark: BenchmarkSettings) -> str:
    return f"evaluate.benchmarks: {benchmark.name}"


def _folders(benchmark: BenchmarkSettings, data: str) -> list[Path]:
    """Where files of a benchmark lie: in the folders that the config names, or in those for all benchmarks."""
    named = [folder for name in benchmark.files if (folder := Path(data, name)).is_dir()]
    return named or [Path(data, "benchmarks", benchmark.name), Path(data, "benchmarks"), Path(data)]


def _question_files(benchmark: BenchmarkSettings, task: Task, data: str) -> list[_File]:
    folders = _folders(benchmark, data)
    if found := _given(benchmark, task, data) or _first(
        [_expand(form.files, form.groups, folders) for form in task.forms]
    ):
        return found
    names = ", ".join(form.files[0].replace(GROUP, "*") for form in task.forms)
    raise UserError(f"{_where(benchmark)}: no file {names} in {folders[0]}; set data= to the folder that holds one")


def _given(benchmark: BenchmarkSettings, task: Task, data: str) -> list[_File]:
    """The files that the settings name."""
    paths = [Path(data, name) for name in benchmark.files]
    if missing := [path for path in paths if not path.exists()]:
        raise UserError(f"{_where(benchmark)}: no file {missing[0]}; set data= to the folder that holds it")
    return [_File(path, _group(path, task)) for path in paths if path.is_file()]


def _training_files(benchmark: BenchmarkSettings, task: Task, data: str) -> list[_File]:
    if found := _given(benchmark, task, data) or _shot_files(benchmark, task, data):
        return found
    names = ", ".join(name.replace(GROUP, "*") for form in task.forms for name in form.shots[:1]) or "is known"
    raise UserError(f"{_where(benchmark)}: no training file {names}; name it under files")


def _shot_files(benchmark: BenchmarkSettings, task: Task, data: str) -> list[_File]:
    return _first([_expand(form.shots, form.groups, _folders(benchmark, data)) for form in task.forms])


def _truth_file(benchmark: BenchmarkSettings, form: Form, data: str) -> Path | None:
    found = _expand((form.truth,), (), _folders(benchmark, data)) if form.truth else []
    return found[0].path if found else None


def _first(found: list[list[_File]]) -> list[_File]:
    return next(filter(None, found), [])


def _expand(names: Sequence[str], groups: Sequence[str], folders: Sequence[Path]) -> list[_File]:
    """The files of these names or patterns, each from the first folder that has it."""
    files = []
    for name in names:
        # A single group is that of all questions.
        for group in groups if GROUP in name or len(groups) == 1 else ("",):
            matches = (_matches(folder, name.replace(GROUP, group)) for folder in folders)
            files += [_File(path, group) for path in next(filter(None, matches), [])]
    return files


def _matches(folder: Path, name: str) -> list[Path]:
    for packed in (name, f"{name}.gz"):
        # A name may itself have the characters of patterns.
        if (folder / packed).is_file():
            return [folder / packed]
        if "*" in name and not Path(name).is_absolute() and (paths := sorted(folder.glob(packed))):
            return paths
    return []


def _group(path: Path, task: Task) -> str:
    """The group that a file's name says, as the names of the task's own files do, or the only one."""
    if all(len(form.groups) == 1 for form in task.forms):
        return task.forms[0].groups[0]
    for form in task.forms:
        for name in (*form.files, *form.shots):
            for group in form.groups if GROUP in name else ():
                full = name.replace(GROUP, group)
                if path.match(full) or path.match(f"{full}.gz"):
                    return group
    return ""


# Forms ---------------------------------------------------------------------------------------------------------------


def _read(
    benchmark: BenchmarkSettings, task: Task, files: Sequence[_File], data: str, *, solved: bool
) -> list[Question]:
    """The questions of some files, in the one form that they have. With `solved`, they are shots.

    A form that the files do not have makes many records malformed: fields are missing, or an answer is beyond the
    options. MedMCQA's answers count from 0 on the Hub and from 1 with its authors, so one of the two has no 4, and the
    other no 0. All the file decides.
    """
    readings: list[list[Question]] = []
    faults: list[UserError] = []
    for form in task.forms:
        try:
            questions = list(_questions(benchmark, task, form, files, data, solved))
        except UserError as error:
            faults.append(error)
            continue
        # Forms may differ in the names of their files only.
        if questions not in readings:
            readings.append(questions)
    if not readings:
        raise faults[0]
    where = f"{_where(benchmark)}: {files[0].path}"
    fitting = [questions for questions in readings if _fits(questions)]
    if len(fitting) > 1:
        raise UserError(
            f"{where}: it may have {len(fitting)} of the forms that its task describes, and answers depend on which; "
            "take the whole file, or keep one form in a YAML of your own"
        )
    if fitting:
        return fitting[0]
    best = min(readings, key=_malformed)
    if faults and not any(question.drop is None for question in best):
        raise faults[0]
    if not best:
        raise UserError(f"{where}: it has no question; download the file again")
    first = next(question.drop.evidence for question in best if question.drop)
    raise UserError(
        f"{where}: {_malformed(best)} of {len(best)} questions are malformed, so it has no form that its task "
        f"describes; take the file of its authors or of the Hub; the first: {on_one_line(first)}"
    )


def _fits(questions: Sequence[Question]) -> bool:
    """Whether few are malformed. One is few in any file that has a question."""
    malformed = _malformed(questions)
    return malformed < len(questions) and malformed <= max(1, MOST_MALFORMED * len(questions))


def _malformed(questions: Iterable[Question]) -> int:
    return sum(question.drop is not None for question in questions)


def _questions(
    benchmark: BenchmarkSettings, task: Task, form: Form, files: Iterable[_File], data: str, solved: bool
) -> Iterator[Question]:
    """Every record as a question, or as one that is dropped.

    Raises:
        UserError: a file is not of its format, or there is no file with the answers.
    """
    truth = None
    if form.truth is not None:
        if (path := _truth_file(benchmark, form, data)) is None:
            raise UserError(f"{_where(benchmark)}: no file {form.truth}, which has the answers; set data=")
        truth = {encodable(key): answer for key, answer in json_object(path).items()}
    seen: set[str] = set()
    for record in _records(files, form):
        key = _id(record, form)
        native = key or record.where
        if truth is not None and (native in truth) == solved:
            continue
        try:
            if key is None or key in seen:
                raise MalformedError(f"the id {key} occurs before" if key else f"no {form.fields.id}")
            right = None if truth is None or solved else truth[key]
            question = _question(task, form, benchmark.name, key, record, right)
        except MalformedError as error:
            place = record.where if native in seen else native
            question = _dropped(task, benchmark.name, place, f"{record.where}: {error}")
        seen.add(native)
        yield question
    if truth is not None and not solved:
        for native in sorted(truth.keys() - seen):
            yield _dropped(task, benchmark.name, native, f"{form.truth} has {native}, the questions do not")


def _records(files: Iterable[_File], form: Form) -> Iterator[Record]:
    """The records of the form's groups, each with its group."""
    for file in files:
        name = file.path.name.removesuffix(".gz")
        # The Hub has the same name in every subject's folder, and places must differ.
        if len(form.groups) > 1 and file.group not in name:
            name = f"{file.group}/{name}"
        for record in read_records(file.path, name, form.columns):
            own = field_of(record.value, form.fields.group) if form.fields.group else None
            group = encodable(own.strip()) if isinstance(own, str) else record.group or file.group
            if not group or not form.groups or group in form.groups:
                yield record._replace(group=group)


def _id(record: Record, form: Form) -> str | None:
    """What identifies a record: its id or, where the form has no ids, its place. None if its id is missing."""
    if form.fields.id is None or isinstance(record.value, MalformedError):
        return encodable(record.where)
    key = field_of(record.value, form.fields.id)
    return encodable(str(key)) if isinstance(key, str | int) and str(key).strip() else None


def _question(task: Task, form: Form, benchmark: str, native: str, record: Record, right: Any) -> Question:
    """Raises MalformedError if the record is no question."""
    if isinstance(record.value, MalformedError):
        raise record.value
    if form.groups and form.fields.group and not record.group:
        raise MalformedError(f"no {form.fields.group}")
    read = content(record.value, right, task, form)
    fields = read._asdict() | {"group": record.group, "cluster": read.cluster or record.document or native}
    return Question(task, benchmark, native, **fields)


def _dropped(task: Task, benchmark: str, native: str, evidence: str) -> Question:
    return Question(task, benchmark, native, drop=Drop(Reason.MALFORMED_QUESTION, evidence[:EVIDENCE_CHARS]))


# Samples and tables --------------------------------------------------------------------------------------------------


def sample(settings: EvaluateSettings, questions: Iterable[Question]) -> dict[str, list[Question]]:
    """The questions to ask, by the name of the score and within its limit. They stay in order."""
    of: dict[str, list[Question]] = {benchmark.name: [] for benchmark in settings.benchmarks}
    for question in questions:
        of[question.benchmark].append(question)
    samples = {}
    for benchmark in settings.benchmarks:
        samples[benchmark.score] = of[benchmark.name]
        if benchmark.limit is not None:
            keys = (f"{question.benchmark}\x00{question.id}".encode() for question in of[benchmark.name])
            ranked = sorted(enumerate(keys), key=lambda pair: hashlib.sha256(pair[1]).digest())
            places = sorted(place for place, _ in ranked[: benchmark.limit])
            samples[benchmark.score] = [of[benchmark.name][place] for place in places]
    return samples


def question_table(questions: Iterable[Question]) -> pa.Table:
    """Usable questions for decontamination, with the columns benchmark, question (its id) and text."""
    schema = pa.schema([pa.field(name, pa.string(), nullable=False) for name in ("benchmark", "question", "text")])
    rows = [(question.benchmark, question.id, question.text) for question in questions if question.drop is None]
    return pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema)
