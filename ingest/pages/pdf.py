"""The text of a PDF: headings by the size of letters, columns in order, no running heads and page numbers."""

import math
import re
import time
from collections import Counter
from dataclasses import dataclass
from typing import Final

import pypdfium2.raw as pdfium
from pypdfium2 import PdfDocument, PdfiumError

from ingest.pages.page import Page, PageNote
from ingest.pages.pdf_lines import Piece, page_lines
from ingest.pages.pdf_text import flow
from lake.decision import Drop, Reason

MAX_BYTES: Final = 200 * 2**20
MAX_PAGES: Final = 3_000
MAX_SECONDS: Final = 300.0
MAX_CHARACTERS: Final = 100_000
"""Of a page."""

FEW: Final = 20
"""A page with an image and fewer characters was scanned."""

EDGE: Final = 3
"""Running heads, running feet and page numbers are among this many lines at the top and at the foot of a page."""

MARGIN: Final = 0.12
"""They are in this share, at the top and at the foot, of the height that the pages use."""

REPEATED: Final = 0.3
"""A line at the edge that this share of the pages has, numbers aside, is a running head or foot."""

PAGE_NUMBER = re.compile(
    r"(?:page|seite|p\.?|-|–|—)?\s?(?:[0-9]{1,4}|[ivxlc]{1,7})(?:\s?(?:of|/|von|-|–|—)\s?[0-9]{0,4})?", re.I
)
DIGITS = re.compile(r"[0-9]+")
IMAGE_DEPTH: Final = 3


@dataclass(frozen=True, slots=True)
class PdfLines:
    """The lines of a page in order; `scanned` if it is an image without text."""

    lines: list[Piece]
    scanned: bool


def pdf_text(
    data: bytes, max_bytes: int = MAX_BYTES, max_pages: int = MAX_PAGES, max_seconds: float = MAX_SECONDS
) -> Page | Drop:
    """Title and text of a PDF.

    A file is dropped if it is over `max_bytes` or `max_pages`, is encrypted or malformed, takes longer than
    `max_seconds`, or has no text; the reason then says whether it was scanned. Notes name single pages that are scanned
    or broken. pdfium serves one thread at a time.
    """
    if len(data) > max_bytes:
        return Drop(Reason.TOO_LARGE, f"a PDF of {len(data):,} bytes; at most {max_bytes:,} are read", float(len(data)))
    try:
        document = PdfDocument(data)
    except PdfiumError as error:
        locked = error.err_code in (pdfium.FPDF_ERR_PASSWORD, pdfium.FPDF_ERR_SECURITY)
        return Drop(Reason.ENCRYPTED_PDF if locked else Reason.MALFORMED_PDF, f"{len(data):,} bytes: {error}")
    try:
        return _text(document, max_pages, max_seconds)
    finally:
        document.close()


def _text(document: PdfDocument, max_pages: int, max_seconds: float) -> Page | Drop:
    pages = len(document)
    if pages > max_pages:
        return Drop(Reason.TOO_LARGE, f"a PDF of {pages:,} pages; at most {max_pages:,} are read", float(pages))
    end = time.monotonic() + max_seconds
    read: list[PdfLines] = []
    broken: list[int] = []
    scanned: list[int] = []
    for number in range(pages):
        if time.monotonic() > end:
            evidence = f"after {max_seconds:g} seconds {number:,} of {pages:,} pages were read"
            return Drop(Reason.TOO_LARGE, evidence, float(pages))
        try:
            page = _read(document, number)
        except PdfiumError:
            broken.append(number + 1)
            continue
        read.append(page)
        if page.scanned:
            scanned.append(number + 1)
    if pages == 0 or len(broken) == pages:
        return Drop(Reason.MALFORMED_PDF, f"none of {pages:,} pages can be read")
    title, text = flow(_without_edges([page.lines for page in read if not page.scanned]))
    characters = len(text)
    if not text:
        images = f"{len(scanned):,} of {pages:,} pages are images, {characters:,} characters of text"
        return Drop(Reason.SCANNED_PDF if scanned else Reason.NO_CONTENT, images, float(characters))
    return Page(_named(document) or title, text, _notes(pages, scanned, broken))


def _read(document: PdfDocument, number: int) -> PdfLines:
    page = document[number]
    try:
        text = page.get_textpage()
        lines = page_lines(text, MAX_CHARACTERS)
        characters = sum(len(line.text) for line in lines)
        images = page.get_objects(filter=[pdfium.FPDF_PAGEOBJ_IMAGE], max_depth=IMAGE_DEPTH)
        return PdfLines(lines, characters < FEW and next(iter(images), None) is not None)
    finally:
        page.close()


def _without_edges(pages: list[list[Piece]]) -> list[list[Piece]]:
    """Pages without page numbers and without the lines at their edges that other pages have there too."""
    heights = [line.middle for lines in pages for line in lines]
    margin = MARGIN * (max(heights) - min(heights)) if heights else 0.0
    inner = (min(heights) + margin, max(heights) - margin) if heights else (0.0, 0.0)
    edges = [_edges(lines, *inner) for lines in pages]
    seen = Counter(key for lines, at in zip(pages, edges, strict=True) for key in {_key(lines[place]) for place in at})
    often = max(2, math.ceil(REPEATED * len(pages)))
    kept = []
    for lines, places in zip(pages, edges, strict=True):
        gone = {at for at in places if seen[_key(lines[at])] >= often or PAGE_NUMBER.fullmatch(lines[at].text.strip())}
        kept.append([line for at, line in enumerate(lines) if at not in gone])
    return kept


def _edges(lines: list[Piece], low: float, high: float) -> list[int]:
    """Places of the topmost and the lowest lines, if they are in the margins."""
    by_height = sorted(range(len(lines)), key=lambda at: -lines[at].middle)
    outer = by_height[:EDGE] + by_height[max(len(by_height) - EDGE, EDGE) :]
    return [at for at in outer if not low < lines[at].middle < high]


def _key(line: Piece) -> tuple[str, int]:
    """Equal lines have equal keys. A title on the first page is larger than the running head that repeats it."""
    return DIGITS.sub("#", " ".join(line.text.split()).casefold()), round(line.size)


def _named(document: PdfDocument) -> str | None:
    """The title in the file's metadata, unless it looks like a file's name, which many programs write there."""
    try:
        title = " ".join(document.get_metadata_value("Title").split())
    except UnicodeDecodeError:
        return None
    if len(title.split()) < 3 or "." in title.split()[-1][1:] or title.casefold().startswith("microsoft"):
        return None
    return title


def _notes(pages: int, scanned: list[int], broken: list[int]) -> tuple[PageNote, ...]:
    notes = []
    for what, numbers in (("scanned pages", scanned), ("broken pages", broken)):
        if numbers:
            first = ", ".join(map(str, numbers[:20])) + (" …" if len(numbers) > 20 else "")
            notes.append(PageNote(what, f"{len(numbers):,} of {pages:,}, without text: {first}"))
    return tuple(notes)
