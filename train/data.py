"""The sequences of training and validation, cut from the shards."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import islice
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from lake.dataset import Output
from train.recipe import Batch

Sample = dict[str, torch.Tensor]
FIELDS = ("tokens", "labels", "mask")

Ids = npt.NDArray[np.int64]

READERS = 8
"""Sequences that are read at once, ahead of the step that needs them. Object storage is slow to answer."""

UINT16_VOCABULARY = 65_500
"""Megatron stores a token in two bytes where the vocabulary is smaller than this."""


@dataclass(frozen=True)
class Vocabulary:
    """What training needs to know of a tokenizer. `fingerprint` is that of the Tokenizer.

    `token_bytes` [vocab_size] are the bytes of text that each id stands for.
    """

    vocab_size: int
    eod: int
    pad: int
    fingerprint: str
    token_bytes: npt.NDArray[np.int64] | None = None

    @property
    def token_type(self) -> type[np.uint16] | type[np.int32]:
        return np.uint16 if self.vocab_size < UINT16_VOCABULARY else np.int32


@dataclass(frozen=True)
class Shards:
    """The shards of one split in a folder, by source: their names and tokens."""

    folder: Output
    sources: dict[str, list[tuple[str, int]]]

    @classmethod
    def of(cls, folder: Output, shards: Iterable[dict[str, Any]], split: str) -> "Shards":
        """From the rows `shards` in the figures of the shard step."""
        sources: dict[str, list[tuple[str, int]]] = {}
        for row in shards:
            if row["split"] == split:
                sources.setdefault(row["source"], []).append((row["name"], row["tokens"]))
        return cls(folder, {source: sorted(sources[source]) for source in sorted(sources)})

    def stream(self, vocabulary: Vocabulary, source: str | None = None) -> "Stream":
        """The tokens of a source, or of all."""
        chosen = self.sources.values() if source is None else [self.sources[source]]
        return Stream(self.folder, [shard for shards in chosen for shard in shards], vocabulary.token_type)

    def training(self, length: int, vocabulary: Vocabulary, seed: int) -> "TrainingData":
        return TrainingData(self, length, vocabulary, seed)

    def held_out(self, sequences: int, length: int, vocabulary: Vocabulary) -> dict[str, "HeldOut"]:
        return {source: HeldOut(self, source, sequences, length, vocabulary) for source in self.sources}


@dataclass(frozen=True)
class Span:
    """`tokens` tokens of a shard from its token `offset`."""

    shard: str
    offset: int
    tokens: int


class Stream:
    """The tokens of some shards, one shard after the other. After the last token the first comes again."""

    def __init__(self, folder: Output, shards: Sequence[tuple[str, int]], dtype: type[np.generic]) -> None:
        self.folder, self.dtype = folder, dtype
        self.names = [name for name, _ in shards]
        self.starts = np.cumsum([0, *(tokens for _, tokens in shards)])
        self._mapped = lru_cache(maxsize=None)(self._map)

    @property
    def tokens(self) -> int:
        return int(self.starts[-1])

    def spans(self, start: int, tokens: int) -> list[Span]:
        """Where `tokens` tokens from token `start` lie."""
        spans = []
        start %= self.tokens
        while tokens:
            shard = int(np.searchsorted(self.starts, start, side="right")) - 1
            offset = start - int(self.starts[shard])
            length = min(tokens, int(self.starts[shard + 1]) - start)
            spans.append(Span(self.names[shard], offset, length))
            tokens -= length
            start = (start + length) % self.tokens
        return spans

    def read(self, start: int, tokens: int) -> Ids:
        """The ids: int64 [tokens]."""
        return np.concatenate([self._read(span) for span in self.spans(start, tokens)]).astype(np.int64)

    def _read(self, span: Span) -> npt.NDArray[Any]:
        if self.folder.is_local:
            return self._mapped(span.shard)[span.offset : span.offset + span.tokens]
        size = np.dtype(self.dtype).itemsize
        with self.folder.open(f"{span.shard}.bin") as stream:
            stream.seek(span.offset * size)
            return np.frombuffer(stream.read(span.tokens * size), self.dtype)

    def _map(self, shard: str) -> npt.NDArray[Any]:
        return np.memmap(self.folder.local(f"{shard}.bin"), self.dtype, mode="r")


class Data(Protocol):
    """Training sequences without end."""

    def __getitem__(self, number: int) -> Sample: ...

    def spans(self, number: int) -> list[Span]:
        """Where the tokens of a sequence lie."""
        ...


class HeldOutData(Protocol):
    """The first `sequences` sequences of a source, for validation; beyond them there are masked ones.

    `tokens` of their labels count, which stand for `bytes` of text.
    """

    sequences: int

    def __getitem__(self, number: int) -> Sample: ...

    @property
    def tokens(self) -> int: ...

    @property
    def bytes(self) -> int | None: ...


class Corpus(Protocol):
    """A split of what a model is trained on: shards of documents, or rows of conversations."""

    @property
    def sources(self) -> Mapping[str, Sequence[tuple[str, int]]]:
        """The files of each source and their sizes."""
        ...

    def training(self, length: int, vocabulary: Vocabulary, seed: int) -> Data:
        """Its sequences of `length` tokens in the order of the seed."""
        ...

    def held_out(self, sequences: int, length: int, vocabulary: Vocabulary) -> Mapping[str, HeldOutData]:
        """At most so many sequences of each source."""
        ...


class TrainingData:
    """Sequences of `length` tokens in random order; every token is a label once before any comes again.

    A sequence depends on its number, the seed and the shards, and on nothing else.
    """

    def __init__(self, shards: Shards, length: int, vocabulary: Vocabulary, seed: int) -> None:
        self.length, self.seed = length, seed
        self.stream = shards.stream(vocabulary)
        self.epoch = -(-self.stream.tokens // length)
        self._order = lru_cache(maxsize=2)(self._shuffled)

    def __getitem__(self, number: int) -> Sample:
        return sample(self.stream.read(self._start(number), self.length + 1))

    def spans(self, number: int) -> list[Span]:
        return self.stream.spans(self._start(number), self.length + 1)

    def _start(self, number: int) -> int:
        epoch, place = divmod(number, self.epoch)
        return int(self._order(epoch)[place]) * self.length

    def _shuffled(self, epoch: int) -> Ids:
        return shuffled(self.epoch, self.seed, epoch)


def shuffled(size: int, seed: int, epoch: int) -> Ids:
    """The numbers below `size` in the order of their hashes in this epoch."""
    (salt,) = _mixed(np.array([(seed << 32) + epoch & (1 << 64) - 1], dtype=np.uint64))
    return np.argsort(_mixed(np.arange(size, dtype=np.uint64) + salt), kind="stable")


def _mixed(keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finalizer of SplitMix64 (Steele et al. 2014), a bijection without visible order."""
    keys = keys * np.uint64(0x9E3779B97F4A7C15)
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return keys ^ (keys >> np.uint64(31))


class HeldOut:
    """At most `sequences` sequences of a source, from its first on; a short last one is padded.

    Beyond the end there are sequences of padding, whose mask is 0.
    """

    def __init__(self, shards: Shards, source: str, sequences: int, length: int, vocabulary: Vocabulary) -> None:
        self.length, self.vocabulary = length, vocabulary
        self.stream = shards.stream(vocabulary, source)
        self.tokens = min(sequences * length, self.stream.tokens - 1)
        self.sequences = -(-self.tokens // length)

    def __getitem__(self, number: int) -> Sample:
        start = number * self.length
        real = max(0, min(self.length, self.tokens - start))
        padded = np.full(self.length + 1, self.vocabulary.pad)
        if real:
            padded[: real + 1] = self.stream.read(start, real + 1)
        return sample(padded, real)

    @cached_property
    def bytes(self) -> int | None:
        """The bytes of text that the labels stand for."""
        sizes = self.vocabulary.token_bytes
        return None if sizes is None else int(sizes[self.stream.read(1, self.tokens)].sum())


def sample(ids: Ids, real: int | None = None) -> Sample:
    """Tokens, labels and mask of `ids` [length + 1]; only the first `real` labels count."""
    tokens = torch.from_numpy(ids)
    mask = torch.ones(len(ids) - 1)
    if real is not None:
        mask[real:] = 0
    return {"tokens": tokens[:-1], "labels": tokens[1:], "mask": mask}


def collate(samples: Iterable[Sample], eod: int | None = None) -> Sample:
    """Stack samples: [batch, length] for each of FIELDS.

    Attention gets `bounds` if samples say where their conversations start, or with `eod`, then those of documents.
    """
    rows = list(samples)
    batch = {name: torch.stack([row[name] for row in rows]) for name in FIELDS}
    if "starts" in rows[0]:
        length = batch["tokens"].size(1)
        starts = torch.cat([row["starts"] + number * length for number, row in enumerate(rows)])
        return batch | {"bounds": _bounds(starts, batch["tokens"])}
    return batch if eod is None else batch | {"bounds": document_bounds(batch["tokens"], eod)}


def document_bounds(tokens: torch.Tensor, eod: int) -> torch.Tensor:
    """Where documents begin in the flattened tokens [batch, length], and the size: int32 [documents + 1].

    A document begins at each row's start and after each `eod`.
    """
    begins = torch.ones_like(tokens, dtype=torch.bool)
    begins[:, 1:] = tokens[:, :-1] == eod
    return _bounds(begins.flatten().nonzero().flatten(), tokens)


def _bounds(starts: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    return torch.cat((starts, torch.tensor([tokens.numel()]))).to(torch.int32)


class Batches:
    """The micro-batches of one data-parallel rank of `ranks`, step by step; those of the next step are read ahead.

    With any number of ranks, step n has the `batch.total` sequences from number n * batch.total on.
    """

    def __init__(self, data: Data, batch: Batch, rank: int, ranks: int, eod: int | None = None) -> None:
        self.data, self.batch, self.eod = data, batch, eod
        self.size = batch.total // ranks
        self.first = rank * self.size
        self._pool = ThreadPoolExecutor(READERS)
        self._ahead: dict[int, list[Future[Sample]]] = {}

    def of(self, step: int) -> list[Sample]:
        """Steps count from 0."""
        reading = self._ahead.pop(step, None) or self._start(step)
        self._ahead = {step + 1: self._start(step + 1)}
        samples = (future.result() for future in reading)
        return [collate(islice(samples, self.batch.micro), self.eod) for _ in range(self.size // self.batch.micro)]

    def numbers(self, step: int) -> range:
        """The sequences of a step on all ranks."""
        return range(step * self.batch.total, (step + 1) * self.batch.total)

    def _start(self, step: int) -> list[Future[Sample]]:
        first = step * self.batch.total + self.first
        read: Callable[[int], Sample] = self.data.__getitem__
        return [self._pool.submit(read, number) for number in range(first, first + self.size)]

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
