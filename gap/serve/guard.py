"""What stands before every route: host, origin, key and size of a request, and headers that keep a browser at home."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

import uvicorn
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gap.serve.keys import Keys
from gap.serve.refusal import RefusalError

OPEN = "/health"
"""The one path without a key."""

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
BODY_SECONDS = 30.0

END_SECONDS = 2
"""How long open connections may go on after the server was told to end."""

POLICY = "; ".join(
    [
        "default-src 'none'",
        # The page's library makes its components in the browser, from templates and scripts within the page.
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "font-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)
"""No request leaves for another host, whatever a page or an answer says."""

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class Guard:
    """ASGI middleware, the outermost. It puts the name of the key into the scope's state as `key`.

    `loopback` says that the server listens there only. Then a name other than that of this machine was forged by a page
    that had it resolve to 127.0.0.1.
    """

    def __init__(self, app: ASGIApp, keys: Keys, body_bytes: int, loopback: bool) -> None:
        self._app, self._keys, self._most, self._loopback = app, keys, body_bytes, loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            self._check(scope, headers)
            if scope["type"] == "http":
                receive = await self._bounded(headers, receive)
        except RefusalError as refusal:
            await _refuse(scope, send, refusal)
            return
        await self._app(scope, receive, _with_headers(send))

    def config(self, log_level: str = "warning") -> uvicorn.Config:
        """How uvicorn serves it. h11 bounds the lines and headers of a request, httptools does not."""
        return uvicorn.Config(
            self,
            http="h11",
            log_level=log_level,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=END_SECONDS,
        )

    def _check(self, scope: Scope, headers: Headers) -> None:
        host = headers.get("host", "")
        if self._loopback and _parsed(f"//{host}").hostname not in LOOPBACK:
            raise RefusalError(403, "this server is for this machine only; ask it at 127.0.0.1", "foreign_host")
        origin = headers.get("origin")
        if origin is not None and _parsed(origin).netloc != host:
            raise RefusalError(403, "another site may not ask this server", "foreign_origin")
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and headers.get("sec-fetch-mode") != "navigate":
            raise RefusalError(403, "another site may not ask this server", "foreign_origin")
        if scope["path"] == OPEN:
            return
        key = self._keys.owner(headers.get("authorization", ""))
        if key is None:
            raise RefusalError(401, "a key is needed: Authorization: Bearer KEY", "invalid_api_key")
        scope.setdefault("state", {})["key"] = key

    async def _bounded(self, headers: Headers, receive: Receive) -> Receive:
        """The request with its whole body, or with none; what follows, as that the client went away, comes after."""
        length = headers.get("content-length", "0")
        if (length.isdecimal() and int(length) > self._most) or not length.isdecimal():
            raise self._too_large()
        if length == "0" and "transfer-encoding" not in headers:
            return receive
        body = bytearray()
        more = True
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise RefusalError(400, "the request broke off", "broken_off")
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > self._most:
                        raise self._too_large()
        except TimeoutError:
            raise RefusalError(408, "the request did not arrive in time", "timeout") from None
        return _replayed(bytes(body), receive)

    def _too_large(self) -> RefusalError:
        return RefusalError(413, f"a request may have {self._most // 1000:,} kB", "request_too_large")


def _parsed(url: str) -> SplitResult:
    """The URL's parts, none where it is no URL."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def _replayed(body: bytes, receive: Receive) -> Receive:
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def first_body() -> Message:
        return waiting.pop() if waiting else await receive()

    return first_body


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update(HEADERS)
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return sent


async def _refuse(scope: Scope, send: Send, refusal: RefusalError) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": ""})
        return
    await send_json(_with_headers(send), refusal.status, refusal.body, _headers(refusal))


def _headers(refusal: RefusalError) -> dict[str, str]:
    """With the challenge on which a browser asks for the key, in a prompt of its own."""
    challenge = {"WWW-Authenticate": 'Basic realm="gap serve", charset="UTF-8"'}
    return challenge if refusal.status == 401 else refusal.headers


async def send_json(send: Send, status: int, value: Any, headers: Mapping[str, str]) -> None:
    """Send a whole response."""
    body = json.dumps(value, ensure_ascii=False).encode()
    every = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
    raw = [(name.lower().encode(), text.encode()) for name, text in every.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
