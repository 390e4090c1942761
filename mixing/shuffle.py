"""Shuffle: the shard of each copy of a document, and its place there, without the corpus in memory.

The hash of id and copy places a copy in one random order of a source and split. The shards are equal stretches of that
order, so all shards together are shuffled as a whole, whatever parts the documents came from.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lake.error import UserError
from mixing.split import SPLITS, Hashes, stable_hash

Numbers = npt.NDArray[np.int64]

MOST_SHARDS = 100_000
"""The most shards of a source: the name of a shard has five digits."""


@dataclass(frozen=True)
class Layout:
    """How many shards a source has in each split. Numbers of validation shards follow those of train shards."""

    counts: dict[str, int]

    @classmethod
    def of(cls, tokens: Mapping[str, int], most: int) -> "Layout":
        """Shards for these tokens by split, on average at most `most` tokens in each.

        Raises:
            UserError: there would be more than MOST_SHARDS.
        """
        layout = cls({split: -(-tokens.get(split, 0) // most) for split in SPLITS})
        if layout.total > MOST_SHARDS:
            enough = sum(tokens.values()) // (MOST_SHARDS - len(SPLITS)) + 1
            raise UserError(
                f"shard.tokens: {most:,} makes {layout.total:,} shards of one source, and {MOST_SHARDS:,} is the most; "
                f"set it to {enough} or more"
            )
        return layout

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def first(self, split: str) -> int:
        """The number of a split's first shard."""
        return sum(self.counts[earlier] for earlier in SPLITS[: SPLITS.index(split)])

    def split(self, number: int) -> str:
        """The split of the shard `number`."""
        return next(split for split in reversed(SPLITS) if self.counts[split] and number >= self.first(split))

    def numbers(self, split: str, places: Hashes) -> Numbers:
        """The shard of each place in the order of a split."""
        # The upper 32 of the 63 bits keep the product with the number of shards below 2^63.
        return self.first(split) + ((places >> 31) * self.counts[split] >> 32)


def order(ids: list[str], copies: list[int], seed: int) -> Hashes:
    """The place of each copy of a document in the random order of its source and split, uniform in 63 bits."""
    return stable_hash((f"{id_}:{copy}" for id_, copy in zip(ids, copies, strict=True)), f"shard:{seed}")
