"""Fit a talk to the tokens that a prompt may have: its oldest turns go, never its system prompt or last question."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Message = Mapping[str, Any]
Count = Callable[[Sequence[Message]], Awaitable[int]]
"""The tokens of a prompt with these messages."""


class TooLongError(Exception):
    """What must stay takes this many tokens, which are too many."""

    def __init__(self, tokens: int) -> None:
        super().__init__(f"{tokens} tokens")
        self.tokens = tokens


@dataclass(frozen=True)
class Fitted:
    """The messages that stay, the tokens of their prompt, and how much was dropped."""

    messages: list[Message]
    tokens: int
    dropped_messages: int = 0
    dropped_tokens: int = 0


def turns(messages: Sequence[Message]) -> list[list[int]]:
    """The places of the messages that are no system prompt, turn by turn. A turn begins with what a user says."""
    places: list[list[int]] = []
    for place, message in enumerate(messages):
        if message["role"] == "system":
            continue
        if message["role"] == "user" or not places:
            places.append([])
        places[-1].append(place)
    return places


async def fit(messages: Sequence[Message], limit: int, count: Count) -> Fitted:
    """Drop as few of the oldest turns as bring the prompt to `limit` tokens.

    Raises:
        TooLongError: the system prompts and the last turn alone are longer.
    """
    whole = await count(messages)
    if whole <= limit:
        return Fitted(list(messages), whole)
    of_turns = turns(messages)

    def without(dropped: int) -> list[Message]:
        gone = {place for turn in of_turns[:dropped] for place in turn}
        return [message for place, message in enumerate(messages) if place not in gone]

    # Without `too_few` turns it is too long; without `enough`, it fits.
    too_few, enough = 0, max(0, len(of_turns) - 1)
    tokens = await count(without(enough)) if enough else whole
    if tokens > limit:
        raise TooLongError(tokens)
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        fewer = await count(without(middle))
        if fewer <= limit:
            enough, tokens = middle, fewer
        else:
            too_few = middle
    kept = without(enough)
    return Fitted(kept, tokens, len(messages) - len(kept), whole - tokens)
