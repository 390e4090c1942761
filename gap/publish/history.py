"""The versions of a repository, as its record `publication.json` keeps them, and what a new one changes."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field, ValidationError

from eval.text import one_line, printable
from gap.publish.files import File
from lake.config import Settings, explain
from lake.error import UserError

RECORD = "publication.json"
LARGEST_RECORD = 64 * 2**20

MAJOR = 1
"""Raise it where the columns of published rows change, so that no reader is surprised."""


class Version(Settings):
    """A version. `content` is a digest over its data files, `run` has the fingerprints of the steps behind it.

    `figures` are what is counted (rows, tokens, bytes …); `parts` the rows of each source.
    """

    version: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    date: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$")
    content: str
    run: dict[str, str]
    figures: dict[str, int]
    parts: dict[str, int] = Field(default_factory=dict)
    change: str

    @property
    def tag(self) -> str:
        return f"v{self.version}"


class FileRecord(Settings):
    """What a file holds."""

    size: int
    sha256: str


class Record(Settings):
    """The versions, the oldest first, and the files of the last one. Other files of the repository are not ours."""

    made_by: str = "gap-replay"
    versions: list[Version] = Field(min_length=1)
    files: dict[str, FileRecord]
    override: dict[str, str] | None = None


@dataclass(frozen=True)
class State:
    """What a version is made of, before it has a number and a date."""

    content: str
    run: Mapping[str, str]
    figures: Mapping[str, int]
    parts: Mapping[str, int]

    def next(self, before: Sequence[Version], date: str, note: str | None) -> Version:
        """The version after those before. Where the data is the same, the last number counts up, else the second."""
        change = " ".join(filter(None, [self._change(before[-1] if before else None), one_line(note or "")]))
        fields = {"run": dict(self.run), "figures": dict(self.figures), "parts": dict(self.parts), "change": change}
        number = self._number(before[-1] if before else None)
        return Version(version=number, date=date, content=self.content, **fields)

    def _number(self, last: Version | None) -> str:
        if last is None:
            return f"{MAJOR}.0.0"
        major, minor, patch = map(int, last.version.split("."))
        if major != MAJOR:
            return f"{MAJOR}.0.0"
        return f"{major}.{minor}.{patch + 1}" if last.content == self.content else f"{major}.{minor + 1}.0"

    def _change(self, last: Version | None) -> str:
        if last is None:
            return "First publication."
        if last.content == self.content:
            return "The data is the same; the card or its files changed."
        names = sorted(last.parts.keys() | self.parts.keys())
        counts = [(name, last.parts.get(name, 0), self.parts.get(name, 0)) for name in names]
        said = [f"{name} {old:,} → {new:,} rows" for name, old, new in counts if old != new]
        steps = [name for name, fingerprint in self.run.items() if last.run.get(name) != fingerprint]
        if steps:
            said.append(f"changed steps: {', '.join(steps)}")
        return f"{'; '.join(said) or 'Other data'}."


def content_of(files: Sequence[File]) -> str:
    """A digest over places and digests of files."""
    listed = sorted((file.path, file.sha256) for file in files)
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


def record(versions: Sequence[Version], files: Sequence[File], override: Mapping[str, str] | None = None) -> File:
    """The record of a repository, itself not among its files."""
    listed = {
        file.path: FileRecord(size=file.size, sha256=file.sha256) for file in sorted(files, key=lambda file: file.path)
    }
    made = Record(versions=list(versions), files=listed, override=None if override is None else dict(override))
    written = json.dumps(made.model_dump(mode="json"), indent=1, ensure_ascii=False)
    return File.of(RECORD, printable(written) + "\n")


def parse(data: bytes, repository: str) -> Record:
    """The record of a repository.

    Raises:
        UserError: it is not one.
    """
    try:
        return Record.model_validate_json(data)
    except ValidationError as error:
        fault = explain(error, Record)
        raise UserError(f"{repository}: its {RECORD} cannot be read: {fault}; restore or delete it") from None
