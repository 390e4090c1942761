"""One page over HTTP from a real server: what is fetched, what is refused, how often it asks and when it gives up."""

import asyncio
import gzip
import random
import threading
import time
import zlib
from contextlib import aclosing
from itertools import pairwise
from typing import Any

import brotli
import pytest
from pydantic import ValidationError

from ingest.web.answer import Answer, Ask
from ingest.web.fetch import Fetcher, Miss
from ingest.web.fetchlog import Fetch
from ingest.web.http import FetchSettings

FAST = 50.0
"""Requests a second where a test is not about the rate."""


def settings(**changes: Any) -> FetchSettings:
    values = {"contact": "crawl@example.org", "retries": 2, "backoff_seconds": 0.02, "total_seconds": 10} | changes
    return FetchSettings.model_validate(values)


def fetch(web: Any, *paths: str, rate: float = FAST, want: str = "html", **changes: Any) -> list[Answer]:
    """Answers to all paths, asked for at the same time by one fetcher."""
    asks = [Ask(path if "://" in path else f"{web.url}{path}", want, rate, private=True) for path in paths]  # type: ignore[arg-type]
    return run(asks, **changes)


def run(asks: list[Ask], **changes: Any) -> list[Answer]:
    async def work() -> list[Answer]:
        async with aclosing(Fetcher(settings(**changes))) as fetcher:
            return await asyncio.gather(*map(fetcher.fetch, asks))

    return asyncio.run(work())


def test_a_page_is_fetched_with_a_user_agent_that_says_whom_to_write_to(web: Any) -> None:
    web.page("/a", "<p>text</p>", ETag='"1"')
    (answer,) = fetch(web, "/a")
    assert (answer.status, answer.body, answer.miss) == (200, b"<p>text</p>", None)
    assert answer.header("etag") == '"1"'
    assert {headers["User-Agent"] for _, _, headers in web.asked} == {"gap-replay/0.1 (+crawl@example.org)"}
    assert web.paths(robots=True) == ["/robots.txt", "/a"]


@pytest.mark.parametrize("contact", ["", "nobody", "a@b", "x@example.org\r\nX: y", "ftp://example.org", "a (b) c@d.e"])
def test_a_contact_that_reaches_nobody_is_refused(contact: str) -> None:
    with pytest.raises(ValidationError, match=r"neither an e-mail address nor a URL|it is blank|control character"):
        settings(contact=contact)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://127.0.0.1/a", "javascript:alert(1)", "//x/a", "http://", "http://h:99999/"]
)
def test_only_http_is_asked_for(web: Any, url: str) -> None:
    (answer,) = run([Ask(url, "html", FAST, private=True)])
    assert answer.miss == Miss.BAD_URL
    assert web.asked == []


# robots.txt ----------------------------------------------------------------------------------------------------------


def test_what_robots_txt_forbids_is_not_asked_for(web: Any) -> None:
    web.page("/robots.txt", "User-agent: *\nDisallow: /a\n\nUser-agent: gap-replay\nDisallow: /private", "text/plain")
    web.page("/a", "a")
    web.page("/private/b", "b")
    first, second = fetch(web, "/a", "/private/b")
    assert first.miss is None
    assert second.miss == Miss.ROBOTS
    assert "disallows" in second.evidence
    assert web.paths(robots=True) == ["/robots.txt", "/a"]
    assert [answer.robots is not None for answer in (first, second)].count(True) == 1


@pytest.mark.parametrize(("status", "miss"), [(404, None), (403, None), (500, Miss.SERVER_ERROR)])
def test_a_robots_txt_that_is_missing_allows_and_one_that_cannot_be_read_forbids(
    web: Any, status: int, miss: Miss | None
) -> None:
    web.page("/a", "a")
    web.status("/robots.txt", status)
    assert fetch(web, "/a")[0].miss == miss
    assert web.paths() == ([] if miss else ["/a"])


def test_a_robots_txt_that_does_not_end_closes_its_host_and_a_404_that_does_not_end_opens_it(web: Any) -> None:
    web.page("/a", "a")
    for status, miss in ((200, Miss.TOO_LARGE), (404, None)):
        web.pages["/robots.txt"] = lambda request, status=status: request.answer(status, b"#" * 3 * 2**20)
        (answer,) = fetch(web, "/a", max_bytes=2**21)
        assert answer.miss == miss
        assert answer.robots is not None
        assert (answer.robots.status, len(answer.robots.body), answer.robots.truncated) == (status, 2**20, "length")
    assert web.paths() == ["/a"]


def test_robots_txt_is_followed_within_the_domain_only(web: Any) -> None:
    web.page("/a", "a")
    web.redirect("/robots.txt", "/rules", 301)
    web.page("/rules", "User-agent: *\nDisallow: /", "text/plain")
    assert fetch(web, "/a")[0].miss == Miss.ROBOTS
    web.redirect("/robots.txt", f"http://localhost:{web.port}/rules")
    answer = fetch(web, "/a")[0]
    assert answer.miss == Miss.SERVER_ERROR
    assert "was not followed" in answer.evidence
    assert "/a" not in web.paths()


def test_a_crawl_delay_slows_the_host_and_one_too_long_closes_it(web: Any) -> None:
    web.page("/robots.txt", "User-agent: *\nCrawl-delay: 0.3", "text/plain")
    for n in range(4):
        web.page(f"/{n}", "a")
    assert all(answer.miss is None for answer in fetch(web, "/0", "/1", "/2", "/3"))
    times = [moment for moment, path, _ in web.asked if path != "/robots.txt"]
    assert times[-1] - times[0] >= 3 * 0.3 * 0.95
    (answer,) = fetch(web, "/0", max_wait_seconds=0.2)
    assert answer.miss == Miss.ROBOTS
    assert "0.3 s between requests" in answer.evidence


# Rate ----------------------------------------------------------------------------------------------------------------


def test_one_host_is_asked_at_the_rate_whatever_waits(web: Any) -> None:
    for n in range(6):
        web.page(f"/{n}", "a")
    fetch(web, *(f"/{n}" for n in range(6)), rate=5)
    times = [moment for moment, _, _ in web.asked]
    assert len(times) == 7
    assert times[-1] - times[0] >= 6 / 5 * 0.95
    assert min(later - sooner for sooner, later in pairwise(times)) >= 1 / 5 * 0.7


def test_no_more_requests_are_under_way_than_a_host_may_have(web: Any) -> None:
    under_way, most, lock = [0], [0], threading.Lock()

    def slow(request: Any) -> None:
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        time.sleep(0.1)
        with lock:
            under_way[0] -= 1
        request.answer(200, b"a", Content_Type="text/html")

    for n in range(8):
        web.pages[f"/{n}"] = slow
    fetch(web, *(f"/{n}" for n in range(8)), per_host=2)
    assert most[0] == 2


# Retries -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_passing_failure_is_tried_again(web: Any, status: int) -> None:
    web.status("/a", status, 200)
    (answer,) = fetch(web, "/a")
    assert answer.body == b"<p>at last</p>"
    assert web.paths() == ["/a", "/a"]


@pytest.mark.parametrize(
    ("status", "miss"), [(429, Miss.RATE_LIMITED), (500, Miss.SERVER_ERROR), (599, Miss.SERVER_ERROR)]
)
def test_a_failure_that_stays_is_given_up(web: Any, status: int, miss: Miss) -> None:
    web.status("/a", status)
    (answer,) = fetch(web, "/a")
    assert (answer.miss, answer.status) == (miss, status)
    assert answer.evidence == f"status {status}, after 3 requests"
    assert web.paths() == ["/a"] * 3


@pytest.mark.parametrize(
    ("status", "miss"), [(404, Miss.NOT_FOUND), (410, Miss.NOT_FOUND), (403, Miss.REFUSED), (204, Miss.REFUSED)]
)
def test_what_another_request_would_not_change_is_asked_once(web: Any, status: int, miss: Miss) -> None:
    web.status("/a", status)
    assert fetch(web, "/a")[0].miss == miss
    assert web.paths() == ["/a"]


def test_waits_grow_and_depend_on_the_seed(web: Any) -> None:
    web.status("/a", 500)
    fetch(web, "/a", retries=3, backoff_seconds=0.2)
    times = [moment for moment, path, _ in web.asked if path == "/a"]
    waits = [later - sooner for sooner, later in pairwise(times)]
    for attempt, wait in enumerate(waits):
        assert wait >= 0.2 * 2**attempt * 0.5


def test_retry_after_holds_the_whole_host(web: Any) -> None:
    web.status("/a", 429, 200, Retry_After="1")
    web.page("/b", "b")
    asks = [Ask(f"{web.url}/{name}", "html", 4.0, private=True) for name in "ab"]
    assert all(answer.miss is None for answer in run(asks, per_host=1))
    times = {}
    for moment, path, _ in web.asked:
        times.setdefault(path, []).append(moment)
    assert times["/a"][1] - times["/a"][0] >= 1
    assert times["/b"][0] - times["/a"][0] >= 1


def test_retry_after_beyond_the_bound_is_not_waited_for(web: Any) -> None:
    web.status("/a", 503, Retry_After="3600")
    (answer,) = fetch(web, "/a")
    assert answer.miss == Miss.SERVER_ERROR
    assert answer.evidence == "status 503, Retry-After 3600 s; max_wait_seconds is 120"
    assert web.paths() == ["/a"]


def test_a_host_that_asks_for_too_long_a_wait_is_not_asked_any_more(web: Any) -> None:
    web.status("/a", 503, Retry_After="3600")
    web.page("/b", "b")
    asks = [Ask(f"{web.url}/{name}", "html", FAST, private=True) for name in "ab"]
    _, second = run(asks, per_host=1)
    assert second.miss == Miss.SERVER_ERROR
    assert second.evidence.startswith(f"not requested: {web.url}/a: status 503, Retry-After 3600 s")
    assert web.paths() == ["/a"]


def test_a_host_that_does_not_answer_is_a_connection_error(web: Any) -> None:
    web.close()
    (answer,) = fetch(web, "/a")
    assert answer.miss == Miss.CONNECTION
    assert "robots.txt" in answer.evidence
    assert "after 3 requests" in answer.evidence


def test_a_connection_that_breaks_off_is_a_connection_error(web: Any) -> None:
    def broken(request: Any) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "text/html")
        request.send_header("Content-Length", "100")
        request.end_headers()
        request.wfile.write(b"half")
        request.close_connection = True

    web.pages["/a"] = broken
    (answer,) = fetch(web, "/a")
    assert answer.miss == Miss.CONNECTION
    assert (answer.status, answer.body, answer.truncated) == (200, b"half", "disconnect")


def test_mutated_answers_raise_nothing_and_can_be_logged(web: Any) -> None:
    chance = random.Random(7)
    body = gzip.compress(b"<p>text</p>" * 200)
    answers = [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
        % len(body)
        + body,
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b'HTTP/1.1 302 Found\r\nLocation: /x\xff\r\nETag: "\xe9"\r\nContent-Length: 0\r\n\r\n',
        b"HTTP/1.1 503 x\r\nRetry-After: Tue, 24 Nov 2026 12:00:30 GMT\r\nContent-Length: 0\r\n\r\n",
    ]

    def mutated(request: Any) -> None:
        data = bytearray(chance.choice(answers))
        for _ in range(chance.randrange(4)):
            place = chance.randrange(len(data) + 1)
            data[place : place + chance.randrange(6)] = chance.randbytes(chance.randrange(5))
        request.wfile.write(data)
        request.close_connection = True

    paths = [f"/{n}" for n in range(150)]
    web.pages |= dict.fromkeys(paths, mutated)
    for answer in fetch(web, *paths, retries=0, per_host=10, total_seconds=2):
        etag, end = answer.header("etag"), answer.location
        row = Fetch(url=answer.url, kind="index", kept=False, at=answer.at, etag=etag, final_url=end)
        assert row.model_copy(update={"evidence": answer.evidence}).model_dump_json()


# Limits --------------------------------------------------------------------------------------------------------------


def test_a_body_over_the_limit_is_cut_off_early(web: Any) -> None:
    sent = []

    def huge(request: Any, length: bool) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "text/html")
        request.send_header(*(("Content-Length", str(200 * 2**20)) if length else ("Connection", "close")))
        request.end_headers()
        for _ in range(200):
            request.wfile.write(b"x" * 2**20)
            sent.append(request.path)

    web.pages["/announced"] = lambda request: huge(request, True)
    web.pages["/unannounced"] = lambda request: huge(request, False)
    announced, unannounced = fetch(web, "/announced", "/unannounced", max_bytes=2**20)
    assert announced.miss == unannounced.miss == Miss.TOO_LARGE
    assert announced.evidence == "Content-Length 209,715,200; max_bytes is 1,048,576"
    assert unannounced.evidence.startswith("cut off after 1,")
    assert announced.body == unannounced.body == b"x" * 2**20
    assert announced.truncated == unannounced.truncated == "length"
    assert len(sent) < 100
    assert sorted(web.paths()) == ["/announced", "/unannounced"]


def test_a_packed_bomb_is_cut_off_at_the_limit(web: Any) -> None:
    bomb = gzip.compress(b"x" * 100 * 2**20)
    web.pages["/a"] = lambda request: request.answer(200, bomb, Content_Type="text/html", Content_Encoding="gzip")
    (answer,) = fetch(web, "/a", max_bytes=2**20)
    assert answer.miss == Miss.TOO_LARGE
    assert answer.evidence == "cut off after 1,114,112 bytes; max_bytes is 1,048,576"
    assert (len(answer.body), answer.truncated) == (2**20, "length")


def packed(body: bytes, coding: str) -> Any:
    return lambda request: request.answer(200, body, Content_Type="text/html", Content_Encoding=coding)


def test_packed_bodies_are_unpacked(web: Any) -> None:
    text = b"<p>text</p>" * 100_000
    web.pages["/gzip"] = packed(gzip.compress(text), "gzip")
    web.pages["/deflate"] = packed(zlib.compress(text), "deflate")
    web.pages["/identity"] = packed(text, "identity")
    assert [answer.body == text for answer in fetch(web, "/gzip", "/deflate", "/identity")] == [True] * 3


def test_a_body_that_cannot_be_unpacked_is_told(web: Any) -> None:
    web.pages["/zstd"] = packed(b"text", "zstd")
    web.pages["/torn"] = packed(gzip.compress(b"text" + random.Random(1).randbytes(200_000))[:-20], "gzip")
    web.pages["/no"] = packed(b"text", "gzip")
    other, torn, no = fetch(web, "/zstd", "/torn", "/no")
    assert [answer.miss for answer in (other, torn, no)] == [Miss.BAD_ENCODING] * 3
    # What cannot be unpacked stays as it came, under its header; else there is what could be unpacked.
    assert (other.body, other.truncated, other.header("content-encoding")) == (b"text", None, "zstd")
    assert (torn.body[:4], torn.truncated, torn.header("content-encoding")) == (b"text", "unspecified", None)
    assert (no.body, no.truncated) == (b"", "unspecified")


def test_every_member_and_brotli_are_unpacked_and_bytes_behind_them_told(web: Any) -> None:
    page = b"<p>Never give it in pregnancy."
    web.pages["/members"] = packed(gzip.compress(page[:9]) + gzip.compress(page[9:]), "gzip")
    web.pages["/br"] = packed(brotli.compress(page), "br")
    web.pages["/raw"] = packed(zlib.compress(page)[2:-4], "deflate")
    web.pages["/more"] = packed(gzip.compress(page) + b"garbage", "gzip")
    answers = fetch(web, "/members", "/br", "/raw", "/more")
    assert [(answer.body, answer.miss) for answer in answers] == [(page, None)] * 4
    assert [answer.truncated for answer in answers] == [None, None, None, "unspecified"]


def dripping(status: int, kind: str = "text/html") -> Any:
    """A body that does not end."""

    def answer(request: Any) -> None:
        request.send_response(status)
        request.send_header("Content-Type", kind)
        request.send_header("Connection", "close")
        request.end_headers()
        while True:
            request.wfile.write(b"x")
            time.sleep(0.02)

    return answer


def test_slow_and_endless_bodies_end(web: Any) -> None:
    web.pages["/slow"] = lambda request: time.sleep(3)
    web.pages["/endless"] = dripping(200)
    started = time.monotonic()
    slow, endless = fetch(web, "/slow", "/endless", total_seconds=0.5, retries=1)
    assert slow.miss == endless.miss == Miss.TIMEOUT
    assert "given up after 0.5 s, after 2 requests" in endless.evidence
    assert (slow.status, slow.before) == (None, ())
    for answer in (endless, *endless.before):
        assert (answer.status, answer.body[:1], answer.truncated) == (200, b"x", "time")
    assert time.monotonic() - started < 30
    deadline = time.monotonic() + 10
    while web.hung_up.count("/endless") < 2:
        assert time.monotonic() < deadline, "the connection of a body that was given up stays open"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("want", "kind", "body", "fits"),
    [
        ("html", "text/html", "<p>a</p>", True),
        ("html", "Application/XHTML+XML; charset=utf-8", "<p>a</p>", True),
        ("html", "application/pdf", "%PDF-1.4", False),
        ("html", "image/png", "a", False),
        ("pdf", "application/pdf", "%PDF-1.4", True),
        ("pdf", "application/octet-stream", "\n%PDF-1.4", True),
        ("pdf", "application/pdf", "<html>please log in</html>", False),
        ("pdf", "text/html", "%PDF-1.4", False),
    ],
)
def test_the_content_type_must_be_what_the_site_has(web: Any, want: str, kind: str, body: str, fits: bool) -> None:
    web.page("/a", body, kind)
    (answer,) = fetch(web, "/a", want=want)
    assert answer.miss == (None if fits else Miss.WRONG_TYPE)
    assert (answer.body, answer.truncated) == (body.encode(), None)


@pytest.mark.parametrize(
    ("status", "kind", "miss"), [(404, "text/html", Miss.NOT_FOUND), (200, "image/png", Miss.WRONG_TYPE)]
)
def test_what_is_refused_is_so_though_its_body_does_not_end(web: Any, status: int, kind: str, miss: Miss) -> None:
    web.pages["/a"] = dripping(status, kind)
    (answer,) = fetch(web, "/a", total_seconds=0.3)
    assert (answer.status, answer.miss, answer.body[:1], answer.truncated) == (status, miss, b"x", "time")
    assert web.paths() == ["/a"]


def test_of_what_is_no_page_the_beginning_is_kept(web: Any) -> None:
    large = b"x" * (2**20 + 1)
    web.pages["/404"] = lambda request: request.answer(404, large)
    web.pages["/302"] = lambda request: request.answer(302, large, Location="/a")
    web.page("/type", large, "image/png")
    web.page("/page", large)
    *others, page = fetch(web, "/404", "/302", "/type", "/page")
    assert [(len(other.body), other.truncated) for other in others] == [(2**20, "length")] * 3
    assert (len(page.body), page.truncated) == (len(large), None)


def test_responses_before_the_last_have_no_more_bytes_than_a_page_may_have(web: Any) -> None:
    web.pages["/a"] = lambda request: request.answer(500, b"x" * 1500)
    (answer,) = fetch(web, "/a", retries=3, max_bytes=2000)
    assert [(len(part.body), part.truncated) for part in answer.before] == [
        (1500, None),
        (500, "length"),
        (0, "length"),
    ]
    assert (len(answer.body), answer.truncated) == (1500, None)


def test_responses_before_the_last_come_with_it(web: Any) -> None:
    web.redirect("/robots.txt", "/rules", 301)
    web.page("/rules", "User-agent: *", "text/plain")
    web.status("/a", 429, 500, 200)
    (answer,) = fetch(web, "/a")
    seen = [(earlier.url.removeprefix(web.url), earlier.status) for earlier in answer.before]
    assert seen == [("/robots.txt", 301), ("/a", 429), ("/a", 500)]
    assert answer.robots is not None
    assert (answer.robots.url, answer.robots.status) == (f"{web.url}/rules", 200)


# Addresses, conditions, redirects ------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"])
def test_a_private_address_is_not_connected_to(web: Any, host: str) -> None:
    (answer,) = run([Ask(f"http://{host}:{web.port}/a", "html", FAST)], retries=0)
    assert answer.miss == Miss.PRIVATE_ADDRESS
    assert web.asked == []


def test_conditions_are_sent_and_304_is_no_miss(web: Any) -> None:
    def answer(request: Any) -> None:
        request.answer(304 if request.headers.get("If-None-Match") == '"1"' else 200, Content_Type="text/html")

    web.pages["/a"] = answer
    ask = Ask(f"{web.url}/a", "html", FAST, private=True, etag='"1"', last_modified="yesterday")
    (answer_,) = run([ask])
    assert answer_.unchanged
    assert web.asked[-1][2]["If-Modified-Since"] == "yesterday"


def test_redirects_are_handed_back_with_an_absolute_url(web: Any) -> None:
    web.redirect("/a", "b?x=1#part")
    web.redirect("/nowhere", "mailto:a@b.c")
    a, nowhere = fetch(web, "/a", "/nowhere")
    assert a.location is not None
    assert a.location.startswith(f"{web.url}/b?x=1")
    assert nowhere.miss == Miss.BAD_URL
