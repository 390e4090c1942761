"""One HTTP exchange within limits of size and time. Nothing here waits for its turn: see ingest.web.fetch."""

import asyncio
import re
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import aiohttp
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, field_validator

from ingest.web.addresses import PrivateAddressError, PublicResolver, is_private
from ingest.web.answer import Answer, Miss, Truncated, Want, missed
from ingest.web.politeness import retry_after
from ingest.web.robots import AGENT
from ingest.web.urls import clean_url, host_of
from lake.config import Settings
from lake.error import UserError

CHUNK = 64 * 2**10
ASIDE_BYTES = 2**20
"""Of a body that is no page's and is only stored: of an error, a redirect, a file of the wrong type."""

PLAIN = ("", "identity")
UNPACKED = ("gzip", "x-gzip", "deflate")
UNKNOWN = ("application/octet-stream", "binary/octet-stream", "")
TYPES: dict[Want, tuple[str, ...]] = {
    "html": ("text/html", "application/xhtml+xml"),
    "pdf": ("application/pdf", "application/x-pdf", *UNKNOWN),
    "list": ("application/json", "text/json", "application/xml", "text/xml", "text/plain", "text/html", *UNKNOWN),
}
"""What a server may call the types wanted; a PDF is looked at as well, for many servers do not know it."""


class FetchSettings(Settings):
    """How pages are asked for.

    Attributes:
        contact: An e-mail address or a URL that the user agent carries, so that an owner can complain. A config may
            leave it to the command line; nothing is asked for without it.
        per_host: Requests that one host answers at a time.
        connect_seconds: To make a connection.
        total_seconds: For a whole exchange: slow and endless bodies end here. And for a browser to build a page, its
            waits for a turn apart.
        max_bytes: Of one body, unpacked; of a longer one, which is no page, only the beginning is stored.
        retries: After a passing failure: no connection, time over, status 429 or 5xx.
        backoff_seconds: Before the first retry; doubled for each further one.
        max_wait_seconds: The longest wait for a retry, a Retry-After and a crawl-delay; who asks for more is left out.
        max_redirects: In a row.
        seed: Of the jitter of retries.
        chromium: The browser's executable, for sites of mode browser.
    """

    contact: str | None = None
    per_host: PositiveInt = 2
    connect_seconds: PositiveFloat = 15
    total_seconds: PositiveFloat = 120
    max_bytes: PositiveInt = 64 * 2**20
    retries: NonNegativeInt = 4
    backoff_seconds: NonNegativeFloat = 2
    max_wait_seconds: PositiveFloat = 120
    max_redirects: NonNegativeInt = Field(default=5, le=20)
    seed: int = 1234
    chromium: str = "/usr/bin/chromium"

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
        """Raises UserError where there is no contact."""
        if self.contact is None:
            raise UserError(
                "crawl.contact: give an e-mail address or a URL where the owners of sites reach you, as in "
                "crawl.contact=you@example.org"
            )
        return f"{AGENT}/0.1 (+{self.contact})"


@dataclass(frozen=True, slots=True)
class Message:
    """A request as it is sent. Redirects are never followed; `private` allows addresses that are not public."""

    url: str
    want: Want
    private: bool
    headers: dict[str, str] = field(default_factory=dict)
    method: str = "GET"
    data: bytes | None = None


class _CutError(Exception):
    """A body was given up, and why."""

    def __init__(self, miss: Miss, evidence: str, truncated: Truncated) -> None:
        super().__init__(evidence)
        self.miss = miss
        self.truncated = truncated


FAULTS = (_CutError, aiohttp.ClientError, OSError, ValueError)
"""What may go wrong in an exchange; a TimeoutError is an OSError."""


class Client:
    """Connections, kept open between exchanges; made within a running event loop."""

    def __init__(self, settings: FetchSettings) -> None:
        self._settings = settings
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()

    async def exchange(self, message: Message) -> Answer:
        """Send a message. Raises nothing: what goes wrong is the answer's `miss`, beside what had come by then."""
        url = message.url
        if not message.private and is_private(host_of(url)):
            return missed(url, Miss.PRIVATE_ADDRESS, f"{host_of(url)} is a private address")
        started = asyncio.get_running_loop().time()
        until = started + self._settings.total_seconds
        try:
            async with asyncio.timeout_at(until):
                response = await self._request(message)
        except FAULTS as error:
            miss, evidence, _ = _told(error, started)
            return missed(url, miss, evidence)
        answer, body = Answer(url, datetime.now(UTC), response.status, _headers(response)), bytearray()
        try:
            async with asyncio.timeout_at(until):
                answer = _judged(message, response, answer, self._settings.max_bytes)
                await self._receive(response, body, answer)
        except FAULTS as error:
            miss, evidence, truncated = _told(error, started)
            answer = replace(answer, truncated=truncated)
            if _is_page(answer):
                answer = answer.as_miss(miss, evidence)
        finally:
            response.close()  # else the rest of a body that was given up would still be received
        if message.want == "pdf" and _is_page(answer) and not answer.unchanged and b"%PDF-" not in body[:1024]:
            answer = answer.as_miss(Miss.WRONG_TYPE, f"no PDF: it begins with {bytes(body[:40])!r}")
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

    async def _receive(self, response: aiohttp.ClientResponse, body: bytearray, answer: Answer) -> None:
        most = self._settings.max_bytes
        bound = most if _is_page(answer) else min(ASIDE_BYTES, most)
        async for piece in _unpacked(response):
            body += piece
            if len(body) > bound:
                evidence = f"cut off after {len(body):,} bytes; max_bytes is {most:,}"
                del body[bound:]
                raise _CutError(Miss.TOO_LARGE, evidence, "length")

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
    """Names and values, without the packing that is undone; what is not UTF-8 in them becomes a question mark."""
    undone = "content-encoding" if _coding(response) in UNPACKED else None
    items = [(name, value) for name, value in response.headers.items() if name.lower() != undone]
    return tuple((name, value.encode("utf-8", "replace").decode()) for name, value in items)


def _coding(response: aiohttp.ClientResponse) -> str:
    return response.headers.get("Content-Encoding", "").strip().lower()


def _judged(message: Message, response: aiohttp.ClientResponse, answer: Answer, most: int) -> Answer:
    """What a response is, as far as its head tells."""
    status, want = response.status, message.want
    if status in (301, 302, 303, 307, 308):
        given = response.headers.get("Location", "")
        location = clean_url(given, message.url, fragment=True)
        if location is None:
            return answer.as_miss(Miss.BAD_URL, f"status {status} leads to {given!r:.200}")
        return replace(answer, location=location)
    if status == 304:
        return answer
    if not 200 <= status < 300 or (status != 200 and want != "any"):
        wait = retry_after(response.headers.get("Retry-After"))
        return replace(answer.as_miss(_miss_of(status), f"status {status}"), wait=wait)
    kind = response.headers.get("Content-Type", "")
    if want in TYPES and kind.partition(";")[0].strip().lower() not in TYPES[want]:
        return answer.as_miss(Miss.WRONG_TYPE, f"Content-Type {kind!r:.100}; {want} is wanted")
    if (coding := _coding(response)) not in (*PLAIN, *UNPACKED):
        return answer.as_miss(Miss.BAD_ENCODING, f"Content-Encoding {coding!r:.100} was not asked for")
    if (response.content_length or 0) > most:
        return answer.as_miss(Miss.TOO_LARGE, f"Content-Length {response.content_length:,}; max_bytes is {most:,}")
    return answer


def _is_page(answer: Answer) -> bool:
    """Whether its body is wanted, so far."""
    return answer.miss is None and answer.location is None


def _miss_of(status: int) -> Miss:
    if status in (404, 410):
        return Miss.NOT_FOUND
    if status == 429:
        return Miss.RATE_LIMITED
    return Miss.SERVER_ERROR if status >= 500 else Miss.REFUSED


def _told(error: Exception, started: float) -> tuple[Miss, str, Truncated]:
    """What an exchange that failed is called, the evidence, and what that is to a body that was on its way."""
    if isinstance(error, _CutError):
        return error.miss, str(error), error.truncated
    if isinstance(error, TimeoutError):  # a time limit of aiohttp's own included
        return Miss.TIMEOUT, f"given up after {asyncio.get_running_loop().time() - started:.1f} s", "time"
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, PrivateAddressError):
        cause = cause.__cause__ or cause.__context__
    miss = Miss.CONNECTION if cause is None else Miss.PRIVATE_ADDRESS
    return miss, f"{type(error).__name__}: {cause or error}", "disconnect"


async def _unpacked(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The body's bytes, never more than CHUNK at once, whatever a packed body would swell to.

    What is packed in a way that was not asked for stays packed.
    """
    coding = _coding(response)
    if coding not in UNPACKED:
        async for piece in response.content.iter_chunked(CHUNK):
            yield piece
        return
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 32)
    got = False
    try:
        async for packed in response.content.iter_chunked(CHUNK):
            got = True
            while packed and not unpack.eof:
                yield unpack.decompress(packed, CHUNK)
                packed = unpack.unconsumed_tail
        yield unpack.flush()
    except zlib.error as error:
        raise _CutError(Miss.BAD_ENCODING, f"Content-Encoding {coding}: {error}", "unspecified") from None
    if got and not unpack.eof:
        raise _CutError(Miss.BAD_ENCODING, f"Content-Encoding {coding}: the body ends too early", "unspecified")
