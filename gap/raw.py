"""Raw files before they are read: which are missing, how much text the others hold, how long reading them takes."""

from dataclasses import dataclass
from pathlib import Path

from eval.questions import raw_files as question_files
from eval.task import load_task
from eval.training import Training
from gap.config import Config
from ingest.inputs import RawFormat
from lake.error import UserError
from lake.files import find
from lake.lines import COMPRESSED
from mixing.instructions.settings import QuestionInput
from mixing.tokenizer.build import base_files
from ray_jobs.import_base import files_of as base_model_files

RAW, BASE, WEIGHTS, QUESTIONS, ANSWERS = "raw files", "tokenizer", "base model", "questions", "instructions"
"""What a run needs from outside its lake, and may still lack when it is planned."""

PACKING = 3.2
"""How much larger JSON and XML are than their gzip. `gzip -l` says 3 to 5 for ../shared/data and samples."""

MB, GB = 10**6, 10**9


@dataclass(frozen=True)
class Missing:
    """Files that are not there: who needs them, which `part` of the outside they are (RAW, …), how to get them."""

    name: str
    paths: tuple[str, ...]
    part: str
    remedy: str


def missing(config: Config) -> list[Missing]:
    """Inputs, tokenizer and benchmarks that lack files, in the order of the config."""
    inputs = [(settings, _absent(settings, config.data)) for settings in config.read.inputs]
    page = "docs/sources.md"
    gaps = [Missing(settings.source, absent, RAW, settings.command or page) for settings, absent in inputs if absent]
    try:
        base_files(config.tokenizer)
    except UserError:
        adopted = str(config.tokenizer.path or config.tokenizer.package)
        gaps.append(Missing("tokenizer", (adopted,), BASE, "set tokenizer.path or tokenizer.package"))
    if config.base is not None:
        try:
            base_model_files(config.base)
        except UserError:
            place = str(config.base.path or config.base.package)
            gaps.append(Missing("base", (place,), WEIGHTS, "set base.path or base.package"))
    for benchmark in config.evaluate.benchmarks:
        try:
            question_files(config.evaluate.model_copy(update={"benchmarks": (benchmark,)}), config.data)
        except UserError:
            files = benchmark.files or load_task(benchmark.task).forms[0].files
            gaps.append(Missing(benchmark.name, files, QUESTIONS, "see eval/tasks"))
    for number, answers in enumerate(config.instructions.inputs if config.instructions else ()):
        if isinstance(answers, QuestionInput):
            where = f"instructions.inputs.{number}"
            asked = Training(where, answers.task, answers.files, answers.mode, answers.protocol, config.data)
            try:
                asked.files()
            except UserError:
                shots = answers.files or load_task(answers.task).forms[0].shots
                gaps.append(Missing(answers.source, shots, ANSWERS, "see eval/tasks"))
        elif absent := tuple(path for path in answers.paths if not _matches(path, config.data)):
            gaps.append(Missing(answers.source, absent, ANSWERS, page))
    return gaps


def _absent(settings: RawFormat, data: str) -> tuple[str, ...]:
    files = {path: _matches(path, data) for path in settings.paths}
    return tuple(path for path, matches in files.items() if not matches or settings.unfinished(matches))


def _matches(pattern: str, data: str) -> list[Path]:
    try:
        return find([pattern], data, "")
    except UserError:  # reading the files reports a wrong pattern
        return []


@dataclass(frozen=True)
class Raw:
    """A source's raw files: bytes on disk, bytes of text in them, seconds for one core to read them."""

    size: float
    text: float
    seconds: float

    def __add__(self, other: "Raw") -> "Raw":
        return Raw(self.size + other.size, self.text + other.text, self.seconds + other.seconds)


def present(config: Config) -> dict[str, Raw]:
    """The raw files below the data folder, by source."""
    sources = {settings.source: Raw(0, 0, 0) for settings in config.read.inputs}
    for settings in config.read.inputs:
        pace = settings.pace
        for file in {path for pattern in settings.paths for path in _matches(pattern, config.data)}:
            size = file.stat().st_size
            unpacked = size * PACKING if file.suffix in COMPRESSED else size
            text = unpacked * pace.text * settings.share
            sources[settings.source] += Raw(size, text, unpacked / pace.megabytes / MB)
    return sources


def to_come(inputs: tuple[RawFormat, ...], text: float, size: float | None) -> Raw:
    """A source's raw files that are not there yet, from the bytes of text expected of them and, if known, their `size`.

    This assumes that they are packed and are read as slowly as the source's slowest input.
    """
    if size is None:
        size = max(text / (raw.pace.text * raw.share) for raw in inputs if raw.pace.text) / PACKING
    return Raw(size, text, size * PACKING / min(raw.pace.megabytes for raw in inputs) / MB)
