"""One row for each document with all that deduplication needs, so that texts are read only once."""

from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit, uint64

from dedup.cluster import ranks
from dedup.exact import content_keys, id_keys
from dedup.minhash import Shingled, band_keys, shingle, signatures
from dedup.permutations import Samples, datasketch_signatures
from dedup.settings import DedupSettings
from dedup.words import Bytes, Hashes, Places, mix, text_buffers
from lake.schema import schema

_STEP = np.uint64(0x9E3779B97F4A7C15)
_SIGN = np.uint64(1 << 63)
_DIGITS = 10

SIGNED = schema(
    "id string?, number int64?, source string?, order int64?, content string?, keys list<string>?, size int32?, "
    "bands list<int64>?, sketches list<int64>?, shingles binary?"
)
"""`number` stands for the id where many rows move. It sorts as the ids of lake.document do, so that both give the same
preference among documents of equal rank; two ids have the same number once in 2^64 pairs, and then make a false
candidate. `order` comes from dedup.cluster.ranks, `content` and `keys` from dedup.exact, `shingles` from `packed`;
`size` is the number of shingles. `bands` and `sketches` come from dedup.minhash, as signed numbers of the same bits."""

SIGNATURES = "signatures"
"""The table of SIGNED, which a later corpus can be compared with."""

COLUMNS = ("id", "source", "text", "redistributable", "meta")
"""The columns of a document that `sign` reads."""

EARLIER = 2**62
"""Subtracted from the order of documents of an earlier corpus: an order below 0 marks documents that always stay."""

SLICE_BYTES = 2**26
"""Bytes of text signed together, unless a single text is longer. Signing takes some eight times as much memory."""


def sign(batches: Iterable[pa.RecordBatch], settings: DedupSettings) -> Iterator[pa.RecordBatch]:
    """Rows of SIGNED for batches with the columns COLUMNS."""
    for batch in chain.from_iterable(map(_slices, batches)):
        shingled = shingle(batch["text"], settings.ngram)
        bands, sketches = band_keys(samples(batch["text"], shingled, settings), settings.bands)
        columns = [
            batch["id"],
            pa.array(_numbers(*text_buffers(batch["id"]))),
            batch["source"],
            ranks(batch["source"], batch["redistributable"], pc.utf8_length(batch["text"]), settings.prefer),
            content_keys(shingled.content),
            id_keys(batch["meta"]),
            pa.array(np.diff(shingled.offsets), pa.int32()),
            _rows(bands),
            _rows(sketches),
            packed(shingled),
        ]
        yield pa.RecordBatch.from_arrays(
            [column.cast(field.type) for column, field in zip(columns, SIGNED, strict=True)], schema=SIGNED
        )


def _slices(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Slices of the batch with at most SLICE_BYTES of text, or with a single row."""
    ends = np.cumsum(pc.binary_length(batch["text"]).fill_null(0).to_numpy(), dtype=np.int64)
    begin = 0
    while begin < batch.num_rows:
        before = int(ends[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + SLICE_BYTES, side="right")))
        yield batch.slice(begin, end - begin)
        begin = end


@njit(cache=True, nogil=True)
def _numbers(data: Bytes, places: Places) -> Places:
    """Ten leading hexadecimal digits of each id and 24 bits of its hash, or the hash alone where the id has fewer."""
    out = np.empty(places.size - 1, dtype=np.int64)
    for row in range(out.size):
        begin, end = places[row], places[row + 1]
        value = uint64(end - begin)
        for at in range(begin, end):
            value = mix(value ^ uint64(data[at]) + _STEP)
        lead = uint64(0)
        digits = 0
        while digits < _DIGITS and begin + digits < end:
            byte = data[begin + digits]
            if 48 <= byte < 58:
                digit = uint64(byte - 48)
            elif 97 <= byte < 103:
                digit = uint64(byte - 87)
            else:
                break
            lead = lead << uint64(4) | digit
            digits += 1
        if digits == _DIGITS:
            value = (lead << uint64(24) | value >> uint64(40)) ^ _SIGN
        out[row] = np.int64(value)
    return out


def samples(texts: pa.Array, shingled: Shingled, settings: DedupSettings) -> Hashes | Samples:
    """The signatures of texts, with their shingles, by the scheme of the settings: [n, slots]."""
    if settings.scheme == "datasketch":
        return datasketch_signatures(texts, settings.ngram, settings.bands.slots)
    return signatures(shingled.offsets, shingled.values, settings.bands.slots)


def packed(shingled: Shingled) -> pa.BinaryArray:
    """The sets as an Arrow binary array, eight bytes per shingle: engines copy a binary at once but a list by items."""
    offsets = pa.py_buffer((8 * shingled.offsets).astype(np.int32))
    return pa.Array.from_buffers(pa.binary(), len(shingled.offsets) - 1, [None, offsets, pa.py_buffer(shingled.values)])


def sets(packed: pa.BinaryArray) -> tuple[Places, Hashes]:
    """The offsets and values of `packed` sets, as dedup.minhash.jaccard takes them."""
    _, offsets, values = packed.buffers()
    places = np.frombuffer(offsets, dtype=np.int32)[packed.offset : packed.offset + len(packed) + 1].astype(np.int64)
    return places // 8, np.frombuffer(values or b"", dtype=np.uint64, count=(places[-1] // 8) if len(places) else 0)


def _rows(table: Hashes) -> pa.ListArray:
    rows, width = table.shape
    offsets = np.arange(0, width * (rows + 1), width, dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(table.view(np.int64).ravel()))
