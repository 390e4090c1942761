"""Packed sequences lose no token, cut no conversation that fits, and mask everything but answers."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mixing.instructions.chat import Chat
from mixing.instructions.packing import OPEN, SEQUENCES, pack, table

EOD, PAD = 999, 998


def chats(*lengths: int) -> list[Chat]:
    """Conversations of these lengths; their tokens are numbered through, the second half of each is an answer."""
    ends = np.cumsum(lengths)
    return [
        Chat(np.arange(end - size, end), np.zeros(size, np.uint8), np.arange(size) >= size // 2)
        for size, end in zip(lengths, ends.tolist(), strict=True)
    ]


def rows(conversations: list[Chat], length: int, other_weight: float = 0.0) -> list[dict[str, list[float]]]:
    return table(pack(conversations, length, EOD, other_weight), PAD).to_pylist()


def pieces(row: dict[str, list[float]], column: str) -> list[list[float]]:
    """A column's values of each conversation."""
    bounds = np.cumsum([0, *row["seq_lengths"]]).tolist()
    return [row[column][start:end] for start, end in pairwise(bounds)]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=400), st.integers(16, 32))
@settings(max_examples=100)
def test_every_token_is_packed_once_and_only_what_is_too_long_is_cut(lengths: list[int], length: int) -> None:
    conversations = chats(*lengths)
    packed = [piece for row in rows(conversations, length) for piece in pieces(row, "input_ids")]
    whole = [[*chat.ids.tolist(), EOD] for chat in conversations]
    expected = [ids[start : start + length] for ids in whole for start in range(0, len(ids), length)]
    assert sorted(packed) == sorted(expected)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=100), st.sampled_from([0.0, 0.25]))
@settings(max_examples=100)
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


def test_a_long_conversation_is_cut_and_its_rest_packed() -> None:
    whole, rest = rows(chats(20, 7), 16)
    assert (whole["seq_lengths"], rest["seq_lengths"]) == ([16], [5, 8])
    assert pieces(rest, "input_ids") == [[16, 17, 18, 19, EOD], [*range(20, 27), EOD]]


def test_conversations_that_fill_a_sequence_to_the_last_token_share_it() -> None:
    assert [row["seq_lengths"] for row in rows(chats(7, 9, 7), 16)] == [[8, 8], [10]]


def test_sequences_are_full_but_for_what_never_fits() -> None:
    random = np.random.default_rng(5)
    sequences = list(pack(chats(*random.integers(5, 60, 2000).tolist()), 256, EOD, 0.0))
    assert sum(sequence.room for sequence in sequences[:-OPEN]) < 0.01 * 256 * len(sequences)


def test_memory_holds_a_bounded_number_of_sequences() -> None:
    taken = 0

    def counted() -> Iterator[Chat]:
        nonlocal taken
        for chat in chats(*[9] * 500):
            taken += 1
            yield chat

    next(pack(counted(), 16, EOD, 0.0))
    assert taken == OPEN + 1
