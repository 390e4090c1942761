"""Pages that JavaScript builds, by a real browser whose every request goes through the crawler."""

import asyncio
import shutil
import socket
from collections import Counter
from typing import Any

import pytest

from ingest.web.answer import Answer, Ask
from ingest.web.browser import check_browser
from ingest.web.fetch import Fetcher, Miss
from ingest.web.http import FetchSettings
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
    given = {"contact": "a@example.org", "retries": 0, "total_seconds": 20} | changes
    asks = [Ask(f"{web.url}{url}", "html", rate, private=True, browser=True, wait_for=wait_for) for url in urls]

    async def work() -> list[Answer]:
        async with Fetcher(FetchSettings.model_validate(given)) as fetcher:
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
    parts = [one.url for page in (plain, routed) for one in page.before]
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
        async with Fetcher(FetchSettings(contact="a@example.org", retries=0, total_seconds=5)) as fetcher:
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
