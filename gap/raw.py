"""Raw files before they are read: which are missing, how much text is in those that are there, how long they take."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eval.questions import raw_files as question_files
from eval.task import load_task
from ingest.inputs import RawFormat
from ingest.s2 import unfinished
from ingest.sources.s2orc import S2Input
from ingest.sources.sampling import SampledInput
from ingest.sources.warc import WarcInput
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
class Pace:
    """MB of raw bytes, unpacked, that a core reads in a second, and the part of them that is text."""

    megabytes: float
    text: float


PACES = {
    "jats": Pace(9.7, 0.43),
    "jsonl": Pace(85, 0.9),
    "hub": Pace(85, 0.9),
    "medline": Pace(11, 0.4),
    "warc": Pace(6.5, 0.21),
    "s2orc": Pace(10.5, 0.35),
    "abstracts": Pace(55, 0.8),
    "papers": Pace(30, 0.0),
    "redpajama": Pace(320, 0.95),
}
"""By format, of Semantic Scholar by data set, on one core. jats and jsonl: `python -m benchmarks.stages --data
../shared/data`. warc and medline: the same on the samples, which are few and small, so a guess for real files. Semantic
Scholar's and RedPajama's were timed on the samples' readers by hand: each data set alone, and RedPajama's lines
repeated to 60 MB at `keep: 0.0004`, nearly all of them not drawn."""


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
    found = [Missing(one.source, absent, RAW, _remedy(one)) for one, absent in inputs if absent]
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
    return tuple(path for path in one.paths if not (found := _matches(path, data)) or _broken_off(one, found))


def _broken_off(one: RawFormat, found: list[Path]) -> bool:
    return isinstance(one, S2Input) and any(unfinished(folder) for folder in {path.parent for path in found})


def _matches(pattern: str, data: str) -> list[Path]:
    try:
        return find([pattern], data, "")
    except UserError:  # a wrong pattern is told when the files are read
        return []


def _remedy(one: RawFormat) -> str:
    if isinstance(one, WarcInput):
        return "gap crawl"
    return "gap fetch" if isinstance(one, S2Input) else "docs/sources.md"


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
        pace = _pace(one)
        for file in {path for pattern in one.paths for path in _matches(pattern, config.data)}:
            size = file.stat().st_size
            unpacked = size * PACKING if file.suffix in PACKED else size
            found[one.source] += Raw(size, unpacked * pace.text * _drawn(one), unpacked / pace.megabytes / MB)
    return found


def to_come(inputs: tuple[RawFormat, ...], text: float, size: float | None) -> Raw:
    """A source's raw files that are not there yet, from the bytes of text wanted and, where known, their own `size`.

    They are taken to be packed, and to be read at the pace of the slowest of the source's inputs.
    """
    if size is None:
        size = max(text / (_pace(one).text * _drawn(one)) for one in inputs if _pace(one).text) / PACKING
    return Raw(size, text, size * PACKING / min(_pace(one).megabytes for one in inputs) / MB)


def _pace(one: RawFormat) -> Pace:
    return PACES[one.dataset if isinstance(one, S2Input) else one.format]


def _drawn(one: RawFormat) -> float:
    return one.keep if isinstance(one, SampledInput) else 1.0
