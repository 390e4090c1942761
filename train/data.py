"""Training and validation sequences: Megatron's datasets over the shards, and which step sees which sequence."""

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
    """What Megatron's datasets ask of a tokenizer; `fingerprint` is that of mixing.tokenizer."""

    vocab_size: int
    eod: int
    pad: int
    fingerprint: str

    @property
    def unique_identifiers(self) -> dict[str, str]:
        """Part of the name of cached indexes."""
        return {"tokenizer": self.fingerprint}


@dataclass(frozen=True)
class Shards:
    """The shards of one split by source: prefixes of paths or of s3:// URIs, with their tokens."""

    prefixes: dict[str, list[tuple[str, int]]]

    @classmethod
    def of(cls, folder: Output, shards: Iterable[dict[str, Any]], split: str) -> "Shards":
        """From the rows `shards` of the shard step's figures."""
        found: dict[str, list[tuple[str, int]]] = {}
        for one in shards:
            if one["split"] == split:
                found.setdefault(one["source"], []).append((folder.path(one["name"]), one["tokens"]))
        return cls(dict(sorted(found.items())))


def training_data(
    shards: Shards, sequences: int, length: int, vocabulary: Vocabulary, cache: Path, seed: int
) -> Sequence[Tensors]:
    """`sequences` of `length` tokens in random order, each shard in proportion to its tokens; epochs are repeated as
    far as needed. All ranks must call it together; the first builds the indexes, the others read them from `cache`.
    """
    every = [one for mine in shards.prefixes.values() for one in mine]
    blend = [prefix for prefix, _ in every], [float(tokens) for _, tokens in every]
    (train, _, _) = _build([blend, None, None], [sequences, 0, 0], length, vocabulary, cache, seed)
    return train


def validation_data(
    shards: Shards, sequences: int, length: int, vocabulary: Vocabulary, cache: Path, seed: int
) -> dict[str, Sequence[Tensors]]:
    """By source at most `sequences` of its held-out sequences, each token once; the last one may be padded."""
    found: dict[str, Sequence[Tensors]] = {}
    for source, mine in shards.prefixes.items():
        blend: Blend = [prefix for prefix, _ in mine], None
        (_, one, _) = _build([None, blend, None], [0, None, 0], length, vocabulary, cache, seed)
        found[source] = torch.utils.data.Subset(one, range(min(sequences, len(one))))
    return found


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
        # Only for shards on object storage: their .idx are copied here, their .bin are read in blocks of 256 MiB.
        object_storage_cache_path=str(cache / "object-storage"),
        mmap_bin_files=not remote,
    )
    if len(remote) == 1:
        # The other ranks ask that its copied .idx be there. Only with several shards does Megatron make them wait.
        if dist.get_rank() == 0:
            GPTDataset.build_low_level_dataset(remote[0], config)
        dist.barrier()
    return BlendedMegatronDatasetBuilder(GPTDataset, sizes, lambda: True, config).build()


def micro_batches(data: Sequence[Tensors], step: int, batch: Batch, rank: int, ranks: int) -> Iterator[Tensors]:
    """The micro-batches that data-parallel rank `rank` of `ranks` works off in a step counted from 0.

    A step's sequences are the same for every number of ranks: `step * batch.total` and those that follow.
    """
    mine = batch.total // ranks
    first = step * batch.total + rank * mine
    for start in range(first, first + mine, batch.micro):
        yield collate(data[index] for index in range(start, start + batch.micro))


def collate(sequences: Iterable[Tensors]) -> Tensors:
    """Fields of FIELDS, each of shape [batch, length]."""
    rows = list(sequences)
    return {name: torch.stack([row[name] for row in rows]) for name in FIELDS}
