"""What every source format says of itself: which files it has, how they are cut, read and fetched, and how fast."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import ClassVar

from pydantic import Field, field_validator

from ingest.records import Records
from lake.config import Settings
from lake.error import UserError
from lake.files import find
from lake.values import Amount, SourceName, Text


@dataclass(frozen=True, slots=True)
class Pace:
    """What one core reads in a second, in MB of raw bytes, unpacked, and the share of these bytes that is text."""

    megabytes: float
    text: float


class RawInput(Settings):
    """Raw files of one corpus in one format. A format is a class below this one, with a `read` and a `pace` of its own.

    `paths` are patterns below the data folder. `license`, `redistributable` and `site` hold for records that name none
    themselves. A record over `max_bytes` is dropped. `limit` takes the first records alone, with files sorted by name.
    """

    command: ClassVar[str | None] = None
    """The command that fetches the files, where there is one."""
    package: ClassVar[str | None] = None
    """The optional package that reads the files, where one is needed."""

    source: SourceName
    site: Text | None = None
    paths: tuple[Text, ...] = Field(min_length=1)
    license: Text | None = None
    redistributable: bool = False
    max_bytes: Amount = 16 * 2**20
    limit: Amount | None = None

    @field_validator("paths")
    @classmethod
    def _below_data(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        for path in paths:
            if not PurePath(path).parts or PurePath(path).is_absolute():
                raise ValueError(f"{path!r} is not a pattern below the data folder, such as papers/*.xml")
        return paths

    @property
    @abstractmethod
    def pace(self) -> Pace:
        """How fast the format is read, for estimates. Say where the figures come from."""

    @property
    def share(self) -> float:
        """The share of records that is read, where the input is a sample."""
        return 1.0

    @property
    def tables(self) -> frozenset[str]:
        """Tables that `read` writes for every unit, be they empty: of metadata, unsampled, fallbacks."""
        return frozenset()

    def files(self, data: str, key: str) -> list[Path]:
        """The files below the folder `data`, sorted; `key` is the config key of `paths`, for messages.

        Raises:
            UserError: a pattern matches nothing, a fetch is unfinished, or the package is missing.
        """
        self.need_package()
        files = find(list(self.paths), data, key, self.command)
        if left := self.unfinished(files):
            raise UserError(f"{key}: {left[0]} is left of a fetch that did not finish; run {self.command} again")
        return files

    def need_package(self) -> None:
        """Raises UserError where `package` is not installed."""
        if self.package is not None and find_spec(self.package) is None:
            advice = f"pip install {self.package}"
            raise UserError(f"source {self.source}: the package {self.package} is not installed; {advice}")

    def unfinished(self, files: list[Path]) -> list[Path]:
        """What a fetch that did not finish left beside the files."""
        return []

    def rule_files(self) -> list[Path]:
        """Files beside the config that say how the input is read. Raises UserError where one is missing or wrong."""
        return []

    def groups(self, files: list[Path]) -> Iterator[tuple[Path, ...]]:
        """The files of each unit of work."""
        if self.limit is None:
            yield from ((path,) for path in files)
        else:
            # The limit counts records across files, so one reader must read them all.
            yield tuple(files)

    def read_unit(self, files: tuple[Path, ...], turn: int, data: str) -> Records:
        """Every record of a unit; `turn` counts the input's units from 0, `data` is the data folder.

        Raises:
            UserError: a file cannot be read at all. A bad record raises nothing: it is rejected.
        """
        for path in files:
            try:
                yield from self.read(path, path.relative_to(data).as_posix())
            except OSError as error:
                advice = "make the file readable or take it out of paths"
                raise UserError(f"{path}: {error.strerror or error}; {advice}") from None

    def read(self, path: Path, name: str) -> Records:
        """Every record of a file, in order; `name` is the file's name within the data folder."""
        raise NotImplementedError(f"{type(self).__name__} says neither how a file is read nor how a unit is")
