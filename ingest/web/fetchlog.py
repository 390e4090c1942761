"""What became of every URL of a crawl: an append-only log, and the table made from it."""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Self

import pyarrow as pa
from pydantic import ValidationError

from ingest.web.answer import Answer, Miss
from lake.config import Settings
from lake.decision import EVIDENCE_CHARS
from lake.files import replace
from lake.schema import schema

Kind = Literal["document", "chapter", "index", "robots"]

FETCH = schema(
    "url string, kind string, document string?, kept bool, reason string?, evidence string?, at time, "
    "final_url string?, status int32?, etag string?, last_modified string?, sha256 string?, warc string?, "
    "offset int64?, length int64?"
)
"""A row per URL. If no page was kept, `reason` is a Miss. `warc`, `offset` and `length` are the place of the page's
record, or else of the last response, if a host answered."""


class Fetch(Settings):
    """A line of the log and a row of FETCH: the state of a URL."""

    url: str
    kind: Kind
    document: str | None = None
    kept: bool
    reason: Miss | None = None
    evidence: str | None = None
    at: datetime
    final_url: str | None = None
    status: int | None = None
    etag: str | None = None
    last_modified: str | None = None
    sha256: str | None = None
    warc: str | None = None
    offset: int | None = None
    length: int | None = None

    @classmethod
    def of_miss(cls, answer: Answer, url: str, kind: Kind, document: str | None) -> Self:
        """The line for a URL that gave no page."""
        return cls(
            url=url,
            kind=kind,
            document=document,
            kept=False,
            reason=answer.miss,
            evidence=answer.evidence,
            at=answer.at,
            final_url=answer.url if answer.url != url else None,
            status=answer.status,
        )

    @property
    def place(self) -> tuple[str, int, int]:
        """File, offset and end of its record."""
        if self.warc is None or self.offset is None or self.length is None:
            raise ValueError(f"{self.url}: there is no record of it")
        return self.warc, self.offset, self.offset + self.length

    def row(self) -> dict[str, Any]:
        evidence = None if self.evidence is None else self.evidence[:EVIDENCE_CHARS]
        return self.model_dump() | {"evidence": evidence}


class FetchLog:
    """The log of a crawl, in one file. The last line of a URL counts; the places of all pages are known."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._damaged = False
        self._load(self._lines())

    def _load(self, lines: Iterable[Fetch]) -> None:
        self._last: dict[str, Fetch] = {}
        self._pages: dict[str, Fetch] = {}
        self._places: set[tuple[str, int, int]] = set()
        self._ends: dict[str, int] = {}
        for line in lines:
            self._take(line)

    def _lines(self) -> Iterator[Fetch]:
        if not self._path.exists():
            return
        for line in self._path.read_bytes().splitlines(keepends=True):
            try:
                yield Fetch.model_validate_json(line if line.endswith(b"\n") else b"")
            except ValidationError:  # torn: the page is recovered from its WARC, or requested again
                self._damaged = True

    def _take(self, line: Fetch) -> None:
        self._last[line.url] = line
        if line.warc is None:
            return
        self._ends[line.warc] = max(line.place[2], self._ends.get(line.warc, 0))
        if line.kept:
            self._pages[line.url] = line
            self._places.add(line.place)

    def get(self, url: str) -> Fetch | None:
        return self._last.get(url)

    def page(self, url: str) -> Fetch | None:
        """The last page that a URL gave, whatever became of the URL since."""
        return self._pages.get(url)

    def __iter__(self) -> Iterator[Fetch]:
        return iter(self._last.values())

    def add(self, line: Fetch) -> None:
        """Append a line. The operating system has it when this returns, so that a killed process loses none."""
        with self._path.open("ab") as stream:
            stream.write(_encoded(line))
        self._take(line)

    def mend(self, sizes: dict[str, int]) -> None:
        """Forget lines whose records are not in WARCs of these sizes. Only then the log is rewritten, atomically."""
        lines = list(self._lines())
        sound = [line for line in lines if line.warc is None or line.place[2] <= sizes.get(line.warc, 0)]
        if len(sound) == len(lines) and not self._damaged:
            return
        replace(self._path, b"".join(map(_encoded, sound)))
        self._damaged = False
        self._load(sound)

    def ends(self) -> dict[str, int]:
        """For every WARC, where the last record that the log knows ends."""
        return dict(self._ends)

    def superseded(self) -> dict[str, list[int]]:
        """For every WARC that has or had such records, the offsets of those that are not to be read any more."""
        current = {line.place for line in self if line.kept}
        files = {name: superseded_file(self._path.with_name(name)) for name in sorted(self._ends)}
        offsets: dict[str, list[int]] = {name: [] for name, file in files.items() if file.exists()}
        for name, offset, _ in sorted(self._places - current):
            offsets.setdefault(name, []).append(offset)
        return offsets


def _encoded(line: Fetch) -> bytes:
    return line.model_dump_json(exclude_none=True).encode("utf-8", "replace") + b"\n"


def fetch_table(rows: list[Fetch]) -> pa.Table:
    """Rows of FETCH, in this order."""
    return pa.Table.from_pylist([row.row() for row in rows], FETCH)


def superseded_file(warc: Path) -> Path:
    """The file beside a WARC that lists the offsets of records not to be read any more."""
    return warc.with_name(f"{warc.name}.superseded.json")


def read_superseded(warc: Path) -> frozenset[int]:
    path = superseded_file(warc)
    return frozenset(json.loads(path.read_bytes())) if path.exists() else frozenset()
