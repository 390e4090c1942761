"""Pages that JavaScript builds, by a real browser whose every request goes through the crawler.

How long a page may take is shown with a stand-in for the browser, and by a clock that jumps instead of waiting.
"""

import asyncio
import selectors
import shutil
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import pytest

from ingest.web.answer import Answer, Ask, missed
from ingest.web.browser import Browser, BrowserError, Load, Request, check_browser
from ingest.web.fetch import MOST_PARTS, Fetcher, Miss
from ingest.web.http import Client, FetchSettings, Message
from lake.error import UserError

CHROMIUM = "/usr/bin/chromium"

needs_browser = pytest.mark.skipif(shutil.which(CHROMIUM) is None, reason=f"{CHROMIUM} is not installed")

SHELL = """<html><head><title>App</title><script src="/app.js"></script>
<link rel="stylesheet" href="/style.css"></head><body><div id="root">Loading</div><img src="/picture.png"></body></html>
"""
APP = """
document.addEventListener("DOMContentLoaded", async () => {
  const answer = await fetch("/data.json?route=" + location.hash.slice(2), {method: "%s", body: %s});
  const data = answer.ok ? await answer.json() : {text: "no data"};
  setTimeout(() => {
    document.getElementById("root").innerHTML = "<main><h1>Sore throat</h1><p>" + data.text + "</p></main>";
  }, 100);
});
"""


def app(web: Any, method: str = "GET", body: str = "undefined") -> None:
    web.page("/app", SHELL, ETag='"shell"')
    web.page("/app.js", APP % (method, body), "text/javascript")
    web.page("/data.json?route=", '{"text": "Gargle with salt water."}', "application/json")
    web.page("/data.json?route=guideline/7", '{"text": "Number seven."}', "application/json")


def build(web: Any, *urls: str, wait_for: str | None = "main p", rate: float = 50, **changes: Any) -> list[Answer]:
    values = {"contact": "a@example.org", "retries": 0, "total_seconds": 20} | changes
    asks = [Ask(f"{web.url}{url}", "html", rate, private=True, browser=True, wait_for=wait_for) for url in urls]

    async def work() -> list[Answer]:
        async with aclosing(Fetcher(FetchSettings.model_validate(values))) as fetcher:
            return await asyncio.gather(*map(fetcher.fetch, asks))

    return asyncio.run(work())


@needs_browser
def test_a_page_is_what_its_scripts_make_of_it(web: Any) -> None:
    app(web)
    plain, routed = build(web, "/app", "/app#/guideline/7")
    assert plain.miss is None, plain.evidence
    assert b"<h1>Sore throat</h1><p>Gargle with salt water.</p>" in plain.body
    assert b"<p>Number seven.</p>" in routed.body
    assert plain.header("content-type") == "text/html; charset=utf-8"
    # Neither pictures nor styles, and nothing that the crawler did not send.
    assert {path.partition("?")[0] for path in web.paths()} == {"/app", "/app.js", "/data.json"}
    assert web.paths().count("/app.js") == 1
    # Every response that the pages were built from comes with one of them.
    parts = [part.url for page in (plain, routed) for part in page.before]
    assert Counter(url.removeprefix(web.url).partition("#")[0] for url in parts) == Counter(web.paths())
    assert {headers["User-Agent"] for _, _, headers in web.asked} == {"gap-replay/0.1 (+a@example.org)"}


@needs_browser
def test_requests_of_a_page_keep_robots_txt_and_the_rate(web: Any) -> None:
    app(web)
    web.page("/robots.txt", "User-agent: *\nDisallow: /data", "text/plain")
    (answer,) = build(web, "/app", wait_for=None, rate=4)
    assert b"Loading" in answer.body
    times = [moment for moment, _, _ in web.asked]
    assert web.paths(robots=True) == ["/robots.txt", "/app", "/app.js"]
    assert times[-1] - times[0] >= 2 / 4 * 0.95


@needs_browser
def test_a_page_that_is_not_built_in_time_is_told(web: Any) -> None:
    app(web)
    (answer,) = build(web, "/app", wait_for="div.never", total_seconds=3)
    assert answer.miss == Miss.NOT_BUILT
    assert answer.evidence == "div.never did not appear within 3 s"


@needs_browser
def test_statuses_redirects_types_and_limits_hold_as_without_a_browser(web: Any) -> None:
    app(web)
    web.redirect("/old", "/app#/guideline/7")
    web.page("/file", "%PDF-", "application/pdf")
    web.page("/grows", "<script>document.write('x'.repeat(200000))</script>")
    missing, old, file, grows = build(web, "/none", "/old", "/file", "/grows", wait_for=None, max_bytes=100_000)
    assert missing.miss == Miss.NOT_FOUND
    assert old.location == f"{web.url}/app#/guideline/7"
    assert file.miss == Miss.WRONG_TYPE
    assert grows.miss == Miss.TOO_LARGE


@needs_browser
def test_a_page_of_a_public_site_reaches_nothing_inside(web: Any) -> None:
    """The page is given as one of a public host; what it asks for, by whatever way, does not get through."""
    app(web)
    web.page("/secret", "secret", "text/plain")
    tries = f"""<main><p>here</p></main><iframe src="{web.url}/secret"></iframe><script>
    fetch("{web.url}/secret").catch(() => 0); new WebSocket("ws://127.0.0.1:{web.port}/secret");
    navigator.sendBeacon("{web.url}/secret", "x"); new EventSource("{web.url}/secret");
    setTimeout(() => location = "{web.url}/secret", 50);
    </script>"""
    web.page("/page", tries)

    async def work() -> Answer:
        async with aclosing(Fetcher(FetchSettings(contact="a@example.org", retries=0, total_seconds=5))) as fetcher:
            shell = await fetcher._try(Ask(f"{web.url}/page", "html", 50, private=True), [])
            web.asked.clear()
            return await fetcher._build(Ask(shell.url, "html", 50, private=False, browser=True), shell, [])

    asyncio.run(work())
    assert web.asked == []


@needs_browser
def test_a_page_sends_nothing_by_udp(web: Any) -> None:
    """WebRTC has its own way to the network, beside requests and proxies."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stun:
        stun.bind(("127.0.0.1", 0))
        stun.settimeout(0.2)
        port = stun.getsockname()[1]
        web.page(
            "/page",
            f"""<body><script>(async () => {{
          let said = "no WebRTC";
          if (window.RTCPeerConnection) {{
            const one = new RTCPeerConnection({{iceServers: [{{urls: "stun:127.0.0.1:{port}"}}]}});
            one.createDataChannel("x");
            await one.setLocalDescription(await one.createOffer());
            said = one.iceGatheringState;
          }}
          setTimeout(() => {{ document.body.innerHTML = "<main><p>" + said + "</p></main>"; }}, 1500);
        }})();</script>""",
        )
        (answer,) = build(web, "/page")
        assert answer.miss is None, answer.evidence
        with pytest.raises(TimeoutError):
            stun.recv(2048)


def test_a_browser_that_is_missing_is_told_before_work_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"^/no/chromium: no such browser; install Chromium or set crawl\.chromium"):
        check_browser("/no/chromium")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs Playwright; install it"):
        check_browser(CHROMIUM)


# Time ----------------------------------------------------------------------------------------------------------------

APP_URL = "https://app.example.org/"
SLOW = 0.2
"""Requests a second, as sites that need a browser have it."""


class Jumping:
    """Time that does not pass but jumps to where the next sleeper wakes; what a host takes to answer is told to it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.sent: list[tuple[float, str]] = []
        self.takes: Callable[[str], float] = lambda url: 0.5

    def loop(self) -> asyncio.AbstractEventLoop:
        jump = self._jump

        class Selector(selectors.DefaultSelector):  # type: ignore[valid-type, misc]
            def select(self, timeout: float | None = None) -> list[Any]:
                return super().select(jump(timeout))

        return asyncio.SelectorEventLoop(Selector())

    def _jump(self, timeout: float | None) -> float | None:
        self.now += timeout or 0
        return None if timeout is None else 0

    async def exchange(self, message: Message) -> Answer:
        """In place of Client.exchange; a host answers in time, or is given up after two minutes."""
        self.sent.append((self.now, message.url))
        await asyncio.sleep(min(120, self.takes(message.url)))
        if self.takes(message.url) >= 120:
            return missed(message.url, Miss.TIMEOUT, "given up")
        status = 404 if message.url.endswith("/robots.txt") else 200
        return Answer(message.url, datetime.now(UTC), status, (("Content-Type", "text/html"),), b"<main></main>")


@pytest.fixture
def jumping(monkeypatch: pytest.MonkeyPatch) -> Iterator[Jumping]:
    world = Jumping()
    with monkeypatch.context() as patched:
        patched.setattr(time, "monotonic", lambda: world.now)
        patched.setattr(Client, "exchange", lambda _, message: world.exchange(message))
        yield world


def play(
    jumping: Jumping,
    monkeypatch: pytest.MonkeyPatch,
    page: Callable[[str, Load], Awaitable[None]],
    count: int = 1,
    **changes: Any,
) -> list[Answer]:
    """Answers for some pages of an application whose scripts do what `page` does, given its route and how to ask."""

    async def build(_: Browser, url: str, first: object, wait_for: str | None, load: Load) -> bytes:
        await page(url.rpartition("/")[2], load)
        return b"<main>built</main>"

    monkeypatch.setattr(Browser, "build", build)
    fetch_settings = FetchSettings.model_validate(
        {"contact": "a@example.org", "retries": 0, "total_seconds": 120} | changes
    )
    asks = [Ask(f"{APP_URL}#/page/{n}", "html", SLOW, browser=True, wait_for="main") for n in range(count)]

    async def work() -> list[Answer]:
        async with aclosing(Fetcher(fetch_settings)) as fetcher:
            return await asyncio.gather(*map(fetcher.fetch, asks))

    with asyncio.Runner(loop_factory=jumping.loop) as runner:
        return runner.run(work())


async def get(load: Load, name: str, kind: str = "fetch") -> bool:
    return await load(Request(f"{APP_URL}{name}", kind, "GET", {}, None)) is not None


def test_pages_that_wait_for_their_turn_are_built_at_whatever_rate(
    jumping: Jumping, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def page(route: str, load: Load) -> None:
        for n in range(5):
            assert await get(load, f"script{n}.js", "script")
        for n in range(10):
            assert await get(load, f"data/{route}/{n}")

    pages = play(jumping, monkeypatch, page, 4)
    assert [answer.body for answer in pages] == [b"<main>built</main>"] * 4, pages[-1].evidence
    moments = [moment for moment, _ in jumping.sent]
    assert len(moments) == 1 + 4 + 5 + 4 * 10
    assert moments == pytest.approx([1000 + n / SLOW for n in range(len(moments))])


def test_a_page_that_rests_without_what_is_waited_for_is_late_when_its_seconds_are_over(
    jumping: Jumping, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def page(route: str, load: Load) -> None:
        await asyncio.sleep(100)
        await get(load, "data")
        await asyncio.Event().wait()

    (answer,) = play(jumping, monkeypatch, page)
    assert (answer.miss, answer.evidence) == (Miss.NOT_BUILT, "main did not appear within 120 s")
    # robots.txt and the page have had their turns; 100 s later data has it at once, and takes 0.5 of the seconds left.
    assert jumping.now == pytest.approx(1000 + 1 / SLOW + 0.5 + 120)


def test_a_host_that_does_not_answer_makes_a_page_late(jumping: Jumping, monkeypatch: pytest.MonkeyPatch) -> None:
    async def page(route: str, load: Load) -> None:
        await asyncio.gather(*(get(load, f"data/{n}") for n in range(20)))

    jumping.takes = lambda url: 1000.0 if "/data/" in url else 0.5
    (answer,) = play(jumping, monkeypatch, page)
    assert answer.miss == Miss.NOT_BUILT
    assert jumping.now < 1000 + 2 / SLOW + 0.5 + 121


def test_a_page_that_never_stops_to_ask_ends(jumping: Jumping, monkeypatch: pytest.MonkeyPatch) -> None:
    answered = []

    async def page(route: str, load: Load) -> None:
        while True:
            answered.append(await get(load, f"data/{len(answered)}"))
            await asyncio.sleep(0.1)

    jumping.takes = lambda url: 0.1
    (answer,) = play(jumping, monkeypatch, page)
    assert answer.miss == Miss.NOT_BUILT
    assert answer.evidence.startswith(f"main did not appear within 120 s; {MOST_PARTS} of its ")
    assert answer.evidence.endswith(" requests were answered")
    assert Counter(answered)[True] == MOST_PARTS
    assert len(jumping.sent) == 2 + MOST_PARTS


def test_an_error_of_the_browser_and_a_page_that_asks_after_its_end_are_no_trouble(
    jumping: Jumping, monkeypatch: pytest.MonkeyPatch
) -> None:
    late: list[asyncio.Task[bool]] = []

    async def page(route: str, load: Load) -> None:
        late.append(asyncio.create_task(get(load, f"late/{route}")))
        await asyncio.sleep(0)
        if route == "1":
            raise BrowserError("it fell over")

    async def wait(_: Fetcher) -> None:
        assert await asyncio.gather(*late) == [True, True]

    monkeypatch.setattr(Fetcher, "aclose", wait)
    good, bad = play(jumping, monkeypatch, page, 2)
    assert good.miss is None
    assert (bad.miss, bad.evidence) == (Miss.NOT_BUILT, "it fell over")
