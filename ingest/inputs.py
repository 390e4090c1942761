"""The raw files of all corpora, cut into units of work, and the records of a unit."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from ingest.records import Fallback, Note, Records, Unsampled
from ingest.s2 import unfinished
from ingest.site import load_site, site_file
from ingest.sources.hub import HubInput, need_datasets, read_hub
from ingest.sources.jats import JatsInput, is_archive, read_jats
from ingest.sources.jsonl import JsonlInput, read_jsonl
from ingest.sources.medline import MedlineInput, read_medline
from ingest.sources.redpajama import RedpajamaInput, read_redpajama
from ingest.sources.s2orc import S2Input, read_s2
from ingest.sources.warc import WarcInput, read_warc
from lake.config import Settings
from lake.error import UserError
from lake.files import find

RawFormat = Annotated[
    JsonlInput | JatsInput | RedpajamaInput | HubInput | S2Input | MedlineInput | WarcInput,
    Field(discriminator="format"),
]


class ReadSettings(Settings):
    """What is read: one entry for files of one corpus in one format. A corpus may have several."""

    inputs: tuple[RawFormat, ...] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Unit:
    """What one task reads, in this order, to one part of the output.

    `input` is the position in the settings, `turn` counts the units of that input.
    """

    part: int
    input: int
    files: tuple[Path, ...]
    turn: int = 0


def raw_files(settings: ReadSettings, data: str) -> list[tuple[int, Path]]:
    """Every file with the position of its input, sorted within an input.

    Raises:
        UserError: a pattern matches nothing, or `gap fetch` has not finished a folder.
    """
    return [(position, path) for position in range(len(settings.inputs)) for path in _files(settings, position, data)]


def rule_files(settings: ReadSettings) -> list[Path]:
    """Files beside the config that say how something is read: the sites of crawled pages.

    Raises:
        UserError: a site is missing or wrong.
    """
    sites = dict.fromkeys(one.site for one in settings.inputs if isinstance(one, WarcInput))
    for site in sites:
        load_site(site)
    return [site_file(site) for site in sites]


def units(settings: ReadSettings, data: str) -> list[Unit]:
    """The work, numbered from 0. It depends on settings and files alone, never on the number of workers.

    Raises:
        UserError: a pattern matches nothing, or `gap fetch` has not finished a folder.
    """
    cut = [
        (position, files, turn)
        for position, one in enumerate(settings.inputs)
        for turn, files in enumerate(_groups(one, _files(settings, position, data)))
    ]
    return [Unit(part, *one) for part, one in enumerate(cut)]


def _files(settings: ReadSettings, position: int, data: str) -> list[Path]:
    one = settings.inputs[position]
    if isinstance(one, HubInput):
        need_datasets()
    key = f"read.inputs.{position}.paths"
    advice = {"advice": "fetch it with gap crawl, or set data="} if isinstance(one, WarcInput) else {}
    found = find(list(one.paths), data, key, **advice)
    if isinstance(one, S2Input):
        for folder in sorted({path.parent for path in found}):
            if left := unfinished(folder):
                raise UserError(f"{key}: {left[0]} is left of a fetch that was broken off; run gap fetch again")
    return found


def _groups(settings: RawFormat, files: list[Path]) -> Iterator[tuple[Path, ...]]:
    if isinstance(settings, JatsInput) and not any(map(is_archive, files)):
        papers = files[: settings.limit]
        for start in range(0, len(papers), settings.files_per_part):
            yield tuple(papers[start : start + settings.files_per_part])
    elif isinstance(settings, HubInput) and not files:
        yield from ((),) * settings.parts
    elif settings.limit is not None:
        # Where one file's records end, the next one's count: only one reader can tell.
        yield tuple(files)
    elif isinstance(settings, JatsInput):
        yield from ((path,) for path in files if is_archive(path))
        yield from _groups(settings, [path for path in files if not is_archive(path)])
    else:
        yield from ((path,) for path in files)


def records(unit: Unit, settings: ReadSettings, data: str) -> Records:
    """Every record of a unit, read as it is asked for.

    Raises:
        UserError: a file cannot be read at all. A bad record raises nothing: it is rejected.
    """
    one = settings.inputs[unit.input]
    if isinstance(one, HubInput):
        return _first(read_hub(unit.files, unit.turn, one), one.limit)
    found = (record for path in unit.files for record in _read(path, path.relative_to(data).as_posix(), one))
    return _first(found, one.limit)


def _first(found: Records, limit: int | None) -> Records:
    """As many as `limit` says; what a sample passed over and how a document was read do not count."""
    taken = 0
    for record in found:
        yield record
        taken += not isinstance(record, Unsampled | Fallback | Note)
        if taken == limit:
            return


def _read(path: Path, name: str, settings: RawFormat) -> Records:
    try:
        if isinstance(settings, JatsInput):
            yield from read_jats(path, name, settings)
        elif isinstance(settings, RedpajamaInput):
            yield from read_redpajama(path, name, settings)
        elif isinstance(settings, S2Input):
            yield from read_s2(path, name, settings)
        elif isinstance(settings, MedlineInput):
            yield from read_medline(path, name, settings)
        elif isinstance(settings, WarcInput):
            yield from read_warc(path, name, settings)
        elif isinstance(settings, JsonlInput):
            yield from read_jsonl(path, name, settings)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}; make the file readable or take it out of paths") from None
