"""What the ingress knows of an engine: it counts a prompt's tokens, answers event by event, and says how busy it is."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Kind = Literal["chat", "completions"]
Event = dict[str, Any]
"""A chunk of a stream, or the whole answer, as OpenAI's API has it."""


class AwayError(Exception):
    """The engine has died, hangs or is not up yet."""


class RejectedError(Exception):
    """The engine refuses a request."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Load:
    """The requests in an engine, as it counts them itself."""

    running: int
    waiting: int


class Engine(Protocol):
    """One model's engine, with all its replicas. Each method may raise AwayError, and all but `load` RejectedError."""

    @property
    def ready(self) -> bool:
        """Whether a replica is up."""

    async def count(self, kind: Kind, body: Mapping[str, Any]) -> int:
        """The tokens of a request's prompt."""

    def answer(self, kind: Kind, body: Mapping[str, Any]) -> AsyncGenerator[Event, None]:
        """The events of an answer. To close the generator stops the engine's work on it."""

    async def load(self) -> Load:
        """All replicas together."""
