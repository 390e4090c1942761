"""Loss-masked sequences of one length: whole conversations, packed, for trainers that read Parquet."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mixing.chat import Chat

SEQUENCES = pa.schema(
    [
        pa.field("input_ids", pa.list_(pa.int32()), nullable=False),
        pa.field("loss_mask", pa.list_(pa.float32()), nullable=False),
        pa.field("position_ids", pa.list_(pa.int32()), nullable=False),
        pa.field("seq_lengths", pa.list_(pa.int32()), nullable=False),
    ]
)
"""A row is a sequence; the first three columns have its full length.

- `input_ids`: one conversation after the other, each with its end of document, then padding.
- `loss_mask`: the weight of the loss of predicting that very token, so it is shifted together with the labels. 1 where
  `Chat.loss` is true, 0 at the first token of a conversation and in padding, `other_weight` elsewhere.
- `position_ids`: from 0 in each conversation and in the padding.
- `seq_lengths`: of the conversations, without the padding; their running sum bounds attention.

Labels of a Hugging Face trainer: `input_ids` where `loss_mask` is above 0, else -100.
"""

OPEN = 64
"""Sequences that wait for a conversation that fits."""


@dataclass(eq=False)
class Packed:
    """A sequence as it fills; `room` is what padding would take now."""

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


def pack(chats: Iterable[Chat], length: int, eod: int, other_weight: float) -> Iterator[Packed]:
    """Sequences of `length` tokens of which none holds part of a conversation, unless that is longer than a sequence.

    A longer one is cut into pieces of `length` tokens and a rest. A piece goes into the fullest of OPEN sequences that
    has room for it; where none has, the fullest is given out for a new one. The result depends on the order alone, and
    memory holds OPEN sequences.
    """
    waiting: list[Packed] = []
    for chat in chats:
        for ids, weights in _pieces(chat, length, eod, other_weight):
            fitting = [one for one in waiting if one.room >= ids.size]
            if fitting:
                chosen = min(fitting, key=lambda one: one.room)
            else:
                if len(waiting) == OPEN:
                    fullest = min(waiting, key=lambda one: one.room)
                    waiting.remove(fullest)
                    yield fullest
                chosen = Packed(length)
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
        # Nothing of its conversation stands before it, so it cannot be predicted.
        weight[0] = 0
        yield piece, weight


def is_cut(chat: Chat, length: int) -> bool:
    """Whether a conversation and its end of document are longer than a sequence."""
    return chat.ids.size + 1 > length


def table(packed: Iterable[Packed], pad: int) -> pa.Table:
    """Rows of SEQUENCES."""
    return pa.Table.from_pylist([one.row(pad) for one in packed], SEQUENCES)
