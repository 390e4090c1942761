"""A long talk is cut by whole turns from its beginning, and by no more than needed."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gap.serve.history import Fitted, Message, TooLongError, fit, turns

MESSAGES = st.lists(
    st.builds(
        lambda role, size, place: {"role": role, "content": f"{place}:" + "x" * size},
        st.sampled_from(["system", "user", "assistant"]),
        st.integers(0, 40),
        st.uuids(),
    ),
    min_size=1,
    max_size=14,
).filter(lambda messages: any(message["role"] == "user" for message in messages))


def tokens(messages: Sequence[Message]) -> int:
    return sum(4 + len(message["content"]) for message in messages)


async def count(messages: Sequence[Message]) -> int:
    return tokens(messages)


def fitted(messages: Sequence[Message], limit: int) -> Fitted:
    return asyncio.run(fit(messages, limit, count))


@given(MESSAGES, st.integers(1, 900))
def test_a_talk_is_cut_by_its_oldest_turns_only(messages: list[Message], limit: int) -> None:
    last = turns(messages)[-1]
    stay = [message for place, message in enumerate(messages) if message["role"] == "system" or place in last]
    if tokens(stay) > limit:
        with pytest.raises(TooLongError) as error:
            fitted(messages, limit)
        assert error.value.tokens == tokens(stay)
        return
    cut = fitted(messages, limit)
    assert cut.tokens == tokens(cut.messages) <= limit
    assert cut.dropped_messages == len(messages) - len(cut.messages)
    assert cut.dropped_tokens == tokens(messages) - cut.tokens
    kept = iter(messages)
    assert all(message in kept for message in cut.messages), "the order stays"
    assert [message for message in stay if message not in cut.messages] == []
    gone = [place for place, message in enumerate(messages) if message not in cut.messages]
    talk = [place for turn in turns(messages) for place in turn]
    assert talk[: len(gone)] == gone, "what goes is the beginning"
    if gone:
        smaller = [turn for turn in turns(messages) if turn[0] in gone][:-1]
        fewer = {place for turn in smaller for place in turn}
        assert tokens([message for place, message in enumerate(messages) if place not in fewer]) > limit


def test_a_turn_is_a_question_with_what_follows_it() -> None:
    roles = ["assistant", "system", "user", "assistant", "assistant", "user", "user", "assistant"]
    assert turns([{"role": role, "content": ""} for role in roles]) == [[0], [2, 3, 4], [5], [6, 7]]
