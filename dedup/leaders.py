"""The near-duplicates of a crowd: every document against those that stay so far.

A crowded bucket gives each document few edges (dedup.buckets): too few where many pairs of a crowd lie about the
threshold. The leader algorithm (Hartigan 1975, Clustering Algorithms, chapter 3) takes documents by preference and
compares each with the leaders only, of which there are few where a crowd is alike. What it leaves is what
`dedup.cluster.star` would leave of all pairs, in linear time for a bounded number of leaders.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from dedup.sign import sets
from dedup.words import Hashes, Places

MOST = 2048
"""Leaders of a crowd, the most preferred ones; bounds time and memory of a task."""

MEMBER = pa.schema(
    [
        pa.field("crowd", pa.string()),
        pa.field("order", pa.int64()),
        pa.field("id", pa.string()),
        pa.field("shingles", pa.binary()),
    ]
)
"""A document of a crowd: rank (dedup.cluster), packed shingles (dedup.sign)."""

PAIR = pa.schema([pa.field("a", pa.string()), pa.field("b", pa.string()), pa.field("jaccard", pa.float64())])
"""Two documents, the preferred first, and their Jaccard."""


class Leaders:
    """One crowd's leaders: their shingles one behind the other, and which of them documents have linked."""

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
        """The first leader within the threshold, and further ones that this links for the first time."""
        rows, scores = _near(self.offsets[: len(self.ids) + 1], self.values, self.links, shingles, threshold)
        return ((self.ids[row], score) for row, score in zip(rows.tolist(), scores.tolist(), strict=True))


def lead(batches: Iterable[pa.RecordBatch], threshold: float, most: int = MOST) -> Iterator[pa.RecordBatch]:
    """Rows of PAIR for rows of MEMBER that come sorted by crowd, order and id: a leader and a document within the
    threshold of it.

    Of each such document there is the pair with the first leader of these, so that `star` removes it, and pairs that
    link leaders, so that clusters are whole: no more pairs than documents. Documents of an earlier corpus (a rank below
    0) lead without a comparison. Where there are `most` leaders already, no more are added.
    """
    crowd, leaders = None, Leaders()
    for batch in batches:
        found: list[tuple[str, str, float]] = []
        offsets, values = sets(batch["shingles"])
        rows = zip(*(batch[name].to_pylist() for name in ("crowd", "order", "id")), strict=True)
        for row, (group, order, identity) in enumerate(rows):
            if group != crowd:
                crowd, leaders = group, Leaders()
            own = values[offsets[row] : offsets[row + 1]]
            near = [] if order < 0 else [(one, identity, score) for one, score in leaders.near(own, threshold)]
            found += near
            if not near and len(leaders.ids) < most:
                leaders.add(identity, own)
        columns = zip(*found, strict=True) if found else ((),) * len(PAIR)
        arrays = [pa.array(one, kind.type) for one, kind in zip(columns, PAIR, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, schema=PAIR)


@njit(cache=True, nogil=True)
def _near(
    offsets: Places, values: Hashes, links: Places, own: Hashes, threshold: float
) -> tuple[Places, NDArray[np.float64]]:
    """Of the sets within the threshold of `own` the first, and those that `links`, a union-find, did not link to it."""
    rows = np.empty(offsets.size - 1, dtype=np.int64)
    scores = np.empty(offsets.size - 1, dtype=np.float64)
    count = 0
    root = -1
    for row in range(offsets.size - 1):
        score = _jaccard(values[offsets[row] : offsets[row + 1]], own, threshold)
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


@njit(cache=True, nogil=True)
def _jaccard(left: Hashes, right: Hashes, threshold: float) -> float:
    """The exact Jaccard of two sorted sets, or -1 as soon as it must be below the threshold."""
    total = left.size + right.size
    if total == 0:
        return 1.0
    if min(left.size, right.size) / max(left.size, right.size) < threshold:
        return -1.0
    needed = max(0, int(threshold / (1 + threshold) * total) - 1)
    while needed / (total - needed) < threshold:
        needed += 1
    at = other = shared = 0
    while at < left.size and other < right.size:
        if shared + min(left.size - at, right.size - other) < needed:
            return -1.0
        if left[at] == right[other]:
            shared += 1
            at += 1
            other += 1
        elif left[at] < right[other]:
            at += 1
        else:
            other += 1
    return shared / (total - shared)
