"""The text of a PDF: headings by the size of letters, columns in order, no running heads and page numbers."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pypdfium2.raw as pdfium
from pypdfium2 import PdfDocument, PdfiumError

from ingest.fidelity.ledger import Ledger
from ingest.pages.page import Page, PageNote
from ingest.pages.pdf_edges import without_edges
from ingest.pages.pdf_lines import Lines, page_lines
from ingest.pages.pdf_text import flow
from lake.decision import Drop, Reason

MAX_BYTES: Final = 200 * 2**20
MAX_PAGES: Final = 3_000
MAX_SECONDS: Final = 300.0
MAX_CHARACTERS: Final = 100_000
"""Of a page."""

FEW: Final = 20
"""A page with an image and fewer characters was scanned."""

IMAGE_DEPTH: Final = 3


@dataclass(frozen=True, slots=True)
class PdfPage:
    """A page; `scanned` if it is an image without text, `cut` if it has more than MAX_CHARACTERS."""

    number: int
    read: Lines
    scanned: bool
    cut: bool


def pdf_text(
    data: bytes,
    max_bytes: int = MAX_BYTES,
    max_pages: int = MAX_PAGES,
    max_seconds: float = MAX_SECONDS,
    ledger: Ledger | None = None,
) -> Page | Drop:
    """Title and text of a PDF.

    A file is dropped if it is over `max_bytes` or `max_pages`, is encrypted or malformed, takes longer than
    `max_seconds`, or has no text; the reason then says whether it was scanned. Notes name pages that are scanned,
    broken or cut, and count characters that no font explains, which become U+FFFD. Text in another direction than most
    of a page follows the page's text. A ledger gets running heads, page numbers, contents and powers. pdfium serves one
    thread at a time.
    """
    if len(data) > max_bytes:
        return Drop(Reason.TOO_LARGE, f"a PDF of {len(data):,} bytes; at most {max_bytes:,} are read", float(len(data)))
    try:
        document = PdfDocument(data)
    except PdfiumError as error:
        locked = error.err_code in (pdfium.FPDF_ERR_PASSWORD, pdfium.FPDF_ERR_SECURITY)
        return Drop(Reason.ENCRYPTED_PDF if locked else Reason.MALFORMED_PDF, f"{len(data):,} bytes: {error}")
    try:
        return _text(document, max_pages, max_seconds, ledger)
    finally:
        document.close()


def _text(document: PdfDocument, max_pages: int, max_seconds: float, ledger: Ledger | None) -> Page | Drop:
    pages = len(document)
    if pages > max_pages:
        return Drop(Reason.TOO_LARGE, f"a PDF of {pages:,} pages; at most {max_pages:,} are read", float(pages))
    end = time.monotonic() + max_seconds
    read: list[PdfPage] = []
    broken: list[int] = []
    scanned: list[int] = []
    for number in range(pages):
        if time.monotonic() > end:
            evidence = f"after {max_seconds:g} seconds {number:,} of {pages:,} pages were read"
            return Drop(Reason.TOO_LARGE, evidence, float(pages))
        try:
            page = _read(document, number, ledger)
        except PdfiumError:
            broken.append(number + 1)
            continue
        read.append(page)
        if page.scanned:
            scanned.append(number + 1)
    if pages == 0 or len(broken) == pages:
        return Drop(Reason.MALFORMED_PDF, f"none of {pages:,} pages can be read")
    shown = [page for page in read if not page.scanned]
    inner = without_edges([page.read.lines for page in shown], [page.number for page in shown], ledger)
    title, text = flow([lines + page.read.turned for lines, page in zip(inner, shown, strict=True)], ledger)
    characters = len(text)
    if not text:
        images = f"{len(scanned):,} of {pages:,} pages are images, {characters:,} characters of text"
        return Drop(Reason.SCANNED_PDF if scanned else Reason.NO_CONTENT, images, float(characters))
    return Page(_named(document) or title, text, _notes(pages, scanned, broken, read))


def _read(document: PdfDocument, number: int, ledger: Ledger | None) -> PdfPage:
    page = document[number]
    try:
        text = page.get_textpage()
        lines = page_lines(text, MAX_CHARACTERS, ledger)
        characters = sum(len(line.text) for line in lines.lines)
        images = page.get_objects(filter=[pdfium.FPDF_PAGEOBJ_IMAGE], max_depth=IMAGE_DEPTH)
        scanned = characters < FEW and next(iter(images), None) is not None
        return PdfPage(number + 1, lines, scanned, text.count_chars() > MAX_CHARACTERS)
    finally:
        page.close()


def _named(document: PdfDocument) -> str | None:
    """The title in the file's metadata, unless it looks like a file's name, which many programs write there."""
    try:
        title = " ".join(document.get_metadata_value("Title").split())
    except UnicodeDecodeError:
        return None
    if len(title.split()) < 3 or "." in title.split()[-1][1:] or title.casefold().startswith("microsoft"):
        return None
    return title


def _notes(pages: int, scanned: list[int], broken: list[int], read: Sequence[PdfPage] = ()) -> tuple[PageNote, ...]:
    notes = []
    for what, numbers in (("scanned pages", scanned), ("broken pages", broken)):
        if numbers:
            first = ", ".join(map(str, numbers[:20])) + (" …" if len(numbers) > 20 else "")
            notes.append(PageNote(what, f"{len(numbers):,} of {pages:,}, without text: {first}"))
    cut = [page.number for page in read if page.cut]
    if cut:
        notes.append(PageNote("cut pages", f"more than {MAX_CHARACTERS:,} characters: {', '.join(map(str, cut[:20]))}"))
    unreadable = sum(page.read.unreadable for page in read)
    if unreadable:
        notes.append(PageNote("unreadable characters", f"{unreadable:,}, written as U+FFFD: no font explains them"))
    return tuple(notes)
