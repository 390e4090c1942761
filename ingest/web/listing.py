"""Which documents a site's index pages list: by page, by letter, by links to the next page, through pages between."""

import asyncio
import re
from collections import deque
from collections.abc import Awaitable, Callable

from ingest.site import Site
from ingest.web.answer import PASSING, Miss, Want, missed
from ingest.web.archive import Archive
from ingest.web.fetchlog import Fetch, Kind
from ingest.web.links import Links, html_links, index_urls, listed_links, pdf_links
from ingest.web.urls import LONGEST, clean_url

MOST_NEXT = 1000
"""Index pages that an index URL leads to by `next` and `more`, itself included."""

MOST_LOST = 3
"""After this many pages of a paged index fail in a row, the rest is left."""

GetIndex = Callable[[str, Want, str], Awaitable[Fetch | None]]
"""Gets an index page by its URL, its type and the selector of its links; None if there is none."""


class Listing:
    """Reads the index pages of one site.

    Attributes:
        led_to: How many documents each index page led to.
        unasked: What index pages lead to and is not requested: links that are not URLs (`bad_url`), and the first index
            page over each bound (`over_limit`) of a list that goes on.
    """

    def __init__(self, site: Site, archive: Archive, get: GetIndex) -> None:
        self._site = site
        self._archive = archive
        self._get = get
        self.led_to: dict[str, int] = {}
        self.unasked: list[Fetch] = []

    async def documents(self) -> list[str]:
        """Documents in the order of the index pages, then seeds."""
        documents: dict[str, None] = {}
        for chain, after in index_urls(self._site.index):
            lost = 0
            for start in chain:
                new = [url for url in await self._listed_from(start) if url not in documents]
                documents.update(dict.fromkeys(new))
                page = self._archive.log.get(self._clean(start))
                lost = lost + 1 if page is not None and page.reason in PASSING else 0
                if lost == MOST_LOST or not (new or lost):
                    break
            else:
                if after is not None:
                    why = f"paging.most is {len(chain):,}, and the list had not ended at {start}"
                    self._leave(self._clean(after), why)
        documents.update((self._clean(url), None) for url in self._site.seeds)
        self.unasked = [row for row in self.unasked if row.url not in self.led_to]
        return [url for url in documents if url not in self.led_to]

    def fits(self, url: str) -> bool:
        """Whether a URL may be a document's."""
        match = self._site.index.match
        return match is None or re.search(match, url) is not None

    async def links(self, page: Fetch, selector: str) -> Links:
        """The links of the elements of a page that a CSS selector matches."""
        base, payload, browser = page.final_url or page.url, self._archive.read(page), self._site.mode == "browser"
        return await asyncio.to_thread(html_links, payload.body, payload.charset, base, selector, browser)

    def refuse(self, page: Fetch, links: Links, kind: Kind, document: str | None = None) -> None:
        """Note those links of a page that lead to documents or index pages, but are not URLs."""
        evidence = f"{links.refusals:,} links on {page.url} are not URLs of at most {LONGEST:,} characters"
        for url in links.refused:
            link_kind: Kind = "index" if kind == "document" and self._leads_on(url) else kind
            if link_kind != "document" or self.fits(url):
                row = Fetch.of_miss(missed(url, Miss.BAD_URL, evidence), url, link_kind, document)
                self.unasked.append(row.model_copy(update={"at": page.at}))

    def _leave(self, url: str, why: str) -> None:
        """Note an index page over a bound."""
        self.unasked.append(Fetch.of_miss(missed(url, Miss.OVER_LIMIT, why), url, "index", None))

    def _leads_on(self, url: str) -> bool:
        more = self._site.index.more
        return more is not None and re.search(more, url) is not None

    def _clean(self, url: str) -> str:
        return clean_url(url, fragment=self._site.mode == "browser") or url

    async def _listed_from(self, start: str) -> list[str]:
        """Documents on an index page and on the further ones that it leads to."""
        index, documents = self._site.index, dict[str, None]()
        waiting = deque([self._clean(start)])
        known = set(waiting)
        while waiting:
            url = waiting.popleft()
            page = await self._page(url, index.links, "pdf" if index.pdf else "list" if index.find else "html")
            if page is None:
                continue
            links = await self._index_links(page)
            self.refuse(page, links, "document" if index.through is None else "index")
            onward = [link for link in links.urls if self._leads_on(link)]
            listed = [link for link in links.urls if not self._leads_on(link)]
            if index.next is not None:
                following = await self.links(page, index.next)
                self.refuse(page, following, "index")
                onward += following.urls[:1]
            for link in onward:
                if link in known:
                    continue
                if len(known) == MOST_NEXT:
                    why = f"{start} leads to {MOST_NEXT:,} index pages, and the list had not ended at {url}"
                    self._leave(link, why)
                    break
                known.add(link)
                waiting.append(link)
            if index.through is not None:
                listed = await self._through([link for link in listed if link not in self.led_to], index.through)
            documents.update(dict.fromkeys(self._fit(url, listed)))
        return list(documents)

    async def _through(self, lists: list[str], selector: str) -> list[str]:
        """Documents on the pages between."""
        documents: list[str] = []
        for url in lists:
            page = await self._page(url, selector, "html")
            if page is not None:
                links = await self.links(page, selector)
                self.refuse(page, links, "document")
                documents += self._fit(url, links.urls)
        return documents

    def _fit(self, url: str, links: list[str]) -> list[str]:
        """The links of an index page that lead to documents; `led_to` counts them."""
        documents = [link for link in links if self.fits(link)]
        self.led_to[url] = len(documents)
        return documents

    async def _page(self, url: str, links: str, want: Want) -> Fetch | None:
        """An index page. A browser waits until the page has `links`."""
        self.led_to[url] = 0
        return await self._get(url, want, links)

    async def _index_links(self, page: Fetch) -> Links:
        index, base = self._site.index, page.final_url or page.url
        if index.pdf:
            return await asyncio.to_thread(pdf_links, self._archive.read(page).body, base)
        if index.find is None:
            return await self.links(page, index.links)
        payload, browser = self._archive.read(page), self._site.mode == "browser"
        return await asyncio.to_thread(listed_links, payload.body, payload.charset, base, index, browser)
