"""The sequences of fine-tuning: rows of packed conversations, whose tokens weigh in the loss as the table says."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import torch

from lake.dataset import Output
from train.data import Sample, Span, Vocabulary, shuffled

COLUMNS = ["input_ids", "loss_mask", "seq_lengths"]

GROUPS = 64
"""Row groups that stay in memory. The instruct step writes 128 rows to a group: 4 MiB of 4,096 tokens."""


@dataclass(frozen=True)
class Group:
    """A row group: ids and weights [rows, length], and the lengths of each row's conversations."""

    ids: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float32]
    lengths: Sequence[npt.NDArray[np.int32]]


class Table:
    """Rows of some parts of a table, one part after the other; only row groups that are read are in memory."""

    def __init__(self, folder: Output, table: str, parts: Sequence[str]) -> None:
        self.folder, self.table, self.parts = folder, table, parts
        self.footers = [self._footer(part) for part in parts]
        self.groups = [
            (part, group) for part, found in enumerate(self.footers) for group in range(found.num_row_groups)
        ]
        sizes = [self.footers[part].row_group(group).num_rows for part, group in self.groups]
        self.starts = np.cumsum([0, *sizes])
        self._cached = lru_cache(maxsize=GROUPS)(self._read)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def row(self, number: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32], npt.NDArray[np.int32]]:
        """Ids, weights and the lengths of conversations."""
        place, inside = self._find(number)
        group = self._cached(place)
        return group.ids[inside], group.weights[inside], group.lengths[inside]

    def at(self, number: int) -> tuple[str, int]:
        """A row's part and its number there."""
        place, _ = self._find(number)
        part, group = self.groups[place]
        return self.parts[part], number - int(self.starts[place - group])

    def _find(self, number: int) -> tuple[int, int]:
        place = int(np.searchsorted(self.starts, number, side="right")) - 1
        return place, number - int(self.starts[place])

    def _footer(self, part: str) -> pq.FileMetaData:
        with self.folder.open(self.table, part) as stream:
            return pq.read_metadata(stream)

    def _read(self, place: int) -> Group:
        part, group = self.groups[place]
        with self.folder.open(self.table, self.parts[part]) as stream:
            file = pq.ParquetFile(stream, metadata=self.footers[part])
            rows = file.read_row_group(group, COLUMNS, use_threads=False)
        ids, weights, lengths = (rows[name].combine_chunks() for name in COLUMNS)
        ends = np.cumsum(lengths.value_lengths().to_numpy())
        return Group(
            ids.flatten().to_numpy().reshape(len(rows), -1),
            weights.flatten().to_numpy().reshape(len(rows), -1),
            np.split(lengths.flatten().to_numpy(), ends[:-1]),
        )


@dataclass(frozen=True)
class PackedRows:
    """A split of packed conversations: a table of SEQUENCES in a folder, by source, to be seen `epochs` times.

    SEQUENCES is described in mixing/instructions/packing.py.
    """

    folder: Output
    table: str
    epochs: int = 1

    @cached_property
    def tables(self) -> dict[str, Table]:
        """The rows of each source."""
        by_source = {source: self.folder.parts(self.table, source) for source in self.folder.sources(self.table)}
        return {source: Table(self.folder, self.table, parts) for source, parts in by_source.items()}

    @property
    def sources(self) -> dict[str, list[tuple[str, int]]]:
        return {
            source: [(part, footer.num_rows) for part, footer in zip(table.parts, table.footers, strict=True)]
            for source, table in self.tables.items()
        }

    def training(self, length: int, vocabulary: Vocabulary, seed: int) -> "TrainingRows":
        return TrainingRows(Table(self.folder, self.table, self.folder.parts(self.table)), length, seed, self.epochs)

    def held_out(self, sequences: int, length: int, vocabulary: Vocabulary) -> dict[str, "HeldOutRows"]:
        tables = self.tables.items()
        return {source: HeldOutRows(table, sequences, vocabulary) for source, table in tables if len(table)}


class TrainingRows:
    """All rows once before any comes again, in an order that depends on the seed and the epoch alone.

    After the last epoch come rows whose mask is 0, so that each row is learned from just `epochs` times.
    """

    def __init__(self, table: Table, length: int, seed: int, epochs: int) -> None:
        self.table, self.length, self.seed, self.epochs = table, length, seed, epochs
        self._order = lru_cache(maxsize=2)(self._shuffled)

    def __getitem__(self, number: int) -> Sample:
        sample = sample_of(*self.table.row(self._row(number)))
        if number >= self.epochs * len(self.table):
            sample["mask"].zero_()
        return sample

    def spans(self, number: int) -> list[Span]:
        """A row of a part is `length` tokens of it."""
        part, row = self.table.at(self._row(number))
        return [Span(part, row * self.length, self.length)]

    def _row(self, number: int) -> int:
        epoch, place = divmod(number, len(self.table))
        return int(self._order(epoch)[place])

    def _shuffled(self, epoch: int) -> npt.NDArray[np.int64]:
        return shuffled(len(self.table), self.seed, epoch)


class HeldOutRows:
    """At most `sequences` rows, from the first on. Only labels of weight 1 count: those in answers.

    Beyond the end there are rows whose mask is 0.
    """

    def __init__(self, table: Table, sequences: int, vocabulary: Vocabulary) -> None:
        self.table, self.vocabulary = table, vocabulary
        self.sequences = min(sequences, len(table))

    def __getitem__(self, number: int) -> Sample:
        sample = sample_of(*self.table.row(number % self.sequences))
        sample["mask"] = (sample["mask"] == 1).float() * (number < self.sequences)
        return sample

    @cached_property
    def _labels(self) -> npt.NDArray[np.int64]:
        """The labels that count."""
        samples = (self[number] for number in range(self.sequences))
        return torch.cat([sample["labels"][sample["mask"] == 1] for sample in samples]).numpy()

    @property
    def tokens(self) -> int:
        return len(self._labels)

    @cached_property
    def bytes(self) -> int | None:
        """The bytes of text that the labels stand for."""
        sizes = self.vocabulary.token_bytes
        return None if sizes is None else int(sizes[self._labels].sum())


def sample_of(ids: npt.NDArray[np.int32], weights: npt.NDArray[np.float32], lengths: npt.NDArray[np.int32]) -> Sample:
    """Tokens, labels and mask [length] of a row, and `starts`: where its conversations begin, and its padding.

    The label of a token is the next one, and its mask that token's weight. Nothing predicts the first token of a
    conversation, and padding is never predicted, whatever id it has.
    """
    ends = np.cumsum(lengths, dtype=np.int64)
    starts = np.append(0, ends[ends < ids.size])
    weights = weights.copy()
    weights[starts] = 0
    weights[ends[-1] :] = 0
    tokens = torch.from_numpy(ids.astype(np.int64))
    return {
        "tokens": tokens,
        # The last token has no label; what stands there has weight 0.
        "labels": tokens.roll(-1),
        "mask": torch.from_numpy(weights).roll(-1),
        "starts": torch.from_numpy(starts),
    }
