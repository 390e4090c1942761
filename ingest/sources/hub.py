"""Data sets that Hugging Face's `datasets` can stream, from the Hub or from local files."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import pyarrow as pa
from pydantic import Field, model_validator

from ingest.raw_input import Pace
from ingest.records import Record, Records, Rejected
from ingest.sources.jsonl import MappedInput, parse_record
from ingest.sources.sampling import SampledInput, digest, draw, sampled
from lake.decision import Drop, Reason
from lake.error import UserError
from lake.values import Text, Workers

BATCH_ROWS = 100
"""Rows per request."""


class HubInput(SampledInput, MappedInput):
    """A data set streamed through the optional package `datasets`, without a download beforehand.

    `dataset` is a name on the Hub, `owner/name`, or the format of the local files in `paths`, such as `parquet` or
    `json`. `config` is the Hub's name for a variant. A data set of the Hub needs its `revision`, a commit, since the
    data must not change under the same fingerprint; `parts` tasks read it, each some of its files. The content of a row
    decides whether it is drawn, and identifies the document where no key is mapped to `id`.
    """

    package: ClassVar[str | None] = "datasets"
    format: Literal["hub"]
    dataset: Text
    paths: tuple[Text, ...] = ()
    config: Text | None = None
    split: Text = "train"
    revision: str | None = Field(default=None, pattern="^[0-9a-f]{40}$")
    parts: Workers = 1

    @model_validator(mode="after")
    def _fixed(self) -> Self:
        if ("/" in self.dataset) == bool(self.paths):
            raise ValueError("dataset: a name on the Hub has a /, a format of local files has paths")
        if not self.paths and self.revision is None:
            raise ValueError("revision: needed for a data set of the Hub, 40 hex digits of its commit")
        if self.parts > 1 and (self.paths or self.limit is not None):
            raise ValueError("parts: only for a data set of the Hub without limit")
        return self

    @property
    def pace(self) -> Pace:
        """That of JSON Lines, for rows become documents in the same way."""
        return Pace(85, 0.9)

    def groups(self, files: list[Path]) -> Iterator[tuple[Path, ...]]:
        return super().groups(files) if files else iter([()] * self.parts)

    def read_unit(self, files: tuple[Path, ...], turn: int, data: str) -> Records:
        """The rows that were drawn, and the number of those that were not.

        Raises:
            UserError: the package, the data set or its split is missing, it has fewer files than `parts`, or the
                stream breaks off. A bad row raises nothing: it is rejected.
        """
        return sampled(_drawn(files, turn, self))


def _drawn(files: tuple[Path, ...], turn: int, settings: HubInput) -> Iterator[Record | None]:
    where = _where(files, settings)
    for number, row in enumerate(_rows(files, turn, settings), 1):
        if isinstance(row, Exception):
            # Without content it cannot be drawn or passed over, so it is always rejected.
            native = f"{where}:{number}"
            yield Rejected(native, Drop(Reason.UNDECODABLE, f"{native}: a row that cannot be read: {row}"))
            continue
        line = json.dumps(row, ensure_ascii=False, sort_keys=True, default=str).encode("utf-8", "surrogatepass")
        if draw(line, settings.seed) >= settings.keep:
            yield None
        elif len(line) > settings.max_bytes:
            native = f"{where}:{number}"
            evidence = f"{native}: a row of {len(line):,} bytes; max_bytes is {settings.max_bytes:,}"
            yield Rejected(native, Drop(Reason.TOO_LARGE, evidence, float(len(line))))
        else:
            yield from parse_record(line, f"{settings.dataset}:{digest(line)}", settings)


def _where(files: tuple[Path, ...], settings: HubInput) -> str:
    return files[0].name if files else settings.dataset


def _rows(files: tuple[Path, ...], turn: int, settings: HubInput) -> Iterator[dict[str, Any] | Exception]:
    settings.need_package()
    from datasets import load_dataset

    local = {"data_files": {settings.split: [str(path) for path in files]}} if files else {}
    try:
        stream = load_dataset(
            settings.dataset, settings.config, split=settings.split, revision=settings.revision, streaming=True, **local
        )
    except pa.ArrowException as error:
        raise _broken(files, 0, settings, error) from None
    except (OSError, ValueError) as error:
        fault = " ".join(str(error).split())
        # The package opens local files at once, and raises the same errors for a broken one.
        suspects = ["dataset, config, split, revision", *(f"and whether {path.name} is whole" for path in files[:1])]
        raise UserError(f"data set {settings.dataset}: {fault:.200}; check {', '.join(suspects)}") from None
    if settings.parts > stream.num_shards:
        raise UserError(f"data set {settings.dataset}: it has {stream.num_shards} files; set parts to no more")
    number = 0
    shard = stream.shard(settings.parts, turn) if settings.parts > 1 else stream
    try:
        # As tables: the package would end the stream at the first row that Python cannot hold.
        for table in shard.with_format("arrow").iter(batch_size=BATCH_ROWS):
            for row in _python(table):
                number += 1
                yield row
    except (OSError, ValueError, EOFError, pa.ArrowException) as error:
        raise _broken(files, number, settings, error) from None


def _python(table: pa.Table) -> list[dict[str, Any] | Exception]:
    """The rows of a table. An error stands for a row whose bytes are not UTF-8 or whose time is out of range."""
    try:
        return table.to_pylist()
    except (ValueError, OverflowError) as error:
        return [error] if len(table) == 1 else [row for n in range(len(table)) for row in _python(table.slice(n, 1))]


def _broken(files: tuple[Path, ...], number: int, settings: HubInput, error: Exception) -> UserError:
    # A broken connection and a broken file look alike here.
    fault = f"{_where(files, settings)}: the stream broke after row {number:,}: {' '.join(str(error).split()):.200}"
    return UserError(f"{fault}; run again, and if it breaks there again, repair or remove the file")
