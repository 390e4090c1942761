"""`gap crawl`, `check` and `fetch`: what comes from the network into the data folder, and whether scrapers are well."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gap.command import CONFIG, OVERRIDES, load_config, ray_up, table, user_errors
from ingest.web.crawl import CrawlSettings
from lake.error import UserError
from lake.step import Account

if TYPE_CHECKING:
    from gap.config import Config
    from ray_jobs.health import SiteHealth

SITES = click.argument("words", nargs=-1, metavar="[SITE]... [KEY=VALUE]...")
HEAD = ("site", "documents", "expected", "words", "expected", "empty", "health")


@click.command()
@CONFIG
@SITES
@click.option("--refresh", is_flag=True, help="Ask again for pages that are stale; unchanged ones are not sent again.")
@user_errors
def crawl(config: str, words: tuple[str, ...], refresh: bool) -> None:
    """Fetch the sites of the section `crawl`, or those named, into the data folder as WARC.

    Only what is missing is fetched, politely: robots.txt is obeyed and each host is asked at its own rate. A crawl that
    was killed goes on where it stopped. At the end the yield is checked as by `gap check`. Exit code 1: a scraper is at
    fault.

    \b
    Examples:
      gap crawl CONFIG nice who
      gap crawl CONFIG nice --refresh crawl.limit=20
    """
    from ray_jobs import crawl as jobs
    from ray_jobs import health

    loaded, settings, sites = _load(config, words)
    jobs.chosen(settings, sites)
    with ray_up(loaded.ray):
        for tag, manifest in jobs.crawl(settings, loaded.data, sites, refresh).items():
            for kind, account in manifest["accounts"].items():
                click.echo(f"{tag:<14}{kind:<10}{_urls(Account.model_validate(account))}")
        _show(health.check(settings, loaded.data, sites, keep=True))


@click.command()
@CONFIG
@SITES
@click.option("--accept", is_flag=True, help="Sites that truly shrank: hold later crawls against what they yield now.")
@user_errors
def check(config: str, words: tuple[str, ...], accept: bool) -> None:
    """Tell whether the scrapers of crawled sites still find what they should. Nothing is fetched.

    Yield, words and empty extractions are compared with the site's expectations and with the crawl before. Exit code 1:
    a scraper is at fault; the message names a page that shows it and says what to do.
    """
    from ray_jobs import health

    loaded, settings, sites = _load(config, words)
    settings.chosen(sites)
    if accept and not sites:
        raise UserError("--accept is for the sites that truly shrank: name them, gap check CONFIG SITE --accept")
    with ray_up(loaded.ray):
        _show(health.check(settings, loaded.data, sites, accept=accept))


@click.command()
@CONFIG
@OVERRIDES
@user_errors
def fetch(config: str, overrides: tuple[str, ...]) -> None:
    """Fetch Semantic Scholar's datasets into DATA/s2/RELEASE/DATASET, for inputs of `format: s2orc`.

    The API key is read from the environment variable S2_API_KEY and never shown. Parts are fetched side by side. Whole
    parts are not fetched again, and a part that broke off goes on where it stopped.

    \b
    Example:
      S2_API_KEY=… gap fetch CONFIG s2.release=2023-08-01 'data=/data'
    """
    from ingest import s2

    loaded = load_config(config, overrides)
    s2.fetch(loaded.s2, Path(loaded.data, "s2"), click.echo)


def _load(config: str, words: Sequence[str]) -> tuple["Config", CrawlSettings, tuple[str, ...]]:
    """The config, its section `crawl`, and the sites named."""
    loaded = load_config(config, [word for word in words if "=" in word])
    if loaded.crawl is None:
        raise UserError(f"{config}: no section crawl; give crawl.sites and crawl.contact")
    return loaded, loaded.crawl, tuple(word for word in words if "=" not in word)


def _urls(account: Account) -> str:
    missed = ", ".join(f"{name} {count:,}" for name, count in account.dropped.items())
    return f"URLs {account.entered:,}, kept {account.kept:,}" + (f", missed: {missed}" if missed else "")


def _show(checked: Sequence["SiteHealth"]) -> None:
    rows = []
    for site in checked:
        counts = (site.row[name] for name in ("documents", "documents_expected", "words", "words_expected"))
        empty = f"{site.now.empty:,} of {site.now.looked:,}"
        health = "at fault" if site.faults else "well"
        rows.append((site.now.site, *(f"{count:,}" for count in counts), empty, health))
    click.echo(table(HEAD, rows, {1, 2, 3, 4, 5}))
    faults = [fault for site in checked for fault in site.faults]
    for fault in faults:
        click.echo(f"gap: {fault}", err=True)
    if faults:
        sys.exit(1)
