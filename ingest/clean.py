"""Documents as they were read to clean ones: normal form, length, language, one document an id."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from ingest.language import LanguageSettings, detect, verdict
from ingest.normalise import normalise
from ingest.tally import Counts, tally_table
from lake.config import Settings
from lake.decision import DECISION, Drop, Reason, decision
from lake.document import DOCUMENT

LONG_LINE = 10
"""A line of more words than this is prose, not a heading or a cell."""

BEGINNING = 80
"""Characters of a text that serve as evidence."""

UNKNOWN = "unknown"
"""The license of documents that tell none."""

ROW_BYTES = 1_000
"""What a row takes in memory beside its text, about."""


class LengthSettings(Settings):
    """What a body must have: words, and lines of more than ten words.

    MEDITRON's rule for guidelines is `lines: 3`; abstracts and web text may be one line, so it is no rule for them.
    """

    words: int = Field(default=50, ge=0)
    lines: int = Field(default=0, ge=0)


class CleanSettings(Settings):
    """The defaults suit English prose.

    `length` holds for every source that has no entry of its own in `length_by_source`. Sources of `keep_layout` have
    code among their texts, so blanks and bullets stay as they are. Documents are stored in parts of about
    `part_mb` MB of text.
    """

    length: LengthSettings = Field(default_factory=LengthSettings)
    length_by_source: dict[str, LengthSettings] = Field(default_factory=dict)
    keep_layout: tuple[str, ...] = ("replay",)
    language: LanguageSettings = Field(default_factory=LanguageSettings)
    part_mb: float = Field(default=200, gt=0)

    def length_of(self, source: str) -> LengthSettings:
        return self.length_by_source.get(source, self.length)


class Cleaned(NamedTuple):
    """A document's clean text and title, its language where it was looked at, and why it goes, if it does."""

    text: str
    title: str | None
    lang: str | None
    drop: Drop | None


def clean_document(text: str, title: str | None, source: str, settings: CleanSettings) -> Cleaned:
    """Judge one document by itself. A title at the head of the text counts for neither length nor language."""
    title = " ".join(normalise(title or "").split()) or None
    clean = normalise(text, source in settings.keep_layout)
    body = _body(clean, title)
    drop = _too_little(body, len(text), settings.length_of(source))
    if drop is not None:
        return Cleaned(clean, title, None, drop)
    language = detect(body, settings.language.characters)
    return Cleaned(clean, title, language.code, verdict(language, settings.language))


def _body(text: str, title: str | None) -> str:
    first, _, rest = text.partition("\n")
    return rest.lstrip("\n") if title and first == title else text


def _too_little(body: str, raw: int, least: LengthSettings) -> Drop | None:
    if not body:
        return Drop(Reason.EMPTY, f"nothing but a title or blanks in {raw} characters")
    words = len(body.split())
    lines = sum(len(line.split()) > LONG_LINE for line in body.split("\n"))
    if words >= least.words and lines >= least.lines:
        return None
    evidence = f"words={words} of {least.words}, lines of more than {LONG_LINE} words={lines} of {least.lines}"
    return Drop(Reason.TOO_SHORT, evidence, float(words))


class PartCleaner:
    """Cleans the documents of one part, which come sorted by id, and counts.

    Of the records of one id that pass by themselves, the first stays, so a broken copy never pushes out a good one. In
    what order records of one id come is the caller's to fix.
    """

    def __init__(self, source: str, settings: CleanSettings, step: str) -> None:
        self._source = source
        self._settings = settings
        self._step = step
        self._kept_id: str | None = None
        self._kept_text = ""
        self._counts: Counts = Counter()

    def clean(self, rows: pa.Table) -> tuple[pa.Table, pa.Table]:
        """Some rows of DOCUMENT, `source` not needed, to those kept, cleaned, and to rows of DECISION for all."""
        ids, texts, titles = rows["id"].to_pylist(), _strings(rows["text"]), _strings(rows["title"])
        cleaned = [
            self._once(identity, clean_document(text or "", title, self._source, self._settings))
            for identity, text, title in zip(ids, texts, titles, strict=True)
        ]
        verdicts = zip(ids, cleaned, strict=True)
        decisions = [decision(self._step, identity, self._source, one.drop) for identity, one in verdicts]
        documents = self._documents(rows, cleaned)
        self._count(documents, cleaned)
        return documents, pa.Table.from_pylist(decisions, DECISION)

    def _once(self, identity: str, one: Cleaned) -> Cleaned:
        if one.drop is not None:
            return one
        if identity == self._kept_id:
            return one._replace(drop=Drop(Reason.REPEATED_ID, f'this id was kept with the text "{self._kept_text}"'))
        self._kept_id = identity
        self._kept_text = " ".join(one.text[:BEGINNING].split())
        return one

    def _documents(self, rows: pa.Table, cleaned: list[Cleaned]) -> pa.Table:
        columns = {name: rows[name] for name in DOCUMENT.names if name != "source"}
        columns["source"] = pa.array([self._source] * len(rows), pa.string())
        for name in ("text", "title", "lang"):
            columns[name] = pa.array([getattr(one, name) for one in cleaned], pa.string())
        kept = pa.array([one.drop is None for one in cleaned])
        return pa.table({name: columns[name] for name in DOCUMENT.names}).filter(kept).cast(DOCUMENT)

    def _count(self, documents: pa.Table, cleaned: list[Cleaned]) -> None:
        counts = self._counts
        counts["entered", ""] += len(cleaned)
        counts["kept", ""] += documents.num_rows
        counts.update(("dropped", one.drop.reason.value) for one in cleaned if one.drop is not None)
        counts.update(("language", one.lang) for one in cleaned if one.lang is not None)
        counts.update(("license", name or UNKNOWN) for name in _strings(documents["license"]))
        sites = pc.struct_field(documents["meta"], "site")
        counts.update(("site", name) for name in _strings(sites) if name)
        counts["redistributable", ""] += sum(documents["redistributable"].to_pylist())
        counts["characters", ""] += sum(len(one.text) for one in cleaned if one.drop is None)

    def tally(self) -> pa.Table:
        """Rows of TALLY for all that was cleaned so far."""
        return tally_table(self._source, self._counts)


def _strings(column: pa.ChunkedArray) -> list[str | None]:
    """Values of a string column. Bytes that are not UTF-8, which an engine may pass on unchecked, become U+FFFD."""
    return [None if one is None else one.decode("utf-8", "replace") for one in column.cast(pa.binary()).to_pylist()]


def regroup(batches: Iterator[pa.RecordBatch], size: int = 32 * 2**20) -> Iterator[pa.Table]:
    """The same rows in tables of about `size` bytes that depend on the rows alone, not on how they were batched."""
    waiting: list[pa.RecordBatch] = []
    filled = 0
    for batch in batches:
        start = 0
        for row, length in enumerate(pc.binary_length(batch["text"]).to_pylist()):
            filled += ROW_BYTES + length
            if filled >= size:
                yield pa.Table.from_batches([*waiting, batch.slice(start, row + 1 - start)])
                waiting, filled, start = [], 0, row + 1
        if start < len(batch):
            waiting.append(batch.slice(start))
    if waiting:
        yield pa.Table.from_batches(waiting)
