"""One page politely: robots.txt first, the host's rate, retries with growing waits, a browser where it takes one."""

import asyncio
import random
import time
from contextlib import nullcontext
from dataclasses import replace
from typing import Self

from ingest.web.answer import PASSING, UNREAD, Answer, Ask, Want, missed
from ingest.web.answer import Miss as Miss
from ingest.web.browser import Browser, BrowserError, Clock, Loaded, Request
from ingest.web.http import Client, FetchSettings, Message
from ingest.web.politeness import Gate, backoff
from ingest.web.robots import MOST_HOPS, Rules, rules_of
from ingest.web.urls import clean_url, domain, host_of, origin

ROBOTS_SECONDS = 24 * 3600.0
CLOSED_SECONDS = 300.0
"""How long what a robots.txt said holds, and how long a host stays closed whose robots.txt could not be read."""

MOST_SCRIPTS = 200
"""That are held for the pages to come."""

MOST_PARTS = 200
"""Requests of one page while it is built; further ones fail. A page that never stops to ask would never be late, for
its clock stands still while it waits. Applications ask some tens of times; 200 take 17 minutes at a request in 5 s."""

ACCEPT: dict[Want, str] = {
    "html": "text/html, application/xhtml+xml, */*;q=0.1",
    "pdf": "application/pdf, */*;q=0.1",
    "list": "application/json, application/xml, text/xml, */*;q=0.1",
    "any": "*/*",
}


class Fetcher:
    """Asks hosts for pages. All requests to one host must go through one Fetcher, for it keeps the host's rate."""

    def __init__(self, settings: FetchSettings) -> None:
        self._settings = settings
        self._client = Client(settings)
        self._browser = Browser(settings.chromium, settings.user_agent)
        self._gates: dict[str, Gate] = {}
        self._scripts: dict[tuple[str, str | None], asyncio.Task[Loaded | None]] = {}
        self._shut: dict[str, Answer] = {}
        self._robots: dict[tuple[str, bool], tuple[float, asyncio.Task[tuple[Rules, Answer]]]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._browser.close()
        await self._client.close()

    async def fetch(self, ask: Ask) -> Answer:
        """One page; a redirect is handed back, not followed. Raises nothing: what goes wrong is the answer's `miss`."""
        if clean_url(ask.url, fragment=ask.browser) != ask.url:
            return missed(ask.url, Miss.BAD_URL, "not an absolute http or https URL in its one form")
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
        """Ask until there is an answer that stays, at most `retries` times more; the others are added to `before`."""
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
                    gate.pause(wait)  # the host speaks of itself, not of this page alone
                await asyncio.sleep(wait)
        return replace(answer, evidence=f"{answer.evidence}, after {settings.retries + 1} requests")

    async def _exchange(self, message: Message, gate: Gate, clock: Clock | None = None) -> Answer:
        """Send a message when it is its host's turn. A host that asks for too long a wait is not asked any more."""
        host, most = host_of(message.url), self._settings.max_wait_seconds
        if host not in self._shut:
            async with gate.turn():
                if host not in self._shut:  # it may have asked while others waited for their turn
                    with nullcontext() if clock is None else clock.sent():
                        answer = await self._client.exchange(message)
                    if answer.miss not in PASSING or answer.wait is None or answer.wait <= most:
                        return answer
                    asked = f"Retry-After {answer.wait:g} s; max_wait_seconds is {most:g}"
                    self._shut[host] = replace(answer, evidence=f"{answer.evidence}, {asked}")
                    return self._shut[host]
        shut = self._shut[host]
        return missed(message.url, shut.miss or Miss.RATE_LIMITED, f"not asked for: {shut.url}: {shut.evidence}")

    def _add(self, answer: Answer, before: list[Answer]) -> None:
        """Remember a response, if one came. All together have no more bytes than one page may have: then only heads."""
        if answer.status is None:
            return
        room = max(0, self._settings.max_bytes - sum(len(one.body) for one in before))
        if len(answer.body) > room:
            answer = replace(answer, body=answer.body[:room], truncated=answer.truncated or "length")
        before.append(answer)

    # robots.txt ------------------------------------------------------------------------------------------------------

    async def _closed(self, ask: Ask, before: list[Answer]) -> tuple[Answer | None, Answer | None]:
        """The answer that a URL gets without being asked for, if robots.txt keeps it closed; slows its host down.

        The second is what robots.txt itself answered, where this call was the one that asked.
        """
        rules, told, first = await self._rules(ask, before)
        robots = told if first else None
        if told.miss is not None:
            return missed(ask.url, told.miss, f"{told.url}: {told.evidence}"), robots
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
        """Rules of the URL's host, the answer they came from, and whether this call was the one that asked."""
        key = (origin(ask.url), ask.private)
        known = self._robots.get(key)
        first = known is None or time.monotonic() > known[0]
        if known is None or first:
            asking = Ask(f"{key[0]}/robots.txt", "any", ask.rate, ask.private)
            known = (time.monotonic() + ROBOTS_SECONDS, asyncio.create_task(self._read_robots(asking, before)))
            self._robots[key] = known
        rules, told = await asyncio.shield(known[1])
        if first and (told.miss is not None or rules.closed is not None):
            self._robots[key] = (time.monotonic() + CLOSED_SECONDS, known[1])
        return rules, told, first

    async def _read_robots(self, ask: Ask, before: list[Answer]) -> tuple[Rules, Answer]:
        """Follows redirects within the domain: what another domain allows is not this one's to say."""
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
        """The page as a browser builds it from the HTML that came."""
        seconds, asked = self._settings.total_seconds, 0
        clock = Clock(seconds)

        async def load(request: Request) -> Loaded | None:
            nonlocal asked
            asked += 1
            if asked > MOST_PARTS:
                return None
            with clock.asked():
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
            more = f"; it asked {asked:,} times, of which {MOST_PARTS} were answered" if asked > MOST_PARTS else ""
            return missed(ask.url, Miss.NOT_BUILT, f"{what} within {seconds:g} s{more}")
        if len(html) > (most := self._settings.max_bytes):
            return missed(ask.url, Miss.TOO_LARGE, f"{len(html):,} bytes when built; max_bytes is {most:,}")
        kept = tuple((name, value) for name, value in shell.headers if name.lower() not in ("content-type", "etag"))
        return replace(shell, headers=(("Content-Type", "text/html; charset=utf-8"), *kept), body=html)

    async def _load(self, request: Request, ask: Ask, before: list[Answer], clock: Clock) -> Loaded | None:
        """What a page asks for while it is built; a script is asked for once, since all pages of a site share it."""
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
        """A part of a page, under the rules of its host as well; None where the page may not have it.

        The browser itself has no way to the network.
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
    """The same for another URL; a private address is allowed to the host that it was allowed to, and to no other."""
    return replace(ask, url=url, private=ask.private and origin(url) == origin(ask.url))


def _headers(ask: Ask) -> dict[str, str]:
    headers = {"Accept": ACCEPT[ask.want]}
    if ask.etag is not None:
        headers["If-None-Match"] = ask.etag
    if ask.last_modified is not None:
        headers["If-Modified-Since"] = ask.last_modified
    return headers
