"""The ingress: OpenAI's routes, health, readiness and metrics. Whatever it answers went over the desk."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import HTTPException
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from pydantic import ValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.types import Receive, Scope, Send

from gap.serve.desk import Desk
from gap.serve.guard import send_json
from gap.serve.refusal import RefusalError
from gap.serve.requests import ChatRequest, CompletionRequest
from lake.config import explain

FIELD = "gap"
"""The field of ours in a response and in the first chunk of a stream."""

MESSAGES, TOKENS = "X-Gap-Dropped-Messages", "X-Gap-Dropped-Tokens"


def create_app(desk: Desk) -> FastAPI:
    """The routes, without the guard before them. There is no page of documentation: it would load from another host."""
    app = FastAPI(title="gap serve", docs_url=None, redoc_url=None, openapi_url=None)

    @app.exception_handler(RefusalError)
    async def refused(_: Request, refusal: RefusalError) -> JSONResponse:
        return JSONResponse(refusal.body, refusal.status, refusal.headers)

    @app.exception_handler(StarletteHTTPException)
    async def not_served(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse(RefusalError(error.status_code, str(error.detail), "not_served").body, error.status_code)

    @app.exception_handler(Exception)
    async def broken(_: Request, __: Exception) -> JSONResponse:
        return JSONResponse(RefusalError(500, "the server failed; its log says why", "server_error").body, 500)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/ready")
    async def ready() -> JSONResponse:
        models = {name: "up" if engine.ready else "away" for name, engine in desk.engines.items()}
        return JSONResponse({"ready": desk.ready, "models": models}, 200 if desk.ready else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        return PlainTextResponse(await desk.metrics.text(desk.engines), media_type=CONTENT_TYPE_LATEST)

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [model.card for model in desk.models.values()]}

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        return desk.model(name).card

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        return Reply(desk, request.state.key, await _parsed(ChatRequest, request))

    @app.post("/v1/completions")
    async def completions(request: Request) -> Response:
        return Reply(desk, request.state.key, await _parsed(CompletionRequest, request))

    @app.api_route("/v1/{path:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
    async def nowhere(path: str) -> None:
        raise RefusalError(404, f"/v1/{path:.80}: no such route", "not_served")

    return app


async def _parsed(kind: type[ChatRequest | CompletionRequest], request: Request) -> ChatRequest | CompletionRequest:
    try:
        return kind.model_validate_json(await request.body())
    except ValidationError as error:
        first = error.errors()[0]
        param = ".".join(map(str, first["loc"])) or None
        raise RefusalError(400, explain(error, kind), "invalid_request", param) from None


class Reply(Response):
    """An answer as one JSON document or as a stream. It ends with the connection of who asked."""

    def __init__(self, desk: Desk, key: str, asked: ChatRequest | CompletionRequest) -> None:
        super().__init__()
        self._desk, self._key, self._asked = desk, key, asked

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answering = asyncio.create_task(self._answer(send))
        leaving = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            answering.cancel()
            with suppress(asyncio.CancelledError):
                await answering

    async def _answer(self, send: Send) -> None:
        begun = False
        try:
            async with self._desk.ask(self._key, self._asked) as answer:
                cut = {MESSAGES: str(answer.fitted.dropped_messages), TOKENS: str(answer.fitted.dropped_tokens)}
                field = {FIELD: answer.dropped}
                if not self._asked.stream:
                    events = [event async for event in answer.events]
                    await send_json(send, 200, events[0] | field, cut)
                    return
                async for event in answer.events:
                    if not begun:
                        await _begin(send, cut)
                    if event.get("choices") or self._asked.with_usage:
                        await _send_event(send, event if begun else event | field)
                    begun = True
                await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})
        except RefusalError as refusal:
            if begun:
                await _send_event(send, refusal.body)
                await send({"type": "http.response.body", "body": b""})
            else:
                await send_json(send, refusal.status, refusal.body, refusal.headers)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _begin(send: Send, headers: Mapping[str, str]) -> None:
    every = {"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no", **headers}
    raw = [(name.lower().encode(), text.encode()) for name, text in every.items()]
    await send({"type": "http.response.start", "status": 200, "headers": raw})


async def _send_event(send: Send, event: Mapping[str, Any]) -> None:
    body = f"data: {json.dumps(event, ensure_ascii=False)}\n\n".encode()
    await send({"type": "http.response.body", "body": body, "more_body": True})
