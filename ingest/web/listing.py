"""Which documents a site's index pages list: by page, by letter, by links to the next, through pages between."""

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
"""Index pages that one leads on to, by `next` and `more`, itself included."""

MOST_LOST = 3
"""Pages of a paged index in a row that fail; then the rest is left."""

GetIndex = Callable[[str, Want, str], Awaitable[Fetch | None]]
"""Gets an index page by its URL, what it is and the selector of its links; None where there is none."""


class Listing:
    """Reads the index pages of one site.

    Attributes:
        led_to: How many documents each index page led to.
        unasked: What index pages lead to and is not asked for, by URL: links that are no URLs (`bad_url`), and the
            first index page over each bound (`over_limit`), where a list goes on.
    """

    def __init__(self, site: Site, archive: Archive, get: GetIndex) -> None:
        self._site = site
        self._archive = archive
        self._get = get
        self.led_to: dict[str, int] = {}
        self.unasked: list[Fetch] = []

    async def documents(self) -> list[str]:
        """Documents in the order that index pages give, then seeds."""
        found: dict[str, None] = {}
        for chain, after in index_urls(self._site.index):
            lost = 0
            for given in chain:
                new = [url for url in await self._listed_from(given) if url not in found]
                found.update(dict.fromkeys(new))
                page = self._archive.log.get(self._clean(given))
                lost = lost + 1 if page is not None and page.reason in PASSING else 0
                if lost == MOST_LOST or not (new or lost):
                    break
            else:
                if after is not None:
                    self._leave(
                        self._clean(after), f"paging.most is {len(chain):,}, and the list had not ended at {given}"
                    )
        found.update((self._clean(url), None) for url in self._site.seeds)
        self.unasked = [row for row in self.unasked if row.url not in self.led_to]
        return [url for url in found if url not in self.led_to]

    def fits(self, url: str) -> bool:
        """Whether a URL may be a document's."""
        match = self._site.index.match
        return match is None or re.search(match, url) is not None

    async def links(self, page: Fetch, selector: str) -> Links:
        """What the elements of a page that a CSS selector finds lead to."""
        base, payload, browser = page.final_url or page.url, self._archive.read(page), self._site.mode == "browser"
        return await asyncio.to_thread(html_links, payload.body, payload.charset, base, selector, browser)

    def refuse(self, page: Fetch, links: Links, kind: Kind, document: str | None = None) -> None:
        """Note those links of a page that are no URLs and would be wanted."""
        said = f"{links.refusals:,} links are no URL of at most {LONGEST:,} characters to ask a host for, on {page.url}"
        for url in links.refused:
            own: Kind = "index" if kind == "document" and self._leads_on(url) else kind
            if own != "document" or self.fits(url):
                row = Fetch.of_miss(missed(url, Miss.BAD_URL, said), url, own, document)
                self.unasked.append(row.model_copy(update={"at": page.at}))

    def _leave(self, url: str, why: str) -> None:
        """Note an index page over a bound."""
        self.unasked.append(Fetch.of_miss(missed(url, Miss.OVER_LIMIT, why), url, "index", None))

    def _leads_on(self, url: str) -> bool:
        more = self._site.index.more
        return more is not None and re.search(more, url) is not None

    def _clean(self, url: str) -> str:
        return clean_url(url, fragment=self._site.mode == "browser") or url

    async def _listed_from(self, given: str) -> list[str]:
        """Documents on an index page and on those that it leads on to."""
        index, found = self._site.index, dict[str, None]()
        waiting = deque([self._clean(given)])
        known = set(waiting)
        while waiting:
            url = waiting.popleft()
            page = await self._page(url, index.links, "pdf" if index.pdf else "list" if index.find else "html")
            if page is None:
                continue
            links = await self._index_links(page)
            self.refuse(page, links, "document" if index.through is None else "index")
            onward = [one for one in links.urls if self._leads_on(one)]
            listed = [one for one in links.urls if not self._leads_on(one)]
            if index.next is not None:
                following = await self.links(page, index.next)
                self.refuse(page, following, "index")
                onward += following.urls[:1]
            for one in onward:
                if one not in known and len(known) == MOST_NEXT:
                    self._leave(one, f"{given} leads to {MOST_NEXT:,} index pages, and the list had not ended at {url}")
                    break
                if one not in known:
                    known.add(one)
                    waiting.append(one)
            if index.through is not None:
                listed = await self._through([one for one in listed if one not in self.led_to], index.through)
            found.update(dict.fromkeys(self._fit(url, listed)))
        return list(found)

    async def _through(self, lists: list[str], selector: str) -> list[str]:
        """Documents on the pages between."""
        found: list[str] = []
        for url in lists:
            page = await self._page(url, selector, "html")
            if page is not None:
                links = await self.links(page, selector)
                self.refuse(page, links, "document")
                found += self._fit(url, links.urls)
        return found

    def _fit(self, url: str, links: list[str]) -> list[str]:
        """Those of an index page's links that are documents; counted."""
        fit = [one for one in links if self.fits(one)]
        self.led_to[url] = len(fit)
        return fit

    async def _page(self, url: str, links: str, want: Want) -> Fetch | None:
        """An index page; one that a browser builds is there when it has `links`."""
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
