"""The split never moves."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mixing.split import in_validation, stable_hash, within

IDS = [f"{n:032x}" for n in range(20_000)]


def test_the_hash_is_the_same_for_ever() -> None:
    assert stable_hash(["a", "b"], "split:1").tolist() == [8575749139610824302, 6958411154994835557]


@given(st.lists(st.text(), unique=True, min_size=1), st.lists(st.text()), st.integers(0, 9))
def test_other_documents_move_none(ids: list[str], others: list[str], seed: int) -> None:
    alone = in_validation(ids, 0.3, seed)
    assert np.array_equal(in_validation([*others, *ids], 0.3, seed)[len(others) :], alone)


def test_documents_of_a_cluster_stay_together() -> None:
    held = in_validation([*IDS, *IDS], 0.05, 7)
    assert np.array_equal(held[: len(IDS)], held[len(IDS) :])


def test_shares_are_met_and_grow() -> None:
    hashes = stable_hash(IDS, "x")
    small, large = within(hashes, 0.03), within(hashes, 0.05)
    assert abs(small.mean() - 0.03) < 0.004
    assert abs(large.mean() - 0.05) < 0.005
    assert not (small & ~large).any()
    assert within(hashes, 1.0).all()
    assert not within(hashes, 0.0).any()
    assert within(np.array([(1 << 63) - 1]), 1.0).all()


def test_each_source_has_its_share() -> None:
    held = in_validation(IDS, np.where(np.arange(len(IDS)) % 2 == 0, 0.0, 0.5), 1)
    assert not held[::2].any()
    assert abs(held[1::2].mean() - 0.5) < 0.02


def test_seeds_split_differently() -> None:
    both = in_validation(IDS, 0.5, 1) & in_validation(IDS, 0.5, 2)
    assert abs(both.mean() - 0.25) < 0.02
