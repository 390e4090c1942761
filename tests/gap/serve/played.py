"""An engine that is played, and a real server on loopback before it."""

import asyncio
import socket
import threading
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import uvicorn

from gap.serve.api import create_app
from gap.serve.desk import Desk
from gap.serve.engine import AwayError, Event, Kind, Load, RejectedError
from gap.serve.guard import Guard
from gap.serve.keys import Keys
from gap.serve.models import Model
from gap.serve.settings import Limits

KEY, OTHER = "k" * 24, "o" * 24
BEARER = {"Authorization": f"Bearer {KEY}"}


def words(body: Mapping[str, Any]) -> int:
    """The tokens of a prompt: a word each, and one for each message."""
    if "prompt" in body:
        return len(body["prompt"].split())
    return sum(1 + len(message["content"].split()) for message in body["messages"])


class PlayedEngine:
    """Answers with `text`, a chunk for each word, `pause` seconds apart. It keeps what it was asked.

    `fault` is raised before chunk number `fault_at`.
    """

    def __init__(self, text: str = "Take a rest .", pause: float = 0.0) -> None:
        self.text, self.pause = text, pause
        self.ready = True
        self.asked: list[dict[str, Any]] = []
        self.running = self.most = 0
        self.fault: Exception | None = None
        self.fault_at = 0

    async def count(self, kind: Kind, body: Mapping[str, Any]) -> int:
        if isinstance(self.fault, RejectedError):
            raise self.fault
        return words(body)

    async def answer(self, kind: Kind, body: Mapping[str, Any]) -> AsyncGenerator[Event, None]:
        self.asked.append(dict(body))
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            pieces = self.text.split(" ")[: body["max_tokens"]]
            usage = {"prompt_tokens": words(body), "completion_tokens": len(pieces)}
            whole = {"id": "1", "model": body["model"], "created": 1}
            if not body["stream"]:
                await self._wait(0)
                message = {"role": "assistant", "content": self.text}
                said = {"message": message} if kind == "chat" else {"text": self.text}
                choice = {"index": 0, "finish_reason": "stop", **said}
                named = "chat.completion" if kind == "chat" else "text_completion"
                yield {**whole, "object": named, "choices": [choice], "usage": usage}
                return
            for place, piece in enumerate(pieces):
                await self._wait(place)
                delta = {"delta": {"content": f"{piece} "}} if kind == "chat" else {"text": f"{piece} "}
                choice = {"index": 0, "finish_reason": None, **delta}
                named = "chat.completion.chunk" if kind == "chat" else "text_completion"
                yield {**whole, "object": named, "choices": [choice]}
            yield {**whole, "object": "chat.completion.chunk", "choices": [], "usage": usage}
        finally:
            self.running -= 1

    async def _wait(self, place: int) -> None:
        if self.fault is not None and place == self.fault_at:
            raise self.fault
        await asyncio.sleep(self.pause)

    async def load(self) -> Load:
        if not self.ready:
            raise AwayError
        return Load(self.running, 0)


def desk(engine: PlayedEngine, context: int = 400, limits: Limits | None = None, **more: Any) -> Desk:
    model = Model("played", context, own_template=True, **more)
    return Desk({"played": model}, {"played": engine}, limits or Limits())


def guarded(desk: Desk, loopback: bool = True) -> Guard:
    return Guard(create_app(desk), Keys([KEY, OTHER]), desk.limits.body_kb * 1000, loopback)


@contextmanager
def served(guard: Guard, log_level: str = "error") -> Iterator[str]:
    """The address of a server in a thread."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(guard.config(log_level))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        threading.Event().wait(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
