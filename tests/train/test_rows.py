"""Each row is learned from once an epoch, answers and nothing else are learned, and a row's place is known."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lake.dataset import Output
from tests.train.packed import END, VOCABULARY, Talk, row, talk, write
from train import rows as rows_module
from train.data import Batches, Sample, Span, collate
from train.recipe import Batch
from train.rows import HeldOutRows, PackedRows, Table, TrainingRows, sample_of

LENGTH = 24


def sampled(talks: list[Talk], length: int) -> Sample:
    made = row(talks, length)
    return sample_of(
        np.array(made["input_ids"], np.int32),
        np.array(made["loss_mask"], np.float32),
        np.array(made["seq_lengths"], np.int32),
    )


@given(st.lists(st.integers(2, 12), min_size=1, max_size=4), st.integers(0, 9), st.sampled_from([0, 0.1, 1]))
def test_a_label_is_the_next_token_of_its_conversation(sizes: list[int], room: int, other: float) -> None:
    chance = np.random.default_rng(len(sizes) + room)
    talks, length = [talk(chance, size, other) for size in sizes], sum(sizes) + room
    sample = sampled(talks, length)
    at = 0
    for ids, weights in talks:
        inside = slice(at, at + ids.size - 1)
        assert sample["tokens"][at : at + ids.size].tolist() == ids.tolist()
        assert sample["labels"][inside].tolist() == ids[1:].tolist()
        assert torch.equal(sample["mask"][inside], torch.from_numpy(weights[1:]))
        at += ids.size
        assert sample["mask"][at - 1] == 0, "a last token predicts nothing of the next conversation"
    assert sample["mask"][at:].sum() == 0
    firsts = np.cumsum([0, *sizes])
    assert sample["starts"].tolist() == [start for start in firsts.tolist() if start < length]
    assert all(sample[name].shape == (length,) for name in ("tokens", "labels", "mask"))
    assert sample["mask"].dtype == torch.float32


@given(st.integers(1, 4), st.integers(0, 9))
def test_the_end_of_a_turn_is_learned_and_the_same_id_as_padding_is_not(conversations: int, room: int) -> None:
    talks = [talk(np.random.default_rng(number), 6) for number in range(conversations)]
    sample = sampled(talks, 6 * conversations + room)
    learned = sample["labels"][sample["mask"] > 0]
    assert int((sample["tokens"] == END).sum()) == conversations + room
    assert int((learned == END).sum()) == conversations


def test_weights_where_nothing_can_be_predicted_do_not_count() -> None:
    """Another packer may put a weight on every token."""
    ids, lengths = np.arange(8, dtype=np.int32), np.array([3, 2], np.int32)
    mask = sample_of(ids, np.ones(8, np.float32), lengths)["mask"]
    assert mask.tolist() == [1, 1, 0, 1, 0, 0, 0, 0]


def test_bounds_are_those_of_conversations_and_padding() -> None:
    chance = np.random.default_rng(0)
    samples = [sampled([talk(chance, 5), talk(chance, 4)], 12), sampled([talk(chance, 12)], 12)]
    assert collate(samples)["bounds"].tolist() == [0, 5, 9, 12, 24]
    assert collate(samples)["bounds"].dtype == torch.int32


@pytest.fixture
def folder(tmp_path: Path) -> Output:
    """Three parts of 7, 1 and 5 rows; the first token of each row is its number."""
    output, number = Output(str(tmp_path)), 0
    for part, size in enumerate((7, 1, 5)):
        talks = [[talk(np.random.default_rng(number + place), 10) for _ in range(2)] for place in range(size)]
        for place, (first, _) in enumerate(talks):
            first[0][0] = number + place
        number += size
        write(output, part, talks, LENGTH, group=3, source="one" if part < 2 else "two")
    return output


def all_rows(folder: Output, epochs: int = 1) -> PackedRows:
    return PackedRows(folder, "packed", epochs)


def training(folder: Output, seed: int = 1, epochs: int = 1) -> TrainingRows:
    return all_rows(folder, epochs).training(LENGTH, VOCABULARY, seed)


def numbers(data: TrainingRows, epoch: int) -> list[int]:
    size = len(data.table)
    return [int(data[epoch * size + place]["tokens"][0]) for place in range(size)]


def test_every_row_comes_once_an_epoch_in_an_order_of_seed_and_epoch(folder: Output) -> None:
    orders = [numbers(training(folder, seed), epoch) for seed, epoch in ((1, 0), (1, 1), (1, 2), (2, 0))]
    assert all(sorted(order) == list(range(13)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    assert numbers(training(folder), 1) == orders[1]


@pytest.mark.parametrize("epochs", [1, 3])
def test_after_the_last_epoch_nothing_is_learned(folder: Output, epochs: int) -> None:
    data = training(folder, epochs=epochs)
    seen = Counter(int(data[n]["tokens"][0]) for n in range(epochs * 13 + 20) if data[n]["mask"].sum() > 0)
    assert seen == dict.fromkeys(range(13), epochs)


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_a_step_has_the_same_rows_on_any_number_of_ranks(folder: Output, ranks: int) -> None:
    data = training(folder, epochs=2)
    expected = [[int(data[step * 8 + place]["tokens"][0]) for place in range(8)] for step in range(4)]
    readers = [Batches(data, Batch(total=8, micro=2), rank, ranks) for rank in range(ranks)]
    for step, rows in enumerate(expected):
        micros = [micro for reader in readers for micro in reader.of(step)]
        assert [int(number) for micro in micros for number in micro["tokens"][:, 0]] == rows
        assert all(micro["bounds"].tolist() == [0, 10, 20, 24, 34, 44, 48] for micro in micros)
    for reader in readers:
        reader.close()


def test_a_span_names_the_part_and_the_row(folder: Output) -> None:
    data = training(folder)
    for number in range(13):
        (span,) = data.spans(number)
        assert span.tokens == LENGTH
        found = folder.read_part("packed", span.shard)["input_ids"][span.offset // LENGTH].as_py()
        assert found == data[number]["tokens"].tolist()
    assert Span(folder.part_name(1, "one"), 0, LENGTH) in [data.spans(number)[0] for number in range(13)]


def test_memory_holds_a_few_row_groups(folder: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "GROUPS", 2)
    table = Table(folder, "packed", folder.parts("packed"))
    assert len(table.groups) == 6
    assert [int(table.row(number)[0][0]) for number in range(13)] == list(range(13))
    assert table._cached.cache_info().currsize == 2


def test_sources_tell_what_a_run_is_trained_on(folder: Output) -> None:
    names = [folder.part_name(part, source) for part, source in enumerate(("one", "one", "two"))]
    assert all_rows(folder).sources == {"one": [(names[0], 7), (names[1], 1)], "two": [(names[2], 5)]}


@pytest.mark.parametrize("sequences", [3, 5, 64])
def test_only_answers_of_held_out_rows_count(tmp_path: Path, sequences: int) -> None:
    output, chance = Output(str(tmp_path)), np.random.default_rng(5)
    talks = [[talk(chance, 9, other_weight=0.1), talk(chance, 8, other_weight=0.1)] for _ in range(5)]
    write(output, 0, talks, LENGTH)
    write(output, 1, [], LENGTH, source="none")
    held_out = PackedRows(output, "packed").held_out(sequences, LENGTH, VOCABULARY)
    assert list(held_out) == ["papers"]
    data = held_out["papers"]
    assert isinstance(data, HeldOutRows)
    assert data.sequences == min(sequences, 5)
    samples = [data[number] for number in range(data.sequences + 2)]
    answers = [ids[weights == 1] for (ids, weights) in (one for two in talks[: data.sequences] for one in two)]
    labels = torch.cat([sample["labels"][sample["mask"] > 0] for sample in samples])
    assert labels.tolist() == np.concatenate(answers).tolist()
    assert {float(weight) for sample in samples for weight in sample["mask"]} == {0.0, 1.0}
    assert (data.tokens, data.bytes) == (len(labels), int((labels % 7).sum()))
