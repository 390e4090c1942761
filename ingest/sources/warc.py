"""WARC files of a guideline site, from our own crawl or any other. A page, or a run of chapters, is a document."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import field_validator, model_validator

from ingest.fidelity.crude import page_text, pdf_characters
from ingest.fidelity.ledger import Ledger
from ingest.pages.charset import decode
from ingest.pages.extract import extract
from ingest.pages.grobid import grobid_or_pdf_text, server_url
from ingest.pages.page import Page, PageNote
from ingest.pages.pdf import pdf_text
from ingest.raw_input import Pace, RawInput
from ingest.records import Fallback, Note, Original, Records, Rejected
from ingest.site import Site, load_site, site_file
from ingest.sources.dates import utc
from ingest.text.sitelines import site_pages
from ingest.web.fetchlog import read_superseded
from ingest.web.payload import HTML, PDF, TEXT, UNKNOWN, Payload, PayloadError, bare_payload, read_payload
from ingest.web.urls import clean_url
from ingest.web.warc import DOCUMENT, KIND, Broken, Record, read_records
from lake import bundled
from lake.decision import Drop, Reason
from lake.document import Document, new_document
from lake.values import Amount, Text

PAGES = {"document", "chapter"}
TYPES = {"response", "resource", "conversion", "continuation"}
"""Types of records that hold content (ISO 28500, section 6). A revisit has the content of an earlier record."""


class WarcInput(RawInput):
    """WARC files, gzip or plain, of one site.

    `site` is the tag of a site that comes with the project, or the path of your own YAML file. It says what is content,
    which lines stay, and the licence, unless `license` is set here. By default, `paths` are the files that the crawl of
    the site wrote to its folder, crawl/TAG. `max_bytes` limits a record and the text of a document. `grobid` is the URL
    of a GROBID server that reads PDFs, such as http://localhost:8070. pdfium reads those for which GROBID has no text,
    and `read` counts them. Without `grobid`, pdfium reads all.
    """

    command: ClassVar[str | None] = "gap crawl"
    format: Literal["warc"]
    site: Text
    max_bytes: Amount = 64 * 2**20
    grobid: Text | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_site(cls, values: Any) -> Any:
        if isinstance(values, dict) and "paths" not in values and isinstance(site := values.get("site"), str):
            return values | {"paths": (f"crawl/{bundled.tag(site)}/*.warc.gz",)}
        return values

    @field_validator("grobid")
    @classmethod
    def _server(cls, url: str | None) -> str | None:
        return None if url is None else server_url(url)

    @property
    def pace(self) -> Pace:
        """Measured by `python -m benchmarks.stages` on the samples, which are few and small: a guess for real files."""
        return Pace(6.5, 0.21)

    @property
    def tables(self) -> frozenset[str]:
        return frozenset({"fallbacks"} if self.grobid else ())

    def rule_files(self) -> list[Path]:
        load_site(self.site)
        return [site_file(self.site)]

    def read(self, path: Path, name: str) -> Records:
        return read_warc(path, name, self)


@dataclass(slots=True)
class _Group:
    """The pages of one document: those extracted so far, and those that gave no text."""

    url: str
    fetched_at: datetime | None
    native: str
    pages: list[Page] = field(default_factory=list)
    size: int = 0
    lost: list[Rejected] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    """The records of the pages, for the audit; none where they are over `max_bytes` together."""


def read_warc(path: Path, name: str, settings: WarcInput) -> Records:
    """Every document of a file. Memory holds one record of at most `max_bytes` and the text of one document.

    `name` is the file's name within the data folder. Index pages, robots.txt, requests, and records that a later fetch
    has replaced are no documents. Of other crawlers' files, records of the types resource and conversion are pages too.
    A page that its record calls truncated is kept with a note. Rejected, with the reason, are: a damaged place, a
    record over `max_bytes`, a page without text, even if it is one chapter of a document that is kept, and a document
    of which the site's rules leave nothing.

    Raises:
        UserError: `site` is missing or wrong.
    """
    site = load_site(settings.site)
    superseded = read_superseded(path)
    group: _Group | None = None
    with path.open("rb") as stream:
        for record in read_records(stream, settings.max_bytes):
            native = f"{name}:{record.offset}"
            if isinstance(record, Broken):
                yield Rejected(native, Drop(record.drop.reason, f"{native}: {record.drop.evidence}", record.drop.score))
                continue
            kind = record.headers.get(KIND.lower(), "document")
            if record.headers.get("warc-type") not in TYPES or kind not in PAGES or record.offset in superseded:
                continue
            url = _url(record)
            if group is None or kind != "chapter" or url is None or url != group.url:
                if group is not None:
                    yield from _results(group, site, settings)
                group = _Group(url or native, _moment(record), native)
            _add(group, record, native, site, settings)
    if group is not None:
        yield from _results(group, site, settings)


def _url(record: Record) -> str | None:
    """The document that a record belongs to; None where its headers name no URL of the web."""
    url = record.headers.get(DOCUMENT.lower()) or record.headers.get("warc-target-uri", "")
    return clean_url(url.strip("<>"), fragment=True)


def _moment(record: Record) -> datetime | None:
    try:
        return utc(record.headers.get("warc-date", ""))
    except (ValueError, OverflowError):
        return None


def _add(group: _Group, record: Record, native: str, site: Site, settings: WarcInput) -> None:
    """Extract a page of a document. A lost page is known by its own URL, so that it can be traced."""
    if group.size > settings.max_bytes:
        return
    page = _page(record, site, settings)
    if isinstance(page, Drop):
        place = where = group.url
        if native != group.native:
            place = clean_url(record.headers.get("warc-target-uri", "").strip("<>"), fragment=True) or native
            where = f"{place}: of {group.url}"
        drop = Drop(page.reason, f"{where}: {page.evidence}", page.score, native=place)
        group.lost.append(Rejected(native, drop))
        return
    group.pages.append(page)
    group.size += len(page.text)
    group.records.append(record)
    if sum(len(kept.block) for kept in group.records) > settings.max_bytes:
        group.records.clear()


def _page(record: Record, site: Site, settings: WarcInput, ledger: Ledger | None = None) -> Page | Drop:
    kind = record.headers["warc-type"]
    if kind == "continuation":
        return Drop(Reason.NOT_A_PAGE, f"segment {record.headers.get('warc-segment-number', '?'):.20} of a cut record")
    try:
        payload = _payload(record, settings)
    except PayloadError as error:
        return Drop(Reason.MALFORMED_WARC, str(error))
    if payload.status != 200:
        return Drop(Reason.NOT_A_PAGE, f"status {payload.status}")
    page = _content(payload, kind, site, settings, ledger)
    notes = (*_truncated(record), *payload.notes)
    return page if isinstance(page, Drop) else replace(page, notes=(*page.notes, *notes))


def _payload(record: Record, settings: WarcInput) -> Payload:
    if record.headers["warc-type"] == "response":
        return read_payload(record.block, settings.max_bytes)
    return bare_payload(record.block, record.headers.get("content-type", ""))


def _truncated(record: Record) -> Iterator[PageNote]:
    """What the crawler says is missing of a record."""
    if (why := record.headers.get("warc-truncated")) is not None:
        yield PageNote("truncated", f"WARC-Truncated: {why:.40}")
    elif "warc-segment-number" in record.headers:
        yield PageNote("truncated", "only the first segment of a cut record is read")


def _content(payload: Payload, kind: str, site: Site, settings: WarcInput, ledger: Ledger | None) -> Page | Drop:
    if kind == "conversion" and payload.type in TEXT:
        text = decode(payload.body, payload.charset)
        return text if isinstance(text, Drop) else Page(None, text)
    if _is_pdf(payload):
        if settings.grobid:
            return grobid_or_pdf_text(payload.body, settings.grobid)
        return pdf_text(payload.body, ledger=ledger)
    if payload.type not in HTML:
        return Drop(Reason.NOT_A_PAGE, f"Content-Type {payload.type!r:.80} is neither HTML nor PDF")
    return extract(payload.body, site.content, site.title, payload.charset, ledger)


def _is_pdf(payload: Payload) -> bool:
    return payload.type in PDF or (payload.type in UNKNOWN and b"%PDF-" in payload.body[:1024])


def _original(group: _Group, site: Site, settings: WarcInput, ledger: Ledger) -> str:
    """All text of a document's pages, crudely, and what extraction and the site's rules change in it."""
    texts = []
    for record in group.records:
        _page(record, site, settings, ledger)
        payload = _payload(record, settings)
        body = payload.body
        texts.append(pdf_characters(body) if _is_pdf(payload) else page_text(body, payload.charset, ledger))
    for page in group.pages[1:]:
        ledger.write("chapter_title", page.title or "")
    site_pages(_under_headings(group.pages), site.clean, ledger)
    return "\n".join(texts)


def _results(group: _Group, site: Site, settings: WarcInput) -> Records:
    """The lost pages of a document, then its notes and itself, or why it is rejected."""
    yield from group.lost
    if not group.pages:
        return
    document = _document(group, site, settings)
    if not isinstance(document, Rejected):
        yield from (Fallback(group.url, page.fallback) for page in group.pages if page.fallback is not None)
        yield from (Note(group.url, *note) for note in _notes(group.pages))
        if group.records:
            yield Original(partial(_original, group, site, settings))
    yield document


def _notes(pages: list[Page]) -> Iterator[PageNote]:
    """The notes of all pages, each once. Only the first page must have a title: a chapter may lack it."""
    chapters = (note for page in pages[1:] for note in page.notes if note.what != "title")
    yield from dict.fromkeys([*pages[0].notes, *chapters])


def _document(group: _Group, site: Site, settings: WarcInput) -> Document | Rejected:
    if group.size > settings.max_bytes:
        evidence = f"{group.url}: more than {settings.max_bytes:,} characters of text"
        return Rejected(group.native, Drop(Reason.TOO_LARGE, evidence, float(group.size), native=group.url))
    text = site_pages(_under_headings(group.pages), site.clean)
    if not text.strip():
        evidence = f"{group.url}: the site's rules left nothing"
        return Rejected(group.native, Drop(Reason.NO_CONTENT, evidence, native=group.url))
    return new_document(
        settings.source,
        group.url,
        text,
        {"site": bundled.tag(settings.site)},
        title=group.pages[0].title,
        url=group.url if group.url != group.native else None,
        license=settings.license or site.license,
        redistributable=site.redistributable,
        fetched_at=group.fetched_at,
    )


def _under_headings(pages: list[Page]) -> Iterator[str]:
    """Texts of chapters, each under its title where it does not begin with a heading of its own."""
    for page in pages:
        bare = len(pages) == 1 or page.title is None or page.text.startswith("#")
        yield page.text if bare else f"# {page.title}\n\n{page.text}"
