"""Pack whole conversations into loss-masked sequences of one length, for trainers that read Parquet."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lake.schema import schema
from mixing.instructions.chat import Chat

SEQUENCES = schema("input_ids list<int32>, loss_mask list<float32>, position_ids list<int32>, seq_lengths list<int32>")
"""A row is a sequence. The first three columns have its full length.

- `input_ids`: conversations, each with its end of document, then padding.
- `loss_mask`: the weight of the loss of predicting this token, so it is shifted together with the labels. It is 1 where
  `Chat.loss` is true, 0 at the first token of a conversation and in padding, `other_weight` elsewhere.
- `position_ids`: they start from 0 in each conversation and in the padding.
- `seq_lengths`: the tokens of each conversation, without padding. Their running sum bounds attention.

A Hugging Face trainer takes as labels `input_ids` where `loss_mask` is above 0, else -100.
"""

OPEN = 64
"""Sequences that wait for a conversation that fits."""


@dataclass(eq=False)
class PackedSequence:
    """A sequence as it fills. `room` is the number of tokens still free."""

    room: int
    ids: list[npt.NDArray[np.int32]] = field(default_factory=list)
    weights: list[npt.NDArray[np.float32]] = field(default_factory=list)

    def add(self, ids: npt.NDArray[np.int32], weights: npt.NDArray[np.float32]) -> None:
        self.ids.append(ids)
        self.weights.append(weights)
        self.room -= ids.size

    def row(self, pad: int) -> dict[str, npt.NDArray[np.int32] | npt.NDArray[np.float32]]:
        """One row of SEQUENCES."""
        lengths = [ids.size for ids in self.ids]
        return {
            "input_ids": np.concatenate([*self.ids, np.full(self.room, pad, np.int32)]),
            "loss_mask": np.concatenate([*self.weights, np.zeros(self.room, np.float32)]),
            "position_ids": np.concatenate([np.arange(size, dtype=np.int32) for size in (*lengths, self.room)]),
            "seq_lengths": np.array(lengths, np.int32),
        }


def pack(chats: Iterable[Chat], length: int, eod: int, other_weight: float) -> Iterator[PackedSequence]:
    """Pack conversations into sequences of `length` tokens; only a conversation longer than a sequence is cut.

    That one becomes pieces of `length` tokens and a rest. A piece goes into the fullest of OPEN sequences that has room
    for it. Where none has, the fullest sequence leaves and a new one opens. The result depends only on the order of
    `chats`, and memory holds OPEN sequences.
    """
    waiting: list[PackedSequence] = []
    for chat in chats:
        for ids, weights in _pieces(chat, length, eod, other_weight):
            fitting = [sequence for sequence in waiting if sequence.room >= ids.size]
            if fitting:
                chosen = min(fitting, key=lambda sequence: sequence.room)
            else:
                if len(waiting) == OPEN:
                    fullest = min(waiting, key=lambda sequence: sequence.room)
                    waiting.remove(fullest)
                    yield fullest
                chosen = PackedSequence(length)
                waiting.append(chosen)
            chosen.add(ids, weights)
            if not chosen.room:
                waiting.remove(chosen)
                yield chosen
    yield from waiting


def _pieces(
    chat: Chat, length: int, eod: int, other_weight: float
) -> Iterator[tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]]:
    ids = np.append(chat.ids, eod).astype(np.int32)
    weights = np.append(np.where(chat.loss, 1, other_weight), other_weight).astype(np.float32)
    for start in range(0, ids.size, length):
        piece, weight = ids[start : start + length], weights[start : start + length]
        # No token of the same piece stands before the first, so nothing can predict it.
        weight[0] = 0
        yield piece, weight


def table(sequences: Iterable[PackedSequence], pad: int) -> pa.Table:
    """Rows of SEQUENCES."""
    return pa.Table.from_pylist([sequence.row(pad) for sequence in sequences], SEQUENCES)
