"""Semantic Scholar's datasets: `papers` (metadata), `s2orc` (full texts) and `abstracts`, JSON Lines in gzip."""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from ingest.fidelity.ledger import Ledger
from ingest.metadata import new_metadata
from ingest.raw_input import Pace, RawInput
from ingest.records import Metadata, Original, Record, Records, Rejected, article_url, is_number, rejected
from ingest.s2 import unfinished
from ingest.sources.account import Account
from ingest.sources.escaped import unescaped
from ingest.sources.jsonl import CONVERT
from ingest.sources.paper_text import finished, foreign
from ingest.sources.s2orc_text import S2Paper
from ingest.sources.sampling import sampled
from lake.decision import Drop, Reason, RecordError
from lake.document import Document, new_document
from lake.jsonl import json_object, whole
from lake.lines import raw_lines

TYPES = {
    "JournalArticle": "Journal Article",
    "Review": "Review",
    "MetaAnalysis": "Meta-Analysis",
    "CaseReport": "Case Reports",
    "ClinicalTrial": "Clinical Trial",
    "Editorial": "Editorial",
    "LettersAndComments": "Letter",
    "News": "News",
}
"""Semantic Scholar's publication types as MEDLINE's."""

DEED = re.compile(r"CC(BY)(NC)?(ND|SA)?")
PUBLIC = {"CC0": "CC0-1.0", "PD": "public-domain", "PUBLICDOMAIN": "public-domain"}
FREE = {"CC-BY", "CC-BY-SA", *PUBLIC.values()}


class S2Input(RawInput):
    """Parts of one of the datasets, as `gap fetch` gets them.

    `papers` gives no documents but metadata for those of the two others, which `clean` joins by `corpusid`.
    """

    command: ClassVar[str | None] = "gap fetch"
    format: Literal["s2orc"]
    dataset: Literal["papers", "s2orc", "abstracts"]

    @property
    def pace(self) -> Pace:
        """Timed by hand on the samples, each data set alone. `papers` has no text."""
        return {"papers": Pace(30, 0.0), "s2orc": Pace(10.5, 0.35), "abstracts": Pace(55, 0.8)}[self.dataset]

    @property
    def tables(self) -> frozenset[str]:
        return frozenset({"metadata"})

    def unfinished(self, files: list[Path]) -> list[Path]:
        return [left for folder in sorted({path.parent for path in files}) for left in unfinished(folder)]

    def read(self, path: Path, name: str) -> Records:
        """Every record; of `papers` those that are in PubMed, and the number of those that are not.

        Memory holds one line of at most `max_bytes`.
        """
        return sampled(
            record
            for native, line in raw_lines(path, name, self.max_bytes)
            for record in ([Rejected(native, line)] if isinstance(line, Drop) else _records(line, native, self))
        )


def _records(line: bytes, native: str, settings: S2Input) -> Iterator[Record | None]:
    """The record of a line, after notes about its annotations."""
    account = Account()
    record = _parsed(line, native, settings, account)
    if isinstance(record, dict):
        yield from account.notes(record["url"] or native)
        yield Original(partial(_original, line, native, settings))
    yield record


def _original(line: bytes, native: str, settings: S2Input, ledger: Ledger) -> str:
    """The text that the annotations cut up, or the abstract."""
    parse_s2(line, native, settings, ledger)
    record = json_object(line)
    return str(record["content"]["text"] if settings.dataset == "s2orc" else record["abstract"])


def parse_s2(
    line: bytes, native: str, settings: S2Input, ledger: Ledger | None = None
) -> Document | Rejected | Metadata | None:
    """One line; None for a paper outside PubMed. A rejected record has its id from its `corpusid` where it has one."""
    return _parsed(line, native, settings, Account(ledger))


def _parsed(line: bytes, native: str, settings: S2Input, account: Account) -> Document | Rejected | Metadata | None:
    try:
        record = json_object(line)
        corpusid = _field(record, "corpusid", "corpusid")
        if corpusid is None:
            raise RecordError(Reason.MISSING_FIELD, "no corpusid")
    except RecordError as error:
        return rejected(native, error.reason, str(error))
    try:
        if settings.dataset == "papers":
            return _paper(record, corpusid)
        return (_full_text if settings.dataset == "s2orc" else _abstract)(record, corpusid, settings, account)
    except RecordError as error:
        evidence = f"{native}: corpusid {corpusid}: {error}"
        return Rejected(str(corpusid), Drop(error.reason, evidence, native=native))


def _paper(record: dict[str, Any], corpusid: int) -> Metadata | None:
    external = record.get("externalids")
    if external is not None and not isinstance(external, dict):
        raise RecordError(Reason.WRONG_TYPE, f"externalids is an object, not {external!s:.80}")
    ids = _ids(external)
    if not ids.keys() & {"pmid", "pmcid"}:
        return None
    types = _detail(record, "publicationtypes", "publication_types") or []
    stated, free = _licence(record.get("openaccessinfo"))
    row = new_metadata(
        "s2",
        corpusid=corpusid,
        title=finished(unescaped(foreign(_detail(record, "title", "title") or ""))) or None,
        journal=_detail(_object(record.get("journal")), "name", "journal")
        or _detail(record, "venue", "journal")
        or None,
        published=_detail(record, "publicationdate", "published") or _detail(record, "year", "published"),
        publication_types=[TYPES.get(name, name) for name in types] or None,
        citations=_detail(record, "citationcount", "citations"),
        license=stated,
        redistributable=free if stated else None,
        **ids,
    )
    return Metadata(row)


def _full_text(record: dict[str, Any], corpusid: int, settings: S2Input, account: Account) -> Document:
    external = record.get("externalids")
    ids = _ids(external)
    # Where the record has no ids, those in `papers` decide.
    if isinstance(external, dict) and not ids.keys() & {"pmid", "pmcid"}:
        raise RecordError(Reason.NO_PUBMED_ID, f"neither a PubMed nor a PubMed Central id in {external!s:.200}")
    content = _object(record.get("content"))
    text = content.get("text")
    if text is not None and not isinstance(text, str):
        raise RecordError(Reason.WRONG_TYPE, f"content.text is a string, not {text!s:.80}")
    if not text or not text.strip():
        raise RecordError(Reason.NO_BODY, "no text")
    paper = S2Paper(whole(text), _object(content.get("annotations")), account)
    blocks = paper.blocks()
    if not blocks:
        raise RecordError(Reason.NO_BODY, "no text beside the abstract")
    title = paper.title() or None
    access = record.get("openaccessinfo") or _object(content.get("source")).get("oainfo")
    return _document(corpusid, ids, title, "\n\n".join(filter(None, [title, *blocks])), access, settings)


def _abstract(record: dict[str, Any], corpusid: int, settings: S2Input, account: Account) -> Document:
    text = record.get("abstract")
    if text is not None and not isinstance(text, str):
        raise RecordError(Reason.WRONG_TYPE, f"abstract is a string, not {text!s:.80}")
    if not text or not text.strip():
        raise RecordError(Reason.NO_ABSTRACT, "no abstract")
    access = _object(record.get("openaccessinfo"))
    ids = _ids(access.get("externalids"))
    return _document(corpusid, ids, None, whole(unescaped(text.strip(), account.ledger)), access, settings)


def _document(
    corpusid: int, ids: dict[str, str], title: str | None, text: str, access: Any, settings: S2Input
) -> Document:
    stated, free = _licence(access)
    return new_document(
        settings.source,
        str(corpusid),
        text,
        ids | {"corpusid": corpusid, "site": settings.site},
        title=title,
        url=article_url(ids) or f"https://api.semanticscholar.org/CorpusID:{corpusid}",
        license=stated or settings.license,
        redistributable=free if stated else settings.redistributable,
    )


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _field(record: Mapping[str, Any], key: str, field: str) -> Any:
    """A value as the document's field takes it; None where it is null or an empty string."""
    value = record.get(key)
    if value is None or value == "":
        return None
    try:
        return CONVERT[field](value)
    except (ValueError, TypeError, OverflowError):
        raise RecordError(Reason.WRONG_TYPE, f"{key}: {field} does not take {value!r:.80}") from None


def _detail(record: Mapping[str, Any], key: str, field: str) -> Any:
    """As `_field`, but a wrong value is left out, since the rest of the record is worth keeping."""
    try:
        return _field(record, key, field)
    except RecordError:
        return None


def _ids(external: Any) -> dict[str, str]:
    """`pmid`, `pmcid` and `doi` from external ids, whose names may be PubMed or pubmed."""
    named = {str(key).lower(): str(value).strip() for key, value in _object(external).items() if value}
    pmid, pmcid, doi = (named.get(key, "") for key in ("pubmed", "pubmedcentral", "doi"))
    number = pmcid.upper().removeprefix("PMC")
    ids = {
        "pmid": pmid if is_number(pmid) else "",
        "pmcid": f"PMC{number}" if is_number(number) else "",
        "doi": doi,
    }
    return {key: whole(value) for key, value in ids.items() if value}


def _licence(access: Any) -> tuple[str | None, bool]:
    """The open access licence (`CCBYNC` as `CC-BY-NC`), and whether a data set may carry the text."""
    stated = _object(access).get("license")
    if not isinstance(stated, str) or not stated.strip():
        return None, False
    bare = re.sub(r"[^A-Z0-9]", "", stated.upper())
    deed = DEED.match(bare)
    name = f"CC-{'-'.join(filter(None, deed.groups()))}" if deed else PUBLIC.get(bare, whole(stated.strip()))
    return name, name in FREE
