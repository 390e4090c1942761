"""robots.txt: what a host allows this crawler to read, and how fast (RFC 9309)."""

import math
from dataclasses import dataclass

from protego import Protego

AGENT = "gap-replay"
"""The name by which robots.txt files address this crawler."""

MOST_BYTES = 500 * 2**10
"""As much of a robots.txt is read as the RFC asks for."""

MOST_HOPS = 5


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of a robots.txt. `closed` says why everything is forbidden. With neither, everything is allowed."""

    parsed: Protego | None = None
    closed: str | None = None

    def forbids(self, url: str) -> str | None:
        """Why a URL must not be fetched; None if it may be."""
        if self.closed is not None:
            return self.closed
        if self.parsed is None or self.parsed.can_fetch(url, AGENT):
            return None
        return f"robots.txt disallows it for {AGENT}"

    @property
    def interval(self) -> float:
        """Seconds to wait between two requests, by crawl-delay or request-rate, whichever is slower."""
        if self.parsed is None:
            return 0.0
        delay = self.parsed.crawl_delay(AGENT) or 0.0
        rate = self.parsed.request_rate(AGENT)
        if rate is not None and rate.requests > 0:
            delay = max(delay, rate.seconds / rate.requests)
        return delay if math.isfinite(delay) and delay > 0 else 0.0


def rules_of(status: int, body: bytes) -> Rules:
    """The rules in an answer. Without the file (4xx) everything is allowed; after a failure (5xx) nothing is."""
    if 200 <= status < 300:
        text = body[:MOST_BYTES].decode("utf-8", "replace").removeprefix("\ufeff")
        return Rules(parsed=Protego.parse(text))
    if 400 <= status < 500 and status != 429:
        return Rules()
    return Rules(closed=f"robots.txt could not be read: status {status}")
