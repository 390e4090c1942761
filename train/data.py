"""Training and validation sequences: Megatron's datasets over the shards, and the sequences of each step."""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from lake.dataset import Output
from train.recipe import Batch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from megatron.core.datasets.blended_megatron_dataset_builder import BlendedMegatronDatasetBuilder
    from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig
    from megatron.core.datasets.object_storage_utils import is_object_storage_path

Tensors = dict[str, torch.Tensor]
Blend = tuple[list[str], list[float] | None]
FIELDS = ("tokens", "labels", "loss_mask", "position_ids")


@dataclass(frozen=True)
class Vocabulary:
    """The attributes of a tokenizer that Megatron's datasets read. `fingerprint` is that of the Tokenizer."""

    vocab_size: int
    eod: int
    pad: int
    fingerprint: str

    @property
    def unique_identifiers(self) -> dict[str, str]:
        """Megatron names cached indexes by this."""
        return {"tokenizer": self.fingerprint}


@dataclass(frozen=True)
class Shards:
    """The shards of one split by source: their path or s3:// URI without suffix, and their tokens."""

    prefixes: dict[str, list[tuple[str, int]]]

    @classmethod
    def of(cls, folder: Output, shards: Iterable[dict[str, Any]], split: str) -> "Shards":
        """From the rows `shards` in the figures of the shard step."""
        prefixes: dict[str, list[tuple[str, int]]] = {}
        for row in shards:
            if row["split"] == split:
                prefixes.setdefault(row["source"], []).append((folder.path(row["name"]), row["tokens"]))
        return cls(dict(sorted(prefixes.items())))


def training_data(
    shards: Shards, sequences: int, length: int, vocabulary: Vocabulary, cache: Path, seed: int
) -> Sequence[Tensors]:
    """`sequences` of `length` tokens in random order, from each shard in proportion to its tokens.

    Shards repeat where they have fewer. All ranks must call it together: the first builds the indexes, the others read
    them from `cache`.
    """
    weighted = [shard for of_source in shards.prefixes.values() for shard in of_source]
    blend = [prefix for prefix, _ in weighted], [float(tokens) for _, tokens in weighted]
    (train, _, _) = _build([blend, None, None], [sequences, 0, 0], length, vocabulary, cache, seed)
    return train


def validation_data(
    shards: Shards, sequences: int, length: int, vocabulary: Vocabulary, cache: Path, seed: int
) -> dict[str, Sequence[Tensors]]:
    """At most `sequences` held-out sequences of each source, each token once; the last may be padded."""
    held_out: dict[str, Sequence[Tensors]] = {}
    for source, of_source in shards.prefixes.items():
        blend: Blend = [prefix for prefix, _ in of_source], None
        (_, data, _) = _build([None, blend, None], [0, None, 0], length, vocabulary, cache, seed)
        held_out[source] = torch.utils.data.Subset(data, range(min(sequences, len(data))))
    return held_out


def _build(
    blends: list[Blend | None], sizes: list[int | None], length: int, vocabulary: Vocabulary, cache: Path, seed: int
) -> list[Any]:
    remote = [prefix for blend in blends if blend for prefix in blend[0] if is_object_storage_path(prefix)]
    config = GPTDatasetConfig(
        random_seed=seed,
        sequence_length=length,
        blend_per_split=blends,
        path_to_cache=str(cache),
        tokenizer=vocabulary,
        reset_position_ids=False,
        reset_attention_mask=False,
        eod_mask_loss=False,
        create_attention_mask=False,
        drop_last_partial_validation_sequence=False,
        # Of shards on object storage, Megatron copies the .idx to here and reads the .bin in blocks of 256 MiB.
        object_storage_cache_path=str(cache / "object-storage"),
        mmap_bin_files=not remote,
    )
    if len(remote) == 1:
        # The other ranks need its copied .idx, but Megatron makes them wait only where there are several shards.
        if dist.get_rank() == 0:
            GPTDataset.build_low_level_dataset(remote[0], config)
        dist.barrier()
    return BlendedMegatronDatasetBuilder(GPTDataset, sizes, lambda: True, config).build()


def micro_batches(data: Sequence[Tensors], step: int, batch: Batch, rank: int, ranks: int) -> Iterator[Tensors]:
    """The micro-batches of data-parallel rank `rank` of `ranks` in a step; steps count from 0.

    With any number of ranks, a step has the `batch.total` sequences from number `step * batch.total` on.
    """
    size = batch.total // ranks
    first = step * batch.total + rank * size
    for start in range(first, first + size, batch.micro):
        yield collate(data[index] for index in range(start, start + batch.micro))


def collate(sequences: Iterable[Tensors]) -> Tensors:
    """Stack sequences: a tensor of shape [batch, length] for each of FIELDS."""
    rows = list(sequences)
    return {name: torch.stack([row[name] for row in rows]) for name in FIELDS}
