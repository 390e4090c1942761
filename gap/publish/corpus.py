"""The documents of a mixture as Parquet files that may leave: written through the gate, then read back."""

import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gap.publish.files import File
from gap.publish.rows import PUBLISHED, Gate, Stays, named, published
from lake.dataset import Output
from lake.error import UserError
from lake.lock import owned, refuse
from lake.progress import progress
from mixing.split import SPLITS

ROWS_IN_A_GROUP = 2_000
"""Rows of a row group: the Hub's viewer and random access read whole groups."""

LEGAL = ["id", "redistributable", "license"]
NEEDED = [*LEGAL, "source", "title", "text", "url", "fetched_at", "meta"]


@dataclass
class Amount:
    """Rows, bytes of their text in UTF-8, and tokens of one copy of each."""

    rows: int = 0
    text_bytes: int = 0
    tokens: int = 0

    def add(self, other: "Amount") -> None:
        self.rows += other.rows
        self.text_bytes += other.text_bytes
        self.tokens += other.tokens


@dataclass(frozen=True)
class Part:
    """A file that was read back. `arrow_bytes` are those of its rows in memory, as `datasets` counts them.

    `amounts` are by licence; `fetched` and `published` are the first and the last date, None where no row has one.
    """

    file: File
    source: str
    split: str
    arrow_bytes: int
    amounts: dict[str, Amount]
    fetched: tuple[str, str] | None
    published: tuple[str, str] | None

    @property
    def rows(self) -> int:
        return sum(amount.rows for amount in self.amounts.values())


@dataclass(frozen=True)
class Corpus:
    """The files, and how many selected documents stay behind, by source, licence and reason."""

    parts: list[Part]
    staying: "Counter[tuple[str, str, Stays]]" = field(default_factory=Counter)

    @property
    def sources(self) -> list[str]:
        return sorted({part.source for part in self.parts})

    def amount(self, source: str | None = None, split: str | None = None) -> Amount:
        """The sum over all parts, or over those of a source, of a split, or of both."""
        total = Amount()
        for part in self.parts:
            if source in (None, part.source) and split in (None, part.split):
                for amount in part.amounts.values():
                    total.add(amount)
        return total

    @property
    def by_licence(self) -> dict[tuple[str, str], Amount]:
        """By source and licence: sources in order, then the commonest licence first."""
        sums: dict[tuple[str, str], Amount] = {}
        for part in self.parts:
            for licence, amount in part.amounts.items():
                sums.setdefault((part.source, licence), Amount()).add(amount)
        return dict(sorted(sums.items(), key=lambda item: (item[0][0], -item[1].rows, item[0][1])))

    @property
    def licences(self) -> dict[str, int]:
        """Rows by licence, the commonest first."""
        sums: Counter[str] = Counter()
        for (_, licence), amount in self.by_licence.items():
            sums[licence] += amount.rows
        return dict(sorted(sums.items(), key=lambda item: (-item[1], item[0])))

    def dates(self, kind: str) -> dict[str, tuple[str, str]]:
        """The first and the last date of a `kind` (fetched, published) by source, where a row has one."""
        spans: dict[str, tuple[str, str]] = {}
        for part in self.parts:
            if (span := getattr(part, kind)) is not None:
                first, last = spans.get(part.source, span)
                spans[part.source] = min(first, span[0]), max(last, span[1])
        return spans


@dataclass(frozen=True)
class Builder:
    """Where documents and selection are, and the folder that takes the files. `sources` are those of the mixture."""

    clean: Output
    mix: Output
    to: Output
    gate: Gate
    sources: tuple[str, ...]

    def build(self) -> Corpus:
        """Write the missing files and read all back. Equal selections give equal bytes.

        Raises:
            UserError: a file is not what the gate lets through, a document is missing, or another process builds it.
        """
        with owned(self.to, refuse):
            return self._built()

    def _built(self) -> Corpus:
        self.to.sweep()
        corpus = Corpus([])
        names = [name for name in self.mix.parts("selection") if Output.part_place(name)[1] in self.sources]
        with progress("publish: rows", len(names), "parts") as bar:
            for name in names:
                corpus.parts.extend(self._part(name, corpus.staying))
                bar.update()
        corpus.parts.sort(key=lambda part: (part.source, SPLITS.index(part.split), part.file.path))
        return corpus

    def _part(self, name: str, staying: "Counter[tuple[str, str, Stays]]") -> Iterator[Part]:
        number, source = Output.part_place(name)
        assert source is not None
        selection = self.mix.read_part("selection", name, ["id", "split", "copies", "tokens"])
        chosen = {row["id"]: row for row in selection.to_pylist()}
        documents = self._documents(name, LEGAL, chosen)
        leaves, stays = self.gate.leaving(documents)
        for (licence, reason), count in stays.items():
            staying[source, licence, reason] += count
        passed = {id_ for id_, leaving in zip(documents["id"].to_pylist(), leaves, strict=True) if leaving}
        if not passed:
            return
        full = self._documents(name, NEEDED, {id_: chosen[id_] for id_ in passed})
        for split in SPLITS:
            rows = self._rows(full, chosen, split, name)
            if rows.num_rows:
                path = f"data/{source}/{split}-{number:05d}.parquet"
                if not self.to.exists(path):
                    self._write(rows, path)
                yield read_back(self.to.local(path), path, rows, self.gate, source, split)

    def _documents(self, name: str, columns: list[str], chosen: dict[str, Any]) -> pa.Table:
        """The chosen documents of a clean part, in its order."""
        place = self.clean.path("documents", name)
        try:
            rows = self.clean.read_part("documents", name, columns)
            rows.validate(full=True)
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(
                f"{place}: it cannot be read: {' '.join(str(error).split())[:200]}; run clean again"
            ) from None
        rows = rows.filter(pc.is_in(rows["id"], pa.array(list(chosen), pa.string())))
        if rows.num_rows != len(chosen):
            raise UserError(
                f"{place}: {len(chosen)} documents are selected, it has {rows.num_rows} of them; run clean again"
            )
        return rows

    def _rows(self, documents: pa.Table, chosen: dict[str, Any], split: str, name: str) -> pa.Table:
        of_split = [chosen[id_]["split"] == split for id_ in documents["id"].to_pylist()]
        rows = documents.filter(pa.array(of_split, pa.bool_()))
        try:
            return published(rows, (chosen[id_] for id_ in rows["id"].to_pylist()))
        except pa.ArrowInvalid as error:
            raise UserError(f"{self.clean.path('documents', name)}: {' '.join(str(error).split())[:200]}") from None

    def _write(self, rows: pa.Table, path: str) -> None:
        # Pages cut by content keep most bytes of the next version equal, so the Hub stores and sends only what is new.
        with self.to.create(path) as stream:
            pq.write_table(
                rows,
                stream,
                compression="zstd",
                row_group_size=ROWS_IN_A_GROUP,
                use_content_defined_chunking=True,
                write_page_index=True,
            )


def read_back(file: Path, path: str, expected: pa.Table, gate: Gate, source: str, split: str) -> Part:
    """Read a written file, once, and compare it with the rows that may leave.

    Its digests are of the bytes that were read, so what is uploaded under them has passed.

    Raises:
        UserError: a row in it may not leave, or is not as the lake has it.
    """
    data = file.read_bytes()
    remedy = f"delete {file} and publish again"
    try:
        rows = pq.read_table(io.BytesIO(data))
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{file}: it is not Parquet: {' '.join(str(error).split())[:200]}; {remedy}") from None
    if not rows.schema.equals(PUBLISHED):
        raise UserError(f"{file}: its columns are not those that are published; {remedy}")
    leaves, staying = gate.leaving(rows)
    if not all(leaves):
        reasons = ", ".join(sorted({reason for _, reason in staying}))
        raise UserError(f"{file}: {leaves.count(False)} rows in it may not leave ({reasons}); {remedy}")
    if not rows.equals(expected):
        strange = len(set(rows["id"].to_pylist()) - set(expected["id"].to_pylist()))
        raise UserError(f"{file}: its rows are not those of the lake ({strange} are of no selected document); {remedy}")
    amounts: dict[str, Amount] = {}
    lengths = pc.binary_length(rows["text"].cast(pa.binary())).to_pylist()
    for licence, length, tokens in zip(rows["license"].to_pylist(), lengths, rows["tokens"].to_pylist(), strict=True):
        amounts.setdefault(named(licence), Amount()).add(Amount(1, length, tokens))
    fetched = _span([f"{time:%Y-%m-%d}" for time in rows["fetched_at"].to_pylist() if time is not None])
    dated = _span([date for date in rows["published"].to_pylist() if date])
    return Part(File.of(path, data).at(file), source, split, rows.nbytes, amounts, fetched, dated)


def _span(dates: list[str]) -> tuple[str, str] | None:
    return (min(dates), max(dates)) if dates else None
