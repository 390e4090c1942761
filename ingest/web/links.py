"""Links of index pages: of HTML by CSS selectors, of a PDF by its link annotations."""

import string
import threading
from collections.abc import Iterator

import pypdfium2
import pypdfium2.raw as pdfium
from bs4 import BeautifulSoup

from ingest.pages.charset import decode
from ingest.site import Index
from ingest.web.urls import clean_url, is_web, told_url
from lake.decision import Drop

LONGEST_URI = 4096
MOST_BYTES = 10 * 2**20
MOST_SIGNS = 400_000
"""Of HTML whose links are wanted: bytes, and signs `<`, of which an element has one or two."""

MOST_LINKS = 100_000
"""Of one page; no honest index has more."""

MOST_REFUSED = 100
"""Links of one page that are no URLs and are told one by one; further ones are only counted."""

PDFIUM = threading.Lock()
"""pdfium serves one thread at a time."""


class Links:
    """The links of one page.

    Attributes:
        urls: What can be asked for, each once, in order.
        refused: http and https links that `clean_url` refuses, as `told_url` shows them, at most MOST_REFUSED.
        refusals: How many such links there are.
    """

    def __init__(self, base: str, fragment: bool = False) -> None:
        self._base = base
        self._fragment = fragment
        self._urls: dict[str, None] = {}
        self._refused: dict[str, None] = {}
        self.refusals = 0

    def add(self, link: str) -> None:
        url = clean_url(link, self._base, self._fragment)
        if url is not None:
            self._urls[url] = None
        elif is_web(link):
            self.refusals += 1
            if len(self._refused) < MOST_REFUSED:
                self._refused[told_url(link, self._base)] = None

    @property
    def urls(self) -> list[str]:
        return list(self._urls)[:MOST_LINKS]

    @property
    def refused(self) -> list[str]:
        return list(self._refused)


def index_urls(index: Index) -> Iterator[tuple[tuple[str, ...], str | None]]:
    """Chains of index pages: of each only as many are visited as have new links. `{letter}` and `{page}` are filled.

    With each comes the page after its last, where only `paging.most` ends it.
    """
    for url in index.urls:
        for filled in (url.replace("{letter}", one) for one in string.ascii_lowercase) if "{letter}" in url else (url,):
            if index.paging is None or "{page}" not in filled:
                yield (filled,), None
            else:
                after = index.paging.first + index.paging.step * index.paging.most
                pages = range(index.paging.first, after, index.paging.step)
                chain = tuple(filled.replace("{page}", str(page)) for page in pages)
                yield chain, filled.replace("{page}", str(after))


def too_large(html: bytes) -> str | None:
    """Why HTML is more than a parser should be given, or None."""
    if len(html) > MOST_BYTES:
        return f"{len(html):,} bytes; links are looked for in at most {MOST_BYTES:,}"
    signs = html.count(b"<")
    return f"{signs:,} tags; links are looked for in at most {MOST_SIGNS:,}" if signs > MOST_SIGNS else None


def html_links(html: bytes, charset: str | None, base: str, selector: str, fragment: bool = False) -> Links:
    """What the elements that `selector` finds lead to, or the links within them."""
    text = decode(html, charset)
    if isinstance(text, Drop):
        return Links(base)
    page = BeautifulSoup(text, "lxml")
    given = page.find("base", href=True)
    if given is not None:
        base = clean_url(str(given["href"]), base) or base
    found = Links(base, fragment)
    for element in page.select(selector, limit=MOST_LINKS):
        for link in [element] if element.has_attr("href") else element.find_all(href=True):
            found.add(str(link["href"]))
    return found


def listed_links(data: bytes, charset: str | None, base: str, index: Index, fragment: bool = False) -> Links:
    """What the index's regular expression finds in JSON, XML or whatever text."""
    text, found = decode(data, charset), Links(base, fragment)
    if isinstance(text, str):
        for link in index.listed(text)[:MOST_LINKS]:
            found.add(link)
    return found


def pdf_links(data: bytes, base: str) -> Links:
    """A PDF's link annotations, in order of pages; none where it cannot be opened."""
    with PDFIUM:
        return _pdf_links(data, base)


def _pdf_links(data: bytes, base: str) -> Links:
    found = Links(base)
    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError:
        return found
    with document:
        for number in range(len(document)):
            try:
                page = document[number]
            except pypdfium2.PdfiumError:
                continue
            for uri in _annotations(document, page):
                found.add(uri)
            page.close()
    return found


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
