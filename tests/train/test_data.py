"""A step sees the same sequences with any number of workers, wherever the shards are."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st

from lake.dataset import Output
from mixing.shards import write
from train.data import FIELDS, Shards, Tensors, Vocabulary, micro_batches, validation_data
from train.recipe import Batch


class Numbered:
    """Sequences in which every field holds the sequence's number."""

    def __getitem__(self, index: int) -> Tensors:
        return {name: torch.tensor([index]) for name in FIELDS}


def seen(step: int, batch: Batch, ranks: int) -> list[int]:
    batches = [micro for rank in range(ranks) for micro in micro_batches(Numbered(), step, batch, rank, ranks)]
    assert all(micro["tokens"].shape == (batch.micro, 1) for micro in batches)
    return [int(index) for micro in batches for index in micro["tokens"]]


@given(st.integers(0, 50), st.integers(1, 4), st.integers(1, 4), st.sampled_from([1, 2, 4]))
def test_a_step_sees_the_same_sequences_on_any_number_of_ranks(step: int, micro: int, micros: int, ranks: int) -> None:
    batch = Batch(total=4 * micro * micros, micro=micro)
    assert seen(step, batch, ranks) == list(range(step * batch.total, (step + 1) * batch.total))


def test_shards_are_grouped_by_source_within_a_split() -> None:
    rows = [
        {"split": split, "source": source, "name": f"{split}-{source}", "tokens": 7}
        for split in ("train", "validation")
        for source in ("papers", "abstracts")
    ]
    prefixes = Shards.of(Output("/lake"), rows, "train").prefixes
    assert prefixes == {"abstracts": [("/lake/train-abstracts", 7)], "papers": [("/lake/train-papers", 7)]}


@pytest.mark.parametrize("ranks", [1, 2])
def test_steps_do_not_overlap(ranks: int) -> None:
    batch = Batch(total=8, micro=2)
    sequences = np.concatenate([seen(step, batch, ranks) for step in range(5)])
    assert sequences.tolist() == list(range(40))


VOCABULARY = Vocabulary(100, 98, 99, "made here")
HELD_OUT = Shards({"papers": [("s3://lake/held", 100)]})


@pytest.mark.engine
def test_two_ranks_open_the_one_shard_of_a_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    for name, value in {
        "AWS_ENDPOINT_URL": "http://{}:{}".format(*server.get_host_and_port()),
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    try:
        client = boto3.client("s3")
        client.create_bucket(Bucket="lake")
        write(tmp_path, "held", (np.arange(size) for size in range(1, 30)), VOCABULARY.vocab_size, VOCABULARY.eod)
        for name in ("held.bin", "held.idx"):
            client.upload_file(str(tmp_path / name), "lake", name)
        torch.multiprocessing.spawn(_hold_out, (str(tmp_path),), nprocs=2)
    finally:
        server.stop()


def _hold_out(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    papers = validation_data(HELD_OUT, 3, 16, VOCABULARY, Path(folder, "cache"), 1)["papers"]
    assert [len(sequence["tokens"]) for sequence in papers] == [16] * 3
    dist.destroy_process_group()
