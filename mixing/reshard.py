"""Shards made from shards: merged, split, packed. Tokens are copied as they are; only the bounds around them change."""

import hashlib
import re
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lake.error import UserError
from mixing.shards import Index, Shard, check_index, pack_index

COPY_BYTES = 1 << 22


def merge(prefixes: Sequence[Path], folder: Path, name: str) -> Shard:
    """Write the shard `folder/name` of the documents of several, in the order given.

    The bytes are those of writing all documents at once. Memory holds the documents' lengths, never their tokens.

    Raises:
        UserError: none is given, one is corrupt, or their tokens are of two types.
    """
    if not prefixes:
        raise UserError(f"{folder / name}: no shard to merge; name at least one")
    indexes = [check_index(prefix) for prefix in prefixes]
    for prefix, index in zip(prefixes, indexes, strict=True):
        if index.dtype is not indexes[0].dtype:
            kinds = np.dtype(index.dtype).name, np.dtype(indexes[0].dtype).name
            raise UserError(f"{prefix}: {kinds[0]} tokens, {prefixes[0]} has {kinds[1]}; merge shards of one tokenizer")
    stretches = [_Stretch(prefix, 0, index.tokens) for prefix, index in zip(prefixes, indexes, strict=True)]
    return _assemble(folder, name, stretches, Index(indexes[0].dtype, np.concatenate([one.lengths for one in indexes])))


def split(prefix: Path, folder: Path, tokens: int) -> list[Shard]:
    """Write a shard's documents as the shards `folder/NAME-00000`, …, each of at most `tokens` tokens.

    A document is never cut: one that is longer is a shard of its own. Merged in order, the pieces are the shard again.

    Raises:
        UserError: the shard is corrupt, or the folder has files of such names, among which new pieces would be lost.
        ValueError: `tokens` is not above zero.
    """
    if tokens < 1:
        raise ValueError(f"pieces of {tokens} tokens")
    index = check_index(prefix)
    named = re.compile(rf"{re.escape(prefix.name)}-\d{{5,}}\.(bin|idx)")
    if there := sorted(file.name for file in folder.glob("*") if named.fullmatch(file.name)):
        raise UserError(f"{folder / there[0]}: this name is for a piece of {prefix.name}; name an empty folder")
    ends = np.cumsum(index.lengths, dtype=np.int64)
    pieces: list[Shard] = []
    first = start = 0
    while first < ends.size:
        stop = max(first + 1, int(np.searchsorted(ends, start + tokens, side="right")))
        size = int(ends[stop - 1]) - start
        mine = Index(index.dtype, index.lengths[first:stop])
        pieces.append(_assemble(folder, f"{prefix.name}-{len(pieces):05d}", [_Stretch(prefix, start, size)], mine))
        first, start = stop, start + size
    return pieces


def packed_lengths(tokens: int, length: int) -> npt.NDArray[np.int32]:
    """The lengths of sequences of `length` tokens that hold `tokens`; the last one is shorter where it must be."""
    lengths = np.full(-(-tokens // length), length, dtype=np.int32)
    lengths[-1:] -= lengths.size * length - tokens
    return lengths


def pack(prefix: Path, length: int) -> str:
    """Cut a shard into sequences of `length` tokens: .bin stays, .idx is written anew. The SHA-256 of the new .idx.

    Documents are known afterwards from the index table alone. Packing again gives the same bytes.

    Raises:
        UserError: the shard is corrupt.
    """
    found = check_index(prefix)
    packed = pack_index(packed_lengths(found.tokens, length), found.dtype)
    file = prefix.with_name(prefix.name + ".idx")
    temporary = _temporary(file)
    try:
        temporary.write_bytes(packed)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
    return hashlib.sha256(packed).hexdigest()


def merge_places(places: Sequence[pa.Table], name: str) -> pa.Table:
    """The index table of the merged shard `name` from those of its shards, each whole, in the order of the merge.

    Columns `document`, `offset` and `shard` are rewritten, rows are in the order of the documents.
    """
    documents = tokens = 0
    moved = []
    for table in places:
        moved.append(_moved(table.sort_by("document"), name, documents, tokens))
        documents += table.num_rows
        tokens += pc.sum(table["tokens"]).as_py() or 0
    return pa.concat_tables(moved)


def split_places(places: pa.Table, pieces: Sequence[Shard]) -> list[pa.Table]:
    """The index table of each piece that `split` gave, from the whole one of the shard."""
    places = places.sort_by("document")
    documents = tokens = 0
    found = []
    for piece in pieces:
        mine = places.slice(documents, piece.documents)
        found.append(_moved(mine, piece.name, -documents, -tokens))
        documents += piece.documents
        tokens += piece.tokens
    return found


def _moved(places: pa.Table, name: str, documents: int, tokens: int) -> pa.Table:
    columns = {
        "shard": pa.array([name] * places.num_rows, pa.string()),
        "document": pc.add(places["document"], documents),
        "offset": pc.add(places["offset"], tokens),
    }
    for column, values in columns.items():
        at = places.schema.get_field_index(column)
        places = places.set_column(at, places.schema.field(at), values)
    return places


@dataclass(frozen=True)
class _Stretch:
    """`tokens` tokens of the shard `prefix` from its token `start` on."""

    prefix: Path
    start: int
    tokens: int


def _assemble(folder: Path, name: str, stretches: Iterable[_Stretch], index: Index) -> Shard:
    """Write a shard of stretches of others under temporary names; .bin gets its name first, .idx last."""
    folder.mkdir(parents=True, exist_ok=True)
    files = folder / f"{name}.bin", folder / f"{name}.idx"
    data, head = map(_temporary, files)
    hashed = hashlib.sha256()
    try:
        with data.open("wb") as target:
            for one in stretches:
                for block in _blocks(one, np.dtype(index.dtype).itemsize):
                    target.write(block)
                    hashed.update(block)
        head.write_bytes(packed := pack_index(index.lengths, index.dtype))
        data.replace(files[0])
        head.replace(files[1])
    finally:
        data.unlink(missing_ok=True)
        head.unlink(missing_ok=True)
    return Shard(name, index.lengths.size, index.tokens, hashed.hexdigest(), hashlib.sha256(packed).hexdigest())


def _blocks(stretch: _Stretch, itemsize: int) -> Iterable[bytes]:
    left = stretch.tokens * itemsize
    with stretch.prefix.with_name(stretch.prefix.name + ".bin").open("rb") as source:
        source.seek(stretch.start * itemsize)
        while left:
            block = source.read(min(left, COPY_BYTES))
            if not block:
                raise UserError(f"{stretch.prefix}.bin: it became shorter while it was read; write the shard again")
            yield block
            left -= len(block)


def _temporary(file: Path) -> Path:
    return file.with_name(f".{file.name}.{uuid.uuid4().hex[:8]}")
