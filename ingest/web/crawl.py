"""The crawl of one site: documents and chapters. It gets pages from a function and knows no engine.

Everything that a crawl knows is in its folder, so that a killed crawl resumes: only pages that no WARC holds are
requested again.
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

from pydantic import Field, field_validator

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
from lake.values import Amount, Megabytes, Text, Wait, Workers

GetPage = Callable[[Ask], Awaitable[Answer]]


class CrawlSettings(FetchSettings):
    """Which sites are crawled, where their pages go, and how they are requested.

    Attributes:
        sites: Tags of sites that come with the project, or paths of your own YAML files.
        folder: A folder below the data folder, with a folder for each site.
        fetchers: Ray actors that send requests; a host belongs to exactly one.
        concurrency: Documents of a site that are fetched at a time.
        limit: Documents of each site, at most.
        fresh_hours: With --refresh, pages younger than this are not requested again.
        volume_mb: A WARC file over this size is closed after its current document.
    """

    sites: tuple[Text, ...] = Field(min_length=1)
    folder: Text = "crawl"
    fetchers: Workers = 2
    concurrency: Workers = 4
    limit: Amount | None = None
    fresh_hours: Wait = 24
    volume_mb: Megabytes = 256

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
                raise ValueError(f"{name} is there twice; two sites cannot share a folder")
        return sites

    def chosen(self, names: Sequence[str] = ()) -> dict[str, Site]:
        """The named sites, or all, by their names in `sites`.

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

    `fetch` gets a page. `progress` is called with how many more documents are finished, and how many more are listed.
    """

    def __init__(
        self,
        site: Site,
        settings: CrawlSettings,
        archive: Archive,
        fetch: GetPage,
        refresh: bool = False,
        progress: Callable[[int, int], None] = lambda finished, listed: None,
    ) -> None:
        self._site = site
        self._settings = settings
        self._archive = archive
        self._fetch = fetch
        self._refresh = refresh
        self._progress = progress
        self._log = archive.log
        named = [clean_url(url) or url for url in (*site.index.urls, *site.seeds)]
        self._domains = {domain(host_of(url)) for url in named}
        self._private = {origin(url) for url in named if names_private(host_of(url))}
        self._listing = Listing(site, archive, lambda url, want, links: self._get(url, "index", want, None, links))
        self._begun: dict[str, asyncio.Event] = {}
        self._owner: dict[str, str] = {}
        self._chapters: dict[str, list[str]] = {}
        self._requests = 0

    async def run(self) -> dict[str, Any]:
        """Fetch what is missing, and with `refresh` what is stale.

        Returns:
            Figures for the manifest: documents listed now, how many each index page led to, requests, seconds; and
            `unasked`, the rows of FETCH for what is listed and was not requested: it is over a limit or not a URL.
        """
        started = time.monotonic()
        self._lists = [self._archive.volume("index", self._room)]
        listed = await self._listing.documents()
        await self._let_go(set(listed))
        documents = self._known(listed)
        chosen = documents[: self._settings.limit]
        self._progress(0, len(chosen))
        self._owner |= {url: url for url in chosen}
        await self._lanes(chosen)
        self._archive.write_superseded(self._pages())
        for volume in self._lists:
            volume.close()
        why, over = f"crawl.limit is {self._settings.limit}", documents[len(chosen) :]
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
        """Mark documents of an earlier crawl that do not fit `index.match` any more as gone, with their chapters."""
        kept = [line for line in self._log if line.kept and line.kind in ("document", "chapter")]
        documents = {line.url for line in kept if line.kind == "document"} - listed
        gone = {url for url in documents if not self._listing.fits(url)}
        for line in kept:
            document = line.document or line.url
            if document in gone:
                miss = missed(line.url, Miss.GONE, f"{document} does not fit index.match {self._site.index.match!r}")
                await self._archive.store_miss(self._pages(), miss, line.url, line.kind, document)

    def _known(self, listed: list[str]) -> list[str]:
        """Documents to get: the listed ones, then those that an earlier crawl kept. Remembers whose pages are kept."""
        documents = dict.fromkeys(listed)
        for line in self._log:
            if line.kept and line.kind in ("document", "chapter"):
                document = line.document or line.url
                self._owner |= {line.url: document, line.final_url or line.url: document}
                if line.kind == "chapter":
                    self._chapters.setdefault(document, []).append(line.url)
                elif line.url not in self._listing.led_to:
                    documents[line.url] = None
        return list(documents)

    @property
    def _room(self) -> int:
        return int(self._settings.volume_mb * 2**20)

    def _pages(self) -> Volume:
        """The WARC file for everything but the pages of documents. A full one stays open for responses on their way."""
        if self._lists[-1].size >= self._room:
            self._lists.append(self._archive.volume("index", self._room))
        return self._lists[-1]

    # Documents -------------------------------------------------------------------------------------------------------

    async def _lanes(self, documents: list[str]) -> None:
        """Get some documents at a time. Each lane has its own WARC file, so that a document's pages stay together.

        A lane that continues a file first finishes the document at the file's end.
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
            self._progress(1, 0)
            if volume.size >= self._room:
                volume.close()
                volume = self._archive.volume(f"lane{lane:02d}", self._room)
        volume.close()

    async def _document(self, url: str, volume: Volume) -> None:
        """Get a document's page, or its first page and its chapters."""
        self._begun[url] = asyncio.Event()
        try:
            await self._document_pages(Group(self._archive, volume, url), url)
        finally:
            self._settle(url)

    async def _turn(self, document: str) -> None:
        """Wait for documents that were begun earlier: a page to which two documents lead belongs to the first."""
        while document in self._begun and (first := next(iter(self._begun))) != document:
            await self._begun[first].wait()

    def _settle(self, document: str) -> None:
        """Let later documents have their turn, for this one knows its pages."""
        if document in self._begun:
            self._begun.pop(document).set()

    async def _document_pages(self, group: Group, url: str) -> None:
        site = self._site
        first = await self._get(url, "document", "pdf" if site.mode == "pdf" else "html", group, site.wait_for)
        links: list[str] = []
        if first is not None and site.chapters is not None:
            refs = await self._listing.links(first, site.chapters)
            self._listing.refuse(first, refs, "chapter", url)
            links = refs.urls
            await self._turn(url)
            # The first page is no chapter, and neither is a page of another document.
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
        """A page from the archive, or else from the web to the archive; None if there is none, which is logged."""
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
        has_links = kind == "index" or (kind == "document" and self._site.chapters is not None)
        if want == "html" and has_links and answer.miss is None and (why := too_large(answer.body)) is not None:
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
        """The old page of a URL that was gone and is linked again, if its kind and its document are the same."""
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
        """Log a miss. An old page stays if its host fails to give it only now."""
        if old is not None and answer.miss in PASSING:
            await self._archive.store_other(self._pages(), answer)
            kept = old.model_copy(update={"evidence": f"not refreshed: {answer.miss}: {answer.evidence}"})
            self._log.add(kept)
            return group.keep(kept) if group is not None else kept
        document = group.document if group is not None else None
        await self._archive.store_miss(self._pages(), answer, url, kind, document)
        return None

    async def _follow(self, ask: Ask, group: Group | None) -> Answer:
        """The answer at the end of redirects. Each is requested like any page, under the rules of its host.

        Stores all responses before that answer, and each redirect before it is followed.
        """
        seen = [ask.url]
        while True:
            self._requests += 1
            answer = await self._fetch(ask)
            await self._archive.store_before(self._pages(), answer)
            if answer.location is None:
                if answer.status == 304 and ask.etag is None and ask.last_modified is None:
                    return answer.as_miss(Miss.REFUSED, "status 304 to an unconditional request")
                return answer
            target, way = answer.location, f"{' → '.join(seen)} → {answer.location}"
            if not ask.browser:
                target = target.partition("#")[0]
            if target in seen:
                return answer.as_miss(Miss.REDIRECT_LOOP, way)
            if len(seen) > self._settings.max_redirects:
                return answer.as_miss(Miss.TOO_MANY_REDIRECTS, way)
            if domain(host_of(target)) not in self._domains | {domain(host_of(ask.url))}:
                return answer.as_miss(Miss.OFF_SITE, way)
            if group is not None:
                await self._turn(group.document)
                if target in group.taken or self._owner.setdefault(target, group.document) != group.document:
                    return answer.as_miss(Miss.SAME_PAGE, way)
            await self._archive.store_other(self._pages(), answer)
            seen.append(target)
            ask = replace(ask, url=target, private=origin(target) in self._private)
