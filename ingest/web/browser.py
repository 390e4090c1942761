"""Pages that need JavaScript, built by Chromium through Playwright (the extra `browser`).

The browser builds pages but fetches nothing. The crawler answers every request of a page, so that robots.txt, rates and
limits hold for scripts and data too. A request that slipped past it would go to a proxy that does not exist.
"""

import asyncio
import importlib.util
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lake.error import UserError

if TYPE_CHECKING:
    from playwright.async_api import Browser as Chromium
    from playwright.async_api import Playwright, Route

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--proxy-server=127.0.0.1:9",
    "--proxy-bypass-list=<-loopback>",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
)
NEEDLESS = {"image", "media", "font", "stylesheet", "manifest", "other"}
"""Types of resources that add no text."""

METHODS = {"GET", "HEAD", "POST"}
SENT = ("accept", "content-type", "x-requested-with", "authorization", "cookie", "origin", "referer")
"""Headers of a page's request that are sent to the host. The others come from the browser."""

DROPPED = ("content-encoding", "content-length", "transfer-encoding", "connection", "content-security-policy")
"""Headers of an answer that do not hold for the unpacked body, or would prevent the page from being built."""


class BrowserError(Exception):
    """A page could not be built."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request of a page; `kind` is script, fetch, xhr, document …"""

    url: str
    kind: str
    method: str
    headers: dict[str, str]
    data: bytes | None


@dataclass(frozen=True, slots=True)
class Loaded:
    """The response to a request of a page."""

    status: int
    headers: dict[str, str]
    body: bytes


Load = Callable[[Request], Awaitable[Loaded | None]]


class Clock:
    """Limits the seconds in which a page is built. The clock stops while the page only waits for its requests' turn.

    A host with a slow rate makes all its pages wait, and they must not time out for that. The clock runs while scripts
    work and while an answer is on its way.
    """

    def __init__(self, seconds: float) -> None:
        self._left = seconds
        self._timeout = asyncio.timeout(None)
        self._over = False
        self._requests = {"asked": 0, "sent": 0}

    @asynccontextmanager
    async def limit(self) -> AsyncIterator[None]:
        """End the block when the time is up.

        Raises:
            TimeoutError: the time was up.
        """
        async with self._timeout:
            self._run_or_stand()
            try:
                yield
            finally:
                self._over = True

    @contextmanager
    def counted(self, state: Literal["asked", "sent"]) -> Iterator[None]:
        """Count a request of the page: `asked` until it is answered, `sent` while its host is answering."""
        self._requests[state] += 1
        self._run_or_stand()
        try:
            yield
        finally:
            self._requests[state] -= 1
            self._run_or_stand()

    def _run_or_stand(self) -> None:
        if self._over or self._timeout.expired():
            return  # requests outlive the page that asked for them
        runs = bool(self._requests["sent"] or not self._requests["asked"])
        until, now = self._timeout.when(), asyncio.get_running_loop().time()
        if runs and until is None:
            self._timeout.reschedule(now + self._left)
        elif not runs and until is not None:
            self._left = until - now
            self._timeout.reschedule(None)


def check_browser(executable: str) -> None:
    """Raises UserError if Playwright or the browser is missing. To be called before work starts."""
    if importlib.util.find_spec("playwright") is None:
        raise UserError("a site of mode browser needs Playwright; install it: pip install 'gap-replay[browser]'")
    if shutil.which(executable) is None:
        raise UserError(f"{executable}: no such browser; install Chromium or set crawl.chromium to its path")


class Browser:
    """Chromium, started for the first page and used for all. Pages share nothing."""

    def __init__(self, executable: str, user_agent: str) -> None:
        self._executable = executable
        self._user_agent = user_agent
        self._starting = asyncio.Lock()
        self._playwright: Playwright | None = None
        self._chromium: Chromium | None = None

    async def _start(self) -> "Chromium":
        from playwright.async_api import async_playwright

        async with self._starting:
            if self._playwright is None:
                self._playwright = await async_playwright().start()
            if self._chromium is None or not self._chromium.is_connected():
                self._chromium = await self._playwright.chromium.launch(
                    executable_path=self._executable, args=list(FLAGS), ignore_default_args=["--headless=old"]
                )
        return self._chromium

    async def build(self, url: str, first: Loaded, wait_for: str | None, load: Load) -> bytes:
        """The HTML, as UTF-8, of the page at `url` once its scripts ran and the CSS selector `wait_for` matches.

        `first` answers the page's own request, `load` every further one. If `load` gives None, the request fails. There
        is no time limit.

        Raises:
            BrowserError: the browser failed.
        """
        from playwright.async_api import Error

        try:
            chromium = await self._start()
            context = await chromium.new_context(user_agent=self._user_agent, service_workers="block")
            try:
                await context.route("**/*", lambda route: _answer(route, url, first, load))
                page = await context.new_page()
                page.set_default_timeout(0)  # Playwright's own clock would not stop
                await page.goto(url, wait_until="domcontentloaded" if wait_for else "networkidle")
                if wait_for:
                    await page.wait_for_selector(wait_for, state="attached")
                return (await page.content()).encode("utf-8", "replace")
            finally:
                await context.close()
        except Error as error:
            raise BrowserError(" ".join(str(error).split())[:200]) from None

    async def close(self) -> None:
        if self._chromium is not None:
            await self._chromium.close()
        if self._playwright is not None:
            await self._playwright.stop()


async def _answer(route: "Route", url: str, first: Loaded, load: Load) -> None:
    from playwright.async_api import Error

    request = route.request
    try:
        if request.is_navigation_request() and request.url.partition("#")[0] == url.partition("#")[0]:
            loaded: Loaded | None = first
        elif request.resource_type in NEEDLESS or request.method not in METHODS:
            loaded = None
        else:
            sent = {name: value for name, value in (await request.all_headers()).items() if name in SENT}
            loaded = await load(
                Request(request.url, request.resource_type, request.method, sent, request.post_data_buffer)
            )
        if loaded is None:
            await route.abort()
            return
        headers = {name: value for name, value in loaded.headers.items() if name.lower() not in DROPPED}
        await route.fulfill(status=loaded.status, headers=headers, body=loaded.body)
    except Error:
        return  # the page was closed while its request was on the way
