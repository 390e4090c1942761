"""Conversations of tokens and weights, and rows of them on disk, as the instruct step writes them."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lake.dataset import Output
from mixing.instructions.packing import SEQUENCES
from train.data import Vocabulary

VOCABULARY = Vocabulary(200, 198, 198, "made here", np.arange(200) % 7)
"""Padding is the end of a turn, as in models that have no token for padding."""

END = VOCABULARY.eod

Talk = tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]
"""The ids of a conversation and their weights."""


def talk(chance: np.random.Generator, size: int, other_weight: float = 0) -> Talk:
    """A question and an answer that ends with END; the ids count up from a random one, so there is much to learn."""
    ids = (chance.integers(0, 90) + np.arange(size) * 3) % 190
    ids[-1] = END
    weights = np.full(size, other_weight)
    weights[size // 2 :] = 1
    weights[0] = 0
    return ids.astype(np.int32), weights.astype(np.float32)


def row(talks: Sequence[Talk], length: int) -> dict[str, list[float]]:
    """One row of SEQUENCES."""
    room = length - sum(ids.size for ids, _ in talks)
    return {
        "input_ids": [*np.concatenate([ids for ids, _ in talks]).tolist(), *[VOCABULARY.pad] * room],
        "loss_mask": [*np.concatenate([weights for _, weights in talks]).tolist(), *[0] * room],
        "position_ids": [place for size in (*(ids.size for ids, _ in talks), room) for place in range(size)],
        "seq_lengths": [ids.size for ids, _ in talks],
    }


def write(
    folder: Output,
    part: int,
    rows: Sequence[Sequence[Talk]],
    length: int,
    group: int = 128,
    table: str = "packed",
    source: str = "papers",
) -> str:
    """Write a part with `group` rows in a row group; returns its name."""
    with folder.part_writer(table, part, SEQUENCES, source) as store:
        for start in range(0, len(rows), group):
            written = [row(talks, length) for talks in rows[start : start + group]]
            store(pa.Table.from_pylist(written, SEQUENCES))
    return folder.part_name(part, source)
