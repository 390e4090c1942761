"""One HTTP exchange within limits of size and time. ingest.web.fetch decides when it is a host's turn."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Annotated

import aiohttp
from pydantic import Field, field_validator

from ingest.web.addresses import PrivateAddressError, PublicResolver, is_private
from ingest.web.answer import Answer, Miss, Truncated, Want, missed
from ingest.web.packing import PLAIN, PackingError, Unpacker
from ingest.web.payload import HTML, PDF, UNKNOWN
from ingest.web.politeness import retry_after
from ingest.web.robots import AGENT
from ingest.web.urls import clean_url, host_of
from lake.config import Settings
from lake.error import UserError
from lake.paths import HomePath
from lake.values import Amount, CountOrNone, Retries, Seconds, Seed, Text, Wait, Workers

CHUNK = 64 * 2**10
ASIDE_BYTES = 2**20
"""Stored bytes of a body that is not a page: an error, a redirect, a file of the wrong type."""

UNPACKED = ("gzip", "x-gzip", "deflate", "br")
"""Packings that are undone, though only gzip is requested."""

TYPES: dict[Want, tuple[str, ...]] = {
    "html": HTML,
    "pdf": (*PDF, *UNKNOWN),
    "list": ("application/json", "text/json", "application/xml", "text/xml", "text/plain", "text/html", *UNKNOWN),
}
"""Media types that servers may use. The bytes of a PDF are checked as well, for many servers do not know its type."""


class FetchSettings(Settings):
    """How pages are requested.

    Attributes:
        contact: An e-mail address or a URL in the user agent, so that owners of sites can complain. A config may leave
            it to the command line; nothing is requested without it.
        per_host: Requests to a host at a time.
        connect_seconds: Time to make a connection.
        total_seconds: Time for a whole exchange, which ends slow and endless bodies; also for a browser to build a
            page, without the time it waits for its host's turn.
        max_bytes: Bytes of an unpacked body. A longer one is not a page, and only its beginning is stored.
        retries: Retries after a passing failure: no connection, timeout, status 429 or 5xx.
        backoff_seconds: Wait before the first retry; it doubles for each further one.
        max_wait_seconds: The longest wait before a retry, by Retry-After or by crawl-delay. A host that demands more is
            left out.
        max_redirects: Redirects in a row.
        seed: Seed of the jitter of retries.
        chromium: The browser's executable, for sites of mode browser.
    """

    contact: Text | None = None
    per_host: Workers = 2
    connect_seconds: Seconds = 15
    total_seconds: Seconds = 120
    max_bytes: Amount = 64 * 2**20
    retries: Retries = 4
    backoff_seconds: Wait = 2
    max_wait_seconds: Seconds = 120
    max_redirects: Annotated[CountOrNone, Field(le=20)] = 5
    seed: Seed = 1234
    chromium: HomePath = "/usr/bin/chromium"

    @field_validator("contact")
    @classmethod
    def _reachable(cls, contact: str | None) -> str | None:
        if contact is not None and not re.fullmatch(
            r"[^\s@()]+@[^\s@()]+\.[^\s@()]+|https?://[^\s()]+", contact, re.ASCII
        ):
            raise ValueError(f"{contact!r} is neither an e-mail address nor a URL; owners of sites must reach you")
        return contact

    @property
    def user_agent(self) -> str:
        """Raises UserError if there is no contact."""
        if self.contact is None:
            raise UserError(
                "crawl.contact: give an e-mail address or a URL where the owners of sites reach you, as in "
                "crawl.contact=you@example.org"
            )
        return f"{AGENT}/0.1 (+{self.contact})"


@dataclass(frozen=True, slots=True)
class Message:
    """A request as it is sent. `private` allows addresses that are not public. Redirects are never followed."""

    url: str
    want: Want
    private: bool
    headers: dict[str, str] = field(default_factory=dict)
    method: str = "GET"
    data: bytes | None = None


class _CutError(Exception):
    """A body was not received to its end."""

    def __init__(self, miss: Miss, evidence: str, truncated: Truncated) -> None:
        super().__init__(evidence)
        self.miss = miss
        self.truncated = truncated


FAULTS = (_CutError, aiohttp.ClientError, OSError, ValueError)
"""Errors of an exchange; a TimeoutError is an OSError."""


class Client:
    """Connections that stay open between exchanges. To be used within a running event loop."""

    def __init__(self, settings: FetchSettings) -> None:
        self._settings = settings
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()

    async def exchange(self, message: Message) -> Answer:
        """Send a message. Raises nothing: a failure is the answer's `miss`, with what came before it."""
        url = message.url
        if not message.private and is_private(host_of(url)):
            return missed(url, Miss.PRIVATE_ADDRESS, f"{host_of(url)} is a private address")
        started = asyncio.get_running_loop().time()
        until = started + self._settings.total_seconds
        try:
            async with asyncio.timeout_at(until):
                response = await self._request(message)
        except FAULTS as error:
            miss, evidence, _ = _failure(error, started)
            return missed(url, miss, evidence)
        answer, body = Answer(url, datetime.now(UTC), response.status, _headers(response)), bytearray()
        try:
            async with asyncio.timeout_at(until):
                answer = _judged(message, response, answer, self._settings.max_bytes)
                if await self._receive(response, body, answer):
                    answer = replace(answer, truncated="unspecified")
        except FAULTS as error:
            miss, evidence, truncated = _failure(error, started)
            answer = replace(answer, truncated=truncated)
            if _is_page(answer):
                answer = answer.as_miss(miss, evidence)
        finally:
            response.close()  # else the rest of the body would still be received
        if message.want == "pdf" and _is_page(answer) and not answer.unchanged and b"%PDF-" not in body[:1024]:
            answer = answer.as_miss(Miss.WRONG_TYPE, f"not a PDF: it begins with {bytes(body[:40])!r}")
        if not _is_page(answer) and len(body) > ASIDE_BYTES:
            del body[ASIDE_BYTES:]
            answer = replace(answer, truncated=answer.truncated or "length")
        return replace(answer, body=bytes(body))

    async def _request(self, message: Message) -> aiohttp.ClientResponse:
        return await self._session(message.private).request(
            message.method,
            message.url.partition("#")[0],
            headers={"Accept-Encoding": "gzip"} | message.headers,
            data=message.data,
            allow_redirects=False,
        )

    async def _receive(self, response: aiohttp.ClientResponse, body: bytearray, answer: Answer) -> bool:
        """Whether bytes follow the packed body, which are not part of it and cannot be read."""
        most = self._settings.max_bytes
        bound = most if _is_page(answer) else min(ASIDE_BYTES, most)
        coding = _coding(response)
        undo = Unpacker(coding) if coding in UNPACKED else None
        async for piece in _unpacked(response, undo):
            body += piece
            if len(body) > bound:
                evidence = f"cut off after {len(body):,} bytes; max_bytes is {most:,}"
                del body[bound:]
                raise _CutError(Miss.TOO_LARGE, evidence, "length")
        return undo is not None and undo.trailing > 0

    def _session(self, private: bool) -> aiohttp.ClientSession:
        if private not in self._sessions:
            self._sessions[private] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, resolver=None if private else PublicResolver()),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._settings.connect_seconds),
                headers={"User-Agent": self._settings.user_agent},
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        return self._sessions[private]


def _headers(response: aiohttp.ClientResponse) -> tuple[tuple[str, str], ...]:
    """Names and values, without the packing that is undone. What is not UTF-8 becomes a question mark."""
    undone = "content-encoding" if _coding(response) in UNPACKED else None
    items = [(name, value) for name, value in response.headers.items() if name.lower() != undone]
    return tuple((name, value.encode("utf-8", "replace").decode()) for name, value in items)


def _coding(response: aiohttp.ClientResponse) -> str:
    return response.headers.get("Content-Encoding", "").strip().lower()


def _judged(message: Message, response: aiohttp.ClientResponse, answer: Answer, most: int) -> Answer:
    """The answer as far as a response's head decides it."""
    status, want = response.status, message.want
    if status in (301, 302, 303, 307, 308):
        target = response.headers.get("Location", "")
        location = clean_url(target, message.url, fragment=True)
        if location is None:
            return answer.as_miss(Miss.BAD_URL, f"status {status} leads to {target!r:.200}")
        return replace(answer, location=location)
    if status == 304:
        return answer
    if not 200 <= status < 300 or (status != 200 and want != "any"):
        wait = retry_after(response.headers.get("Retry-After"))
        return replace(answer.as_miss(_miss_of(status), f"status {status}"), wait=wait)
    kind = response.headers.get("Content-Type", "")
    if want in TYPES and kind.partition(";")[0].strip().lower() not in TYPES[want]:
        return answer.as_miss(Miss.WRONG_TYPE, f"Content-Type {kind!r:.100} instead of {want}")
    if (coding := _coding(response)) not in (*PLAIN, *UNPACKED):
        return answer.as_miss(Miss.BAD_ENCODING, f"Content-Encoding {coding!r:.100} was not requested")
    if (response.content_length or 0) > most:
        return answer.as_miss(Miss.TOO_LARGE, f"Content-Length {response.content_length:,}; max_bytes is {most:,}")
    return answer


def _is_page(answer: Answer) -> bool:
    """Whether the answer is a page, as far as is known."""
    return answer.miss is None and answer.location is None


def _miss_of(status: int) -> Miss:
    if status in (404, 410):
        return Miss.NOT_FOUND
    if status == 429:
        return Miss.RATE_LIMITED
    return Miss.SERVER_ERROR if status >= 500 else Miss.REFUSED


def _failure(error: Exception, started: float) -> tuple[Miss, str, Truncated]:
    """The miss and the evidence of a failed exchange, and why a body that was on its way is truncated."""
    if isinstance(error, _CutError):
        return error.miss, str(error), error.truncated
    if isinstance(error, TimeoutError):  # including aiohttp's own
        return Miss.TIMEOUT, f"given up after {asyncio.get_running_loop().time() - started:.1f} s", "time"
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, PrivateAddressError):
        cause = cause.__cause__ or cause.__context__
    miss = Miss.CONNECTION if cause is None else Miss.PRIVATE_ADDRESS
    return miss, f"{type(error).__name__}: {cause or error}", "disconnect"


async def _unpacked(response: aiohttp.ClientResponse, undo: Unpacker | None) -> AsyncIterator[bytes]:
    """The body's bytes, at most CHUNK at once, however far a packed body would swell.

    A packing that is not in UNPACKED is not undone.
    """
    if undo is None:
        async for piece in response.content.iter_chunked(CHUNK):
            yield piece
        return
    empty = True
    try:
        async for packed in response.content.iter_chunked(CHUNK):
            empty = False
            for piece in undo.feed(packed):
                yield piece
        if not empty:
            undo.finish()
    except PackingError as error:
        raise _CutError(Miss.BAD_ENCODING, str(error), "unspecified") from None
