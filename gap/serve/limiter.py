"""Limits on how often and how much at once clients ask. It belongs to one event loop."""

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gap.serve.refusal import RefusalError
from gap.serve.settings import Limits

WINDOW = 60.0
"""Seconds."""


class Limiter:
    """Admits requests, or refuses them with status 429."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._times: dict[str, deque[float]] = {}
        self._running: Counter[str] = Counter()

    @property
    def running(self) -> int:
        return self._running.total()

    @contextmanager
    def admit(self, key: str) -> Iterator[None]:
        """Hold a place while the block runs.

        Raises:
            RefusalError: a limit is reached. A refused request does not count.
        """
        now, times = self._clock(), self._times.setdefault(key, deque())
        while times and times[0] <= now - WINDOW:
            times.popleft()
        if len(times) >= self._limits.requests:
            wait = math.ceil(times[0] + WINDOW - now)
            raise _refused(f"{self._limits.requests} requests a minute", max(1, wait))
        if self._running[key] >= self._limits.by_key:
            raise _refused(f"{self._limits.by_key} requests of one key at once", 1)
        if self.running >= self._limits.at_once:
            raise _refused(f"{self._limits.at_once} requests at once", 1)
        times.append(now)
        self._running[key] += 1
        try:
            yield
        finally:
            self._running[key] -= 1


def _refused(limit: str, wait: int) -> RefusalError:
    return RefusalError(429, f"the limit is {limit}; try again in {wait} s", "rate_limit_exceeded", retry_after=wait)
