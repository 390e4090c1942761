"""Fetches a page politely: robots.txt first, at the host's rate, retries with growing waits, a browser if needed."""

import asyncio
import random
import time
from contextlib import nullcontext
from dataclasses import replace

from ingest.web.answer import PASSING, UNREAD, Answer, Ask, Want, missed
from ingest.web.answer import Miss as Miss
from ingest.web.browser import Browser, BrowserError, Clock, Loaded, Request
from ingest.web.http import Client, FetchSettings, Message
from ingest.web.politeness import Gate, backoff
from ingest.web.robots import MOST_HOPS, Rules, rules_of
from ingest.web.urls import clean_url, domain, host_of, origin

ROBOTS_SECONDS = 24 * 3600.0
CLOSED_SECONDS = 300.0
"""How long the rules of a robots.txt hold, and how long a host stays closed if its robots.txt could not be read."""

MOST_SCRIPTS = 200
"""Scripts kept for further pages, at most."""

MOST_PARTS = 200
"""Requests of a page while it is built, at most; further ones fail. Without a limit, a page that keeps sending requests
would never time out, for its clock stops while it waits. Applications send tens; at one in 5 s, 200 take 17 minutes."""

ACCEPT: dict[Want, str] = {
    "html": "text/html, application/xhtml+xml, */*;q=0.1",
    "pdf": "application/pdf, */*;q=0.1",
    "list": "application/json, application/xml, text/xml, */*;q=0.1",
    "any": "*/*",
}


class Fetcher:
    """Requests pages. All requests to a host must go through the same Fetcher, for it keeps the host's rate."""

    def __init__(self, settings: FetchSettings) -> None:
        self._settings = settings
        self._client = Client(settings)
        self._browser = Browser(settings.chromium, settings.user_agent)
        self._gates: dict[str, Gate] = {}
        self._scripts: dict[tuple[str, str | None], asyncio.Task[Loaded | None]] = {}
        self._shut: dict[str, Answer] = {}
        self._robots: dict[tuple[str, bool], tuple[float, asyncio.Task[tuple[Rules, Answer]]]] = {}

    async def aclose(self) -> None:
        await self._browser.close()
        await self._client.close()

    async def fetch(self, ask: Ask) -> Answer:
        """Get a page. A redirect is returned, not followed. Raises nothing: a failure is the answer's `miss`."""
        if clean_url(ask.url, fragment=ask.browser) != ask.url:
            return missed(ask.url, Miss.BAD_URL, "not an absolute http or https URL in its single form")
        before: list[Answer] = []
        answer, robots = await self._closed(ask, before)
        if answer is None:
            answer = await self._try(ask, before)
            if ask.browser and answer.status == 200 and answer.miss is None:
                answer = await self._build(ask, answer, before)
        return replace(answer, robots=robots, before=tuple(before))

    def _gate(self, ask: Ask) -> Gate:
        gate = self._gates.setdefault(host_of(ask.url), Gate(self._settings.per_host))
        gate.slow_to(1 / ask.rate)
        return gate

    async def _try(self, ask: Ask, before: list[Answer]) -> Answer:
        """Send a request until its answer is final, with at most `retries` retries. Other answers go to `before`."""
        settings, gate = self._settings, self._gate(ask)
        chance = random.Random(f"{settings.seed} {ask.url}")
        message = Message(ask.url, ask.want, ask.private, _headers(ask))
        for attempt in range(settings.retries + 1):
            answer = await self._exchange(message, gate)
            if answer.miss not in PASSING or host_of(ask.url) in self._shut:
                return answer
            if attempt < settings.retries:
                self._add(answer, before)
                wait = backoff(attempt, settings.backoff_seconds, settings.max_wait_seconds, chance)
                if answer.wait is not None:
                    wait = max(wait, answer.wait)
                    gate.pause(wait)  # the host means all requests, not only those for this page
                await asyncio.sleep(wait)
        return replace(answer, evidence=f"{answer.evidence}, after {settings.retries + 1} requests")

    async def _exchange(self, message: Message, gate: Gate, clock: Clock | None = None) -> Answer:
        """Send a message when its host is ready. A host that demands too long a wait gets no more requests."""
        host, most = host_of(message.url), self._settings.max_wait_seconds
        if host not in self._shut:
            async with gate.turn():
                if host not in self._shut:  # that may have changed during the wait
                    with nullcontext() if clock is None else clock.counted("sent"):
                        answer = await self._client.exchange(message)
                    if answer.miss not in PASSING or answer.wait is None or answer.wait <= most:
                        return answer
                    asked = f"Retry-After {answer.wait:g} s; max_wait_seconds is {most:g}"
                    self._shut[host] = replace(answer, evidence=f"{answer.evidence}, {asked}")
                    return self._shut[host]
        shut = self._shut[host]
        return missed(message.url, shut.miss or Miss.RATE_LIMITED, f"not requested: {shut.url}: {shut.evidence}")

    def _add(self, answer: Answer, before: list[Answer]) -> None:
        """Add a response, if one came. Together they hold at most as many bytes as a page may have, then only heads."""
        if answer.status is None:
            return
        room = max(0, self._settings.max_bytes - sum(len(earlier.body) for earlier in before))
        if len(answer.body) > room:
            answer = replace(answer, body=answer.body[:room], truncated=answer.truncated or "length")
        before.append(answer)

    # robots.txt ------------------------------------------------------------------------------------------------------

    async def _closed(self, ask: Ask, before: list[Answer]) -> tuple[Answer | None, Answer | None]:
        """The answer for a URL that robots.txt closes, else None; sets the host's interval.

        The second value is the answer for robots.txt itself, if this call was the one that requested it.
        """
        rules, source, first = await self._rules(ask, before)
        robots = source if first else None
        if source.miss is not None:
            return missed(ask.url, source.miss, f"{source.url}: {source.evidence}"), robots
        if rules.closed is not None:
            return missed(ask.url, Miss.SERVER_ERROR, rules.closed), robots
        if (why := rules.forbids(ask.url)) is not None:
            return missed(ask.url, Miss.ROBOTS, why), robots
        if rules.interval > (most := self._settings.max_wait_seconds):
            asked = f"robots.txt asks for {rules.interval:g} s between requests; max_wait_seconds is {most:g}"
            return missed(ask.url, Miss.ROBOTS, asked), robots
        self._gate(ask).slow_to(rules.interval)
        return None, robots

    async def _rules(self, ask: Ask, before: list[Answer]) -> tuple[Rules, Answer, bool]:
        """Rules of the URL's host, the answer they came from, and whether this call was the one that requested it."""
        key = (origin(ask.url), ask.private)
        known = self._robots.get(key)
        first = known is None or time.monotonic() > known[0]
        if known is None or first:
            robots = Ask(f"{key[0]}/robots.txt", "any", ask.rate, ask.private)
            known = (time.monotonic() + ROBOTS_SECONDS, asyncio.create_task(self._read_robots(robots, before)))
            self._robots[key] = known
        rules, answer = await asyncio.shield(known[1])
        if first and (answer.miss is not None or rules.closed is not None):
            self._robots[key] = (time.monotonic() + CLOSED_SECONDS, known[1])
        return rules, answer, first

    async def _read_robots(self, ask: Ask, before: list[Answer]) -> tuple[Rules, Answer]:
        """Follows redirects within the domain, for another domain must not decide what this one allows."""
        for _ in range(MOST_HOPS + 1):
            answer = await self._try(ask, before)
            if answer.location is None:
                if answer.status is None or (answer.miss is not None and answer.miss in PASSING | UNREAD):
                    return Rules(), answer
                return rules_of(answer.status, answer.body), replace(answer, miss=None)
            if domain(host_of(answer.location)) != domain(host_of(ask.url)):
                break
            self._add(answer, before)
            ask = _elsewhere(ask, answer.location)
        return Rules(closed=f"robots.txt leads to {answer.location}, which was not followed"), answer

    # JavaScript ------------------------------------------------------------------------------------------------------

    async def _build(self, ask: Ask, shell: Answer, before: list[Answer]) -> Answer:
        """The page as a browser builds it from its HTML."""
        seconds, requests = self._settings.total_seconds, 0
        clock = Clock(seconds)

        async def load(request: Request) -> Loaded | None:
            nonlocal requests
            requests += 1
            if requests > MOST_PARTS:
                return None
            with clock.counted("asked"):
                return await self._load(request, ask, before, clock)

        self._add(shell, before)
        first = Loaded(200, dict(shell.headers), shell.body)
        try:
            async with clock.limit():
                html = await self._browser.build(ask.url, first, ask.wait_for, load)
        except BrowserError as error:
            return missed(ask.url, Miss.NOT_BUILT, str(error))
        except TimeoutError:
            what = f"{ask.wait_for} did not appear" if ask.wait_for else "the page did not come to rest"
            more = f"; {MOST_PARTS} of its {requests:,} requests were answered" if requests > MOST_PARTS else ""
            return missed(ask.url, Miss.NOT_BUILT, f"{what} within {seconds:g} s{more}")
        if len(html) > (most := self._settings.max_bytes):
            return missed(ask.url, Miss.TOO_LARGE, f"{len(html):,} bytes when built; max_bytes is {most:,}")
        kept = tuple((name, value) for name, value in shell.headers if name.lower() not in ("content-type", "etag"))
        return replace(shell, headers=(("Content-Type", "text/html; charset=utf-8"), *kept), body=html)

    async def _load(self, request: Request, ask: Ask, before: list[Answer], clock: Clock) -> Loaded | None:
        """The answer to a request of a page that is built. A script is requested once, for pages share it."""
        if request.kind != "script" or request.method != "GET":
            return await self._ask_for(request, ask, before, clock)
        key = (request.url, origin(ask.url) if ask.private else None)
        if key not in self._scripts:
            if len(self._scripts) >= MOST_SCRIPTS:
                self._scripts.clear()
            self._scripts[key] = asyncio.create_task(self._ask_for(request, ask, before, clock))
        loaded = await asyncio.shield(self._scripts[key])
        if loaded is None or loaded.status != 200:
            self._scripts.pop(key, None)
        return loaded

    async def _ask_for(self, request: Request, ask: Ask, before: list[Answer], clock: Clock) -> Loaded | None:
        """A part of a page, requested under the rules of its own host; None if the page may not have it.

        The browser itself cannot reach the network.
        """
        url = clean_url(request.url)
        for _ in range(self._settings.max_redirects + 1):
            if url is None:
                return None
            part = _elsewhere(Ask(ask.url, "any", ask.rate, ask.private), url)
            closed, robots = await self._closed(part, before)
            if robots is not None:
                self._add(robots, before)
            if closed is not None:
                return None
            message = Message(url, "any", part.private, request.headers, request.method, request.data)
            answer = await self._exchange(message, self._gate(part), clock)
            self._add(answer, before)
            if answer.location is None:
                if answer.status is None or (answer.miss is not None and answer.miss in UNREAD):
                    return None
                return Loaded(answer.status, dict(answer.headers), answer.body)
            url = answer.location
        return None


def _elsewhere(ask: Ask, url: str) -> Ask:
    """The same request for another URL. A private address stays allowed for its origin alone."""
    return replace(ask, url=url, private=ask.private and origin(url) == origin(ask.url))


def _headers(ask: Ask) -> dict[str, str]:
    headers = {"Accept": ACCEPT[ask.want]}
    if ask.etag is not None:
        headers["If-None-Match"] = ask.etag
    if ask.last_modified is not None:
        headers["If-Modified-Since"] = ask.last_modified
    return headers
