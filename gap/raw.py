"""Raw files before they are read: which are missing, how much text is in those that are there, how long they take."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eval.questions import raw_files as question_files
from eval.task import load_task
from ingest.inputs import RawFormat
from lake.error import UserError
from lake.files import find
from lake.lines import PACKED
from mixing.tokenizer.build import base_files

if TYPE_CHECKING:
    from gap.config import Config

RAW, BASE, QUESTIONS = "raw files", "tokenizer", "questions"
"""What a run needs from outside of its lake, and may still lack when it is planned."""

PACKING = 3.2
"""How much larger JSON and XML are than their gzip, as `gzip -l` tells of ../shared/data and samples: 3 to 5."""

MB, GB = 10**6, 10**9


@dataclass(frozen=True)
class Missing:
    """Files that are not there: whose they are, which of RAW, BASE and QUESTIONS they are, how to get them."""

    name: str
    paths: tuple[str, ...]
    part: str
    remedy: str


def missing(config: "Config") -> list[Missing]:
    """Inputs, tokenizer and benchmarks that lack files, in the order of the config."""
    inputs = [(one, _absent(one, config.data)) for one in config.read.inputs]
    sources = "docs/sources.md"
    found = [Missing(one.source, absent, RAW, one.command or sources) for one, absent in inputs if absent]
    try:
        base_files(config.tokenizer)
    except UserError:
        adopted = str(config.tokenizer.path or config.tokenizer.package)
        found.append(Missing("tokenizer", (adopted,), BASE, "set tokenizer.path or tokenizer.package"))
    for benchmark in config.evaluate.benchmarks:
        try:
            question_files(config.evaluate.model_copy(update={"benchmarks": (benchmark,)}), config.data)
        except UserError:
            files = benchmark.files or load_task(benchmark.task).files
            found.append(Missing(benchmark.name, tuple(files), QUESTIONS, "see eval/tasks"))
    return found


def _absent(one: RawFormat, data: str) -> tuple[str, ...]:
    return tuple(path for path in one.paths if not (found := _matches(path, data)) or one.unfinished(found))


def _matches(pattern: str, data: str) -> list[Path]:
    try:
        return find([pattern], data, "")
    except UserError:  # a wrong pattern is told when the files are read
        return []


@dataclass(frozen=True)
class Raw:
    """A source's raw files: bytes as they lie there, bytes of text in them, seconds of one core to read them."""

    size: float
    text: float
    seconds: float

    def __add__(self, other: "Raw") -> "Raw":
        return Raw(self.size + other.size, self.text + other.text, self.seconds + other.seconds)


def present(config: "Config") -> dict[str, Raw]:
    """By source, what is below the data folder."""
    found = {one.source: Raw(0, 0, 0) for one in config.read.inputs}
    for one in config.read.inputs:
        for file in {path for pattern in one.paths for path in _matches(pattern, config.data)}:
            size = file.stat().st_size
            unpacked = size * PACKING if file.suffix in PACKED else size
            found[one.source] += Raw(size, unpacked * one.pace.text * one.share, unpacked / one.pace.megabytes / MB)
    return found


def to_come(inputs: tuple[RawFormat, ...], text: float, size: float | None) -> Raw:
    """A source's raw files that are not there yet, from the bytes of text wanted and, where known, their own `size`.

    They are taken to be packed, and to be read at the pace of the slowest of the source's inputs.
    """
    if size is None:
        size = max(text / (one.pace.text * one.share) for one in inputs if one.pace.text) / PACKING
    return Raw(size, text, size * PACKING / min(one.pace.megabytes for one in inputs) / MB)
