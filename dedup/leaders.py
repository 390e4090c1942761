"""Near-duplicates in a crowd: each document is compared with the leaders, those that stay so far.

A crowded bucket gives each document few edges (dedup.buckets), too few where many pairs are close to the threshold. The
leader algorithm (Hartigan 1975, Clustering Algorithms, chapter 3) takes documents in order of preference and compares
each with the leaders only, which are few where the documents of a crowd are alike. The documents that stay are those
that `dedup.cluster.star` keeps of all pairs, and the time is linear for a bounded number of leaders.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from dedup.minhash import pair_jaccard
from dedup.sign import sets
from dedup.words import Hashes, Places
from lake.schema import schema

MOST = 2048
"""Greatest number of leaders in a crowd, which bounds a task's time and memory."""

MEMBER = schema("crowd string?, order int64?, id string?, shingles binary?")
"""A document of a crowd, with its rank (dedup.cluster) and packed shingles (dedup.sign)."""

PAIR = schema("a string?, b string?, jaccard float64?")
"""Two documents and their Jaccard. `a` is preferred to `b`."""


class Leaders:
    """The leaders of a crowd: ids, concatenated shingles, and a union-find of those that documents have linked."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.offsets: Places = np.zeros(MOST + 1, dtype=np.int64)
        self.values: Hashes = np.empty(1 << 16, dtype=np.uint64)
        self.links: Places = np.arange(MOST)

    def add(self, identity: str, shingles: Hashes) -> None:
        begin = self.offsets[len(self.ids)]
        end = begin + shingles.size
        if end > self.values.size:
            grown: Hashes = np.empty(max(end, 2 * self.values.size), dtype=np.uint64)
            grown[:begin] = self.values[:begin]
            self.values = grown
        self.values[begin:end] = shingles
        self.ids.append(identity)
        self.offsets[len(self.ids)] = end

    def near(self, shingles: Hashes, threshold: float) -> Iterator[tuple[str, float]]:
        """The first leader within the threshold, and each further one that was not linked with these before."""
        rows, scores = _near(self.offsets[: len(self.ids) + 1], self.values, self.links, shingles, threshold)
        return ((self.ids[row], score) for row, score in zip(rows.tolist(), scores.tolist(), strict=True))


def lead(batches: Iterable[pa.RecordBatch], threshold: float, most: int = MOST) -> Iterator[pa.RecordBatch]:
    """Rows of PAIR, each a leader and a document within its threshold, from rows of MEMBER sorted by crowd, order, id.

    Each such document is paired with its first leader, so that `star` removes it, and with leaders that it links, so
    that clusters are whole. There are no more pairs than documents. Documents of an earlier corpus (rank below 0) lead
    without a comparison. A crowd gets at most `most` leaders.
    """
    crowd, leaders = None, Leaders()
    for batch in batches:
        pairs: list[tuple[str, str, float]] = []
        offsets, values = sets(batch["shingles"])
        rows = zip(*(batch[name].to_pylist() for name in ("crowd", "order", "id")), strict=True)
        for row, (group, order, identity) in enumerate(rows):
            if group != crowd:
                crowd, leaders = group, Leaders()
            shingles = values[offsets[row] : offsets[row + 1]]
            near = (
                [] if order < 0 else [(leader, identity, score) for leader, score in leaders.near(shingles, threshold)]
            )
            pairs += near
            if not near and len(leaders.ids) < most:
                leaders.add(identity, shingles)
        columns = zip(*pairs, strict=True) if pairs else ((),) * len(PAIR)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, PAIR, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, schema=PAIR)


@njit(cache=True, nogil=True)
def _near(
    offsets: Places, values: Hashes, links: Places, shingles: Hashes, threshold: float
) -> tuple[Places, NDArray[np.float64]]:
    """Rows and scores of the first set within the threshold and of those that the union-find `links` joins to it."""
    rows = np.empty(offsets.size - 1, dtype=np.int64)
    scores = np.empty(offsets.size - 1, dtype=np.float64)
    count = 0
    root = -1
    for row in range(offsets.size - 1):
        score = pair_jaccard(values[offsets[row] : offsets[row + 1]], shingles, threshold)
        if score < threshold:
            continue
        other = row
        while links[other] != other:
            links[other] = links[links[other]]
            other = links[other]
        if other == root:
            continue
        if count:
            links[max(root, other)] = min(root, other)
        root = min(root, other) if count else other
        rows[count], scores[count] = row, score
        count += 1
    return rows[:count], scores[:count]
