"""The crawl of one site from a real server: what is kept, what is missed and why, and going on after a kill."""

import asyncio
import gzip
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from warcio.archiveiterator import ArchiveIterator
from warcio.recordloader import ArcWarcRecord

from ingest.site import Site
from ingest.web.archive import Archive
from ingest.web.crawl import CrawlSettings, SiteCrawl
from ingest.web.crawled import fetches, manifest
from ingest.web.fetch import Fetcher, Miss
from ingest.web.fetchlog import Fetch, FetchLog, fetch_table, read_superseded
from ingest.web.payload import read_payload
from ingest.web.warc import Record, read_records
from lake.error import UserError
from tests.conftest import Web

ROOT = Path(__file__).resolve().parents[2]

FAST = {"rate": 50, "expect": {"documents": 1, "words": 1}, "checked": "a test", "audience": "doctor"}
NAMED = {"name": "A site", "license": "CC0", "redistributable": True}


def site(index: dict[str, Any] | None = None, **more: Any) -> Site:
    return Site.model_validate({"mode": "html", **FAST, **NAMED, "index": index or {}, **more})


def settings(**changes: Any) -> CrawlSettings:
    values = {"contact": "a@example.org", "sites": ["test"], "retries": 1, "backoff_seconds": 0.01, "fresh_hours": 0}
    return CrawlSettings.model_validate(values | {"total_seconds": 5, "max_bytes": 2**20} | changes)


def crawl(folder: Path, site_settings: Site, refresh: bool = False, **changes: Any) -> dict[str, Fetch]:
    """Rows of the table of fetches by path, after a crawl in this process."""
    return crawl_summary(folder, site_settings, refresh, **changes)[0]


def crawl_summary(
    folder: Path, site_settings: Site, refresh: bool = False, **changes: Any
) -> tuple[dict[str, Fetch], dict[str, Any]]:
    """The same, and the manifest."""
    crawl_settings = settings(**changes)

    async def work() -> tuple[list[Fetch], dict[str, Any]]:
        with Archive(folder, crawl_settings.max_bytes) as archive:
            async with aclosing(Fetcher(crawl_settings)) as fetcher:
                figures = await SiteCrawl(site_settings, crawl_settings, archive, fetcher.fetch, refresh).run()
            rows = fetches(archive.log, figures.pop("unasked"))
            return rows, manifest("test", rows, archive, figures, None)

    rows, summary = asyncio.run(work())
    assert fetch_table(rows).num_rows == sum(account["in"] for account in summary["accounts"].values())
    for account in summary["accounts"].values():
        assert account["in"] == account["kept"] + sum(account["dropped"].values())
    return {row.url.split("/", 3)[-1]: row for row in rows}, summary


def kept(rows: dict[str, Fetch], *kinds: str) -> set[str]:
    return {path for path, row in rows.items() if row.kept and row.kind in (kinds or ("document",))}


def missed(rows: dict[str, Fetch]) -> dict[str, Miss | None]:
    return {path: row.reason for path, row in rows.items() if not row.kept and row.kind != "robots"}


def records(folder: Path) -> list[tuple[str, str, str, bytes]]:
    """File, kind, document's path or URL's, and body of every page's record that is to be read."""
    pages = []
    for path in sorted(folder.glob("*.warc.gz")):
        replaced = read_superseded(path)
        with path.open("rb") as stream:
            for record in read_records(stream, 2**24):
                assert isinstance(record, Record)
                page = record.headers["warc-type"] == "response" and record.headers["warc-gap-kind"] != "other"
                if page and record.offset not in replaced:
                    url = record.headers.get("warc-gap-document", record.headers["warc-target-uri"])
                    body = read_payload(record.block, 2**24).body
                    pages.append((path.name, record.headers["warc-gap-kind"], url.split("/", 3)[3], body))
    return pages


def answers(folder: Path) -> dict[str, list[ArcWarcRecord]]:
    """By path, in the order of the files, every record of a response as other readers of WARC find it."""
    responses: dict[str, list[ArcWarcRecord]] = {}
    for path in sorted(folder.glob("*.warc.gz")):
        with path.open("rb") as stream:
            for record in ArchiveIterator(stream, check_digests="raise"):
                if record.rec_type != "warcinfo":
                    record.body = record.content_stream().read()
                    responses.setdefault(record.rec_headers["WARC-Target-URI"].split("/", 3)[3], []).append(record)
    return responses


def statuses(responses: list[ArcWarcRecord]) -> list[int]:
    return [int(record.http_headers.get_statuscode()) for record in responses]


def links(*paths: str, kind: str = "a") -> str:
    return "".join(f'<{kind} href="{path}">x</{kind}>' for path in paths)


def documents(web: Any, *paths: str) -> None:
    for path in paths:
        web.page(path, f"<h1>{path}</h1><p>What {path} says.</p>", ETag=f'"{path}"')


# Index pages ---------------------------------------------------------------------------------------------------------


def test_a_paged_index_is_read_until_a_page_has_nothing_new(web: Any, tmp_path: Path) -> None:
    names = [f"/d{n}" for n in range(7)]
    documents(web, *names)
    for page in range(3):
        web.page(f"/list?page={page + 1}", links(*names[3 * page : 3 * page + 3], "/list?page=1"))
    web.page("/list?page=4", links(*names[4:]))
    index = {"urls": [f"{web.url}/list?page={{page}}"], "paging": {"most": 9}, "match": "/d[0-9]"}
    rows = crawl(tmp_path, site(index))
    assert kept(rows) == {name[1:] for name in names}
    assert kept(rows, "index") == {f"list?page={n}" for n in range(1, 5)}
    assert Counter(web.paths()) == Counter({f"/list?page={n}" for n in range(1, 5)} | set(names))
    assert missed(rows) == {}


def test_letters_next_pages_and_pages_between_are_followed(web: Any, tmp_path: Path) -> None:
    documents(web, "/d1", "/d2", "/d3", "/d4")
    web.page(
        "/index/a", '<nav><a href="/elsewhere">x</a></nav><ul><a href="/group1">x</a></ul><a class=next href="a2">'
    )
    web.page("/index/a2", "<ul><a href='../group2'>x</a></ul><a class=next href='/index/a'>back</a>")
    web.page("/group1", "<li><a href='d1'>x</a><a href='d2#part'>x</a></li>")
    web.page("/group2", "<base href='/deep/'><li><a href='../d3'>x</a><a href='mailto:a@b.c'>x</a></li>")
    index = {"urls": [f"{web.url}/index/{{letter}}"], "links": "ul a", "through": "li", "next": "a.next"}
    rows = crawl(tmp_path, site(index, seeds=[f"{web.url}/d4"]))
    assert kept(rows) == {"d1", "d2", "d3", "d4"}
    assert kept(rows, "index") == {"index/a", "index/a2", "group1", "group2"}
    assert missed(rows) == {f"index/{letter}": Miss.NOT_FOUND for letter in "bcdefghijklmnopqrstuvwxyz"}


def pdf(*urls: str) -> bytes:
    """A page with a link annotation to each URL."""
    notes = "".join(f"<</Type/Annot/Subtype/Link/Rect[0 0 9 9]/A<</S/URI/URI({url})>>>>" for url in urls)
    parts = (
        "%PDF-1.4",
        "1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj",
        "2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj",
        f"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]/Annots[{notes}]>>endobj",
        "trailer<</Root 1 0 R>>",
        "%%EOF",
    )
    return "\n".join(parts).encode()


def test_a_pdf_of_links_is_an_index_of_pdfs(web: Any, tmp_path: Path) -> None:
    web.page("/map.pdf", pdf(f"{web.url}/a.pdf", f"{web.url}/b.pdf", "mailto:a@b.c"), "application/pdf")
    web.page("/a.pdf", pdf(), "application/octet-stream")
    web.page("/b.pdf", "<p>Please log in.</p>")
    rows = crawl(tmp_path, site({"urls": [f"{web.url}/map.pdf"], "pdf": True}, mode="pdf"))
    assert kept(rows, "index", "document") == {"map.pdf", "a.pdf"}
    assert missed(rows) == {"b.pdf": Miss.WRONG_TYPE}


def test_sitemaps_and_lists_in_json_are_searched_for_links(web: Any, tmp_path: Path) -> None:
    def sitemap(*paths: str) -> str:
        return "".join(f"<url><loc> {web.url}{path} </loc></url>" for path in paths)

    documents(web, "/d1", "/d2", "/d3")
    web.page("/sitemap.xml", sitemap("/part1.xml", "/part2.xml", "/part3.xml", "/d1", "/about"), "application/xml")
    web.page("/part1.xml", sitemap("/d2", "/sitemap.xml"), "text/xml")
    web.page("/part2.xml", "\x00" * 99, "text/xml")
    index = {
        "urls": [f"{web.url}/sitemap.xml"],
        "find": r"<loc>\s*([^<\s]+)\s*</loc>",
        "more": r"\.xml$",
        "match": "/d",
    }
    rows = crawl(tmp_path / "xml", site(index))
    assert kept(rows) == {"d1", "d2"}
    assert missed(rows) == {"part3.xml": Miss.NOT_FOUND}
    web.page("/api", r'{"list": [{"code": "d1"}, {"code": "d\u0033"}]}', "application/json")
    named = {"urls": [f"{web.url}/api"], "find": '"code": "([^"]+)"', "put_in": f"{web.url}/{{found}}"}
    rows = crawl(tmp_path / "json", site(named))
    assert (kept(rows), missed(rows)) == ({"d1", "d3"}, {})


def test_an_index_that_leads_nowhere_is_told(web: Any, tmp_path: Path) -> None:
    web.page("/list", links("/a"))
    rows = crawl(tmp_path, site({"urls": [f"{web.url}/list"], "links": "div.new-name a"}))
    assert kept(rows) == set()
    assert kept(rows, "index") == {"list"}


# Misses --------------------------------------------------------------------------------------------------------------


def test_every_url_that_gives_no_page_is_there_under_its_reason(web: Any, tmp_path: Path) -> None:
    def dripping(request: Any) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "text/html")
        request.send_header("Connection", "close")
        request.end_headers()
        while True:
            request.wfile.write(b"x")
            time.sleep(0.02)

    documents(web, "/good", "/moved-here")
    web.page("/robots.txt", "User-agent: gap-replay\nDisallow: /private/", "text/plain")
    web.status("/429-then-ok", 429, 200, Retry_After="0")
    web.status("/500-then-ok", 500, 200)
    web.status("/429", 429)
    web.status("/500", 500)
    web.status("/403", 403)
    web.page("/image", "x", "image/png")
    web.pages["/slow"] = lambda request: time.sleep(2)
    web.pages["/endless"] = dripping
    web.page("/huge", b"x" * 200 * 2**20)
    web.redirect("/loop", "/loop2")
    web.redirect("/loop2", "/loop")
    for n in range(9):
        web.redirect(f"/hop{n}", f"/hop{n + 1}")
    web.redirect("/off-site", f"http://localhost:{web.port}/good")
    web.redirect("/to-file", "file:///etc/passwd")
    web.redirect("/moved", "/moved-here")
    web.redirect("/to-forbidden", "/private/b")
    web.redirect("/to-good", "/good")
    expected = {
        "404": Miss.NOT_FOUND,
        "private/a": Miss.ROBOTS,
        "429": Miss.RATE_LIMITED,
        "500": Miss.SERVER_ERROR,
        "403": Miss.REFUSED,
        "image": Miss.WRONG_TYPE,
        "slow": Miss.TIMEOUT,
        "endless": Miss.TIMEOUT,
        "huge": Miss.TOO_LARGE,
        "loop": Miss.REDIRECT_LOOP,
        "hop0": Miss.TOO_MANY_REDIRECTS,
        "off-site": Miss.OFF_SITE,
        "to-file": Miss.BAD_URL,
        "to-forbidden": Miss.ROBOTS,
        "to-good": Miss.SAME_PAGE,
    }
    good = {"good", "429-then-ok", "500-then-ok", "moved"}
    web.page("/list", links(*(f"/{path}" for path in [*expected, *good])))
    index = {"urls": [f"{web.url}/list"]}
    rows = crawl(tmp_path, site(index), total_seconds=0.7, retries=1)
    assert missed(rows) == expected
    assert kept(rows) == good
    assert all(row.evidence for row in rows.values() if not row.kept)
    assert (rows["loop"].status, rows["image"].status, rows["slow"].status) == (302, 200, None)
    assert rows["moved"].final_url == f"{web.url}/moved-here"
    assert rows["off-site"].evidence == f"{web.url}/off-site → http://localhost:{web.port}/good"
    assert not [path for path in web.paths() if path.startswith("/private")]
    assert sum(path.stat().st_size for path in tmp_path.glob("*.warc.gz")) < 100_000
    # Every response is there: of each request one record, but of the host that did not answer.
    responses = answers(tmp_path)
    asked = Counter(path[1:] for path in web.paths(robots=True) if path != "/slow")
    assert Counter({path: len(several) for path, several in responses.items()}) == asked
    assert all(record.rec_type == "response" for several in responses.values() for record in several)
    expected_statuses = {
        "robots.txt": [200],
        "list": [200],
        "429-then-ok": [429, 200],
        "500-then-ok": [500, 200],
        "404": [404],
        "429": [429, 429],
        "500": [500, 500],
        "403": [403],
        "image": [200],
        "endless": [200, 200],
        "huge": [200],
        "loop": [302],
        "loop2": [302],
        "off-site": [302],
        "moved": [302],
        "moved-here": [200],
    }
    assert {path: statuses(responses[path]) for path in expected_statuses} == expected_statuses
    assert responses["404"][0].body == b"no such page"
    assert responses["moved"][0].http_headers["Location"] == "/moved-here"
    assert (responses["image"][0].body, responses["image"][0].http_headers["Content-Type"]) == (b"x", "image/png")
    assert responses["robots.txt"][0].body.startswith(b"User-agent: gap-replay")
    cut = {path: record.rec_headers["WARC-Truncated"] for path in responses for record in responses[path]}
    assert {path: why for path, why in cut.items() if why} == {"huge": "length", "endless": "time"}
    assert responses["huge"][0].body == b"x" * 2**20
    assert {record.rec_headers["WARC-Gap-Kind"] for path in expected for record in responses.get(path, ())} == {"other"}
    assert {document for _, kind, document, _ in records(tmp_path) if kind == "document"} == good
    # The row of each URL says where the record of its last response is.
    for row in (rows["404"], rows["429"], rows["huge"], rows["loop"], rows["moved"]):
        assert row.warc is not None
        with (tmp_path / row.warc).open("rb") as stream:
            record = next(read_records(stream, 2**24, row.offset or 0))
        assert isinstance(record, Record)
        assert read_payload(record.block, 2**24).status == row.status
    # A second run asks again for what may have passed, and for nothing else.
    web.asked.clear()
    crawl(tmp_path, site(index), total_seconds=0.7, retries=0)
    assert set(web.paths()) == {"/429", "/500", "/slow", "/endless"}
    assert statuses(answers(tmp_path)["429"]) == [429, 429, 429]


def test_only_the_host_that_a_site_names_may_be_inside(web: Any, other: Any, tmp_path: Path) -> None:
    documents(web, "/inside")
    documents(other, "/secret", "/too")
    web.redirect("/to-secret", f"{other.url}/too")
    web.page("/list", links("/inside", "/to-secret", f"{other.url}/secret"))
    rows = crawl(tmp_path, site({"urls": [f"{web.url}/list"]}))
    assert kept(rows) == {"inside"}
    assert missed(rows) == {"to-secret": Miss.PRIVATE_ADDRESS, "secret": Miss.PRIVATE_ADDRESS}
    assert other.asked == []


def test_a_site_whose_name_leads_inside_is_not_asked(web: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", web.port))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [place])
    web.page("/list", links("/a"))
    rows = crawl(tmp_path, site({"urls": [f"http://www.example.org:{web.port}/list"]}))
    assert missed(rows) == {"list": Miss.PRIVATE_ADDRESS}
    assert web.asked == []


def test_a_page_too_large_for_a_parser_gives_no_links(web: Any, tmp_path: Path) -> None:
    documents(web, "/a")
    web.page("/list", links("/a") + "<" * 400_000)
    rows = crawl(tmp_path, site({"urls": [f"{web.url}/list"]}))
    assert missed(rows) == {"list": Miss.TOO_LARGE}


def test_a_failing_page_of_a_paged_index_does_not_end_it(web: Any, tmp_path: Path) -> None:
    names = [f"/d{n}" for n in range(1, 6)]
    documents(web, *names)
    for page, name in enumerate(names, 1):
        web.page(f"/list?page={page}", links(name))
    web.status("/list?page=3", 500)
    for page in range(6, 20):
        web.status(f"/list?page={page}", 500)
    index = {"urls": [f"{web.url}/list?page={{page}}"], "paging": {"most": 20}}
    rows = crawl(tmp_path, site(index), retries=0)
    assert kept(rows) == {"d1", "d2", "d4", "d5"}
    assert set(missed(rows)) == {f"list?page={page}" for page in (3, 6, 7, 8)}


def test_a_chapter_that_leads_to_another_page_of_its_document_is_stored_once(web: Any, tmp_path: Path) -> None:
    documents(web, "/c1", "/c3", "/deep")
    web.page("/d", f"<nav>{links('/start', '/c1', '/c2', '/c3', '/c4', '/c5')}</nav>")
    web.redirect("/start", "/d")
    web.redirect("/c2", "/c3")
    web.redirect("/c4", "/deep")
    web.redirect("/c5", "/deep")
    rows = crawl(tmp_path, site({}, seeds=[f"{web.url}/d"], mode="chapters", chapters="nav a"))
    assert kept(rows, "document", "chapter") == {"d", "c1", "c3", "c4"}
    assert missed(rows) == dict.fromkeys(("start", "c2", "c5"), Miss.SAME_PAGE)


def test_a_page_that_two_documents_lead_to_belongs_to_the_first(web: Any, tmp_path: Path) -> None:
    def slow(path: str, then: Any) -> None:
        def answer(request: Any) -> None:
            time.sleep(0.3)
            then(request)

        web.pages[path] = answer

    documents(web, "/shared", "/same")
    for name in ("/d1", "/d2"):
        web.page(name, f"<nav>{links('/shared')}</nav>")
    slow("/d1", web.pages["/d1"])
    web.redirect("/m2", "/same")
    slow("/m1", lambda request: request.answer(302, Location="/same"))
    seeds = [f"{web.url}/{name}" for name in ("d1", "d2", "m1", "m2")]
    rows = crawl(tmp_path, site({}, seeds=seeds, mode="chapters", chapters="nav a"), concurrency=4, per_host=4)
    assert rows["shared"].document == f"{web.url}/d1"
    assert kept(rows) == {"d1", "d2", "m1"}
    assert missed(rows) == {"m2": Miss.SAME_PAGE}


@pytest.fixture
def other() -> Iterator[Any]:
    """A second server on loopback."""
    server = Web()
    yield server
    server.close()


def test_a_limit_leaves_the_rest_in_the_table(web: Any, tmp_path: Path) -> None:
    documents(web, "/a", "/b", "/c")
    web.page("/list", links("/a", "/b", "/c"))
    index = {"urls": [f"{web.url}/list"]}
    rows = crawl(tmp_path, site(index), limit=2)
    assert kept(rows) == {"a", "b"}
    assert missed(rows) == {"c": Miss.OVER_LIMIT}
    rows = crawl(tmp_path, site(index))
    assert kept(rows) == {"a", "b", "c"}
    assert Counter(web.paths()) == Counter(["/list", "/a", "/b", "/c"])


def test_documents_that_are_listed_now_are_counted_whatever_was_kept_or_left_out(web: Any, tmp_path: Path) -> None:
    documents(web, "/a", "/b", "/c", "/d")
    web.page("/list", links("/a", "/b", "/c", "/more", "/list"))
    web.page("/more", links("/a", "/missing"))
    listing_site = site({"urls": [f"{web.url}/list", f"{web.url}/more"]}, seeds=[f"{web.url}/a", f"{web.url}/d"])
    rows, summary = crawl_summary(tmp_path, listing_site, limit=2)
    assert kept(rows) == {"a", "b"}
    assert summary["listed"] == len(("a", "b", "c", "missing", "d"))
    assert crawl_summary(tmp_path, listing_site)[1]["listed"] == 5
    web.page("/list", links("/b"))
    web.page("/more", "nothing")
    rows, summary = crawl_summary(tmp_path, listing_site, refresh=True)
    assert kept(rows) == {"a", "b", "c", "d"}
    assert summary["listed"] == len(("b", "a", "d"))


# What is not asked for -----------------------------------------------------------------------------------------------


def test_a_paged_list_that_goes_on_over_its_bound_is_told_with_the_next_page(web: Any, tmp_path: Path) -> None:
    names = [f"/d{n}" for n in range(6)]
    documents(web, *names)
    for page in range(3):
        web.page(f"/list?page={10 * page}", links(*names[2 * page : 2 * page + 2]))

    def paged(most: int) -> Site:
        paging = {"first": 0, "step": 10, "most": most}
        return site({"urls": [f"{web.url}/list?page={{page}}"], "paging": paging})

    rows, summary = crawl_summary(tmp_path, paged(2))
    assert (kept(rows), missed(rows)) == ({"d0", "d1", "d2", "d3"}, {"list?page=20": Miss.OVER_LIMIT})
    assert rows["list?page=20"].evidence == f"paging.most is 2, and the list had not ended at {web.url}/list?page=10"
    assert summary["accounts"]["index"] == {"in": 3, "kept": 2, "dropped": {"over_limit": 1}}
    # It was not asked for, and is once the bound allows it.
    assert "/list?page=20" not in web.paths()
    rows = crawl(tmp_path, paged(9))
    assert (kept(rows), missed(rows)) == ({name[1:] for name in names}, {"list?page=30": Miss.NOT_FOUND})


def test_next_pages_over_the_bound_are_told_and_a_list_that_ends_there_is_not(
    web: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.web.listing.MOST_NEXT", 3)
    names = [f"/d{n}" for n in range(5)]
    documents(web, *names)
    for page, name in enumerate(names):
        following = "<a class=next href=/l0>first</a>" if page == 2 else f"<a class=next href=/l{page + 1}>next</a>"
        web.page(f"/l{page}", f"<li>{links(name)}</li>" + following)
    index = {"urls": [f"{web.url}/l0"], "links": "li", "next": "a.next"}
    assert missed(crawl(tmp_path / "ends", site(index))) == {}
    web.page("/l2", f"<li>{links('/d2')}</li><a class=next href=/l3>next</a>")
    rows = crawl(tmp_path / "on", site(index))
    assert (kept(rows), missed(rows)) == ({"d0", "d1", "d2"}, {"l3": Miss.OVER_LIMIT})
    assert (rows["l3"].kind, web.paths().count("/l3")) == ("index", 0)
    # As parts of a sitemap, which one page lists together.
    sitemap = {"urls": [f"{web.url}/map.xml"], "find": "<loc>(.*?)</loc>", "more": r"\.xml"}
    web.page("/map.xml", "".join(f"<loc>/part{n}.xml</loc>" for n in range(9)), "text/xml")
    for n in range(9):
        web.page(f"/part{n}.xml", f"<loc>/d{n}</loc>", "text/xml")
    rows = crawl(tmp_path / "map", site(sitemap))
    assert (kept(rows), missed(rows)) == ({"d0", "d1"}, {"part2.xml": Miss.OVER_LIMIT})


def test_links_that_are_not_urls_are_noted_with_their_page(web: Any, tmp_path: Path) -> None:
    documents(web, "/d1", "/d2")
    long = f"/{'x' * 2**19}"
    others = ("mailto:a@b.c", "javascript:void(0)", "ftp://a.org/d", "#top")
    web.page(
        "/list", f"<ul>{links('/d1', long, 'http://a..b/d', *others)}</ul><a class=next href='http://[::1'>next</a>"
    )
    index = {"urls": [f"{web.url}/list"], "links": "ul a", "next": "a.next"}
    rows, summary = crawl_summary(tmp_path / "list", site(index))
    refused = [row for row in rows.values() if row.reason == Miss.BAD_URL]
    assert sorted((row.kind, row.url[:20]) for row in refused) == [
        ("document", f"{web.url}/xxxxxxxxxxx"[:20]),
        ("document", "http://a..b/d"),
        ("index", "http://[::1"),
    ]
    assert max(len(row.url) for row in refused) <= 2048
    assert rows["d"].evidence == f"2 links on {web.url}/list are not URLs of at most 2,048 characters"
    assert (kept(rows), summary["listed"], summary["index"]) == ({"d1"}, 1, {f"{web.url}/list": 2})
    assert summary["accounts"]["document"]["dropped"] == {"bad_url": 2}
    # Those that the site's rule would not take are no documents; what only stands between is an index page.
    assert "d" not in crawl(tmp_path / "match", site(index | {"match": "/d[0-9]"}))
    web.page("/between", links("/d2", "http://a..b/e"))
    web.page("/lists", links("/between", "http://a..b/f"))
    rows = crawl(tmp_path / "through", site({"urls": [f"{web.url}/lists"], "through": "a"}))
    assert {path: row.kind for path, row in rows.items() if not row.kept and row.kind != "robots"} == {
        "e": "document",
        "f": "index",
    }
    web.page("/d1", f"<nav>{links('/d2', 'http://a..b/g')}</nav>")
    rows = crawl(tmp_path / "chapters", site({}, seeds=[f"{web.url}/d1"], mode="chapters", chapters="nav a"))
    assert (kept(rows, "chapter"), missed(rows)) == ({"d2"}, {"g": Miss.BAD_URL})
    assert (rows["g"].kind, rows["g"].document) == ("chapter", f"{web.url}/d1")


def test_a_page_of_nothing_but_links_that_are_no_urls_has_some_rows(web: Any, tmp_path: Path) -> None:
    web.page("/list", links(*(f"http://a..{n}/" for n in range(5000))))
    rows = crawl(tmp_path, site({"urls": [f"{web.url}/list"]}))
    refused = [row for row in rows.values() if row.reason == Miss.BAD_URL]
    assert len(rows) <= 2 + 100
    assert {row.evidence for row in refused} == {refused[0].evidence}
    assert str(refused[0].evidence).startswith("5,000 links ")


# WARC and resuming ---------------------------------------------------------------------------------------------------


def chaptered(web: Any, count: int = 6) -> Site:
    """Documents of three chapters each, whose first page is a chapter as well."""
    for n in range(count):
        chapters = [f"/d{n}", f"/d{n}/c1", f"/d{n}/c2"]
        documents(web, *chapters[1:])
        web.page(f"/d{n}", f"<h1>d{n}</h1><nav>{links(*chapters)}</nav>", ETag=f'"{n}"')
    web.page("/list", links(*(f"/d{n}" for n in range(count))))
    return site({"urls": [f"{web.url}/list"]}, mode="chapters", chapters="nav a")


def groups(folder: Path) -> list[tuple[str, list[str]]]:
    """Documents with their pages in the order of the files: a run of records is a document."""
    documents: list[tuple[str, list[str]]] = []
    place = None
    for file, kind, document, body in records(folder):
        if kind not in ("document", "chapter"):
            continue
        if kind == "document" or place != (file, document):
            documents.append((document, []))
        place = (file, document)
        documents[-1][1].append(body.decode())
    return documents


def whole(web: Any, folder: Path, count: int = 6) -> None:
    """Every document is there once, its pages together and in order."""
    documents = groups(folder)
    assert sorted(document for document, _ in documents) == [f"d{n}" for n in range(count)]
    for document, bodies in documents:
        assert [body.split("</h1>")[0] for body in bodies] == [
            f"<h1>{document}",
            f"<h1>/{document}/c1",
            f"<h1>/{document}/c2",
        ]


def test_records_of_a_document_stand_together_whatever_is_under_way(web: Any, tmp_path: Path) -> None:
    rows = crawl(tmp_path, chaptered(web), concurrency=3, volume_mb=0.001)
    whole(web, tmp_path)
    assert len(list(tmp_path.glob("lane*.warc.gz"))) > 3
    assert {kind for _, kind, _, _ in records(tmp_path)} == {"index", "document", "chapter"}
    assert statuses(answers(tmp_path)["robots.txt"]) == [404]
    assert rows["d0/c1"].document == f"{web.url}/d0"


def test_a_finished_crawl_asks_for_nothing(web: Any, tmp_path: Path) -> None:
    guide = chaptered(web)
    before = crawl(tmp_path, guide)
    web.asked.clear()
    assert crawl(tmp_path, guide) == before
    assert web.asked == []


def test_chapters_that_failed_come_to_their_place_later(web: Any, tmp_path: Path) -> None:
    guide = chaptered(web, 2)
    good = web.pages["/d0/c1"]
    web.status("/d0/c1", 500)
    rows = crawl(tmp_path, guide, concurrency=1, retries=0)
    assert missed(rows) == {"d0/c1": Miss.SERVER_ERROR}
    web.pages["/d0/c1"] = good
    web.asked.clear()
    rows = crawl(tmp_path, guide, concurrency=1)
    assert web.paths() == ["/d0/c1"]
    assert missed(rows) == {}
    whole(web, tmp_path, 2)


@pytest.mark.parametrize("seed", range(12))
def test_what_a_kill_tore_off_is_fetched_again_and_nothing_else(web: Any, tmp_path: Path, seed: int) -> None:
    """The files are cut where a kill, or a machine that lost its power, may have left them."""
    guide = chaptered(web, 4)
    crawl(tmp_path, guide, concurrency=2)
    chance = random.Random(seed)
    for path in tmp_path.glob("lane*.warc.gz"):
        cut(path, chance)
    cut(tmp_path / "fetches.jsonl", chance)
    there = {url for _, _, url in urls_in(tmp_path)}
    web.asked.clear()
    rows = crawl(tmp_path, guide, concurrency=2)
    asked = Counter(web.paths())
    assert max(asked.values(), default=1) == 1
    assert there.isdisjoint(path[1:] for path in asked)
    assert len(kept(rows, "document", "chapter")) == 12
    whole(web, tmp_path, 4)


def cut(path: Path, chance: random.Random) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: chance.choice([len(data), chance.randrange(len(data) + 1)])])


def urls_in(folder: Path) -> list[tuple[str, str, str]]:
    """File, kind and path of every whole record up to the first that is not."""
    pages = []
    for path in sorted(folder.glob("*.warc.gz")):
        with path.open("rb") as stream:
            for record in read_records(stream, 2**24):
                if not isinstance(record, Record):
                    break
                headers = record.headers
                url = headers.get("warc-gap-asked", headers["warc-target-uri"])
                pages.append((path.name, headers["warc-gap-kind"], url.split("/", 3)[3]))
    return pages


def logged_in(folder: Path) -> set[str]:
    """Paths of which the log tells that they gave no page."""
    log = FetchLog(folder / "fetches.jsonl")
    return {line.url.split("/", 3)[3] for line in log if not line.kept and line.kind != "robots"}


SCRIPT = """
import asyncio, json, sys
from contextlib import aclosing
from pathlib import Path
from ingest.web.archive import Archive
from ingest.web.crawl import CrawlSettings, SiteCrawl
from ingest.web.fetch import Fetcher
from ingest.site import Site

folder, site, settings = sys.argv[1:]
settings = CrawlSettings.model_validate_json(settings)

async def work():
    with Archive(Path(folder), settings.max_bytes) as archive:
        async with aclosing(Fetcher(settings)) as fetcher:
            await SiteCrawl(Site.model_validate_json(site), settings, archive, fetcher.fetch).run()

asyncio.run(work())
"""


@pytest.mark.parametrize("seed", range(3))
def test_killed_anywhere_it_fetches_no_page_twice_and_loses_none(web: Any, tmp_path: Path, seed: int) -> None:
    guide = chaptered(web, 8)
    web.redirect("/moved", "/gone")
    web.page("/list", links("/moved", *(f"/d{n}" for n in range(8)), "/missing"))
    chance = random.Random(seed)
    crawl_settings = settings(concurrency=3)
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), guide.model_dump_json(), crawl_settings.model_dump_json()]
    kills = 0
    while True:
        there = {path for _, kind, path in urls_in(tmp_path) if kind != "other"}
        logged = logged_in(tmp_path)
        web.asked.clear()
        last = chance.randrange(1, 9)
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        while process.poll() is None and len(web.asked) < last:
            time.sleep(0.001)
        if process.poll() is None and kills < 8:
            time.sleep(chance.random() * 0.03)
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        _, errors = process.communicate(timeout=60)
        assert there.isdisjoint(path[1:] for path in web.paths()), "a page in a WARC was asked for again"
        assert logged.isdisjoint(path[1:] for path in web.paths()), "a URL that gave no page was asked for again"
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, errors
    assert kills >= 3
    whole(web, tmp_path, 8)
    pages = Counter(path for _, kind, path in urls_in(tmp_path) if kind != "other")
    assert set(pages.values()) == {1}
    assert len(pages) == 1 + 8 * 3
    others = {path for _, kind, path in urls_in(tmp_path) if kind == "other"}
    assert others == {"robots.txt", "moved", "gone", "missing"}


@pytest.mark.parametrize("seed", range(6))
def test_responses_that_are_no_pages_are_whole_after_a_kill(web: Any, tmp_path: Path, seed: int) -> None:
    """The end of the file that they stand in is torn off; what is left can be read and goes on."""
    documents(web, "/a")
    for n in range(9):
        web.redirect(f"/m{n}", f"/gone{n}")
    seeded = site({}, seeds=[f"{web.url}/{name}" for name in ("a", *(f"m{n}" for n in range(9)))])
    before = crawl(tmp_path, seeded, concurrency=1)
    index = tmp_path / "index-00000.warc.gz"
    os.truncate(index, random.Random(seed).randrange(index.stat().st_size))
    left = {row.url for row in before.values() if not row.kept and row.place[2] <= index.stat().st_size}
    web.asked.clear()
    rows = crawl(tmp_path, seeded, concurrency=1)
    assert left.isdisjoint(f"{web.url}{path}" for path in web.paths())
    assert missed(rows) == missed(before)
    assert {f"gone{n}" for n in range(9)} <= answers(tmp_path).keys()
    assert all(record.headers["warc-gap-kind"] for record in whole_records(index))
    web.asked.clear()
    assert crawl(tmp_path, seeded) == rows
    assert web.asked == []


def whole_records(path: Path) -> list[Record]:
    with path.open("rb") as stream:
        records = list(read_records(stream, 2**24))
    assert all(isinstance(record, Record) for record in records)
    return [record for record in records if isinstance(record, Record)]


def test_two_crawls_do_not_write_to_one_folder(tmp_path: Path) -> None:
    with Archive(tmp_path, 2**20), pytest.raises(UserError, match="another crawl is at work here"):
        Archive(tmp_path, 2**20)
    Archive(tmp_path, 2**20).__exit__()


# Refresh -------------------------------------------------------------------------------------------------------------


def conditional(web: Any, path: str, body: str, tag: str) -> None:
    def answer(request: Any) -> None:
        if request.headers.get("If-None-Match") == tag:
            request.answer(304)
        else:
            request.answer(200, body.encode(), Content_Type="text/html", ETag=tag)

    web.pages[path] = answer


def revisit(same: ArcWarcRecord, page: ArcWarcRecord) -> tuple[str, int]:
    """Profile and status of a revisit record that refers to a page as ISO 28500 wants it."""
    assert (same.rec_type, page.rec_type, same.body) == ("revisit", "response", b"")
    second, first = same.rec_headers, page.rec_headers
    assert second["WARC-Refers-To"] == first["WARC-Record-ID"]
    assert second["WARC-Refers-To-Target-URI"] == first["WARC-Target-URI"]
    assert second["WARC-Refers-To-Date"] == first["WARC-Date"]
    assert second["WARC-Payload-Digest"] == first["WARC-Payload-Digest"]
    assert second["WARC-Date"] > first["WARC-Date"]
    profile = second["WARC-Profile"].removeprefix("http://netpreserve.org/warc/1.1/revisit/")
    return profile, int(same.http_headers.get_statuscode())


def test_a_refresh_fetches_what_changed_and_drops_what_is_gone(web: Any, tmp_path: Path) -> None:
    for name in "abcd":
        conditional(web, f"/{name}", f"old {name}", f'"{name}1"')
    web.page("/list", links("/a", "/b", "/c", "/d"))
    listing_site = site({"urls": [f"{web.url}/list"]})
    before = crawl(tmp_path, listing_site)
    conditional(web, "/b", "new b", '"b2"')
    web.status("/c", 404)
    web.status("/d", 500)
    documents(web, "/e")
    web.page("/list", links("/a", "/b", "/c", "/d", "/e"))
    web.asked.clear()
    rows = crawl(tmp_path, listing_site, refresh=True, retries=0)
    assert kept(rows) == {"a", "b", "d", "e"}
    assert missed(rows) == {"c": Miss.NOT_FOUND}
    assert {path: headers.get("If-None-Match") for _, path, headers in web.asked if path in ("/a", "/b")} == {
        "/a": '"a1"',
        "/b": '"b1"',
    }
    assert rows["a"].place == before["a"].place
    assert rows["a"].at > before["a"].at
    responses = answers(tmp_path)
    assert (statuses(responses["c"]), statuses(responses["d"])) == ([404, 200], [500, 200])
    assert revisit(*responses["a"]) == ("server-not-modified", 304)
    assert rows["d"].evidence == "not refreshed: server_error: status 500, after 1 requests"
    bodies = {document: body.decode() for _, kind, document, body in records(tmp_path) if kind == "document"}
    assert {name: bodies[name] for name in "abd"} == {"a": "old a", "b": "new b", "d": "old d"}
    assert set(bodies) == {"a", "b", "d", "e"}


def test_fresh_pages_are_not_asked_for_and_a_page_without_tags_is_compared(web: Any, tmp_path: Path) -> None:
    web.page("/a", "same")
    web.page("/list", links("/a"))
    listing_site = site({"urls": [f"{web.url}/list"]})
    before = crawl(tmp_path, listing_site)
    web.asked.clear()
    assert crawl(tmp_path, listing_site, refresh=True, fresh_hours=1) == before
    assert web.asked == []
    rows = crawl(tmp_path, listing_site, refresh=True)
    assert web.paths() == ["/list", "/a"]
    assert rows["a"].place == before["a"].place
    # The date that it refers to is that of the page, however often it was found to be the same.
    crawl(tmp_path, listing_site, refresh=True)
    *same, page = answers(tmp_path)["a"]
    assert [revisit(two, page) for two in same] == [("identical-payload-digest", 200)] * 2


def test_a_document_of_which_a_chapter_changed_is_written_whole(web: Any, tmp_path: Path) -> None:
    guide = chaptered(web, 3)
    crawl(tmp_path, guide, concurrency=1)
    web.page("/d1/c2", "<h1>/d1/c2</h1>changed")
    web.page("/d2", f"<h1>d2</h1><nav>{links('/d2', '/d2/c2')}</nav>")
    rows = crawl(tmp_path, guide, refresh=True, concurrency=1)
    documents = {document: [body.split("</h1>") for body in bodies] for document, bodies in groups(tmp_path)}
    assert len(groups(tmp_path)) == 3
    assert [head for head, *_ in documents["d1"]] == ["<h1>d1", "<h1>/d1/c1", "<h1>/d1/c2"]
    assert documents["d1"][2][1] == "changed"
    assert [head for head, *_ in documents["d2"]] == ["<h1>d2", "<h1>/d2/c2"]
    assert missed(rows) == {"d2/c1": Miss.GONE}


def test_a_refresh_drops_what_may_not_be_had_any_more(web: Any, tmp_path: Path) -> None:
    documents(web, "/a", "/b", "/c", "/d")
    seeded = site({}, seeds=[f"{web.url}/{name}" for name in "abcd"])
    assert kept(crawl(tmp_path, seeded)) == set("abcd")
    web.page("/robots.txt", "User-agent: *\nDisallow: /a", "text/plain")
    web.redirect("/b", "/d")
    web.status("/c", 503)
    rows = crawl(tmp_path, seeded, refresh=True, retries=0)
    assert kept(rows) == {"c", "d"}
    assert missed(rows) == {"a": Miss.ROBOTS, "b": Miss.SAME_PAGE}


def test_a_mended_rule_takes_out_what_the_wrong_one_fetched(web: Any, tmp_path: Path) -> None:
    documents(web, "/d1", "/d2", "/junk1", "/junk2", "/seed")
    web.page("/list", links("/d1", "/junk1", "/d2", "/junk2"))
    wrong: dict[str, Any] = {"urls": [f"{web.url}/list"]}
    mended = wrong | {"match": "/d[0-9]"}
    seeds = [f"{web.url}/seed"]
    rows = crawl(tmp_path, site(wrong, seeds=seeds))
    before = {path: rows[path].place for path in rows if rows[path].kept}
    web.asked.clear()
    rows, summary = crawl_summary(tmp_path, site(mended, seeds=seeds))
    assert (kept(rows), missed(rows)) == ({"d1", "d2", "seed"}, {"junk1": Miss.GONE, "junk2": Miss.GONE})
    assert rows["junk1"].evidence == f"{web.url}/junk1 does not fit index.match '/d[0-9]'"
    assert summary["accounts"]["document"] == {"in": 5, "kept": 3, "dropped": {"gone": 2}}
    assert {path for _, kind, path, _ in records(tmp_path) if kind == "document"} == {"d1", "d2", "seed"}
    assert crawl(tmp_path, site(mended, seeds=seeds)) == rows
    # A rule that was too narrow brings back what stands in the WARC files, without a request.
    rows = crawl(tmp_path, site(wrong, seeds=seeds))
    assert kept(rows) == {"d1", "d2", "junk1", "junk2", "seed"}
    assert {path: rows[path].place for path in before} == before
    assert {path for _, kind, path, _ in records(tmp_path) if kind == "document"} == kept(rows)
    assert web.asked == []


def test_chapters_go_and_come_back_with_their_document(web: Any, tmp_path: Path) -> None:
    guide = chaptered(web, 4)
    crawl(tmp_path, guide, concurrency=2)
    narrow = guide.model_copy(update={"index": guide.index.model_copy(update={"match": "/d[01]"})})
    web.asked.clear()
    rows = crawl(tmp_path, narrow, concurrency=2)
    assert kept(rows, "document", "chapter") == {f"d{n}{end}" for n in (0, 1) for end in ("", "/c1", "/c2")}
    assert set(missed(rows).values()) == {Miss.GONE}
    whole(web, tmp_path, 2)
    crawl(tmp_path, guide, concurrency=2)
    whole(web, tmp_path, 4)
    assert web.asked == []


def test_a_page_that_goes_as_a_chapter_and_comes_as_a_document_is_one(web: Any, tmp_path: Path) -> None:
    documents(web, "/junk", "/d1", "/old")
    web.page("/junk", f"<nav>{links('/d1')}</nav>")
    web.redirect("/d2", "/junk")
    web.page("/list", links("/junk"))
    chapters: dict[str, Any] = {"mode": "chapters", "chapters": "nav a"}
    listed = {"urls": [f"{web.url}/list"]}
    assert kept(crawl(tmp_path, site(listed, **chapters)), "document", "chapter") == {"junk", "d1"}
    web.page("/list", links("/junk", "/d1", "/d2"))
    index = {"urls": [f"{web.url}/list"], "match": "/d[0-9]"}
    rows = crawl(tmp_path, site(index, **chapters), refresh=True)
    assert kept(rows) == {"d1", "d2"}
    assert {path: row.document for path, row in rows.items() if row.kind == "document" and row.kept} == {
        "d1": f"{web.url}/d1",
        "d2": f"{web.url}/d2",
    }


@pytest.mark.parametrize("change", [{"folder": "../x"}, {"folder": "/x"}, {"sites": ["a", "x/a.yaml"]}, {"sites": []}])
def test_wrong_settings_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        settings(**change)


def test_a_page_that_only_vanished_changes_a_file_for_who_goes_by_their_content(web: Any, tmp_path: Path) -> None:
    documents(web, "/a", "/b")
    seeded = site({}, seeds=[f"{web.url}/a", f"{web.url}/b"])
    crawl(tmp_path, seeded)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.warc.gz")}
    web.status("/b", 404)
    assert kept(crawl(tmp_path, seeded, refresh=True)) == {"a"}
    after = {path.name: path.read_bytes() for path in tmp_path.glob("*.warc.gz")}
    assert before != after
    assert [document for _, _, document, _ in records(tmp_path)] == ["a"]
    assert kept(crawl(tmp_path, seeded)) == {"a"}
    assert after == {path.name: path.read_bytes() for path in tmp_path.glob("*.warc.gz")}


def test_a_kill_while_a_page_vanishes_leaves_changed_files(
    web: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents(web, "/a", "/b")
    seeded = site({}, seeds=[f"{web.url}/a", f"{web.url}/b"])
    crawl(tmp_path, seeded)
    web.status("/b", 404)
    sizes: list[int] = []

    def killed(path: Path, target: Path) -> Path:
        sizes.append(sum(b"superseded" in gzip.decompress(warc.read_bytes()) for warc in tmp_path.glob("*.warc.gz")))
        raise OSError("killed")

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(OSError, match="killed"):
        crawl(tmp_path, seeded, refresh=True)
    assert sizes == [1]


def test_a_file_that_was_removed_is_fetched_again(web: Any, tmp_path: Path) -> None:
    guide = chaptered(web, 4)
    crawl(tmp_path, guide, concurrency=1, volume_mb=0.001)
    sorted(tmp_path.glob("lane*.warc.gz"))[1].unlink()
    web.asked.clear()
    crawl(tmp_path, guide, concurrency=1, volume_mb=0.001)
    assert len(web.paths()) == 3
    whole(web, tmp_path, 4)
