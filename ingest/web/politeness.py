"""How often one host is asked: a rate, a number at a time, and waiting when it asks to wait."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


class Gate:
    """Lets requests to one host through: none sooner than `interval` seconds after the one before, a few at a time."""

    def __init__(self, concurrency: int) -> None:
        self._places = asyncio.Semaphore(concurrency)
        self._queue = asyncio.Lock()
        self._interval = 0.0
        self._next = 0.0

    def slow_to(self, interval: float) -> None:
        """At least so many seconds between two requests from now on; never fewer than before."""
        self._interval = max(self._interval, interval)

    def pause(self, seconds: float) -> None:
        """No request for so many seconds."""
        self._next = max(self._next, time.monotonic() + seconds)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, and hold one of the places while the block runs."""
        async with self._places:
            await self.token()
            yield

    async def token(self) -> None:
        """Wait until a request may start. The time counts from when the one before really started."""
        async with self._queue:
            while (wait := self._next - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            self._next = time.monotonic() + self._interval


def backoff(attempt: int, first: float, most: float, chance: random.Random) -> float:
    """Seconds to wait after failed attempt 0, 1, …: doubled every time, up to `most`, less up to a half by chance."""
    return min(most, first * 2.0**attempt) * chance.uniform(0.5, 1)


def retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Seconds that a Retry-After header asks for, given in seconds or as a date; None where it says nothing."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())
