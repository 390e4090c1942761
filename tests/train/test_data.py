"""Which worker sees which sequence: the same ones a step for every number of workers."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lake.dataset import Output
from train.data import FIELDS, Shards, Tensors, micro_batches
from train.recipe import Batch


class Numbered:
    """A sequence whose every field is its own number."""

    def __getitem__(self, index: int) -> Tensors:
        return {name: torch.tensor([index]) for name in FIELDS}


def seen(step: int, batch: Batch, ranks: int) -> list[int]:
    batches = [one for rank in range(ranks) for one in micro_batches(Numbered(), step, batch, rank, ranks)]
    assert all(one["tokens"].shape == (batch.micro, 1) for one in batches)
    return [int(index) for one in batches for index in one["tokens"]]


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
    found = Shards.of(Output("/lake"), rows, "train").prefixes
    assert found == {"abstracts": [("/lake/train-abstracts", 7)], "papers": [("/lake/train-papers", 7)]}


@pytest.mark.parametrize("ranks", [1, 2])
def test_steps_do_not_overlap(ranks: int) -> None:
    batch = Batch(total=8, micro=2)
    every = np.concatenate([seen(step, batch, ranks) for step in range(5)])
    assert every.tolist() == list(range(40))
