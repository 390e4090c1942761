"""From bands to candidate pairs: the documents of one bucket are compared, every bucket in time linear in its size.

A bucket holds the documents that agree in one band. Up to a limit all its pairs are candidates. A crowded bucket, a
thousand pages around the same boilerplate, say, gives each document edges to few others: to the most preferred
document of its own and the neighbouring size classes, which finds clusters whose members are all alike; and to its
neighbours when the bucket is sorted by slots outside the band (the sorted neighbourhood of Hernández and Stolfo 1995),
which finds pairs that are more alike than the crowd. A pair shares several bands, each with other slots, so it has many
chances.
"""

import math
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from numba import njit, uint64
from numpy.typing import NDArray

from dedup.minhash import SKETCH_SLOTS
from dedup.words import Hashes, Places

ENTRY = pa.schema(
    [
        pa.field("band", pa.int64()),
        pa.field("order", pa.int64()),
        pa.field("number", pa.int64()),
        pa.field("size", pa.int32()),
        pa.field("sketch", pa.int64()),
    ]
)
"""A document in a bucket: hash of the band, rank (dedup.cluster) and number (dedup.sign), how many shingles it has,
sketch (dedup.minhash)."""

CANDIDATE = pa.schema(
    [
        pa.field("a", pa.int64()),
        pa.field("b", pa.int64()),
        pa.field("band", pa.int64()),
        pa.field("crowd", pa.int64()),
    ]
)
"""A pair of numbers whose `a` is preferred to `b`; or, with the other two alone, a crowded bucket and its size."""

_PASSES = 4
_NEIGHBOURS = 4
_CLASSES = 1000.0
PIECE = 2**20
"""Documents of one bucket that are held in memory."""


def candidates(
    batches: Iterable[pa.RecordBatch], threshold: float, limit: int, piece: int = PIECE
) -> Iterator[pa.RecordBatch]:
    """Candidate pairs of rows of ENTRY that come sorted by band, order and number; a bucket may span batches.

    A pair may come repeatedly. Documents whose numbers of shingles rule out the threshold make no pair, nor do two of
    an earlier corpus (dedup.sign.EARLIER), which have been compared before. A bucket of
    more than `piece` documents is worked off in pieces, each together with the `limit` most preferred documents.
    """
    held = ENTRY.empty_table()
    before = 0
    for rows in _steps(batches, piece):
        held = pa.concat_tables([held, rows])
        bands = held["band"].to_numpy()
        first = int(np.argmax(bands != bands[0])) or len(bands)
        while first > piece:
            yield _compare(held.slice(0, piece), threshold, limit, before, whole=False)
            held = pa.concat_tables([held.slice(0, limit), held.slice(piece)]).combine_chunks()
            before += piece - limit
            first -= piece - limit
        bands = held["band"].to_numpy()
        last = len(bands) - int(np.argmax(bands[::-1] != bands[-1])) if bands[0] != bands[-1] else 0
        if last:
            yield _compare(held.slice(0, last), threshold, limit, before)
            held, before = held.slice(last), 0
    if held.num_rows:
        yield _compare(held, threshold, limit, before)


def _steps(batches: Iterable[pa.RecordBatch], piece: int) -> Iterator[pa.Table]:
    """Tables of at most `piece` rows, so that only a bucket which spans several of them can be longer than a piece."""
    for batch in batches:
        table = pa.Table.from_batches([batch]).cast(ENTRY)
        for begin in range(0, table.num_rows, piece):
            yield table.slice(begin, piece)


def _compare(entries: pa.Table, threshold: float, limit: int, before: int, whole: bool = True) -> pa.RecordBatch:
    """Pairs of whole buckets, or of a piece of one; `before` counts the first bucket's documents in earlier pieces."""
    scale = min(_CLASSES, 1 / -math.log(threshold)) if threshold < 1 else _CLASSES
    entries = entries.combine_chunks()
    left, right, places, crowds = _pairs(
        entries["band"].to_numpy(),
        entries["size"].to_numpy(),
        entries["sketch"].to_numpy().view(np.uint64),
        threshold,
        scale,
        limit,
        before > 0,
    )
    if before and whole:
        crowds[0] += before
    told = len(crowds) if whole else 0
    orders, numbers = entries["order"].to_numpy(), entries["number"].to_numpy()
    fresh = (orders[left] >= 0) | (orders[right] >= 0)
    a, b = numbers[left[fresh]], numbers[right[fresh]]
    bands = entries["band"].to_numpy()[places[:told]]
    columns = [
        *(pa.concat_arrays([pa.array(one), pa.nulls(told, pa.int64())]) for one in (a, b)),
        *(pa.concat_arrays([pa.nulls(len(a), pa.int64()), pa.array(one)]) for one in (bands, crowds[:told])),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=CANDIDATE)


@njit(cache=True, nogil=True)
def _alike(one: int, other: int, threshold: float) -> bool:
    """Whether sets of these sizes can have the Jaccard; the division rounds as the Jaccard's own does."""
    return min(one, other) / max(one, other) >= threshold


@njit(cache=True, nogil=True)
def _pairs(
    bands: Places,
    sizes: NDArray[np.int32],
    sketches: Hashes,
    threshold: float,
    scale: float,
    limit: int,
    crowded: bool,
) -> tuple[Places, Places, Places, Places]:
    """Row numbers of the pairs, the preferred first, and of crowded buckets the first row and the size; `crowded`: the
    first bucket is.
    """
    left = [0 for _ in range(0)]
    right = [0 for _ in range(0)]
    places = [0 for _ in range(0)]
    crowds = [0 for _ in range(0)]
    begin = 0
    while begin < bands.size:
        end = begin + 1
        while end < bands.size and bands[end] == bands[begin]:
            end += 1
        if end - begin > limit or (crowded and begin == 0):
            places.append(begin)
            crowds.append(end - begin)
            _crowd(begin, end, sizes, sketches, threshold, scale, left, right)
        else:
            for one in range(begin, end):
                for other in range(one + 1, end):
                    if _alike(sizes[one], sizes[other], threshold):
                        left.append(one)
                        right.append(other)
        begin = end
    return (
        np.array(left, dtype=np.int64),
        np.array(right, dtype=np.int64),
        np.array(places, dtype=np.int64),
        np.array(crowds, dtype=np.int64),
    )


@njit(cache=True, nogil=True)
def _crowd(
    begin: int,
    end: int,
    sizes: NDArray[np.int32],
    sketches: Hashes,
    threshold: float,
    scale: float,
    left: list[int],
    right: list[int],
) -> None:
    """Edges of a crowded bucket: at most three hubs and _PASSES * _NEIGHBOURS neighbours a document."""
    widest = int(math.log(max(sizes[begin:end])) * scale) + 3
    hubs = np.full(widest, -1, dtype=np.int64)
    for row in range(begin, end):
        own = int(math.log(sizes[row]) * scale) + 1
        for near in range(own - 1, own + 2):
            hub = hubs[near]
            if hub >= 0 and _alike(sizes[hub], sizes[row], threshold):
                left.append(int(hub))
                right.append(row)
        if hubs[own] < 0:
            hubs[own] = row
    bits = uint64(8 * SKETCH_SLOTS)
    for turn in range(_PASSES):
        shift = uint64(turn) * (bits // uint64(_PASSES))
        turned = sketches[begin:end].copy()
        if shift:
            turned = turned << shift | turned >> (bits - shift)
        sequence = np.argsort(turned, kind="mergesort")
        for at in range(sequence.size):
            for step in range(1, min(_NEIGHBOURS, at) + 1):
                one, other = begin + sequence[at - step], begin + sequence[at]
                if _alike(sizes[one], sizes[other], threshold):
                    left.append(int(min(one, other)))
                    right.append(int(max(one, other)))
