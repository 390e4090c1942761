"""WARC files of a guideline site: our own crawl's, or anybody's. A record, or a run of chapters, is a document."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import field_validator

from ingest.pages.extract import extract
from ingest.pages.grobid import grobid_or_pdf_text, server_url
from ingest.pages.page import Page
from ingest.pages.pdf import pdf_text
from ingest.raw_input import Pace, RawInput
from ingest.records import Fallback, Note, Records, Rejected
from ingest.site import Site, load_site, site_file
from ingest.text.sitelines import site_pages
from ingest.web.fetchlog import read_superseded
from ingest.web.payload import Payload, PayloadError, read_payload
from ingest.web.urls import clean_url
from ingest.web.warc import DOCUMENT, KIND, Broken, Record, read_records
from lake import bundled
from lake.decision import Drop, Reason
from lake.document import Document, new_document

PAGES = {"document", "chapter"}
HTML = ("text/html", "application/xhtml+xml")
PDF = ("application/pdf", "application/x-pdf")
UNTOLD = ("", "application/octet-stream", "binary/octet-stream")


class WarcInput(RawInput):
    """WARC files, gzip or plain, of one site.

    `site` is the tag of a site that comes with the project or the path of a YAML file of one's own: it says what is
    content, which lines stay, and the licence, unless `license` is set here. `max_bytes` holds for a record and for the
    text of a document. `grobid` is the URL of a GROBID server, such as http://localhost:8070: PDFs are read by it, and
    those it gives no text of by pdfium, as all are without it; `read` counts these.
    """

    command: ClassVar[str | None] = "gap crawl"
    format: Literal["warc"]
    site: str
    max_bytes: int = 64 * 2**20
    grobid: str | None = None

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
class _Pages:
    """What was extracted of a document so far, and its pages that gave nothing."""

    url: str
    fetched_at: datetime | None
    native: str
    pages: list[Page] = field(default_factory=list)
    size: int = 0
    lost: list[Rejected] = field(default_factory=list)


def read_warc(path: Path, name: str, settings: WarcInput) -> Records:
    """Every document of a file. Memory holds one record of at most `max_bytes` and the text of one document.

    `name` is the file's name within the data folder. Index pages, robots.txt, requests and other records that are no
    pages, and records that a later fetch has replaced, are no documents. A place that is damaged, a record over
    `max_bytes`, a page of which nothing was extracted, be it one chapter of a document that is kept, and a document of
    which the site's rules leave nothing are rejected, each with the reason.

    Raises:
        UserError: `site` is missing or wrong.
    """
    site = load_site(settings.site)
    replaced = read_superseded(path)
    whole: _Pages | None = None
    with path.open("rb") as stream:
        for found in read_records(stream, settings.max_bytes):
            native = f"{name}:{found.offset}"
            if isinstance(found, Broken):
                yield Rejected(native, Drop(found.drop.reason, f"{native}: {found.drop.evidence}", found.drop.score))
                continue
            kind = found.headers.get(KIND.lower(), "document")
            if found.headers.get("warc-type") != "response" or kind not in PAGES or found.offset in replaced:
                continue
            url = _url(found)
            if whole is None or kind != "chapter" or url is None or url != whole.url:
                if whole is not None:
                    yield from _told(whole, site, settings)
                whole = _Pages(url or native, _moment(found), native)
            _add(whole, found, native, site, settings)
    if whole is not None:
        yield from _told(whole, site, settings)


def _url(record: Record) -> str | None:
    """The document that a record belongs to; None where it tells no URL of the web."""
    given = record.headers.get(DOCUMENT.lower()) or record.headers.get("warc-target-uri", "")
    return clean_url(given.strip("<>"), fragment=True)


def _moment(record: Record) -> datetime | None:
    try:
        moment = datetime.fromisoformat(record.headers.get("warc-date", ""))
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _add(whole: _Pages, record: Record, native: str, site: Site, settings: WarcInput) -> None:
    """Extract a page of a document. One that is lost is told by its own URL, so that it can be traced."""
    if whole.size > settings.max_bytes:
        return
    found = _page(record, site, settings)
    if isinstance(found, Drop):
        where = whole.url
        if native != whole.native:
            chapter = clean_url(record.headers.get("warc-target-uri", "").strip("<>"), fragment=True) or native
            where = f"{chapter}: of {whole.url}"
        whole.lost.append(Rejected(native, Drop(found.reason, f"{where}: {found.evidence}", found.score)))
        return
    whole.pages.append(found)
    whole.size += len(found.text)


def _page(record: Record, site: Site, settings: WarcInput) -> Page | Drop:
    try:
        payload = read_payload(record.block, settings.max_bytes)
    except PayloadError as error:
        return Drop(Reason.MALFORMED_WARC, str(error))
    if payload.status != 200:
        return Drop(Reason.NOT_A_PAGE, f"status {payload.status}")
    if _is_pdf(payload):
        return grobid_or_pdf_text(payload.body, settings.grobid) if settings.grobid else pdf_text(payload.body)
    if payload.type not in HTML:
        return Drop(Reason.NOT_A_PAGE, f"Content-Type {payload.type!r:.80} is neither HTML nor PDF")
    return extract(payload.body, site.content, site.title, payload.charset)


def _is_pdf(payload: Payload) -> bool:
    return payload.type in PDF or (payload.type in UNTOLD and b"%PDF-" in payload.body[:1024])


def _told(whole: _Pages, site: Site, settings: WarcInput) -> Records:
    """A document, or why it is none, after its pages that were lost and how the others had to be read."""
    yield from whole.lost
    if not whole.pages:
        return
    document = _document(whole, site, settings)
    if not isinstance(document, Rejected):
        yield from (Fallback(whole.url, page.fallback) for page in whole.pages if page.fallback is not None)
        for said in _notes(whole.pages):
            what, _, details = said.partition(": ")
            yield Note(whole.url, what, details)
    yield document


def _notes(pages: list[Page]) -> list[str]:
    """What is to be said of the pages, each thing once. The title is the first page's: a chapter may lack it."""
    first, *chapters = [[] if page.note is None else page.note.split("; ") for page in pages]
    said = [one for notes in chapters for one in notes if not one.startswith("title: ")]
    return list(dict.fromkeys([*first, *said]))


def _document(whole: _Pages, site: Site, settings: WarcInput) -> Document | Rejected:
    if whole.size > settings.max_bytes:
        evidence = f"{whole.url}: more than {settings.max_bytes:,} characters of text"
        return Rejected(whole.native, Drop(Reason.TOO_LARGE, evidence, float(whole.size)))
    text = site_pages(_under_headings(whole.pages), site.clean)
    if not text.strip():
        return Rejected(whole.native, Drop(Reason.NO_CONTENT, f"{whole.url}: the site's rules left nothing"))
    return new_document(
        settings.source,
        whole.url,
        text,
        {"site": bundled.tag(settings.site)},
        title=whole.pages[0].title,
        url=whole.url if whole.url != whole.native else None,
        license=settings.license or site.license,
        redistributable=site.redistributable,
        fetched_at=whole.fetched_at,
    )


def _under_headings(pages: list[Page]) -> Iterator[str]:
    """Texts of chapters, each under its title where it does not begin with a heading of its own."""
    for page in pages:
        bare = len(pages) == 1 or page.title is None or page.text.startswith("#")
        yield page.text if bare else f"# {page.title}\n\n{page.text}"
