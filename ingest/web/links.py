"""Links of index pages: by CSS selectors in HTML, by regular expression in JSON or XML, by annotations in a PDF."""

import string
import threading
from collections.abc import Iterator
from contextlib import suppress

import pypdfium2
import pypdfium2.raw as pdfium
from bs4 import BeautifulSoup

from ingest.pages.charset import decode
from ingest.site import Index
from ingest.web.urls import clean_url, is_web, shown_url
from lake.decision import Drop

LONGEST_URI = 4096
MOST_BYTES = 10 * 2**20
MOST_SIGNS = 400_000
"""Bytes, and signs `<`, of HTML in which links are searched for. An element has one or two signs."""

MOST_LINKS = 100_000
"""Of a page; no honest index has more."""

MOST_REFUSED = 100
"""At most this many links of a page that are not URLs are listed; further ones are only counted."""

PDFIUM = threading.Lock()
"""pdfium serves one thread at a time."""


class Links:
    """The links of a page.

    Attributes:
        urls: Links that can be requested, each once, in order.
        refused: http and https links that `clean_url` refuses, as `shown_url` gives them, at most MOST_REFUSED.
        refusals: How many such links there are.
    """

    def __init__(self, base: str, fragment: bool = False) -> None:
        self._base, self._fragment = base, fragment
        self._urls: dict[str, None] = {}
        self.refused: dict[str, None] = {}
        self.refusals = 0

    def add(self, link: str) -> None:
        url = clean_url(link, self._base, self._fragment)
        if url is not None:
            self._urls[url] = None
        elif is_web(link):
            self.refusals += 1
            if len(self.refused) < MOST_REFUSED:
                self.refused[shown_url(link, self._base)] = None

    @property
    def urls(self) -> list[str]:
        return list(self._urls)[:MOST_LINKS]


def index_urls(index: Index) -> Iterator[tuple[tuple[str, ...], str | None]]:
    """Chains of index pages, with `{letter}` and `{page}` filled in. A chain ends at a page without new links.

    With each chain comes the page after its last, if only `paging.most` ends it.
    """
    for url in index.urls:
        for letter in string.ascii_lowercase if "{letter}" in url else ("",):
            filled = url.replace("{letter}", letter)
            if index.paging is None or "{page}" not in filled:
                yield (filled,), None
            else:
                after = index.paging.first + index.paging.step * index.paging.most
                pages = range(index.paging.first, after, index.paging.step)
                chain = tuple(filled.replace("{page}", str(page)) for page in pages)
                yield chain, filled.replace("{page}", str(after))


def too_large(html: bytes) -> str | None:
    """Why HTML is too much for the parser of links; None if it is not."""
    if len(html) > MOST_BYTES:
        return f"{len(html):,} bytes; links are looked for in at most {MOST_BYTES:,}"
    signs = html.count(b"<")
    return f"{signs:,} tags; links are looked for in at most {MOST_SIGNS:,}" if signs > MOST_SIGNS else None


def html_links(html: bytes, charset: str | None, base: str, selector: str, fragment: bool = False) -> Links:
    """The links of the elements that `selector` matches, or the links within them."""
    text = decode(html, charset)
    if isinstance(text, Drop):
        return Links(base)
    page = BeautifulSoup(text, "lxml")
    declared = page.find("base", href=True)
    if declared is not None:
        base = clean_url(str(declared["href"]), base) or base
    links = Links(base, fragment)
    for element in page.select(selector, limit=MOST_LINKS):
        for link in [element] if element.has_attr("href") else element.find_all(href=True):
            links.add(str(link["href"]))
    return links


def listed_links(data: bytes, charset: str | None, base: str, index: Index, fragment: bool = False) -> Links:
    """The links that the index's regular expression matches in JSON, XML or any other text."""
    text, links = decode(data, charset), Links(base, fragment)
    if isinstance(text, str):
        for link in index.listed(text)[:MOST_LINKS]:
            links.add(link)
    return links


def pdf_links(data: bytes, base: str) -> Links:
    """The link annotations of a PDF, in order of pages; none if it cannot be opened."""
    links = Links(base)
    with PDFIUM, suppress(pypdfium2.PdfiumError), pypdfium2.PdfDocument(data) as document:
        for number in range(len(document)):
            with suppress(pypdfium2.PdfiumError):
                page = document[number]
                for uri in _annotations(document, page):
                    links.add(uri)
                page.close()
    return links


def _annotations(document: pypdfium2.PdfDocument, page: pypdfium2.PdfPage) -> Iterator[str]:
    place, link = pdfium.c_int(0), pdfium.FPDF_LINK()
    while pdfium.FPDFLink_Enumerate(page, place, link):
        action = pdfium.FPDFLink_GetAction(link)
        if not action or pdfium.FPDFAction_GetType(action) != pdfium.PDFACTION_URI:
            continue
        length = pdfium.FPDFAction_GetURIPath(document, action, None, 0)
        if 1 < length <= LONGEST_URI:
            buffer = (pdfium.c_char * length)()
            pdfium.FPDFAction_GetURIPath(document, action, buffer, length)
            yield buffer.raw[: length - 1].decode("utf-8", "replace")
