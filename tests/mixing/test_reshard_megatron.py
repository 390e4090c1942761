"""From packed shards Megatron trains on the documents with their ends, one after the other."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mixing.reshard import pack
from mixing.shards import write

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from megatron.core.datasets.blended_megatron_dataset_builder import BlendedMegatronDatasetBuilder
    from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig
    from megatron.core.datasets.indexed_dataset import IndexedDataset

pytestmark = pytest.mark.engine

VOCABULARY, EOD, PAD = 1000, 999, 998
PACK, LENGTH = 48, 32
SHARDS = {"a": 60, "b": 25}
"""Documents by shard."""


class ForMegatron:
    """The attributes of a tokenizer that Megatron's datasets read."""

    eod, pad, vocab_size = EOD, PAD, VOCABULARY
    unique_identifiers = {"class": "ForMegatron"}  # noqa: RUF012


def sequences(shard: str) -> list[np.ndarray]:
    """The sequences of a packed shard: documents with their ends, joined and cut anew."""
    random = np.random.default_rng(SHARDS[shard])
    documents = [random.integers(0, PAD, size) for size in random.integers(1, 80, SHARDS[shard])]
    joined = np.concatenate([np.append(ids, EOD) for ids in documents])
    return np.split(joined, range(PACK, joined.size, PACK))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    for shard in SHARDS:
        joined = np.concatenate(sequences(shard))
        documents = np.split(joined, np.flatnonzero(joined == EOD)[:-1] + 1)
        assert len(documents) == SHARDS[shard]
        write(folder, shard, (ids[:-1] for ids in documents), VOCABULARY, EOD)
        pack(folder / shard, PACK)
    return folder


@pytest.mark.parametrize("shard", SHARDS)
def test_a_sequence_of_the_index_is_a_document_to_megatron(folder: Path, shard: str) -> None:
    theirs = IndexedDataset(str(folder / shard))
    assert theirs.sequence_lengths[-1] < PACK, "the last one holds the rest"
    assert theirs.document_indices.tolist() == list(range(len(theirs) + 1))
    assert [ids.tolist() for ids in theirs[: len(theirs)]] == [ids.tolist() for ids in sequences(shard)]


@pytest.fixture(scope="module")
def blended(folder: Path) -> Any:
    """Training sequences of both shards, built as in training, a good epoch of each."""
    config = GPTDatasetConfig(
        random_seed=1,
        sequence_length=LENGTH,
        blend_per_split=[([str(folder / shard) for shard in SHARDS], [3.0, 1.0]), None, None],
        path_to_cache=str(folder / "cache"),
        tokenizer=ForMegatron(),
        reset_position_ids=False,
        reset_attention_mask=False,
        eod_mask_loss=False,
        mid_level_dataset_surplus=0.005,
    )
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        train, _, _ = BlendedMegatronDatasetBuilder(GPTDataset, [90, 0, 0], lambda: True, config).build()
    finally:
        torch.distributed.destroy_process_group()
    return train


def test_training_sequences_are_stretches_of_the_packed_ones_in_an_epochs_order(blended: Any) -> None:
    for shard, dataset in zip(SHARDS, blended.datasets, strict=True):
        packed = sequences(shard)
        epochs, rest = divmod(dataset.document_index.size, len(packed))
        assert rest == 0
        assert sorted(dataset.document_index) == sorted([*range(len(packed))] * epochs)
        joined = np.concatenate([packed[number] for number in dataset.document_index])
        assert sorted(dataset.shuffle_index) == list(range((joined.size - 1) // LENGTH))
        for place, number in enumerate(dataset.shuffle_index):
            stretch = joined[number * LENGTH :][: LENGTH + 1]
            sequence = dataset[place]
            assert sequence["tokens"].tolist() == stretch[:-1].tolist()
            assert sequence["labels"].tolist() == stretch[1:].tolist()
            assert sequence["loss_mask"].all()


def test_a_blend_takes_packed_shards_by_their_weights(blended: Any) -> None:
    assert len(blended) >= 90
    assert np.bincount(blended.dataset_index[:80]).tolist() == [60, 20]
    for place in range(len(blended)):
        shard, number = blended.dataset_index[place], blended.dataset_sample_index[place]
        assert torch.equal(blended[place]["tokens"], blended.datasets[shard][number]["tokens"])
