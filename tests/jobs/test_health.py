"""`gap check`: a healthy crawl passes; a broken selector is reported, with a page that shows it, before a new crawl."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from ingest.web.answer import Answer, Miss
from ingest.web.archive import Archive
from ingest.web.crawl import CrawlSettings
from ingest.web.fetchlog import Fetch
from ingest.web.health import Symptom
from lake.error import UserError
from ray_jobs.crawl import finish
from ray_jobs.health import HEALTH, SiteHealth, check

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("ray_cluster")]

INDEX = "https://example.org/list"
SENTENCE = "Give the child fluids by mouth and weigh it again after four hours of care on the ward. "
SITE: dict[str, Any] = {
    "name": "Example",
    "audience": "both",
    "license": "CC0-1.0",
    "redistributable": True,
    "mode": "html",
    "index": {"urls": [INDEX], "links": "ul a", "match": "/guide/"},
    "content": "div.ContentBox",
    "expect": {"documents": 30, "words": 30 * 85},
    "checked": "2026-11, in a test",
}


def page(number: int, box: str = "ContentBox") -> bytes:
    text = f"<h1>Guide {number}</h1><div class='{box}'><h2>Care</h2><p>{SENTENCE * 5}</p></div>"
    return f"<html><title>Guide {number}</title><body><nav><a href='/'>Home</a></nav>{text}</body></html>".encode()


class Crawled:
    """A data folder with crawls of one site, made of the crawler's own parts."""

    def __init__(self, folder: Path) -> None:
        self.data = str(folder)
        self.file = folder / "example.yaml"
        self.site()

    def site(self, **changes: Any) -> None:
        self.file.write_text(yaml.safe_dump(SITE | changes), encoding="utf-8")

    @property
    def settings(self) -> CrawlSettings:
        return CrawlSettings(contact="crawl@example.org", sites=(str(self.file),))

    def crawl(
        self,
        pages: list[bytes],
        folder: str = "example",
        index: Sequence[Fetch] = (),
        chapters: Mapping[str, bytes] = MappingProxyType({}),
    ) -> None:
        """Keep pages; each document has the `chapters`, by name."""
        with Archive(Path(self.data, "crawl", folder), 2**20) as archive:
            volume = archive.volume("lane00", 2**30)
            for number, html in enumerate(pages):
                url = f"https://example.org/guide/{number}"
                answer = Answer(url, datetime.now(UTC), 200, (("Content-Type", "text/html; charset=utf-8"),), html)
                asyncio.run(archive.store(volume, answer, url, "document", url))
                for name, body in chapters.items():
                    part = replace(answer, url=f"{url}/{name}", body=body)
                    asyncio.run(archive.store(volume, part, part.url, "chapter", url))
            volume.close()
            for line in index:
                archive.log.add(line)
            led_to = {INDEX: len(pages)} | {line.url: 0 for line in index}
            figures = {"listed": len(pages), "over_limit": [], "unasked": [], "index": led_to}
            finish("example", archive, figures)

    def check(self, keep: bool = False, accept: bool = False) -> SiteHealth:
        (checked,) = check(self.settings, self.data, (), keep, accept)
        return checked

    @property
    def manifest(self) -> dict[str, Any]:
        return json.loads(Path(self.data, "crawl", "example", "manifest.json").read_bytes())


@pytest.fixture
def crawled(tmp_path: Path) -> Crawled:
    return Crawled(tmp_path)


def symptoms(checked: SiteHealth) -> list[Symptom]:
    return [fault.symptom for fault in checked.faults]


def test_a_healthy_crawl_passes_and_its_figures_are_kept(crawled: Crawled) -> None:
    crawled.crawl([page(number) for number in range(30)])
    checked = crawled.check(keep=True)
    assert checked.faults == ()
    assert (checked.now.fetched, checked.now.looked, checked.now.documents) == (30, 30, 30)
    assert checked.now.words == 30 * len(f"# Care\n{SENTENCE * 5}".split())
    assert crawled.manifest["health"] == {"found": checked.now.model_dump(mode="json"), "faults": []}
    assert crawled.manifest["accounts"]["document"]["kept"] == 30
    table = pq.read_table(Path(crawled.data, "crawl", "health.parquet"))
    assert table.schema.equals(HEALTH)
    assert table.select(["site", "documents", "documents_expected", "faults"]).to_pylist() == [
        {"site": "example", "documents": 30, "documents_expected": 30, "faults": []}
    ]


def test_a_renamed_content_class_is_reported_with_a_page(crawled: Crawled) -> None:
    crawled.crawl([page(number, "ddc-main-content") for number in range(30)])
    checked = crawled.check()
    assert symptoms(checked) == [Symptom.SELECTOR, Symptom.EMPTY]
    assert "content `div.ContentBox` matches nothing in 30 of 30 documents; see https://example.org/guide/0;" in str(
        checked.faults[0]
    )
    crawled.site(content="div.ddc-main-content")
    assert crawled.check().faults == ()


CHAPTERS = {"mode": "chapters", "chapters": "nav.tabs a"}


def test_chapters_without_the_content_are_reported_though_the_document_has_text(crawled: Crawled) -> None:
    crawled.site(**CHAPTERS)
    crawled.crawl([page(number) for number in range(30)], chapters={"a": page(0), "b": page(0, "renamed")})
    checked = crawled.check()
    assert checked.now.documents == 30
    assert symptoms(checked) == [Symptom.SELECTOR]
    assert "matches nothing in 30 of 30 documents" in str(checked.faults[0])


def test_a_first_page_that_is_a_list_of_chapters_is_no_fault(crawled: Crawled) -> None:
    crawled.site(**CHAPTERS)
    crawled.crawl([page(number, "overview") for number in range(30)], chapters={"a": page(0)})
    assert crawled.check().faults == ()


def test_chapters_and_titles_that_are_nowhere_are_reported_with_a_page(crawled: Crawled) -> None:
    crawled.site(**CHAPTERS, title="h1.name")
    crawled.crawl([page(number) for number in range(30)])
    checked = crawled.check(keep=True)
    assert [(fault.symptom, fault.page) for fault in checked.faults] == [
        (Symptom.NEVER, "https://example.org/guide/0")
    ] * 2
    assert ["chapters `nav.tabs a`" in fault.message for fault in checked.faults] == [True, False]
    assert ["title `h1.name`" in fault.message for fault in checked.faults] == [False, True]
    assert crawled.manifest["health"]["found"]["notes"] == {"chapters": 30, "title": 30}
    crawled.site(**CHAPTERS, title="h1")
    crawled.crawl([page(number) for number in range(30)], chapters={"a": page(0)})
    assert crawled.check().faults == ()


def test_an_empty_crawl_is_reported_with_its_index_page(crawled: Crawled) -> None:
    crawled.crawl([])
    (fault,) = crawled.check().faults
    assert (fault.symptom, fault.page) == (Symptom.NOTHING, INDEX)


def test_a_site_that_was_never_crawled_is_a_fault(crawled: Crawled) -> None:
    (fault,) = crawled.check().faults
    assert fault.symptom is Symptom.NOTHING
    assert "run `gap crawl CONFIG example`" in str(fault)


def test_a_limited_crawl_is_compared_with_its_limit(crawled: Crawled) -> None:
    crawled.crawl([page(number) for number in range(4)])
    assert symptoms(crawled.check()) == [Symptom.FEWER]
    limited = crawled.settings.model_copy(update={"limit": 4})
    assert check(limited, crawled.data)[0].faults == ()


def test_a_large_site_is_sampled_and_scaled_up(crawled: Crawled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray_jobs.health.SAMPLE", 10)
    crawled.crawl([page(number) if number % 2 else b"<html><p></p>" for number in range(60)])
    sampled = crawled.check().now
    assert (sampled.fetched, sampled.looked) == (60, 10)
    assert 0 < sampled.empty < 10
    assert sampled.documents == 6 * (10 - sampled.empty)
    assert crawled.check().now == sampled


def test_a_crawl_is_compared_with_the_last(crawled: Crawled) -> None:
    crawled.crawl([page(number) for number in range(30)])
    last = crawled.check(keep=True).now
    path = Path(crawled.data, "crawl", "example", "manifest.json")
    path.write_text(json.dumps(crawled.manifest | {"last_yield": last.model_dump() | {"fetched": 60, "listed": 60}}))
    (fault,) = crawled.check().faults
    assert (fault.symptom, fault.message) == (Symptom.FALL, "30 documents; the last crawl had 60")


def test_a_fall_is_reported_until_it_is_corrected(crawled: Crawled) -> None:
    healthy = [page(number) for number in range(30)]
    crawled.crawl(healthy)
    reference = crawled.check(keep=True).now.model_dump(mode="json")
    crawled.crawl([page(number, "renamed") for number in range(30)])
    assert symptoms(crawled.check(keep=True)) == [Symptom.SELECTOR, Symptom.EMPTY]
    assert crawled.manifest["last_yield"] == reference
    crawled.crawl(healthy)
    assert crawled.manifest["last_yield"] == reference


def test_a_check_of_one_site_keeps_the_rows_of_the_others(crawled: Crawled, tmp_path: Path) -> None:
    crawled.crawl([page(number) for number in range(30)])
    second = tmp_path / "second.yaml"
    second.write_text(yaml.safe_dump(SITE), encoding="utf-8")
    settings = crawled.settings.model_copy(update={"sites": (str(crawled.file), str(second))})
    check(settings, crawled.data, keep=True)
    check(settings, crawled.data, ["example"], keep=True)
    table = pq.read_table(Path(crawled.data, "crawl", "health.parquet"))
    assert table.schema.equals(HEALTH)
    assert table.column("site").to_pylist() == ["example", "second"]


def test_an_index_that_broke_after_a_good_crawl_is_reported(crawled: Crawled) -> None:
    crawled.crawl([page(number) for number in range(30)])
    crawled.check(keep=True)
    with Archive(Path(crawled.data, "crawl", "example"), 2**20) as archive:
        figures = {"listed": 0, "over_limit": [], "unasked": [], "index": {INDEX: 0}}
        finish("example", archive, figures)
    faults = crawled.check().faults
    assert [(fault.symptom, fault.page) for fault in faults] == [(Symptom.INDEX, INDEX), (Symptom.FEWER, INDEX)]


def test_an_index_page_is_unread_unless_it_was_fetched_now_or_is_gone(crawled: Crawled) -> None:
    now = datetime.now(UTC)
    place = {"warc": "lane00-00000.warc.gz", "offset": 0, "length": 1}
    misses = {"gone": Miss.NOT_FOUND, "down": Miss.SERVER_ERROR, "closed": Miss.ROBOTS}
    lines = [
        Fetch(url=f"{INDEX}/had", kind="index", kept=True, at=now, **place),
        Fetch(url=f"{INDEX}/old", kind="index", kept=True, at=now, evidence="not refreshed: timeout: 9 s", **place),
        *(
            Fetch(url=f"{INDEX}/{name}", kind="index", kept=False, at=now, reason=miss, evidence="why")
            for name, miss in misses.items()
        ),
    ]
    crawled.crawl([page(number) for number in range(30)], index=lines)
    checked = crawled.check()
    assert checked.now.unread == (f"{INDEX}/old", f"{INDEX}/down", f"{INDEX}/closed")
    assert [(fault.symptom, fault.message) for fault in checked.faults] == [
        (Symptom.INDEX, "3 index pages could not be read")
    ]


def test_documents_listed_now_count_and_not_those_of_an_earlier_crawl(crawled: Crawled) -> None:
    crawled.crawl([page(number) for number in range(30)])
    path = Path(crawled.data, "crawl", "example", "manifest.json")
    path.write_text(json.dumps(crawled.manifest | {"listed": 10}))
    checked = crawled.check()
    assert (checked.now.fetched, checked.now.listed, checked.now.current) == (30, 10, 10)
    assert symptoms(checked) == [Symptom.FEWER]


def test_a_site_that_really_shrank_is_accepted_as_advised(crawled: Crawled) -> None:
    crawled.site(expect={"documents": 20, "words": 20 * 85})
    crawled.crawl([page(number) for number in range(20)])
    path = Path(crawled.data, "crawl", "example", "manifest.json")
    last = crawled.check().now.model_dump(mode="json") | {"fetched": 30, "listed": 30}
    path.write_text(json.dumps(crawled.manifest | {"last_yield": last}))
    (fault,) = crawled.check(keep=True).faults
    assert fault.symptom is Symptom.FALL
    assert str(fault).endswith("if the site really has no more, run `gap check CONFIG example --accept`")
    assert crawled.check(accept=True).faults == ()
    # From here on it is the last yield, for a check and for the next crawl.
    assert crawled.check().faults == ()
    assert crawled.manifest["last_yield"]["fetched"] == 20
    crawled.crawl([page(number) for number in range(20)])
    assert crawled.manifest["last_yield"]["fetched"] == 20


def test_a_site_with_a_fault_of_its_own_is_not_accepted(crawled: Crawled) -> None:
    crawled.crawl([page(number) for number in range(30)])
    reference = crawled.check(keep=True).now.model_dump(mode="json")
    crawled.crawl([page(number, "renamed") for number in range(30)])
    assert symptoms(crawled.check(accept=True)) == [Symptom.SELECTOR, Symptom.EMPTY]
    assert crawled.manifest["last_yield"] == reference


def test_a_site_outside_the_config_is_an_error(crawled: Crawled) -> None:
    with pytest.raises(UserError, match=r"nice: not in crawl\.sites of the config, which has example"):
        check(crawled.settings, crawled.data, ["nice"])
