"""The raw files of all corpora, cut into units of work, and the records of a unit."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from ingest.fidelity.audit import audit
from ingest.fidelity.ledger import Ledger
from ingest.records import Audited, Fallback, Note, Original, Records, Rejected, Unsampled
from ingest.sources.hub import HubInput
from ingest.sources.jats import JatsInput
from ingest.sources.jsonl import JsonlInput
from ingest.sources.medline import MedlineInput
from ingest.sources.redpajama import RedpajamaInput
from ingest.sources.s2orc import S2Input
from ingest.sources.warc import WarcInput
from ingest.text.legible import undecodable
from lake.config import Settings
from lake.document import Document
from lake.values import Share

RawFormat = Annotated[
    JsonlInput | JatsInput | RedpajamaInput | HubInput | S2Input | MedlineInput | WarcInput,
    Field(discriminator="format"),
]


class ReadSettings(Settings):
    """What is read: each entry names files of one corpus in one format. A corpus may have several.

    `audit` is the share of documents whose critical tokens are compared with those of their raw records
    (ingest.fidelity). The first document of each part is always among them, unless the share is 0.
    """

    audit: Share = 0.01
    inputs: tuple[RawFormat, ...] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Unit:
    """The files that one task reads, in order, into one part of the output.

    `input` is the position in the settings, `turn` counts the units of that input.
    """

    part: int
    input: int
    files: tuple[Path, ...]
    turn: int = 0


def raw_files(settings: ReadSettings, data: str) -> list[tuple[int, Path]]:
    """Every file with the position of its input, sorted within an input.

    Raises:
        UserError: a pattern matches nothing, a fetch is unfinished, or a package is missing.
    """
    return [(position, path) for position in range(len(settings.inputs)) for path in _files(settings, position, data)]


def rule_files(settings: ReadSettings) -> list[Path]:
    """Files beside the config that say how something is read, each once. Raises UserError where one is wrong."""
    return list(dict.fromkeys(path for source in settings.inputs for path in source.rule_files()))


def units(settings: ReadSettings, data: str) -> list[Unit]:
    """The work, numbered from 0. It depends on settings and files alone, never on the number of workers.

    Raises:
        UserError: as `raw_files`.
    """
    groups = [
        (position, files, turn)
        for position, source in enumerate(settings.inputs)
        for turn, files in enumerate(source.groups(_files(settings, position, data)))
    ]
    return [Unit(part, *group) for part, group in enumerate(groups)]


def _files(settings: ReadSettings, position: int, data: str) -> list[Path]:
    return settings.inputs[position].files(data, f"read.inputs.{position}.paths")


def _undecodable(document: Document) -> Iterator[Note]:
    """A note where a document has characters that nobody can decode, whatever its format."""
    if details := undecodable("\n".join(filter(None, (document["title"], document["text"])))):
        yield Note(document["url"] or document["id"], "undecodable characters", details)


def records(unit: Unit, settings: ReadSettings, data: str, originals: bool = False) -> Records:
    """The records of a unit, up to the input's limit, each read when it is asked for.

    A note before a document says that it has undecodable characters. With `originals` the records are for an audit.

    Raises:
        UserError: a file cannot be read at all. A bad record raises nothing: it is rejected.
    """
    source = settings.inputs[unit.input]
    taken = 0
    for record in source.read_unit(unit.files, unit.turn, data):
        if isinstance(record, dict):
            yield from _undecodable(record)
        if originals or not isinstance(record, Original):
            yield record
        # What a sample skipped and how a document was read do not count.
        taken += not isinstance(record, Unsampled | Fallback | Note | Original)
        if taken == source.limit:
            return


def audited(records: Records, chosen: Callable[[str], bool]) -> Records:
    """The records without their originals, and after each document whose id is chosen its audit."""
    original: Original | None = None
    for record in records:
        if isinstance(record, Original):
            original = record
            continue
        yield record
        if isinstance(record, dict) and original is not None and chosen(record["id"]):
            ledger = Ledger()
            yield Audited(record["id"], audit(original.read(ledger), record["text"], ledger))
        if isinstance(record, dict | Rejected):
            original = None
