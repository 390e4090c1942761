"""Links of index pages: of HTML by CSS selectors, of a PDF by its link annotations."""

import string
import threading
from collections.abc import Iterator

import pypdfium2
import pypdfium2.raw as pdfium
import soupsieve
from bs4 import BeautifulSoup

from ingest.pages.charset import decode
from ingest.site import Index, Site
from ingest.web.urls import clean_url
from lake.decision import Drop
from lake.error import UserError

LONGEST_URI = 4096
MOST_BYTES = 10 * 2**20
MOST_SIGNS = 400_000
"""Of HTML whose links are wanted: bytes, and signs `<`, of which an element has one or two."""

MOST_LINKS = 100_000
"""Of one page; no honest index has more."""

PDFIUM = threading.Lock()
"""pdfium serves one thread at a time."""


def index_urls(index: Index) -> Iterator[tuple[str, ...]]:
    """Chains of index pages: of each only as many are visited as have new links. `{letter}` and `{page}` are filled."""
    for url in index.urls:
        for filled in (url.replace("{letter}", one) for one in string.ascii_lowercase) if "{letter}" in url else (url,):
            if index.paging is None or "{page}" not in filled:
                yield (filled,)
            else:
                last = index.paging.first + index.paging.step * index.paging.most
                pages = range(index.paging.first, last, index.paging.step)
                yield tuple(filled.replace("{page}", str(page)) for page in pages)


def check_selectors(tag: str, site: Site) -> None:
    """Raises UserError where a CSS selector of a site that the crawl uses is wrong."""
    index = site.index
    for key, selector in (
        ("index.links", index.links),
        ("index.next", index.next),
        ("index.through", index.through),
        ("chapters", site.chapters),
    ):
        try:
            soupsieve.compile(selector or "a")
        except soupsieve.SelectorSyntaxError as error:
            first = str(error).split("\n", 1)[0]
            raise UserError(f"{tag}: {key}: {selector!r} is not a CSS selector: {first}") from None


def too_large(html: bytes) -> str | None:
    """Why HTML is more than a parser should be given, or None."""
    if len(html) > MOST_BYTES:
        return f"{len(html):,} bytes; links are looked for in at most {MOST_BYTES:,}"
    signs = html.count(b"<")
    return f"{signs:,} tags; links are looked for in at most {MOST_SIGNS:,}" if signs > MOST_SIGNS else None


def html_links(html: bytes, charset: str | None, base: str, selector: str, fragment: bool = False) -> list[str]:
    """URLs that the elements which `selector` finds lead to, or the links within them; each once, in order."""
    text = decode(html, charset)
    if isinstance(text, Drop):
        return []
    page = BeautifulSoup(text, "lxml")
    given = page.find("base", href=True)
    if given is not None:
        base = clean_url(str(given["href"]), base) or base
    found: dict[str, None] = {}
    for element in page.select(selector, limit=MOST_LINKS):
        for link in [element] if element.has_attr("href") else element.find_all(href=True):
            url = clean_url(str(link["href"]), base, fragment)
            if url is not None:
                found[url] = None
    return list(found)


def listed_links(data: bytes, charset: str | None, base: str, index: Index, fragment: bool = False) -> list[str]:
    """URLs that the index's regular expression finds in JSON, XML or whatever text; each once, in order."""
    text = decode(data, charset)
    if isinstance(text, Drop):
        return []
    urls = (clean_url(link, base, fragment) for link in index.listed(text)[:MOST_LINKS])
    return list(dict.fromkeys(url for url in urls if url is not None))


def pdf_links(data: bytes, base: str) -> list[str]:
    """URLs of a PDF's link annotations, each once, in order of pages; none where it cannot be opened."""
    with PDFIUM:
        return _pdf_links(data, base)


def _pdf_links(data: bytes, base: str) -> list[str]:
    found: dict[str, None] = {}
    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError:
        return []
    with document:
        for number in range(len(document)):
            try:
                page = document[number]
            except pypdfium2.PdfiumError:
                continue
            for uri in _annotations(document, page):
                url = clean_url(uri, base)
                if url is not None:
                    found[url] = None
            page.close()
    return list(found)[:MOST_LINKS]


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
