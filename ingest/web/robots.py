"""robots.txt: what a host lets this crawler read, and how fast (RFC 9309)."""

import math
from dataclasses import dataclass

from protego import Protego

AGENT = "gap-replay"
"""The name that robots.txt files know this crawler by."""

MOST_BYTES = 500 * 2**10
"""What is read of a robots.txt, as the RFC has it."""

MOST_HOPS = 5


@dataclass(frozen=True, slots=True)
class Rules:
    """What one robots.txt says; without a `parsed` one, `closed` tells whether all is forbidden, and why."""

    parsed: Protego | None = None
    closed: str | None = None

    def forbids(self, url: str) -> str | None:
        """Why a URL may not be fetched; None where it may."""
        if self.closed is not None:
            return self.closed
        if self.parsed is None or self.parsed.can_fetch(url, AGENT):
            return None
        return f"robots.txt disallows it for {AGENT}"

    @property
    def interval(self) -> float:
        """Seconds it wants between two requests: the crawl-delay or the request-rate, whichever is slower."""
        if self.parsed is None:
            return 0.0
        delay = self.parsed.crawl_delay(AGENT) or 0.0
        rate = self.parsed.request_rate(AGENT)
        if rate is not None and rate.requests > 0:
            delay = max(delay, rate.seconds / rate.requests)
        return delay if math.isfinite(delay) and delay > 0 else 0.0


def rules_of(status: int, body: bytes) -> Rules:
    """Rules of an answer: none where there is no such file (4xx), all closed where the host cannot tell (5xx)."""
    if 200 <= status < 300:
        text = body[:MOST_BYTES].decode("utf-8", "replace").removeprefix("\ufeff")
        return Rules(parsed=Protego.parse(text))
    if 400 <= status < 500 and status != 429:
        return Rules()
    return Rules(closed=f"robots.txt could not be read: status {status}")
