"""Every copy of a document has a place in a shard, and parts and neighbours do not change it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.error import UserError
from mixing.shards import shard_name
from mixing.shuffle import MOST_SHARDS, Layout, order
from mixing.split import SPLITS, TRAIN, VALIDATION

TOKENS = st.fixed_dictionaries({split: st.integers(0, 10**13) for split in SPLITS})


@given(TOKENS, st.integers(10**9, 10**13), st.lists(st.integers(0, 2**63 - 1), max_size=20))
def test_every_place_has_a_shard_of_its_split(tokens: dict[str, int], most: int, places: list[int]) -> None:
    layout = Layout.of(tokens, most)
    for split in SPLITS:
        count = layout.counts[split]
        assert (count - 1) * most < tokens[split] <= count * most or count == tokens[split] == 0
        if not count:
            continue
        for ordered in ([0, 2**63 - 1], sorted(places)):
            numbers = layout.numbers(split, np.array(ordered, dtype=np.int64)).tolist()
            assert numbers == sorted(numbers)
            assert {layout.split(number) for number in numbers} <= {split}
        first, last = layout.numbers(split, np.array([0, 2**63 - 1], dtype=np.int64)).tolist()
        assert (first, last) == (layout.first(split), layout.first(split) + count - 1)
    assert layout.first(VALIDATION) + layout.counts[VALIDATION] == layout.total


def test_shards_are_equal_stretches_of_a_uniform_order() -> None:
    layout = Layout.of({TRAIN: 40, VALIDATION: 3}, 10)
    ids = [f"{number:032x}" for number in range(20_000)]
    numbers = layout.numbers(TRAIN, order(ids, [0] * len(ids), 7))
    assert np.bincount(numbers).size == 4
    assert abs(np.bincount(numbers) - 5_000).max() < 300


def test_more_shards_than_can_be_named_are_refused() -> None:
    first, last, beyond = (shard_name(TRAIN, "papers", number) for number in (0, MOST_SHARDS - 1, MOST_SHARDS))
    assert len(first) == len(last) < len(beyond)
    assert Layout.of({TRAIN: 99_999, VALIDATION: 1}, 1).total == MOST_SHARDS
    with pytest.raises(UserError, match=r"shard\.tokens: 1 makes 100,001 shards .* set it to 2 or more"):
        Layout.of({TRAIN: 100_000, VALIDATION: 1}, 1)
    with pytest.raises(UserError, match=r"set it to (\d+) or more") as raised:
        Layout.of({TRAIN: 46_700_000_001, VALIDATION: 1_400_000_001}, 100)
    enough = int(str(raised.value).split("set it to ")[1].split()[0])
    assert Layout.of({TRAIN: 46_700_000_001, VALIDATION: 1_400_000_001}, enough).total <= MOST_SHARDS


def test_copies_seeds_and_ids_have_places_of_their_own() -> None:
    places = {int(order([id_], [copy], seed)[0]) for id_ in ("a", "b") for copy in range(3) for seed in range(3)}
    assert len(places) == 18
    assert order(["b", "a"], [1, 0], 5).tolist() == [int(order([id_], [n], 5)[0]) for id_, n in (("b", 1), ("a", 0))]
