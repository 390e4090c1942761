"""From bands to candidate pairs, in time linear in the size of a bucket.

A bucket holds the documents that agree in a band. Up to a limit, all its pairs are candidates. In a crowded bucket, for
example a thousand pages around the same boilerplate, a document gets edges to few others. Edges to the most preferred
document of its size class and of the classes beside it find clusters whose members are all alike. Edges to its
neighbours when the bucket is sorted by slots outside the band (the sorted neighbourhood of Hernández and Stolfo 1995)
find pairs that are more alike than the crowd. A pair usually shares several bands, each with other slots outside it, so
it has many chances.
"""

import math
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from numba import njit, uint64
from numpy.typing import NDArray

from dedup.minhash import SKETCH_SLOTS
from dedup.words import Hashes, Places
from lake.schema import schema

ENTRY = schema("band int64?, order int64?, number int64?, size int32?, sketch int64?")
"""A document in a bucket: hash of the band, rank (dedup.cluster), number (dedup.sign), number of shingles and sketch
(dedup.minhash)."""

CANDIDATE = pa.schema([(name, pa.int64()) for name in ("a", "b", "band", "crowd")])
"""The numbers of a pair whose `a` is preferred to `b`, or else the band and the size of a crowded bucket."""

_PASSES = 4
_NEIGHBOURS = 4
_CLASSES = 1000.0
PIECE = 2**20
"""Documents of a bucket that are held in memory at a time."""


def candidates(
    batches: Iterable[pa.RecordBatch], threshold: float, limit: int, piece: int = PIECE
) -> Iterator[pa.RecordBatch]:
    """Rows of CANDIDATE from rows of ENTRY sorted by band, order and number. A bucket may span batches.

    A pair may be repeated. Documents whose numbers of shingles rule out the threshold make no pair, nor do two of an
    earlier corpus (dedup.sign.EARLIER), which have been compared before. A bucket of more than `piece` documents is
    compared in pieces, each together with the `limit` most preferred documents.
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
    """Tables of at most `piece` rows, so that a bucket longer than a piece spans several tables."""
    for batch in batches:
        table = pa.Table.from_batches([batch]).cast(ENTRY)
        for begin in range(0, table.num_rows, piece):
            yield table.slice(begin, piece)


def _compare(entries: pa.Table, threshold: float, limit: int, before: int, whole: bool = True) -> pa.RecordBatch:
    """Rows of CANDIDATE for whole buckets, or for a piece of one.

    Args:
        before: Number of documents of the first bucket in earlier pieces.
        whole: Whether the last bucket ends here, so that its size is known.
    """
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
    if not whole:
        places, crowds = places[:0], crowds[:0]
    orders, numbers = entries["order"].to_numpy(), entries["number"].to_numpy()
    fresh = (orders[left] >= 0) | (orders[right] >= 0)
    pairs = (numbers[left[fresh]], numbers[right[fresh]])
    sizes = (entries["band"].to_numpy()[places], crowds)
    columns = [
        *(pa.concat_arrays([pa.array(side), pa.nulls(len(crowds), pa.int64())]) for side in pairs),
        *(pa.concat_arrays([pa.nulls(len(pairs[0]), pa.int64()), pa.array(column)]) for column in sizes),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=CANDIDATE)


@njit(cache=True, nogil=True)
def _alike(size: int, other: int, threshold: float) -> bool:
    """Whether sets of these sizes can reach the threshold. The division rounds as that of the Jaccard does."""
    return min(size, other) / max(size, other) >= threshold


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
    """Row numbers of the pairs, the preferred first; first row and size of each crowded bucket.

    Args:
        crowded: Whether the first bucket is crowded, as earlier pieces of it show.
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
            for row in range(begin, end):
                for other in range(row + 1, end):
                    if _alike(sizes[row], sizes[other], threshold):
                        left.append(row)
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
    """Edges of a crowded bucket: for each document at most three hubs and _PASSES * _NEIGHBOURS neighbours."""
    widest = int(math.log(max(sizes[begin:end])) * scale) + 3
    hubs = np.full(widest, -1, dtype=np.int64)
    for row in range(begin, end):
        size_class = int(math.log(sizes[row]) * scale) + 1
        for near in range(size_class - 1, size_class + 2):
            hub = hubs[near]
            if hub >= 0 and _alike(sizes[hub], sizes[row], threshold):
                left.append(int(hub))
                right.append(row)
        if hubs[size_class] < 0:
            hubs[size_class] = row
    bits = uint64(8 * SKETCH_SLOTS)
    for turn in range(_PASSES):
        shift = uint64(turn) * (bits // uint64(_PASSES))
        turned = sketches[begin:end].copy()
        if shift:
            turned = turned << shift | turned >> (bits - shift)
        sequence = np.argsort(turned, kind="mergesort")
        for at in range(sequence.size):
            for step in range(1, min(_NEIGHBOURS, at) + 1):
                row, other = begin + sequence[at - step], begin + sequence[at]
                if _alike(sizes[row], sizes[other], threshold):
                    left.append(int(min(row, other)))
                    right.append(int(max(row, other)))
