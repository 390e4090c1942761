"""Shuffle: which shard each copy of a document goes to and where it stands there. No state, so no corpus in memory.

A hash of id and copy is a copy's place in one random order of all of a source's documents of a split; the shards are
equal stretches of it. So the shards one after the other are shuffled as a whole, whatever the parts they came from.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lake.error import UserError
from mixing.split import SPLITS, Hashes, stable_hash

Numbers = npt.NDArray[np.int64]

MOST_SHARDS = 100_000
"""Of a source: as many as the five digits of a part's name tell apart."""


@dataclass(frozen=True)
class Layout:
    """How many shards a source has of each split. They are numbered through: those of validation follow on train's."""

    counts: dict[str, int]

    @classmethod
    def of(cls, tokens: Mapping[str, int], most: int) -> "Layout":
        """As many shards as hold a split's tokens with `most` in each, which a single shard exceeds by chance alone.

        Raises:
            UserError: they are more than MOST_SHARDS.
        """
        layout = cls({split: -(-tokens.get(split, 0) // most) for split in SPLITS})
        if layout.total > MOST_SHARDS:
            enough = sum(tokens.values()) // (MOST_SHARDS - len(SPLITS)) + 1
            raise UserError(
                f"shard.tokens: {most:,} make {layout.total:,} shards of one source, which can have {MOST_SHARDS:,}; "
                f"set it to {enough} or more"
            )
        return layout

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def first(self, split: str) -> int:
        """The number of a split's first shard."""
        return sum(self.counts[one] for one in SPLITS[: SPLITS.index(split)])

    def split(self, number: int) -> str:
        """The split of the shard `number`."""
        return next(split for split in reversed(SPLITS) if self.counts[split] and number >= self.first(split))

    def numbers(self, split: str, order: Hashes) -> Numbers:
        """The shard of each place in the order of a split."""
        # The upper 32 of the 63 bits, so that the product with the number of shards stays below 2^63.
        return self.first(split) + ((order >> 31) * self.counts[split] >> 32)


def order(ids: list[str], copies: list[int], seed: int) -> Hashes:
    """The place of each copy of a document in the random order of its source and split: uniform in 63 bits."""
    return stable_hash((f"{id_}:{copy}" for id_, copy in zip(ids, copies, strict=True)), f"shard:{seed}")
