"""The crawl of one site: documents and chapters. It asks for pages through a function and knows no engine.

All that a crawl knows stands in its folder, so one that was killed goes on where it was: a page in a WARC is not asked
for again, and a page that is not is.
"""

import asyncio
import hashlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import PurePath
from typing import Any

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, field_validator

from ingest.site import Site, load_site
from ingest.web.addresses import names_private
from ingest.web.answer import PASSING, Answer, Ask, Miss, Want, missed
from ingest.web.archive import Archive, Group, Volume
from ingest.web.fetchlog import Fetch, Kind
from ingest.web.http import FetchSettings
from ingest.web.links import too_large
from ingest.web.listing import Listing
from ingest.web.urls import clean_url, domain, host_of, origin
from lake import bundled
from lake.error import UserError

GetPage = Callable[[Ask], Awaitable[Answer]]


class CrawlSettings(FetchSettings):
    """Which sites are fetched, to where, and how.

    Attributes:
        sites: Tags of sites that come with the project, or paths of YAML files of one's own.
        folder: Below the data folder; each site has its own in it.
        fetchers: Ray actors that ask; a host belongs to exactly one.
        concurrency: Documents of one site that are in work at a time.
        limit: Documents of each site at the most.
        fresh_hours: With --refresh, pages younger than this are not asked for again.
        volume_mb: A WARC file over this size is closed after its last document.
    """

    sites: tuple[str, ...] = Field(min_length=1)
    folder: str = "crawl"
    fetchers: PositiveInt = 2
    concurrency: PositiveInt = 4
    limit: PositiveInt | None = None
    fresh_hours: NonNegativeFloat = 24
    volume_mb: PositiveFloat = 256

    @field_validator("folder")
    @classmethod
    def _below_data(cls, folder: str) -> str:
        path = PurePath(folder)
        if not path.parts or path.is_absolute() or ".." in path.parts:
            raise ValueError(f"{folder!r} is not a folder below the data folder, such as crawl")
        return folder

    @field_validator("sites")
    @classmethod
    def _apart(cls, sites: tuple[str, ...]) -> tuple[str, ...]:
        tags = [bundled.tag(site) for site in sites]
        for name in tags:
            if tags.count(name) > 1:
                raise ValueError(f"{name} is there twice; every site has a folder of its own")
        return sites

    def chosen(self, names: Sequence[str] = ()) -> dict[str, Site]:
        """The sites named, or all, by what `sites` calls them.

        Raises:
            UserError: a site is not one of `sites`, or its file is missing or wrong.
        """
        known = {bundled.tag(site): site for site in self.sites}
        for name in names:
            if bundled.tag(name) not in known:
                raise UserError(f"{name}: not in crawl.sites of the config, which has {', '.join(known)}")
        tags = dict.fromkeys(map(bundled.tag, names)) if names else known
        return {known[tag]: load_site(known[tag]) for tag in tags}


class SiteCrawl:
    """One crawl of one site into its archive.

    `fetch` gets a page, `told` hears how many documents were finished and how many more were found.
    """

    def __init__(
        self,
        site: Site,
        settings: CrawlSettings,
        archive: Archive,
        fetch: GetPage,
        refresh: bool = False,
        told: Callable[[int, int], None] = lambda done, found: None,
    ) -> None:
        self._site = site
        self._settings = settings
        self._archive = archive
        self._fetch = fetch
        self._refresh = refresh
        self._told = told
        self._log = archive.log
        named = [clean_url(url) or url for url in (*site.index.urls, *site.seeds)]
        self._own = {domain(host_of(url)) for url in named}
        self._private = {origin(url) for url in named if names_private(host_of(url))}
        self._listing = Listing(site, archive, lambda url, want, links: self._get(url, "index", want, None, links))
        self._begun: dict[str, asyncio.Event] = {}
        self._owner: dict[str, str] = {}
        self._chapters: dict[str, list[str]] = {}
        self._requests = 0

    async def run(self) -> dict[str, Any]:
        """Fetch what is missing, and with `refresh` what is stale.

        Returns:
            Figures for the manifest: documents listed now, how many each index page led to, requests, seconds; and as
            `unasked` the rows of FETCH of all that is listed and was not asked for, over a limit or no URL.
        """
        started = time.monotonic()
        self._lists = [self._archive.volume("index", self._room)]
        listed = await self._listing.documents()
        await self._let_go(set(listed))
        documents = self._known(listed)
        wanted = documents[: self._settings.limit]
        self._told(0, len(wanted))
        self._owner |= {url: url for url in wanted}
        await self._lanes(wanted)
        self._archive.write_superseded(self._pages())
        for volume in self._lists:
            volume.close()
        why, over = f"crawl.limit is {self._settings.limit}", documents[len(wanted) :]
        left = [Fetch.of_miss(missed(url, Miss.OVER_LIMIT, why), url, "document", url) for url in over]
        return {
            "listed": len(listed),
            "unasked": self._listing.unasked + left,
            "index": self._listing.led_to,
            "requests": self._requests,
            "refresh": self._refresh,
            "seconds": round(time.monotonic() - started, 2),
        }

    async def _let_go(self, listed: set[str]) -> None:
        """Documents that an earlier crawl kept and `index.match` does not let in now are gone, with their chapters."""
        kept = [line for line in self._log if line.kept and line.kind in ("document", "chapter")]
        documents = {line.url for line in kept if line.kind == "document"} - listed
        gone = {url for url in documents if not self._listing.fits(url)}
        for line in kept:
            document = line.document or line.url
            if document in gone:
                miss = missed(line.url, Miss.GONE, f"{document} does not fit index.match {self._site.index.match!r}")
                await self._archive.store_miss(self._pages(), miss, line.url, line.kind, document)

    def _known(self, listed: list[str]) -> list[str]:
        """Documents to get: those listed, then what an earlier crawl kept. Notes whose pages are kept."""
        found = dict.fromkeys(listed)
        for line in self._log:
            if line.kept and line.kind in ("document", "chapter"):
                document = line.document or line.url
                self._owner |= {line.url: document, line.final_url or line.url: document}
                if line.kind == "chapter":
                    self._chapters.setdefault(document, []).append(line.url)
                elif line.url not in self._listing.led_to:
                    found[line.url] = None
        return list(found)

    @property
    def _room(self) -> int:
        return int(self._settings.volume_mb * 2**20)

    def _pages(self) -> Volume:
        """The WARC file of all that is no page of a document. A full one stays open for what is on its way to it."""
        if self._lists[-1].size >= self._room:
            self._lists.append(self._archive.volume("index", self._room))
        return self._lists[-1]

    # Documents -------------------------------------------------------------------------------------------------------

    async def _lanes(self, documents: list[str]) -> None:
        """Some documents at a time, each lane with a WARC file of its own, so that a document's pages stand together.

        A lane that goes on with a file first finishes the document at its end.
        """
        volumes = [self._archive.volume(f"lane{lane:02d}", self._room) for lane in range(self._settings.concurrency)]
        last = self._archive.last_documents()
        waiting = dict.fromkeys(documents)
        firsts = [last.get(volume.path.name) for volume in volumes]
        for first in firsts:
            waiting.pop(first or "", None)
        queue = deque(waiting)
        lanes = zip(range(len(volumes)), volumes, firsts, strict=True)
        await asyncio.gather(
            *(self._lane(lane, volume, first if first in documents else None, queue) for lane, volume, first in lanes)
        )

    async def _lane(self, lane: int, volume: Volume, first: str | None, queue: deque[str]) -> None:
        while first is not None or queue:
            document = first or queue.popleft()
            first = None
            await self._document(document, volume)
            self._told(1, 0)
            if volume.size >= self._room:
                volume.close()
                volume = self._archive.volume(f"lane{lane:02d}", self._room)
        volume.close()

    async def _document(self, url: str, volume: Volume) -> None:
        """Get a document's page, or its first one and its chapters."""
        self._begun[url] = asyncio.Event()
        try:
            await self._document_pages(Group(self._archive, volume, url), url)
        finally:
            self._settle(url)

    async def _turn(self, document: str) -> None:
        """Wait for documents that were begun before: a page to which two lead belongs to the first."""
        while document in self._begun and (first := next(iter(self._begun))) != document:
            await self._begun[first].wait()

    def _settle(self, document: str) -> None:
        """Let later documents have their turn: this one knows its pages."""
        if document in self._begun:
            self._begun.pop(document).set()

    async def _document_pages(self, group: Group, url: str) -> None:
        site = self._site
        first = await self._get(url, "document", "pdf" if site.mode == "pdf" else "html", group, site.wait_for)
        links: list[str] = []
        if first is not None and site.chapters is not None:
            found = await self._listing.links(first, site.chapters)
            self._listing.refuse(first, found, "chapter", url)
            links = found.urls
            await self._turn(url)
            # What is the first page, or belongs to another document, is no chapter of this one.
            others = [link for link in links if link not in (url, first.final_url)]
            chapters = [link for link in others if self._owner.setdefault(link, url) == url]
            self._settle(url)
            group.taken |= {url, first.final_url or url, *chapters}
            for link in chapters:
                page = await self._get(link, "chapter", "html", group, None)
                if page is not None:
                    group.taken.add(page.final_url or link)
        for old in self._chapters.get(url, ()):
            if old not in links:
                gone = missed(old, Miss.GONE, f"{url} does not lead to it any more")
                await self._archive.store_miss(self._pages(), gone, old, "chapter", url)
        group.finish()

    # Pages -----------------------------------------------------------------------------------------------------------

    async def _get(self, url: str, kind: Kind, want: Want, group: Group | None, wait_for: str | None) -> Fetch | None:
        """A page from the archive, or else from the web to the archive; None where there is none, which is logged."""
        known = self._log.get(url)
        if known is not None and known.reason is Miss.GONE:
            known = self._back(url, kind, group)
        old = known if known is not None and known.kept else None
        if known is not None and not self._stale(known):
            if old is not None and group is not None:
                return group.keep(old)
            return old
        browser = self._site.mode == "browser" and want == "html"
        ask = Ask(
            url,
            want,
            self._site.rate,
            origin(url) in self._private,
            etag=old.etag if old is not None and not browser else None,
            last_modified=old.last_modified if old is not None and not browser else None,
            browser=browser,
            wait_for=wait_for if browser else None,
        )
        answer = await self._follow(ask, group)
        searched = kind == "index" or (kind == "document" and self._site.chapters is not None)
        if want == "html" and searched and answer.miss is None and (why := too_large(answer.body)) is not None:
            answer = answer.as_miss(Miss.TOO_LARGE, why)
        if answer.miss is not None:
            return await self._missed(answer, url, kind, group, old)
        if old is not None and (answer.status == 304 or hashlib.sha256(answer.body).hexdigest() == old.sha256):
            await self._archive.store_revisit(self._pages(), answer, old)
            same = old.model_copy(update={"at": answer.at, "evidence": None})
            self._log.add(same)
            return group.keep(same) if group is not None else same
        if group is None:
            return await self._archive.store(self._pages(), answer, url, kind)
        return await group.store(answer, url, kind)

    def _back(self, url: str, kind: Kind, group: Group | None) -> Fetch | None:
        """The page of a URL to which nothing led any more and something does again, if it is to be the same page."""
        page = self._log.page(url)
        if page is None or (page.kind, page.document) != (kind, group.document if group is not None else None):
            return None
        self._log.add(page)
        return page

    def _stale(self, known: Fetch) -> bool:
        if not known.kept and known.reason in PASSING:
            return True
        return self._refresh and datetime.now(UTC) - known.at >= timedelta(hours=self._settings.fresh_hours)

    async def _missed(
        self, answer: Answer, url: str, kind: Kind, group: Group | None, old: Fetch | None
    ) -> Fetch | None:
        """An old page stays where its host only fails to give it now."""
        if old is not None and answer.miss in PASSING:
            await self._archive.store_other(self._pages(), answer)
            kept = old.model_copy(update={"evidence": f"not refreshed: {answer.miss}: {answer.evidence}"})
            self._log.add(kept)
            return group.keep(kept) if group is not None else kept
        document = group.document if group is not None else None
        await self._archive.store_miss(self._pages(), answer, url, kind, document)
        return None

    async def _follow(self, ask: Ask, group: Group | None) -> Answer:
        """The answer at the end of redirects. Each is asked for like any page, by the host it leads to.

        All responses before it are stored here, each redirect before it is followed.
        """
        seen = [ask.url]
        while True:
            self._requests += 1
            answer = await self._fetch(ask)
            await self._archive.store_before(self._pages(), answer)
            if answer.location is None:
                if answer.status == 304 and ask.etag is None and ask.last_modified is None:
                    return answer.as_miss(Miss.REFUSED, "status 304, which was not asked for")
                return answer
            target, way = answer.location, f"{' → '.join(seen)} → {answer.location}"
            if not ask.browser:
                target = target.partition("#")[0]
            if target in seen:
                return answer.as_miss(Miss.REDIRECT_LOOP, way)
            if len(seen) > self._settings.max_redirects:
                return answer.as_miss(Miss.TOO_MANY_REDIRECTS, way)
            if domain(host_of(target)) not in self._own | {domain(host_of(ask.url))}:
                return answer.as_miss(Miss.OFF_SITE, way)
            if group is not None:
                await self._turn(group.document)
                if target in group.taken or self._owner.setdefault(target, group.document) != group.document:
                    return answer.as_miss(Miss.SAME_PAGE, way)
            await self._archive.store_other(self._pages(), answer)
            seen.append(target)
            ask = replace(ask, url=target, private=origin(target) in self._private)
