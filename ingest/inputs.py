"""The raw files of all corpora, cut into units of work, and the records of a unit."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated

from pydantic import Field

from ingest.records import Records
from ingest.sources.jats import JatsInput, read_jats
from ingest.sources.jsonl import JsonlInput, read_jsonl
from lake.config import Settings
from lake.error import UserError
from lake.files import find

RawFormat = Annotated[JsonlInput | JatsInput, Field(discriminator="format")]


class ReadSettings(Settings):
    """What is read: one entry for files of one corpus in one format. A corpus may have several."""

    inputs: tuple[RawFormat, ...] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Unit:
    """What one task reads, in this order, to one part of the output; `input` is the position in the settings."""

    part: int
    input: int
    files: tuple[Path, ...]


def raw_files(settings: ReadSettings, data: str) -> list[tuple[int, Path]]:
    """Every file with the position of its input, sorted within an input.

    Raises:
        UserError: a pattern matches nothing.
    """
    return [(position, path) for position in range(len(settings.inputs)) for path in _files(settings, position, data)]


def units(settings: ReadSettings, data: str) -> list[Unit]:
    """The work, numbered from 0. It depends on settings and files alone, never on the number of workers.

    Raises:
        UserError: a pattern matches nothing.
    """
    cut = [
        (position, files)
        for position, one in enumerate(settings.inputs)
        for files in _groups(one, _files(settings, position, data))
    ]
    return [Unit(part, position, files) for part, (position, files) in enumerate(cut)]


def _files(settings: ReadSettings, position: int, data: str) -> list[Path]:
    return find(list(settings.inputs[position].paths), data, f"read.inputs.{position}.paths")


def _groups(settings: RawFormat, files: list[Path]) -> Iterator[tuple[Path, ...]]:
    if isinstance(settings, JatsInput):
        papers = files[: settings.limit]
        for start in range(0, len(papers), settings.files_per_part):
            yield tuple(papers[start : start + settings.files_per_part])
    elif settings.limit is not None:
        # Where one file's records end, the next one's count: only one reader can tell.
        yield tuple(files)
    else:
        yield from ((path,) for path in files)


def records(unit: Unit, settings: ReadSettings, data: str) -> Records:
    """Every record of a unit, read as it is asked for.

    Raises:
        UserError: a file cannot be read at all. A bad record raises nothing: it is rejected.
    """
    one = settings.inputs[unit.input]
    found = (record for path in unit.files for record in _read(path, path.relative_to(data).as_posix(), one))
    return islice(found, one.limit)


def _read(path: Path, name: str, settings: RawFormat) -> Records:
    try:
        if isinstance(settings, JatsInput):
            yield from read_jats(path, name, settings)
        else:
            yield from read_jsonl(path, name, settings)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}; make the file readable or take it out of paths") from None
