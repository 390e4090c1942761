"""Places of documents in shards: every copy has one, evenly, in an order that parts and neighbours do not change."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mixing.shuffle import Layout, order
from mixing.split import SPLITS, TRAIN, VALIDATION

TOKENS = st.fixed_dictionaries({split: st.integers(0, 10**13) for split in SPLITS})


@given(TOKENS, st.integers(10**6, 10**10), st.lists(st.integers(0, 2**63 - 1), max_size=20))
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


def test_copies_seeds_and_ids_have_places_of_their_own() -> None:
    places = {int(order([id_], [copy], seed)[0]) for id_ in ("a", "b") for copy in range(3) for seed in range(3)}
    assert len(places) == 18
    assert order(["b", "a"], [1, 0], 5).tolist() == [int(order([id_], [n], 5)[0]) for id_, n in (("b", 1), ("a", 0))]
