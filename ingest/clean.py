"""Cleaning: normal form, length, language and quality of each document, and one document per id."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator

from ingest.fidelity.audit import Audit, audit
from ingest.fidelity.ledger import Ledger
from ingest.fidelity.sample import audit_table, sampled
from ingest.metadata import JoinSettings, complete
from ingest.tally import Counts, tally_table
from ingest.text import language, pii, quality
from ingest.text.language import LanguageSettings
from ingest.text.marks import break_marks
from ingest.text.normalise import normalise
from ingest.text.quality import QualitySettings
from ingest.text.tables import LONG_LINE, is_listed, is_row
from lake.characters import REPLACEMENT, decoded
from lake.config import Settings
from lake.decision import DECISION, Drop, Reason, decision
from lake.document import DOCUMENT
from lake.values import CountOrNone, Megabytes, Share, SourceName

NOTHING = f"\n {REPLACEMENT}"
"""A text of these alone is empty."""

MOST_COMPARED = 500
"""Words of a line up to which what was masked in it is told word by word."""

BEGINNING = 80
"""Evidence quotes this many characters of a text."""

UNKNOWN = "unknown"
"""Stands for the license of documents that state none."""

ROW_BYTES = 1_000
"""About what a row takes in memory beside its text."""


class LengthSettings(Settings):
    """The least words of a body, and the least lines with more than ten words.

    MEDITRON's rule for guidelines is `lines: 3`. It does not suit abstracts and web text, which may be one line. A row
    of a table counts as a line of eleven words or more, and so do eleven words of items.
    """

    words: CountOrNone = 50
    lines: CountOrNone = 0


class CleanSettings(Settings):
    """The defaults suit English prose.

    `length` holds for every source without an entry in `length_by_source`. The sources of `keep_layout` contain code,
    so their blanks and bullets stay. Only the readers of the sources in `format_tokens` write the marks of a paper's
    format, such as `[fig]`; in any other source these marks become plain words. Documents are stored in parts of about
    `part_mb` MB of text.

    `language` names the sources that must be English. The language of other sources is not detected. The medical
    corpora have an entry by default (ingest.text.language), which `off` removes.

    `quality` has the quality rules of a source, laid over those of its corpus (ingest.text.quality). A source without
    an entry has none, `off` switches a corpus off, and `clean.quality.guidelines.stop_words=1` sets one bound. `mask`
    names, by source, the personal data to mask: any of email, phone, record. By default none is. `audit` is the share
    of kept documents whose critical tokens are compared with those that were read (ingest.fidelity), with at least the
    first of each part, unless it is 0.
    """

    length: LengthSettings = Field(default_factory=LengthSettings)
    length_by_source: dict[SourceName, LengthSettings] = Field(default_factory=dict)
    keep_layout: tuple[SourceName, ...] = ("replay", "code")
    format_tokens: tuple[SourceName, ...] = ("papers",)
    language: dict[SourceName, LanguageSettings | None] = Field(default={}, validate_default=True)
    quality: dict[SourceName, QualitySettings | None] = Field(default={}, validate_default=True)
    mask: dict[SourceName, tuple[pii.Kind, ...]] = Field(default_factory=dict)
    join: JoinSettings = Field(default_factory=JoinSettings)
    part_mb: Megabytes = 200
    audit: Share = 0.01

    @field_validator("language", mode="before")
    @classmethod
    def _by_source(cls, settings: Any) -> Any:
        return language.by_source(settings)

    @field_validator("quality", mode="before")
    @classmethod
    def _by_corpus(cls, settings: Any) -> Any:
        return quality.by_corpus(settings)

    def length_of(self, source: str) -> LengthSettings:
        return self.length_by_source.get(source, self.length)


class Cleaned(NamedTuple):
    """A document's clean text and title, its language where it was detected, and why it is dropped, if it is.

    `changes` counts, by figure and key, what was changed beside blanks, line ends and bullets.
    """

    text: str
    title: str | None
    lang: str | None
    drop: Drop | None
    changes: Mapping[tuple[str, str], int] = {}


def clean_document(
    text: str, title: str | None, source: str, settings: CleanSettings, ledger: Ledger | None = None
) -> Cleaned:
    """Clean and judge one document by itself. A title at the head of the text counts neither for length, language nor
    quality. `ledger` takes the lines that are removed, as `line:RULE`, and what is `masked`.

    The text is judged after it is changed, so that no evidence quotes what is masked. Cheap rules come first, and the
    first rule that a document breaks drops it.
    """
    raw = len(text)
    rules = settings.quality.get(source)
    replaced: Counter[str] = Counter()
    title, _ = _rewrite(" ".join(normalise(title or "", changed=replaced).split()), source, settings)
    text, changes = _rewrite(normalise(text, source in settings.keep_layout, replaced), source, settings, ledger)
    changes |= {("characters_replaced", kind): count for kind, count in replaced.items()}
    body = _body(text, title)
    if rules is not None and rules.remove_lines:
        kept, taken = quality.keep_lines(body, rules.remove_lines)
        if taken:
            if ledger is not None:
                _enter_lines(ledger, body, rules)
            head = text[: len(text) - len(body)]
            text = normalise(head + kept, source in settings.keep_layout)
            body = _body(text, title)
            changes |= {("lines_removed", rule): count for rule, count in taken.items()}
    lang: str | None = None
    drop = _too_little(body, raw, settings.length_of(source))
    english = settings.language.get(source)
    if drop is None and english is not None:
        lang, drop = language.judge(body, english)
    if drop is None and rules is not None:
        drop = quality.verdict(body, rules)
    return Cleaned(text, title or None, lang, drop, changes)


def _rewrite(
    text: str, source: str, settings: CleanSettings, ledger: Ledger | None = None
) -> tuple[str, dict[tuple[str, str], int]]:
    """Break marks that no reader wrote, and mask personal data."""
    changes: dict[tuple[str, str], int] = {}
    if source not in settings.format_tokens:
        text, broken = break_marks(text)
        if broken:
            changes["marks_broken", ""] = broken
    if kinds := settings.mask.get(source):
        plain = text
        text, masked = pii.mask(text, kinds)
        if ledger is not None and masked:
            _enter_masked(ledger, plain, text)
        changes |= {("masked", kind): count for kind, count in masked.items()}
    return text, changes


def _enter_lines(ledger: Ledger, body: str, rules: QualitySettings) -> None:
    for line in body.split("\n"):
        for rule in quality.keep_lines(line, rules.remove_lines)[1]:
            ledger.leave_out(f"line:{rule}", line)


def _enter_masked(ledger: Ledger, plain: str, masked: str) -> None:
    """Enter the words that differ. A mask lies within its line, for no personal data has a line end."""
    for before, after in zip(plain.split("\n"), masked.split("\n"), strict=True):
        if before == after:
            continue
        old, new = before.split(), after.split()
        for _, start, end, first, last in _differences(old, new):
            ledger.leave_out("masked", " ".join(old[start:end]))
            ledger.write("masked", " ".join(new[first:last]))


def _differences(old: list[str], new: list[str]) -> list[tuple[str, int, int, int, int]]:
    """Where the words of two lines differ, as difflib tells it; the whole lines where these are long."""
    if max(len(old), len(new)) > MOST_COMPARED:
        return [("replace", 0, len(old), 0, len(new))]
    return [code for code in SequenceMatcher(None, old, new, False).get_opcodes() if code[0] != "equal"]


def _body(text: str, title: str) -> str:
    first, _, rest = text.partition("\n")
    return rest.lstrip("\n") if title and first == title else text


def _too_little(body: str, raw: int, least: LengthSettings) -> Drop | None:
    if not body.strip(NOTHING):
        return Drop(Reason.EMPTY, f"only a title or blanks in {raw} characters")
    words = lines = listed = 0
    for line in body.split("\n"):
        count = len(line.split())
        if is_row(line):
            count = max(count, LONG_LINE + 1)
        elif is_listed(line):
            listed += count
        words += count
        lines += count > LONG_LINE
    lines += listed // (LONG_LINE + 1)
    if words >= least.words and lines >= least.lines:
        return None
    evidence = f"words={words} of {least.words}, lines with more than {LONG_LINE} words={lines} of {least.lines}"
    return Drop(Reason.TOO_SHORT, evidence, float(words))


class PartCleaner:
    """Cleans and counts the documents of one part, which must be sorted by id.

    Of the records with one id, the first that passes by itself stays, so a broken copy never displaces a good one. The
    caller fixes the order of records with one id. `known` has what other sources know: rows of KNOWN.
    """

    def __init__(self, source: str, settings: CleanSettings, step: str, known: pa.Table | None = None) -> None:
        self._known = known
        self._source = source
        self._settings = settings
        self._step = step
        self._kept_id: str | None = None
        self._kept_text = ""
        self._counts: Counts = Counter()
        self._chosen = sampled(settings.audit)
        self._audits: list[tuple[str, Audit]] = []

    def clean(self, rows: pa.Table) -> tuple[pa.Table, pa.Table]:
        """From rows of DOCUMENT (without `source`): the cleaned rows that are kept, and rows of DECISION for all."""
        drops: Sequence[Drop | None] = [None] * len(rows)
        if self._known is not None:
            rows, drops = complete(rows, self._known, self._source, self._settings.join)
        ids, texts, titles = rows["id"].to_pylist(), _strings(rows["text"]), _strings(rows["title"])
        cleaned = [
            Cleaned(text or "", title, None, drop)
            if drop is not None
            else self._once(identity, clean_document(text or "", title, self._source, self._settings))
            for identity, text, title, drop in zip(ids, texts, titles, drops, strict=True)
        ]
        verdicts = zip(ids, cleaned, strict=True)
        decisions = [decision(self._step, identity, self._source, clean.drop) for identity, clean in verdicts]
        for identity, text, title, clean in zip(ids, texts, titles, cleaned, strict=True):
            if clean.drop is None and self._chosen(identity):
                ledger = Ledger()
                clean_document(text or "", title, self._source, self._settings, ledger)
                self._audits.append((identity, audit(text or "", clean.text, ledger)))
        documents = self._documents(rows, cleaned)
        self._count(documents, cleaned)
        return documents, pa.Table.from_pylist(decisions, DECISION)

    def _once(self, identity: str, clean: Cleaned) -> Cleaned:
        if clean.drop is not None:
            return clean
        if identity == self._kept_id:
            return clean._replace(drop=Drop(Reason.REPEATED_ID, f'this id was kept with the text "{self._kept_text}"'))
        self._kept_id = identity
        self._kept_text = " ".join(clean.text[:BEGINNING].split())
        return clean

    def _documents(self, rows: pa.Table, cleaned: list[Cleaned]) -> pa.Table:
        columns = {name: rows[name] for name in DOCUMENT.names if name != "source"}
        columns["source"] = pa.array([self._source] * len(rows), pa.string())
        for name in ("text", "title"):
            columns[name] = pa.array([getattr(clean, name) for clean in cleaned], pa.string())
        columns["lang"] = pc.coalesce(pa.array([clean.lang for clean in cleaned], pa.string()), rows["lang"])
        kept = pa.array([clean.drop is None for clean in cleaned])
        return pa.table({name: columns[name] for name in DOCUMENT.names}).filter(kept).cast(DOCUMENT)

    def _count(self, documents: pa.Table, cleaned: list[Cleaned]) -> None:
        counts = self._counts
        counts["entered", ""] += len(cleaned)
        counts["kept", ""] += documents.num_rows
        counts.update(("dropped", clean.drop.reason.value) for clean in cleaned if clean.drop is not None)
        counts.update(("language", clean.lang) for clean in cleaned if clean.lang is not None)
        counts.update(("license", name or UNKNOWN) for name in _strings(documents["license"]))
        sites = pc.struct_field(documents["meta"], "site")
        counts.update(("site", name) for name in _strings(sites) if name)
        kept = [clean for clean in cleaned if clean.drop is None]
        for clean in kept:
            counts.update(clean.changes)
        counts["redistributable", ""] += sum(documents["redistributable"].to_pylist())
        counts["characters", ""] += sum(len(clean.text) for clean in kept)

    def tally(self) -> pa.Table:
        """Rows of TALLY for all that was cleaned so far."""
        return tally_table(self._source, self._counts)

    def audits(self) -> pa.Table:
        """Rows of AUDIT for the kept documents that were audited so far."""
        return audit_table(self._audits)


def _strings(column: pa.ChunkedArray) -> list[str | None]:
    """Values of a string column. Bytes that are not UTF-8, which an engine may leave unchecked, are Windows-1252."""
    return [None if data is None else decoded(data) for data in column.cast(pa.binary()).to_pylist()]


def regroup(batches: Iterator[pa.RecordBatch], size: int = 32 * 2**20) -> Iterator[pa.Table]:
    """The same rows in tables of about `size` bytes, cut by the rows alone and not by how they were batched."""
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
