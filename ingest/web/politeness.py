"""How often a host is asked: at a rate, a few requests at a time, and later if it asks to wait."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


class Gate:
    """Lets requests to one host through: `concurrency` at a time, and each `interval` seconds after the last."""

    def __init__(self, concurrency: int) -> None:
        self._places = asyncio.Semaphore(concurrency)
        self._queue = asyncio.Lock()
        self._interval = 0.0
        self._next = 0.0

    def slow_to(self, interval: float) -> None:
        """Leave at least this many seconds between two requests from now on; never fewer than before."""
        self._interval = max(self._interval, interval)

    def pause(self, seconds: float) -> None:
        """Let no request through for this many seconds."""
        self._next = max(self._next, time.monotonic() + seconds)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, and hold a place while the block runs."""
        async with self._places:
            async with self._queue:
                while (wait := self._next - time.monotonic()) > 0:
                    await asyncio.sleep(wait)
                self._next = time.monotonic() + self._interval  # counts from when this request really starts
            yield


def backoff(attempt: int, first: float, most: float, chance: random.Random) -> float:
    """Seconds to wait after failed attempt 0, 1, …: `first`, doubled up to `most`, then times 0.5 to 1 by chance."""
    return min(most, first * 2.0**attempt) * chance.uniform(0.5, 1)


def retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Seconds that a Retry-After header asks for, in seconds or as a date; None if it says neither."""
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
