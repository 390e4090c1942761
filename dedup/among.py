"""Duplicates among texts that fit in memory, by the kernels and the settings of the step for documents.

The first of several stays. Texts of one subject, such as a question that is asked in two ways, may be near each other.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedup.buckets import ENTRY, candidates
from dedup.cluster import Likeness, star
from dedup.exact import content_keys
from dedup.leaders import MEMBER, lead
from dedup.minhash import band_keys, jaccard, shingle
from dedup.settings import DedupSettings
from dedup.sign import packed, samples, sets
from lake.schema import schema

SKETCH = schema("content string, bands list<int64>, sketches list<int64>, shingles binary")
"""What is compared of a text; the columns are those of dedup.sign."""

ROWS = 2**16


class Duplicate(NamedTuple):
    """The place of the text that stays, and how like it is."""

    survivor: int
    kind: Likeness
    jaccard: float


def sketch(texts: pa.Array, settings: DedupSettings) -> pa.Table:
    """Rows of SKETCH for texts."""
    shingled = shingle(texts, settings.ngram)
    keys = band_keys(samples(texts, shingled, settings), settings.bands)
    bands, sketches = (pa.FixedSizeListArray.from_arrays(_signed(key.ravel()), key.shape[1]) for key in keys)
    columns = [content_keys(shingled.content), bands, sketches, packed(shingled)]
    return pa.table(columns, names=SKETCH.names).cast(SKETCH)


def duplicates(rows: pa.Table, subjects: Sequence[str], settings: DedupSettings) -> dict[int, Duplicate]:
    """By place, the texts that go. `rows` are those of SKETCH; memory holds them, eight bytes for a word."""
    rows = rows.set_column(SKETCH.names.index("shingles"), "shingles", rows["shingles"].cast(pa.large_binary()))
    first: dict[str, int] = {}
    gone: dict[int, Duplicate] = {}
    for place, content in enumerate(rows["content"].to_pylist()):
        if (survivor := first.setdefault(content, place)) != place:
            gone[place] = Duplicate(survivor, Likeness.EXACT, 1.0)
    left = np.setdiff1d(np.arange(rows.num_rows), list(gone))
    near = [pair for pair in _near(rows, left, settings) if subjects[pair[0]] != subjects[pair[1]]]
    gone |= {place: Duplicate(survivor, Likeness.NEAR, score) for place, survivor, score in star(sorted(near))}
    # The survivor of a copy may itself be near another.
    return {
        place: one._replace(survivor=gone[one.survivor].survivor) if one.survivor in gone else one
        for place, one in gone.items()
    }


def _near(rows: pa.Table, places: np.ndarray, settings: DedupSettings) -> Iterator[tuple[int, int, float]]:
    """The places of two texts, the earlier first, and their Jaccard."""
    if not places.size:
        return
    kept = rows.take(pa.array(places))
    # All of them may be more than the 2 GiB of a binary array.
    shingles = kept["shingles"].combine_chunks()
    entries = _entries(kept.combine_chunks(), places)
    found = pa.Table.from_batches(list(candidates(entries.to_batches(ROWS), settings.threshold, settings.bucket_limit)))
    pairs = found.filter(pc.is_valid(found["a"])).select(["a", "b"]).group_by(["a", "b"]).aggregate([])
    sides = [np.searchsorted(places, pairs[name].to_numpy()) for name in ("a", "b")]
    for start in range(0, len(pairs), ROWS):
        of = [side[start : start + ROWS] for side in sides]
        left, right = (sets(_some(shingles, side)) for side in of)
        for one, other, score in zip(*(places[side].tolist() for side in of), jaccard(*left, *right), strict=True):
            if score >= settings.threshold:
                yield one, other, float(score)
    crowded = found["band"].drop_null().unique()
    for batch in lead(_members(entries, crowded, places, shingles), settings.threshold):
        for pair in batch.to_pylist():
            yield int(pair["a"]), int(pair["b"]), pair["jaccard"]


def _entries(kept: pa.Table, places: np.ndarray) -> pa.Table:
    """Rows of ENTRY, a text in each of its bands; its place is its rank."""
    sizes = pc.binary_length(kept["shingles"]).to_numpy() // 8
    of = pc.list_parent_indices(kept["bands"]).to_numpy()
    columns = [
        pc.list_flatten(kept["bands"]),
        pa.array(places[of]),
        pa.array(places[of]),
        pa.array(sizes[of]),
        pc.list_flatten(kept["sketches"]),
    ]
    table = pa.table(columns, names=ENTRY.names).cast(ENTRY)
    return table.sort_by([("band", "ascending"), ("order", "ascending")]).combine_chunks()


def _members(entries: pa.Table, crowded: pa.Array, places: np.ndarray, shingles: pa.Array) -> Iterable[pa.RecordBatch]:
    """Rows of MEMBER for the crowded bands."""
    rows = entries.filter(pc.is_in(entries["band"], crowded))
    for batch in rows.to_batches(ROWS):
        orders = batch["order"]
        members = [batch["band"].cast(pa.string()), orders, orders.cast(pa.string())]
        members.append(_some(shingles, np.searchsorted(places, orders.to_numpy())))
        yield pa.RecordBatch.from_arrays(members, schema=MEMBER)


def _some(shingles: pa.Array, places: np.ndarray) -> pa.Array:
    return shingles.take(pa.array(places)).cast(pa.binary())


def _signed(hashes: np.ndarray) -> pa.Array:
    return pa.array(hashes.view(np.int64))
