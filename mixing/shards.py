"""Shards: Megatron's indexed dataset, one document a sequence, written, checked and read without Megatron or torch.

A shard is a pair of files. `.bin` holds the tokens and nothing else. `.idx` holds, little-endian: the magic, int64
version 1, a byte that names the type of a token, the number of sequences, the number of documents + 1; then for each
sequence its length (int32) and the byte where it starts (int64), and the bounds of the documents (int64). Byte for
byte what megatron-core's IndexedDatasetBuilder writes.
"""

import hashlib
import struct
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from lake.config import Settings
from lake.dataset import Output
from lake.error import UserError

MAGIC = b"MMIDIDX\x00\x00"
VERSION = 1
HEAD = struct.Struct("<9sQBQQ")
TYPES: dict[int, type[np.generic]] = {8: np.uint16, 4: np.int32}
CODES = {dtype: code for code, dtype in TYPES.items()}
UINT16_VOCABULARY = 65_500
"""Megatron's bound: vocabularies below it take two bytes a token."""

BLOCK = 1 << 24
WRITTEN_AT_ONCE = 1 << 18
"""Tokens: so few that they stay in the processor's cache while they are checked, hashed and written."""

FOLDER_OF_SHARDS = "shards"
"""Below the shard step's folder."""

REMEDY = "delete the shard step's folder and run shard again"


class ShardSettings(Settings):
    """How plan and tokens become shards, each of one split and source.

    A shard has about `tokens` tokens. It is held in memory while it is written, at 2 or 4 bytes a token.

    `pack` cuts a shard into sequences of so many tokens, for trainers that read fixed lengths: documents with their
    ends stand one after the other in the shard's order, the last sequence keeps what is left. The tokens stay the same,
    only their bounds move, and the index table still leads to each document. Left out, a sequence is a document, which
    is what Megatron's GPTDataset wants: it packs on its own, across the documents in random order.
    """

    tokens: int = Field(default=100_000_000, ge=1)
    pack: int | None = Field(default=None, ge=2, lt=2**31)


def token_type(vocab_size: int) -> type[np.uint16] | type[np.int32]:
    return np.uint16 if vocab_size < UINT16_VOCABULARY else np.int32


def shard_name(split: str, source: str, number: int) -> str:
    return f"{split}-{source}-{number:05d}"


@dataclass(frozen=True)
class Shard:
    """What was written: `tokens` include an end of document for each document."""

    name: str
    documents: int
    tokens: int
    bin_sha256: str
    idx_sha256: str


def write(folder: Path, name: str, documents: Iterable[npt.NDArray[Any]], vocab_size: int, eod: int) -> Shard:
    """Write the shard `folder/name` from documents of token ids, each without its end, which is added.

    Both files are written under temporary names; .bin gets its name first, .idx last. Memory holds one document more
    than WRITTEN_AT_ONCE tokens.

    Raises:
        ValueError: a document is empty, or an id is not below `vocab_size`; no file appears.
    """
    dtype = token_type(vocab_size)
    end = np.array([eod], dtype=dtype)
    lengths: list[npt.NDArray[np.int64]] = []
    folder.mkdir(parents=True, exist_ok=True)
    mark = uuid.uuid4().hex[:8]
    data, index = folder / f".{name}.bin.{mark}", folder / f".{name}.idx.{mark}"
    hashed = hashlib.sha256()
    try:
        with data.open("wb") as stream:
            for block in _blocks(documents):
                sizes = np.array([ids.size for ids in block]) + 1
                tokens = np.concatenate([piece for ids in block for piece in (ids, end)])
                if fault := _fault(tokens, sizes, vocab_size, sum(map(len, lengths))):
                    raise ValueError(f"{name}: {fault}")
                tokens = tokens.astype(dtype, copy=False)
                hashed.update(tokens)
                stream.write(tokens)
                lengths.append(sizes)
        sizes = np.concatenate([np.zeros(0, np.int64), *lengths])
        index.write_bytes(packed := pack_index(sizes, dtype))
        data.replace(folder / f"{name}.bin")
        index.replace(folder / f"{name}.idx")
    finally:
        data.unlink(missing_ok=True)
        index.unlink(missing_ok=True)
    return Shard(name, sizes.size, int(sizes.sum()), hashed.hexdigest(), hashlib.sha256(packed).hexdigest())


def _blocks(documents: Iterable[npt.NDArray[Any]]) -> Iterator[list[npt.NDArray[Any]]]:
    """Documents together that hold WRITTEN_AT_ONCE tokens or more."""
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
    """What is wrong with documents of these sizes, ends included, that follow upon `before` others."""
    if sizes.min() == 1:
        return f"document {before + int(sizes.argmin())} has no tokens"
    if int(tokens.max()) >= vocab_size or int(tokens.min()) < 0:
        first = np.flatnonzero((tokens >= vocab_size) | (tokens < 0))[0]
        document = before + int(np.searchsorted(np.cumsum(sizes), first, side="right"))
        return f"document {document} has an id that is not below {vocab_size}"
    return None


def pack_index(lengths: Sequence[int] | npt.NDArray[Any], dtype: type[np.generic]) -> bytes:
    """The .idx of documents of these lengths in tokens."""
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
    """A shard's .idx: the type of its tokens and its documents' lengths, ends included."""

    dtype: type[np.generic]
    lengths: npt.NDArray[np.int32]

    @property
    def tokens(self) -> int:
        return int(self.lengths.sum(dtype=np.int64))


def check_index(prefix: Path) -> Index:
    """Read `prefix`.idx and hold it against the size of `prefix`.bin; reads no token.

    Raises:
        UserError: a file is missing, or the index is corrupt or does not fit the data.
    """
    return check_index_in(Output(str(prefix.parent.absolute())), prefix.name)


def check_index_in(folder: Output, name: str) -> Index:
    """The same for the shard `name` of a folder that may be on object storage."""
    index, data = folder.path(f"{name}.idx"), folder.path(f"{name}.bin")
    held = folder.size(f"{name}.bin")
    for file, there in ((index, folder.exists(f"{name}.idx")), (data, held is not None)):
        if not there:
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
    size = HEAD.size + sequences * 12 + bounds * 8
    if len(raw) != size:
        raise _corrupt(index, f"{len(raw)} bytes where {sequences} documents take {size}")
    lengths = np.frombuffer(raw, np.int32, sequences, HEAD.size)
    if sequences == 0 or lengths.min() < 1:
        raise _corrupt(index, "it holds an empty document" if sequences else "it holds no document")
    dtype = TYPES[code]
    if not np.array_equal(np.frombuffer(raw, np.int64, sequences, HEAD.size + sequences * 4), _starts(lengths, dtype)):
        raise _corrupt(index, "the starts of the documents are not the sums of the lengths before them")
    if not np.array_equal(np.frombuffer(raw, np.int64, bounds, HEAD.size + sequences * 12), np.arange(bounds)):
        raise _corrupt(index, "a document is not one sequence")
    found = Index(dtype, lengths)
    expected = found.tokens * np.dtype(dtype).itemsize
    if held != expected:
        raise _corrupt(data, f"{held} bytes where the index tells of {expected}")
    return found


def verify(
    prefix: Path, vocab_size: int, eod: int | None, documents: npt.NDArray[np.integer[Any]] | None = None
) -> Index:
    """Check a shard whole: index, ids, and that each document ends with `eod` and holds it nowhere else.

    `documents` are the documents' lengths in tokens, their ends included, where the sequences are cut otherwise, as in
    a packed shard. Without `eod` ends are not looked at. Reads the data in blocks, so memory is bounded.

    Raises:
        UserError: names the file and what is wrong with it.
    """
    found = check_index(prefix)
    file = prefix.with_name(prefix.name + ".bin")
    if found.dtype is not token_type(vocab_size):
        kind = np.dtype(found.dtype).name
        raise _corrupt(
            file, f"{kind} tokens, where a vocabulary of {vocab_size} takes {token_type(vocab_size).__name__}"
        )
    lengths = found.lengths if documents is None else documents
    if (told := int(lengths.sum(dtype=np.int64))) != found.tokens:
        raise _corrupt(file, f"{found.tokens} tokens, where its documents have {told}")
    tokens = np.memmap(file, dtype=found.dtype, mode="r")
    ends = 0
    for start in range(0, tokens.size, BLOCK):
        block = tokens[start : start + BLOCK]
        if (wrong := np.flatnonzero((block >= vocab_size) | (block < 0))).size:
            at = start + int(wrong[0])
            raise _corrupt(file, f"token {at} is {int(tokens[at])}, not an id below {vocab_size}")
        ends += int(np.count_nonzero(block == eod))
    if eod is None:
        return found
    last = np.cumsum(lengths, dtype=np.int64) - 1
    if (wrong := np.flatnonzero(tokens[last] != eod)).size:
        raise _corrupt(file, f"document {int(wrong[0])} does not end with the end-of-document id {eod}")
    if ends != lengths.size:
        raise _corrupt(file, f"{ends} ends of document in {lengths.size} documents")
    return found


def fault(error: UserError) -> str:
    """What is wrong, without the remedy, which is another for shards that no lake holds."""
    return str(error).removesuffix(f"; {REMEDY}")


def _corrupt(file: Path | str, what: str) -> UserError:
    return UserError(f"{file}: corrupt: {what}; {REMEDY}")


def read_tokens(folder: Output, name: str, offset: int, tokens: int) -> npt.NDArray[Any]:
    """`tokens` ids from the shard's token `offset` on: with a row of the index table, one document and its end.

    Raises:
        UserError: the shard is corrupt or ends before.
    """
    found = check_index_in(folder, name)
    if offset < 0 or offset + tokens > found.tokens:
        asked = f"tokens {offset} to {offset + tokens} of {found.tokens} were asked for"
        raise UserError(f"{folder.path(name)}: {asked}; {REMEDY}")
    size = np.dtype(found.dtype).itemsize
    with folder.open(f"{name}.bin") as stream:
        stream.seek(offset * size)
        return np.frombuffer(stream.read(tokens * size), dtype=found.dtype)
