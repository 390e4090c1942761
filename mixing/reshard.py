"""Make shards from shards: merge, cut, pack. Tokens are copied as they are, only the bounds around them change."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lake.dataset import Output
from lake.error import UserError
from mixing.shards import Shard, index_bytes, read_index, store

COPY_BYTES = 1 << 22


def merge(prefixes: Sequence[Path], folder: Path, name: str) -> Shard:
    """Write the documents of several shards, in the given order, as the shard `folder/name`.

    The bytes are those of writing all documents at once. Memory holds the documents' lengths, never their tokens.

    Raises:
        UserError: there is no shard, one is corrupt, or their tokens are of two types.
    """
    if not prefixes:
        raise UserError(f"{folder / name}: no shard to merge; name at least one")
    indexes = [read_index(prefix) for prefix in prefixes]
    dtype = indexes[0].dtype
    for prefix, index in zip(prefixes, indexes, strict=True):
        if index.dtype is not dtype:
            kinds = np.dtype(index.dtype).name, np.dtype(dtype).name
            raise UserError(f"{prefix}: {kinds[0]} tokens, {prefixes[0]} has {kinds[1]}; merge shards of one tokenizer")
    size = np.dtype(dtype).itemsize
    sources = zip(prefixes, indexes, strict=True)
    blocks = (block for prefix, index in sources for block in _blocks(prefix, 0, index.tokens * size))
    return store(folder, name, dtype, blocks, [index.lengths for index in indexes])


def cut(prefix: Path, folder: Path, tokens: int) -> list[Shard]:
    """Cut a shard between documents into the shards `folder/NAME-00000`, … of at most `tokens` tokens each.

    A longer document becomes a shard of its own. Merged in order, the pieces are the shard again.

    Raises:
        UserError: the shard is corrupt, or the folder has files with names of pieces, which new ones would mix with.
        ValueError: `tokens` is not above zero.
    """
    if tokens < 1:
        raise ValueError(f"pieces of {tokens} tokens")
    index = read_index(prefix)
    piece_name = re.compile(rf"{re.escape(prefix.name)}-\d{{5,}}\.(bin|idx)")
    if names := sorted(file.name for file in folder.glob("*") if piece_name.fullmatch(file.name)):
        raise UserError(f"{folder / names[0]}: this name is for a piece of {prefix.name}; name an empty folder")
    ends = np.cumsum(index.lengths, dtype=np.int64)
    size = np.dtype(index.dtype).itemsize
    pieces: list[Shard] = []
    first = start = 0
    while first < ends.size:
        last = max(first + 1, int(np.searchsorted(ends, start + tokens, side="right")))
        end = int(ends[last - 1])
        blocks = _blocks(prefix, start * size, (end - start) * size)
        name = f"{prefix.name}-{len(pieces):05d}"
        pieces.append(store(folder, name, index.dtype, blocks, [index.lengths[first:last]]))
        first, start = last, end
    return pieces


def _blocks(prefix: Path, start: int, size: int) -> Iterator[bytes]:
    """`size` bytes of a shard's .bin from byte `start`."""
    with prefix.with_name(prefix.name + ".bin").open("rb") as source:
        source.seek(start)
        while size:
            block = source.read(min(size, COPY_BYTES))
            if not block:
                raise UserError(f"{prefix}.bin: it became shorter while it was read; write the shard again")
            yield block
            size -= len(block)


def packed_lengths(tokens: int, length: int) -> npt.NDArray[np.int32]:
    """The lengths of sequences of `length` tokens that hold `tokens`; the last one may be shorter."""
    lengths = np.full(-(-tokens // length), length, dtype=np.int32)
    lengths[-1:] -= lengths.size * length - tokens
    return lengths


def pack(prefix: Path, length: int) -> str:
    """Cut a shard into sequences of `length` tokens and return the SHA-256 of its new .idx; .bin stays.

    From then on only the index table knows the documents. Packing again gives the same bytes.

    Raises:
        UserError: the shard is corrupt.
    """
    index = read_index(prefix)
    content = index_bytes(packed_lengths(index.tokens, length), index.dtype)
    Output(str(prefix.parent.absolute())).write_bytes(content, f"{prefix.name}.idx")
    return hashlib.sha256(content).hexdigest()


def merge_places(tables: Sequence[pa.Table], name: str) -> pa.Table:
    """The index table of the merged shard `name`, from the whole tables of its shards in the order of the merge.

    Rows are in the order of the documents, with new values of `document`, `offset` and `shard`.
    """
    documents = tokens = 0
    moved = []
    for places in tables:
        moved.append(_moved(places.sort_by("document"), name, documents, tokens))
        documents += places.num_rows
        tokens += pc.sum(places["tokens"]).as_py() or 0
    return pa.concat_tables(moved)


def cut_places(places: pa.Table, pieces: Sequence[Shard]) -> list[pa.Table]:
    """The index table of each piece that `cut` wrote, from the whole table of the shard."""
    places = places.sort_by("document")
    documents = tokens = 0
    tables = []
    for piece in pieces:
        tables.append(_moved(places.slice(documents, piece.documents), piece.name, -documents, -tokens))
        documents += piece.documents
        tokens += piece.tokens
    return tables


def _moved(places: pa.Table, name: str, documents: int, tokens: int) -> pa.Table:
    columns = {
        "shard": pa.array([name] * places.num_rows, pa.string()),
        "document": pc.add(places["document"], documents),
        "offset": pc.add(places["offset"], tokens),
    }
    for column, values in columns.items():
        position = places.schema.get_field_index(column)
        places = places.set_column(position, places.schema.field(position), values)
    return places
