"""Shards: write, read and verify Megatron's indexed dataset without Megatron or torch. A document is a sequence.

A shard is a pair of files, byte for byte what megatron-core's IndexedDatasetBuilder writes. `.bin` holds the tokens and
nothing else. `.idx` holds, little-endian: the magic, int64 version 1, a byte for the type of a token, the number of
sequences, the number of documents + 1; then the length of each sequence (int32), the byte where it starts (int64), and
the bounds of the documents (int64).
"""

import hashlib
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from lake.config import Settings
from lake.dataset import Output
from lake.error import UserError
from lake.values import Amount, Count

MAGIC = b"MMIDIDX\x00\x00"
VERSION = 1
HEAD = struct.Struct("<9sQBQQ")
TYPES: dict[int, type[np.generic]] = {8: np.uint16, 4: np.int32}
CODES = {dtype: code for code, dtype in TYPES.items()}
UINT16_VOCABULARY = 65_500
"""Megatron stores a token in two bytes where the vocabulary is smaller than this."""

BLOCK = 1 << 24
WRITTEN_AT_ONCE = 1 << 18
"""Tokens that are checked, hashed and written together: few enough to stay in the processor's cache."""

FOLDER_OF_SHARDS = "shards"
"""The folder's name within the output of the shard step."""

REMEDY = "delete the shard step's folder and run shard again"


class ShardSettings(Settings):
    """How the planned documents become shards, each of one split and source.

    A shard has about `tokens` tokens. Memory holds one shard while it is written, at 2 or 4 bytes a token.

    `pack` is the length of sequences in tokens, for trainers that read fixed lengths. The shard's documents follow each
    other with their ends, and the last sequence holds the rest. Tokens stay as they are, only the bounds move, and the
    index table still leads to each document. Without `pack` a sequence is a document, as Megatron's GPTDataset wants
    it: it packs documents itself, in random order.
    """

    tokens: Amount = 100_000_000
    pack: Annotated[Count, Field(ge=2)] | None = None


def token_type(vocab_size: int) -> type[np.uint16] | type[np.int32]:
    return np.uint16 if vocab_size < UINT16_VOCABULARY else np.int32


def shard_name(split: str, source: str, number: int) -> str:
    return f"{split}-{source}-{number:05d}"


@dataclass(frozen=True)
class Shard:
    """A shard as written. `tokens` include the end of each document."""

    name: str
    documents: int
    tokens: int
    bin_sha256: str
    idx_sha256: str


def write(folder: Path, name: str, documents: Iterable[npt.NDArray[Any]], vocab_size: int, eod: int) -> Shard:
    """Write the shard `folder/name` from documents of token ids, and add `eod` to each.

    Memory holds one document more than WRITTEN_AT_ONCE tokens.

    Raises:
        ValueError: a document is empty, or an id is not below `vocab_size`; no file appears.
    """
    dtype = token_type(vocab_size)
    end = np.array([eod], dtype=dtype)
    lengths: list[npt.NDArray[np.int64]] = []

    def checked() -> Iterator[memoryview]:
        for block in _blocks(documents):
            sizes = np.array([ids.size for ids in block]) + 1
            tokens = np.concatenate([piece for ids in block for piece in (ids, end)])
            if fault := _fault(tokens, sizes, vocab_size, sum(map(len, lengths))):
                raise ValueError(f"{name}: {fault}")
            lengths.append(sizes)
            yield tokens.astype(dtype, copy=False).data

    return store(folder, name, dtype, checked(), lengths)


def store(
    folder: Path,
    name: str,
    dtype: type[np.generic],
    blocks: Iterable[bytes | memoryview],
    lengths: Sequence[npt.NDArray[Any]],
) -> Shard:
    """Write the shard `folder/name` from the blocks of its .bin and the lengths of its sequences.

    `lengths` may grow while `blocks` are read. Each file has a temporary name until it is whole; .idx comes last.
    """
    output = Output(str(folder.absolute()))
    hashed = hashlib.sha256()
    with output.create(f"{name}.bin") as stream:
        for block in blocks:
            hashed.update(block)
            stream.write(block)
    sizes = np.concatenate([np.zeros(0, np.int64), *lengths])
    output.write_bytes(content := index_bytes(sizes, dtype), f"{name}.idx")
    return Shard(name, sizes.size, int(sizes.sum()), hashed.hexdigest(), hashlib.sha256(content).hexdigest())


def _blocks(documents: Iterable[npt.NDArray[Any]]) -> Iterator[list[npt.NDArray[Any]]]:
    """Groups of documents with WRITTEN_AT_ONCE tokens or more."""
    block: list[npt.NDArray[Any]] = []
    held = 0
    for ids in documents:
        block.append(ids)
        held += ids.size + 1
        if held >= WRITTEN_AT_ONCE:
            yield block
            block, held = [], 0
    if block:
        yield block


def _fault(tokens: npt.NDArray[Any], sizes: npt.NDArray[np.int64], vocab_size: int, before: int) -> str | None:
    """What is wrong with documents of these sizes (ends included) that follow `before` others."""
    if sizes.min() == 1:
        return f"document {before + int(sizes.argmin())} has no tokens"
    if int(tokens.max()) >= vocab_size or int(tokens.min()) < 0:
        first = np.flatnonzero((tokens >= vocab_size) | (tokens < 0))[0]
        document = before + int(np.searchsorted(np.cumsum(sizes), first, side="right"))
        return f"document {document} has an id that is not below {vocab_size}"
    return None


def index_bytes(lengths: Sequence[int] | npt.NDArray[Any], dtype: type[np.generic]) -> bytes:
    """The .idx of sequences of these lengths in tokens."""
    sizes = np.asarray(lengths, dtype=np.int32)
    return b"".join(
        (
            HEAD.pack(MAGIC, VERSION, CODES[dtype], sizes.size, sizes.size + 1),
            sizes.tobytes(),
            _starts(sizes, dtype).tobytes(),
            np.arange(sizes.size + 1, dtype=np.int64).tobytes(),
        )
    )


def _starts(sizes: npt.NDArray[np.int32], dtype: type[np.generic]) -> npt.NDArray[np.int64]:
    """The byte of .bin at which each sequence starts."""
    ends = np.cumsum(sizes, dtype=np.int64) * np.dtype(dtype).itemsize
    return ends - sizes.astype(np.int64) * np.dtype(dtype).itemsize


@dataclass(frozen=True)
class Index:
    """A shard's .idx: the type of its tokens and the lengths of its documents, ends included: [documents]."""

    dtype: type[np.generic]
    lengths: npt.NDArray[np.int32]

    @property
    def tokens(self) -> int:
        return int(self.lengths.sum(dtype=np.int64))


def read_index(prefix: Path) -> Index:
    """Read `prefix`.idx and compare it with the size of `prefix`.bin; no token is read.

    Raises:
        UserError: a file is missing, or the index is corrupt or does not fit the data.
    """
    return read_index_in(Output(str(prefix.parent.absolute())), prefix.name)


def read_index_in(folder: Output, name: str) -> Index:
    """As `read_index`, for the shard `name` of a folder that may be on object storage."""
    index, data = folder.path(f"{name}.idx"), folder.path(f"{name}.bin")
    size = folder.size(f"{name}.bin")
    for file, exists in ((index, folder.exists(f"{name}.idx")), (data, size is not None)):
        if not exists:
            raise UserError(f"{file}: this half of the shard is missing; {REMEDY}")
    raw = folder.read_bytes(f"{name}.idx")
    if len(raw) < HEAD.size:
        raise _corrupt(index, f"{len(raw)} bytes are less than a header")
    magic, version, code, sequences, bounds = HEAD.unpack_from(raw)
    if magic != MAGIC or version != VERSION:
        raise _corrupt(index, "it does not begin like a Megatron index")
    if code not in TYPES:
        raise _corrupt(index, f"token type {code} is neither uint16 (8) nor int32 (4)")
    if bounds != sequences + 1:
        raise _corrupt(index, f"{bounds} document bounds for {sequences} documents")
    expected = HEAD.size + sequences * 12 + bounds * 8
    if len(raw) != expected:
        raise _corrupt(index, f"{len(raw)} bytes where {sequences} documents take {expected}")
    lengths = np.frombuffer(raw, np.int32, sequences, HEAD.size)
    if sequences == 0 or lengths.min() < 1:
        raise _corrupt(index, "it holds an empty document" if sequences else "it holds no document")
    dtype = TYPES[code]
    if not np.array_equal(np.frombuffer(raw, np.int64, sequences, HEAD.size + sequences * 4), _starts(lengths, dtype)):
        raise _corrupt(index, "the starts of the documents are not the sums of the lengths before them")
    if not np.array_equal(np.frombuffer(raw, np.int64, bounds, HEAD.size + sequences * 12), np.arange(bounds)):
        raise _corrupt(index, "a document is not one sequence")
    result = Index(dtype, lengths)
    expected = result.tokens * np.dtype(dtype).itemsize
    if size != expected:
        raise _corrupt(data, f"{size} bytes where the index tells of {expected}")
    return result


def verify_shard(
    prefix: Path, vocab_size: int, eod: int | None, documents: npt.NDArray[np.integer[Any]] | None = None
) -> Index:
    """Read a whole shard: check its index, its ids, and that each document ends with its only `eod`.

    `documents` are the lengths of the documents in tokens, ends included, where sequences are not documents, as in a
    packed shard. Without `eod` the ends are not checked. The data is read in blocks, so memory is bounded.

    Raises:
        UserError: names the file and what is wrong with it.
    """
    index = read_index(prefix)
    file = prefix.with_name(prefix.name + ".bin")
    if index.dtype is not token_type(vocab_size):
        kind = np.dtype(index.dtype).name
        raise _corrupt(
            file, f"{kind} tokens, where a vocabulary of {vocab_size} takes {token_type(vocab_size).__name__}"
        )
    lengths = index.lengths if documents is None else documents
    if (expected := int(lengths.sum(dtype=np.int64))) != index.tokens:
        raise _corrupt(file, f"{index.tokens} tokens, where its documents have {expected}")
    tokens = np.memmap(file, dtype=index.dtype, mode="r")
    ends = 0
    for start in range(0, tokens.size, BLOCK):
        block = tokens[start : start + BLOCK]
        if (wrong := np.flatnonzero((block >= vocab_size) | (block < 0))).size:
            at = start + int(wrong[0])
            raise _corrupt(file, f"token {at} is {int(tokens[at])}, not an id below {vocab_size}")
        ends += int(np.count_nonzero(block == eod))
    if eod is None:
        return index
    last = np.cumsum(lengths, dtype=np.int64) - 1
    if (wrong := np.flatnonzero(tokens[last] != eod)).size:
        raise _corrupt(file, f"document {int(wrong[0])} does not end with the end-of-document id {eod}")
    if ends != lengths.size:
        raise _corrupt(file, f"{ends} ends of document in {lengths.size} documents")
    return index


def without_remedy(error: UserError) -> str:
    """The message of an error without REMEDY, which does not help with shards outside a lake."""
    return str(error).removesuffix(f"; {REMEDY}")


def _corrupt(file: Path | str, what: str) -> UserError:
    return UserError(f"{file}: corrupt: {what}; {REMEDY}")


def read_tokens(folder: Output, name: str, offset: int, tokens: int) -> npt.NDArray[Any]:
    """`tokens` ids of a shard from its token `offset`: a document and its end, by a row of the index table.

    Raises:
        UserError: the shard is corrupt or ends before.
    """
    index = read_index_in(folder, name)
    if offset < 0 or offset + tokens > index.tokens:
        raise UserError(f"{folder.path(name)}: no tokens {offset} to {offset + tokens} of {index.tokens}; {REMEDY}")
    size = np.dtype(index.dtype).itemsize
    with folder.open(f"{name}.bin") as stream:
        stream.seek(offset * size)
        return np.frombuffer(stream.read(tokens * size), dtype=index.dtype)
