"""Crawl: the sites of a config to WARC files and a table of fetches; Ray actors ask, the driver writes."""

import asyncio
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from tqdm import tqdm

from ingest.site import Site
from ingest.web.answer import Answer, Ask
from ingest.web.archive import Archive
from ingest.web.browser import check_browser
from ingest.web.crawl import CrawlSettings, SiteCrawl
from ingest.web.crawled import fetches, manifest
from ingest.web.fetch import Fetcher
from ingest.web.fetchlog import fetch_table
from ingest.web.http import FetchSettings
from ingest.web.urls import domain, host_of
from lake import bundled
from lake.dataset import MANIFEST, Output
from lake.progress import progress

AT_ONCE = 10_000
"""Calls that an actor takes in; nearly all of them wait for their host's turn."""


CLOSE_SECONDS = 10


class FetchActor:
    """Asks some hosts for pages, and is the only one that asks them."""

    def __init__(self, settings: FetchSettings) -> None:
        self._fetcher = Fetcher(settings)

    async def fetch(self, ask: Ask) -> Answer:
        return await self._fetcher.fetch(ask)

    async def close(self) -> None:
        await self._fetcher.close()


@dataclass(frozen=True)
class Fetchers:
    """The actors. Hosts of one domain go to the same one, for they share redirects of robots.txt."""

    actors: list[Any]

    @classmethod
    def start(cls, settings: CrawlSettings) -> "Fetchers":
        kind = ray.remote(num_cpus=0, max_restarts=3, max_task_retries=3, max_concurrency=AT_ONCE)(FetchActor)
        plain = FetchSettings.model_validate(settings.model_dump(include=set(FetchSettings.model_fields)))
        return cls([kind.remote(plain) for _ in range(settings.fetchers)])

    async def fetch(self, ask: Ask) -> Answer:
        place = hashlib.sha256(domain(host_of(ask.url)).encode()).digest()
        return await self.actors[int.from_bytes(place[:8]) % len(self.actors)].fetch.remote(ask)

    def stop(self) -> None:
        """Close connections and browsers; an actor that does not answer is killed all the same."""
        ray.wait([actor.close.remote() for actor in self.actors], num_returns=len(self.actors), timeout=CLOSE_SECONDS)
        for actor in self.actors:
            ray.kill(actor)


def chosen(settings: CrawlSettings, names: Sequence[str]) -> dict[str, Site]:
    """The sites to crawl by their tags: those named, or all of the config.

    Raises:
        UserError: nobody is named to write to, a site is not in the config, its file is missing or wrong, or what it
            needs is not installed.
    """
    _ = settings.user_agent
    sites = {bundled.tag(name): site for name, site in settings.chosen(names).items()}
    if any(site.mode == "browser" for site in sites.values()):
        check_browser(settings.chromium)
    return sites


def crawl(
    settings: CrawlSettings, data: str, sites: Sequence[str] = (), refresh: bool = False
) -> dict[str, dict[str, Any]]:
    """Fetch what is missing of the sites, or with `refresh` what is stale, into `DATA/FOLDER/TAG/`; Ray must be up.

    Each folder gets WARC files, the table `fetches` with a row a URL, and, last, `manifest.json`. A crawl that was
    killed goes on where it was.

    Returns:
        The manifests by tag.

    Raises:
        UserError: a site is wrong or unknown, a browser is missing, or another crawl is at work in a folder.
    """
    wanted = chosen(settings, sites)
    fetchers = Fetchers.start(settings)
    try:
        with progress("crawl", 0, "documents") as bar:
            return asyncio.run(_all(wanted, settings, Path(data, settings.folder), fetchers, refresh, bar))
    finally:
        fetchers.stop()


async def _all(
    sites: dict[str, Site], settings: CrawlSettings, root: Path, fetchers: Fetchers, refresh: bool, bar: tqdm
) -> dict[str, dict[str, Any]]:
    def told(done: int, found: int) -> None:
        bar.total += found
        bar.update(done)

    async def one(tag: str, site: Site) -> dict[str, Any]:
        with Archive(root / tag, settings.max_bytes) as archive:
            figures = await SiteCrawl(site, settings, archive, fetchers.fetch, refresh, told).run()
            return finish(tag, archive, figures, settings)

    found = await asyncio.gather(*(one(tag, site) for tag, site in sites.items()))
    return dict(zip(sites, found, strict=True))


def finish(tag: str, archive: Archive, figures: dict[str, Any], settings: CrawlSettings) -> dict[str, Any]:
    """Write the table of fetches and, last, the manifest."""
    output = Output(str(archive.folder.resolve()))
    rows = fetches(archive.log, figures.pop("unasked"))
    output.write_part("fetches", 0, fetch_table(rows))
    last = output.read_json(MANIFEST) if output.exists(MANIFEST) else None
    whole = manifest(tag, rows, archive, figures, last)
    whole["finished_at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    output.write_json(whole, MANIFEST)
    return whole
