"""Prometheus metrics of the ingress, and of the engines as they count themselves."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from gap.serve.engine import AwayError, Engine

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
TIMEOUT = 5.0
"""Seconds for an engine to say how busy it is."""


class Metrics:
    """Counters of one server. `models` are those that it serves: no client can add a label."""

    def __init__(self) -> None:
        self._registry = own = CollectorRegistry()
        self._requests = Counter("gap_requests", "Requests by model and status.", ["model", "status"], registry=own)
        self._tokens = Counter("gap_tokens", "Tokens of prompts and answers.", ["model", "kind"], registry=own)
        self._dropped = Counter("gap_dropped_messages", "Messages cut from long histories.", ["model"], registry=own)
        timed = partial(Histogram, labelnames=["model"], buckets=SECONDS, registry=own)
        self._seconds = timed("gap_request_seconds", "Whole requests.")
        self._first = timed("gap_first_token_seconds", "To the first token.")
        self._running = Gauge("gap_running_requests", "Requests that the ingress answers now.", ["model"], registry=own)
        self._engine = Gauge("gap_engine_requests", "Requests in the engines now.", ["model", "state"], registry=own)
        self._up = Gauge("gap_engine_up", "1 if a replica of the engine is up.", ["model"], registry=own)

    @contextmanager
    def request(self, model: str) -> Iterator["Measured"]:
        """Measure a request. Its status is 499, which says that the client went away, unless the block sets another."""
        measured = Measured()
        self._running.labels(model).inc()
        try:
            yield measured
        finally:
            self._running.labels(model).dec()
            self.count(model, measured.status)
            self._seconds.labels(model).observe(time.monotonic() - measured.started)
            if measured.first is not None:
                self._first.labels(model).observe(measured.first - measured.started)
            self._tokens.labels(model, "prompt").inc(measured.prompt_tokens)
            self._tokens.labels(model, "answer").inc(measured.answer_tokens)
            self._dropped.labels(model).inc(measured.dropped)

    def count(self, model: str, status: int) -> None:
        """Count a request that was not measured, as one that was refused."""
        self._requests.labels(model, status).inc()

    async def text(self, engines: Mapping[str, Engine]) -> bytes:
        """All metrics in the text format, with the engines' own counts."""
        await asyncio.gather(*(self._ask(model, engine) for model, engine in engines.items()))
        return generate_latest(self._registry)

    async def _ask(self, model: str, engine: Engine) -> None:
        self._up.labels(model).set(int(engine.ready))
        try:
            async with asyncio.timeout(TIMEOUT):
                load = await engine.load()
        except (AwayError, TimeoutError):
            for state in ("running", "waiting"):
                self._engine.labels(model, state).set(float("nan"))
            return
        self._engine.labels(model, "running").set(load.running)
        self._engine.labels(model, "waiting").set(load.waiting)


class Measured:
    """What became of a request."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.first: float | None = None
        self.status = 499
        self.prompt_tokens = self.answer_tokens = self.dropped = 0

    def began(self) -> None:
        """The first token is there."""
        self.first = time.monotonic()
