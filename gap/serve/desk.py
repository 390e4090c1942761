"""The desk: where every question goes through, from the API and from the chat page alike.

It keeps the limits, fits the prompt, asks the engine, and counts. Whatever ends a question early, a client that goes
away, a stop, a timeout, it closes the engine's generator, so that the engine is free at once.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from gap.serve.engine import AwayError, Engine, Event, Kind, RejectedError
from gap.serve.history import Fitted, Message, TooLongError, fit
from gap.serve.limiter import Limiter
from gap.serve.metrics import Measured, Metrics
from gap.serve.models import Model
from gap.serve.refusal import RefusalError, away
from gap.serve.requests import ChatRequest, CompletionRequest
from gap.serve.settings import Limits

KEPT_FOR_ANSWER = 4
"""An answer of unknown length gets at least one in so many tokens of the context."""


@dataclass(frozen=True)
class Answer:
    """An answer that has begun: its events, of which the first is there, and how much of the talk was dropped."""

    events: AsyncIterator[Event]
    fitted: Fitted

    @property
    def dropped(self) -> dict[str, int]:
        return {"dropped_messages": self.fitted.dropped_messages, "dropped_tokens": self.fitted.dropped_tokens}


class Desk:
    """Models and their engines, by name."""

    def __init__(self, models: Mapping[str, Model], engines: Mapping[str, Engine], limits: Limits) -> None:
        self.models, self.engines, self.limits = models, engines, limits
        self.metrics = Metrics()
        self._limiter = Limiter(limits)

    @property
    def ready(self) -> bool:
        return all(engine.ready for engine in self.engines.values())

    def model(self, name: str) -> Model:
        """Raises RefusalError if it is not served."""
        if name not in self.models:
            known = ", ".join(self.models)
            raise RefusalError(404, f"{name:.80}: no such model; those served are {known}", "model_not_found", "model")
        return self.models[name]

    @asynccontextmanager
    async def ask(self, key: str, request: ChatRequest | CompletionRequest) -> AsyncIterator[Answer]:
        """Ask in the name of a key. The block reads the events; when it ends, so does the engine's work.

        Raises:
            RefusalError: a limit is reached, the request does not fit, or the engine is away or refuses. That may also
                happen while the block reads.
        """
        model = self.model(request.model)
        try:
            with self._limiter.admit(key), self.metrics.request(model.name) as measured:
                try:
                    async with asyncio.timeout(self.limits.seconds), self._asked(model, request, measured) as answer:
                        yield answer
                except RefusalError as refusal:
                    measured.status = refusal.status
                    raise
                except TimeoutError:
                    measured.status = 504
                    raise RefusalError(504, f"the answer took more than {self.limits.seconds:g} s", "timeout") from None
                except Exception:  # a fault of ours is counted, and raised
                    measured.status = 500
                    raise
        except RefusalError as refusal:
            if refusal.status == 429:
                self.metrics.count(model.name, refusal.status)
            raise

    @asynccontextmanager
    async def _asked(
        self, model: Model, request: ChatRequest | CompletionRequest, measured: Measured
    ) -> AsyncIterator[Answer]:
        engine = self.engines[model.name]
        if not engine.ready:
            raise away(model.name)
        try:
            kind, body, fitted = await self._fitted(model, engine, request)
            measured.prompt_tokens, measured.dropped = fitted.tokens, fitted.dropped_messages
            async with aclosing(engine.answer(kind, body)) as events:
                first = await anext(events)
                measured.began()
                yield Answer(_counted(first, events, measured), fitted)
        except (AwayError, StopAsyncIteration):
            raise away(model.name) from None
        except RejectedError as error:
            raise RefusalError(error.status, str(error), "refused_by_engine") from None

    async def _fitted(
        self, model: Model, engine: Engine, request: ChatRequest | CompletionRequest
    ) -> tuple[Kind, dict[str, Any], Fitted]:
        """What the engine is asked, after bounds and cuts."""
        limits = self.limits
        if request.n is not None and request.n > limits.answers:
            raise RefusalError(400, f"n: at most {limits.answers} answers to one request", "too_many_answers", "n")
        wanted, most = request.answer_tokens, min(limits.answer_tokens, model.context - 1)
        if wanted is not None and wanted > most:
            line = f"max_tokens: {wanted} tokens; an answer has at most {most}"
            raise RefusalError(400, line, "too_many_tokens", "max_tokens")
        kept = wanted or min(most, model.context // KEPT_FOR_ANSWER)
        room = min(limits.prompt_tokens or model.context, model.context - kept)
        body = {**request.passed_on(), "model": model.name, "stream": request.stream}
        if request.stream:
            body["stream_options"] = {"include_usage": True}
        kind: Kind
        if isinstance(request, ChatRequest):
            kind, stops = "chat", [*request.stops, *model.stops]

            async def count(messages: Any) -> int:
                return await engine.count("chat", {"model": model.name, "messages": model.rendered(messages)})

            opened: list[Message] = model.opened([message.plain() for message in request.messages])
            try:
                fitted = await fit(opened, room, count)
            except TooLongError as error:
                raise _too_long(error.tokens, room, kept, "messages") from None
            body["messages"] = model.rendered(fitted.messages)
        else:
            kind, stops = "completions", request.stops
            prompt = {"model": model.name, "prompt": request.prompt}
            tokens = len(request.prompt) if isinstance(request.prompt, list) else await engine.count(kind, prompt)
            if tokens > room:
                raise _too_long(tokens, room, kept, "prompt")
            fitted = Fitted([], tokens)
            body["prompt"] = request.prompt
        body["max_tokens"] = wanted or min(most, model.context - fitted.tokens)
        return kind, body | ({"stop": stops} if stops else {}), fitted


def _too_long(tokens: int, room: int, kept: int, param: str) -> RefusalError:
    message = f"{param}: {tokens} tokens; beside an answer of {kept}, there is room for {room}"
    return RefusalError(400, message, "context_length_exceeded", param)


async def _counted(first: Event, rest: AsyncIterator[Event], measured: Measured) -> AsyncIterator[Event]:
    """The events, their tokens counted. An engine that dies on the way raises."""
    event: Event | None = first
    while event is not None:
        if usage := event.get("usage"):
            measured.prompt_tokens = usage["prompt_tokens"]
            measured.answer_tokens = usage.get("completion_tokens") or 0
        yield event
        event = await anext(rest, None)
    measured.status = 200
