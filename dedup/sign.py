"""What deduplication needs of a document, in one row: the text is read once and not again."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedup.cluster import ranks
from dedup.exact import content_keys, id_keys
from dedup.minhash import Shingled, band_keys, shingle, signatures
from dedup.permutations import Samples, datasketch_signatures
from dedup.settings import DedupSettings
from dedup.words import Hashes, Places

SIGNED = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("source", pa.string()),
        pa.field("order", pa.int64()),
        pa.field("content", pa.string()),
        pa.field("keys", pa.list_(pa.string())),
        pa.field("size", pa.int32()),
        pa.field("bands", pa.list_(pa.int64())),
        pa.field("sketches", pa.list_(pa.int64())),
        pa.field("shingles", pa.list_(pa.int64())),
    ]
)
"""`order`: dedup.cluster.ranks; `content`, `keys`: dedup.exact; `size`: number of shingles; the rest: dedup.minhash,
its unsigned numbers as the signed ones of the same bits."""

COLUMNS = ("id", "source", "text", "redistributable", "meta")
"""The columns of a document that `sign` reads."""


def sign(batches: Iterable[pa.RecordBatch], settings: DedupSettings) -> Iterator[pa.RecordBatch]:
    """Rows of SIGNED for batches with the columns COLUMNS."""
    for batch in batches:
        shingled = shingle(batch["text"], settings.ngram)
        bands, sketches = band_keys(_samples(batch["text"], shingled, settings), settings.bands)
        columns = [
            batch["id"],
            batch["source"],
            ranks(batch["source"], batch["redistributable"], pc.utf8_length(batch["text"]), settings.prefer),
            content_keys(shingled.content),
            id_keys(batch["meta"]),
            pa.array(np.diff(shingled.offsets), pa.int32()),
            _rows(bands),
            _rows(sketches),
            shingle_lists(shingled),
        ]
        yield pa.RecordBatch.from_arrays(
            [column.cast(field.type) for column, field in zip(columns, SIGNED, strict=True)], schema=SIGNED
        )


def _samples(texts: pa.Array, shingled: Shingled, settings: DedupSettings) -> Hashes | Samples:
    if settings.scheme == "datasketch":
        return datasketch_signatures(texts, settings.ngram, settings.bands.slots)
    return signatures(shingled.offsets, shingled.values, settings.bands.slots)


def shingle_lists(shingled: Shingled) -> pa.ListArray:
    """The sets as an Arrow list<int64> array."""
    return pa.ListArray.from_arrays(shingled.offsets.astype(np.int32), pa.array(shingled.values.view(np.int64)))


def sets(lists: pa.ListArray) -> tuple[Places, Hashes]:
    """An Arrow list<int64> array back as offsets and values, as dedup.minhash.jaccard takes them."""
    offsets = lists.offsets.to_numpy().astype(np.int64)
    return offsets, lists.values.to_numpy().view(np.uint64)


def _rows(table: Hashes) -> pa.ListArray:
    rows, width = table.shape
    offsets = np.arange(0, width * (rows + 1), width, dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(table.view(np.int64).ravel()))
