"""Packed sequences lose no token, cut no conversation that fits, and mask everything but answers."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.decision import Reason, RecordError
from mixing.instructions.packing import OPEN, SEQUENCES, Overlong, fitted, pack, table
from mixing.instructions.template import ChatTokens

PAD = 998


def chats(*lengths: int) -> list[ChatTokens]:
    """Conversations of these lengths; their tokens are numbered through, the second half of each is an answer."""
    ends = np.cumsum(lengths)
    return [
        ChatTokens(np.arange(end - size, end), np.zeros(size, np.uint8), np.arange(size) >= size // 2)
        for size, end in zip(lengths, ends.tolist(), strict=True)
    ]


def rows(
    conversations: list[ChatTokens], length: int, other_weight: float = 0.0, together: bool = True
) -> list[dict[str, list[float]]]:
    return table(pack(conversations, length, other_weight, together), PAD).to_pylist()


def pieces(row: dict[str, list[float]], column: str) -> list[list[float]]:
    """A column's values of each conversation."""
    bounds = np.cumsum([0, *row["seq_lengths"]]).tolist()
    return [row[column][start:end] for start, end in pairwise(bounds)]


@given(st.lists(st.integers(2, 16), min_size=1, max_size=400), st.integers(16, 32))
@settings(max_examples=50, deadline=None)
def test_every_conversation_is_packed_once_and_whole(lengths: list[int], length: int) -> None:
    conversations = chats(*lengths)
    packed = [piece for row in rows(conversations, length) for piece in pieces(row, "input_ids")]
    assert sorted(packed) == sorted(chat.ids.tolist() for chat in conversations)


@given(st.lists(st.integers(2, 40), min_size=1, max_size=30), st.sampled_from(["cut", "drop"]))
@settings(max_examples=50, deadline=None)
def test_every_row_teaches_something(lengths: list[int], overlong: Overlong) -> None:
    kept, gone = [], []
    for chat in chats(*lengths):
        try:
            kept.append(fitted(chat, 16, overlong))
        except RecordError as error:
            gone.append((chat.ids.size, error.reason))
    # The answer is the second half, so the first half must leave a token of it within the row.
    if overlong == "drop":
        assert gone == [(size, Reason.TOO_LONG) for size in lengths if size > 16]
    else:
        assert gone == [(size, Reason.NO_TARGET) for size in lengths if size // 2 >= 16]
    assert all(sum(row["loss_mask"]) > 0 for together in (True, False) for row in rows(kept, 16, together=together))


@given(st.lists(st.integers(2, 16), min_size=1, max_size=100), st.sampled_from([0.0, 0.25]))
@settings(max_examples=50, deadline=None)
def test_columns_fit_each_other(lengths: list[int], other_weight: float) -> None:
    conversations = chats(*lengths)
    learnt = {int(id_) for chat in conversations for id_ in chat.ids[chat.loss]}
    for row in rows(conversations, 16, other_weight):
        assert len(row["input_ids"]) == len(row["loss_mask"]) == len(row["position_ids"]) == 16
        for ids, mask, positions in zip(*(pieces(row, name) for name in SEQUENCES.names[:3]), strict=True):
            assert positions == list(range(len(ids)))
            assert mask == [0.0, *(1.0 if id_ in learnt else other_weight for id_ in ids[1:])]
        used = sum(row["seq_lengths"])
        assert set(row["input_ids"][used:]) <= {PAD}
        assert set(row["loss_mask"][used:]) <= {0.0}
        assert row["position_ids"][used:] == list(range(16 - used))


def test_a_long_conversation_loses_its_end_or_is_dropped() -> None:
    (chat,) = chats(20)
    assert fitted(chat, 16, "cut").ids.tolist() == [*range(16)]
    assert fitted(chat, 20, "drop").ids.tolist() == [*range(20)]
    with pytest.raises(RecordError, match=r"^20 tokens, a sequence has 16$"):
        fitted(chat, 16, "drop")


def test_a_question_longer_than_a_row_teaches_nothing() -> None:
    """Case run/09 of the shared cases."""
    (chat,) = chats(40)
    with pytest.raises(RecordError, match=r"^the answer begins after 20 tokens, a sequence has 16$") as raised:
        fitted(chat, 16, "cut")
    assert raised.value.reason is Reason.NO_TARGET


def test_a_first_token_is_no_target() -> None:
    with pytest.raises(RecordError, match="no token is an answer"):
        fitted(ChatTokens(np.arange(3), np.zeros(3, np.uint8), np.array([True, False, False])), 16, "drop")


def test_conversations_that_fill_a_sequence_to_the_last_token_share_it() -> None:
    assert [row["seq_lengths"] for row in rows(chats(8, 10, 8), 16)] == [[8, 8], [10]]


def test_without_packing_each_conversation_has_a_row() -> None:
    found = rows(chats(8, 10, 8), 16, together=False)
    assert [row["seq_lengths"] for row in found] == [[8], [10], [8]]
    assert found[0]["input_ids"] == [*range(8), *[PAD] * 8]


def test_sequences_are_full_but_for_what_never_fits() -> None:
    random = np.random.default_rng(5)
    sequences = list(pack(chats(*random.integers(5, 60, 2000).tolist()), 256, 0.0))
    assert sum(sequence.room for sequence in sequences[:-OPEN]) < 0.01 * 256 * len(sequences)


def test_memory_holds_a_bounded_number_of_sequences() -> None:
    taken = 0

    def counted() -> Iterator[ChatTokens]:
        nonlocal taken
        for chat in chats(*[9] * 500):
            taken += 1
            yield chat

    next(pack(counted(), 16, 0.0))
    assert taken == OPEN + 1
