"""Pack whole conversations into loss-masked sequences of one length, for trainers that read Parquet."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lake.decision import Reason, RecordError
from lake.schema import schema
from mixing.instructions.template import ChatTokens

SEQUENCES = schema("input_ids list<int32>, loss_mask list<float32>, position_ids list<int32>, seq_lengths list<int32>")
"""A row is a sequence. The first three columns have its full length.

- `input_ids`: conversations as the chat template writes them, without an end of document, then padding.
- `loss_mask`: the weight of the loss of predicting this token, so it is shifted together with the labels. It is 1 where
  `ChatTokens.loss` is true, 0 at the first token of a conversation and in padding, `other_weight` elsewhere.
- `position_ids`: they start from 0 in each conversation and in the padding.
- `seq_lengths`: the tokens of each conversation, without padding. Their running sum bounds attention.

Each row has a token to learn. A Hugging Face trainer takes as labels `input_ids` where `loss_mask` is above 0, else
-100.
"""

Overlong = Literal["cut", "drop"]

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


def fitted(chat: ChatTokens, length: int, overlong: Overlong) -> ChatTokens:
    """The conversation, of which `cut` leaves the first `length` tokens.

    Raises:
        RecordError: it is longer and to be dropped, or no token of it would be learnt. The first token never is, for no
            other predicts it.
    """
    if chat.ids.size > length and overlong == "drop":
        raise RecordError(Reason.TOO_LONG, f"{chat.ids.size:,} tokens, a sequence has {length:,}")
    whole, chat = chat, chat[:length]
    if not chat.loss[1:].any():
        first = int(whole.loss.argmax())
        where = f"the answer begins after {first:,} tokens" if whole.loss[1:].any() else "no token is an answer"
        raise RecordError(Reason.NO_TARGET, f"{where}, a sequence has {length:,}")
    return chat


def pack(
    chats: Iterable[ChatTokens], length: int, other_weight: float, together: bool = True
) -> Iterator[PackedSequence]:
    """Put conversations, none longer than `length` tokens, into sequences of that length: many, or one, in each.

    A conversation goes into the fullest of OPEN sequences that has room for it. Where none has, the fullest sequence
    leaves and a new one opens. The result depends only on the order of `chats`, and memory holds OPEN sequences.
    """
    waiting: list[PackedSequence] = []
    for chat in chats:
        weights = np.where(chat.loss, 1, other_weight).astype(np.float32)
        weights[0] = 0
        fitting = [sequence for sequence in waiting if sequence.room >= chat.ids.size]
        if fitting:
            chosen = min(fitting, key=lambda sequence: sequence.room)
        else:
            if len(waiting) == OPEN:
                fullest = min(waiting, key=lambda sequence: sequence.room)
                waiting.remove(fullest)
                yield fullest
            chosen = PackedSequence(length)
            waiting.append(chosen)
        chosen.add(chat.ids.astype(np.int32), weights)
        if not chosen.room or not together:
            waiting.remove(chosen)
            yield chosen
    yield from waiting


def table(sequences: Iterable[PackedSequence], pad: int) -> pa.Table:
    """Rows of SEQUENCES."""
    return pa.Table.from_pylist([sequence.row(pad) for sequence in sequences], SEQUENCES)
