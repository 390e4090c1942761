"""Crawls the sites of a config into WARC files and a table of fetches. Ray actors send requests, the driver writes."""

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
"""Concurrent calls of an actor; nearly all of them wait for their host's turn."""

CLOSE_SECONDS = 10


@dataclass(frozen=True)
class Fetchers:
    """Actors that run a Fetcher each. All hosts of a domain belong to one, for they share redirects of robots.txt."""

    actors: list[Any]

    @classmethod
    def start(cls, settings: CrawlSettings) -> "Fetchers":
        kind = ray.remote(num_cpus=0, max_restarts=3, max_task_retries=3, max_concurrency=AT_ONCE)(Fetcher)
        plain = FetchSettings.model_validate(settings.model_dump(include=set(FetchSettings.model_fields)))
        return cls([kind.remote(plain) for _ in range(settings.fetchers)])

    async def fetch(self, ask: Ask) -> Answer:
        place = hashlib.sha256(domain(host_of(ask.url)).encode()).digest()
        return await self.actors[int.from_bytes(place[:8]) % len(self.actors)].fetch.remote(ask)

    def stop(self) -> None:
        """Close connections and browsers, then kill the actors, even those that do not answer."""
        ray.wait([actor.aclose.remote() for actor in self.actors], num_returns=len(self.actors), timeout=CLOSE_SECONDS)
        for actor in self.actors:
            ray.kill(actor)


def chosen(settings: CrawlSettings, names: Sequence[str]) -> dict[str, Site]:
    """The sites to crawl, by tag: the named ones, or all of the config.

    Raises:
        UserError: there is no contact, a site is not in the config, its file is missing or wrong, or it needs a browser
            that is not installed.
    """
    _ = settings.user_agent
    sites = {bundled.tag(name): site for name, site in settings.chosen(names).items()}
    if any(site.mode == "browser" for site in sites.values()):
        check_browser(settings.chromium)
    return sites


def crawl(
    settings: CrawlSettings, data: str, sites: Sequence[str] = (), refresh: bool = False
) -> dict[str, dict[str, Any]]:
    """Fetch the missing pages of the sites, and with `refresh` the stale ones, into `DATA/FOLDER/TAG/`. Ray must be up.

    Each folder gets WARC files, the table `fetches` with a row per URL, and last `manifest.json`. A killed crawl
    resumes.

    Returns:
        The manifests by tag.

    Raises:
        UserError: a site is wrong or unknown, a browser is missing, or another crawl is at work in a folder.
    """
    selected = chosen(settings, sites)
    fetchers = Fetchers.start(settings)
    try:
        with progress("crawl", 0, "documents") as bar:
            return asyncio.run(_all(selected, settings, Path(data, settings.folder), fetchers, refresh, bar))
    finally:
        fetchers.stop()


async def _all(
    sites: dict[str, Site], settings: CrawlSettings, root: Path, fetchers: Fetchers, refresh: bool, bar: tqdm
) -> dict[str, dict[str, Any]]:
    def show(finished: int, listed: int) -> None:
        bar.total += listed
        bar.update(finished)

    async def crawl_site(tag: str, site: Site) -> dict[str, Any]:
        with Archive(root / tag, settings.max_bytes) as archive:
            figures = await SiteCrawl(site, settings, archive, fetchers.fetch, refresh, show).run()
            return finish(tag, archive, figures)

    manifests = await asyncio.gather(*(crawl_site(tag, site) for tag, site in sites.items()))
    return dict(zip(sites, manifests, strict=True))


def finish(tag: str, archive: Archive, figures: dict[str, Any]) -> dict[str, Any]:
    """Write the table of fetches and, last, the manifest."""
    output = Output(str(archive.folder.resolve()))
    rows = fetches(archive.log, figures.pop("unasked"))
    output.write_part("fetches", 0, fetch_table(rows))
    last = output.read_json(MANIFEST) if output.exists(MANIFEST) else None
    whole = manifest(tag, rows, archive, figures, last)
    whole["finished_at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    output.write_json(whole, MANIFEST)
    return whole
