"""A step sees the same sequences with any number of workers, wherever the shards are."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lake.dataset import Output
from mixing.shards import write
from train.data import Batches, HeldOut, Shards, Span, TrainingData, Vocabulary
from train.recipe import Batch

VOCABULARY = Vocabulary(100, 98, 99, "made here")


class Numbered:
    """Sequences in which every field holds the sequence's number."""

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        return {name: torch.tensor([number]) for name in ("tokens", "labels", "mask")}

    def spans(self, number: int) -> list[Span]:
        return [Span("one", number, 1)]


def seen(steps: range, batch: Batch, ranks: int) -> list[list[int]]:
    """The sequences of each step, of all ranks."""
    readers = [Batches(Numbered(), batch, rank, ranks) for rank in range(ranks)]
    found = []
    for step in steps:
        micros = [micro for reader in readers for micro in reader.of(step)]
        assert all(micro["tokens"].shape == (batch.micro, 1) for micro in micros)
        found.append([int(number) for micro in micros for number in micro["tokens"]])
    for reader in readers:
        reader.close()
    return found


@given(st.integers(0, 50), st.integers(1, 4), st.integers(1, 4), st.sampled_from([1, 2, 4]))
def test_a_step_sees_the_same_sequences_on_any_number_of_ranks(first: int, micro: int, micros: int, ranks: int) -> None:
    batch = Batch(total=4 * micro * micros, micro=micro)
    steps = range(first, first + 3)
    assert seen(steps, batch, ranks) == [list(range(step * batch.total, (step + 1) * batch.total)) for step in steps]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Output:
    """Shards whose tokens count up, so that a token is its place."""
    root, at = tmp_path_factory.mktemp("shards"), 0
    for name, documents in (("one", (5, 9)), ("two", (3,)), ("held", (11, 20))):
        lengths = [np.arange(size) for size in documents]
        write(root, name, (ids + at for ids in lengths), VOCABULARY.vocab_size, VOCABULARY.eod)
    return Output(str(root))


def training(folder: Output, length: int, seed: int = 1) -> TrainingData:
    return TrainingData(Shards(folder, {"papers": [("one", 16)], "replay": [("two", 4)]}), length, VOCABULARY, seed)


@pytest.mark.parametrize("length", [1, 3, 7, 19, 20, 50])
def test_every_token_is_a_label_once_an_epoch(folder: Output, length: int) -> None:
    data = training(folder, length)
    stream = data.stream.read(0, 20)
    for epoch in range(3):
        samples = [data[epoch * data.epoch + place] for place in range(data.epoch)]
        starts = sorted(data._start(epoch * data.epoch + place) for place in range(data.epoch))
        assert starts == list(range(0, 20, length))
        labels = Counter(int(label) for sample in samples for label in sample["labels"])
        assert labels.keys() == Counter(stream.tolist()).keys()
        for sample in samples:
            assert sample["tokens"].shape == sample["labels"].shape == (length,)
            assert torch.equal(sample["tokens"][1:], sample["labels"][:-1])


def test_the_order_depends_on_seed_and_epoch_alone(folder: Output) -> None:
    def order(data: TrainingData, epoch: int) -> list[int]:
        return [data._start(epoch * data.epoch + place) for place in range(data.epoch)]

    one, again, other = training(folder, 1, 1), training(folder, 1, 1), training(folder, 1, 2)
    orders = [order(one, 0), order(one, 1), order(one, 2), order(other, 0)]
    assert len({tuple(found) for found in orders}) == len(orders)
    assert order(again, 2) == orders[2]
    # Not a shift of each other either.
    doubled = orders[0] * 2
    assert all(found != doubled[at : at + 20] for found in orders[1:] for at in range(20))


def test_spans_say_where_a_sequence_lies(folder: Output) -> None:
    data = training(folder, 7)
    assert data.stream.spans(14, 8) == [Span("one", 14, 2), Span("two", 0, 4), Span("one", 0, 2)]
    read = np.concatenate([data.stream._read(span) for span in data.spans(5)])
    assert read[:-1].tolist() == data[5]["tokens"].tolist()


def test_shards_are_grouped_by_source_within_a_split() -> None:
    rows = [
        {"split": split, "source": source, "name": f"{split}-{source}", "tokens": 7}
        for split in ("train", "validation")
        for source in ("papers", "abstracts")
    ]
    sources = Shards.of(Output("/lake"), rows, "train").sources
    assert sources == {"abstracts": [("train-abstracts", 7)], "papers": [("train-papers", 7)]}


@pytest.mark.parametrize(
    ("length", "most", "sequences", "tokens"), [(10, 9, 4, 32), (10, 2, 2, 20), (32, 9, 1, 32), (50, 9, 1, 32)]
)
def test_held_out_tokens_count_once_and_padding_never(
    folder: Output, length: int, most: int, sequences: int, tokens: int
) -> None:
    sizes = np.ones(100, dtype=np.int64)
    sizes[VOCABULARY.eod] = 0
    data = HeldOut(
        Shards(folder, {"papers": [("held", 33)]}), "papers", most, length, Vocabulary(100, 98, 99, "made here", sizes)
    )
    samples = [data[number] for number in range(sequences + 2)]
    labels = torch.cat([sample["labels"][sample["mask"] == 1] for sample in samples])
    assert (data.sequences, data.tokens, len(labels)) == (sequences, tokens, tokens)
    assert labels.tolist() == data.stream.read(1, tokens).tolist()
    assert all(sample["mask"].sum() == 0 for sample in samples[sequences:])
    assert data.bytes == int((labels != VOCABULARY.eod).sum())


@pytest.mark.engine
def test_shards_of_a_bucket_are_read_like_files(folder: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    try:
        client = boto3.client("s3")
        client.create_bucket(Bucket="lake")
        for name in ("one.bin", "two.bin"):
            client.upload_file(str(folder.local(name)), "lake", name)
        remote, local = training(Output("s3://lake"), 7), training(folder, 7)
        for number in range(6):
            assert all(torch.equal(remote[number][name], local[number][name]) for name in ("tokens", "labels", "mask"))
    finally:
        server.stop()
