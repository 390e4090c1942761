"""What stays of a crowd, document by document."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.cluster import components, star
from dedup.leaders import MEMBER, PAIR, lead

THRESHOLDS = st.sampled_from([0.3, 0.5, 2 / 3, 0.8, 1.0])
MEMBERS = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(-1, 2), st.sets(st.integers(0, 9), max_size=8)), max_size=30
)


def members(drawn: list[tuple[str, int, set[int]]]) -> list[tuple[str, int, str, set[int]]]:
    return sorted((crowd, order, f"{at:02}", own) for at, (crowd, order, own) in enumerate(drawn))


def led(
    rows: list[tuple[str, int, str, set[int]]], threshold: float, most: int, size: int
) -> list[tuple[str, str, float]]:
    packed = [(*row[:3], np.array(sorted(row[3]), dtype=np.uint64).tobytes()) for row in rows]
    table = pa.Table.from_pylist([dict(zip(MEMBER.names, row, strict=True)) for row in packed], MEMBER)
    found = pa.Table.from_batches(lead(table.to_batches(max_chunksize=size), threshold, most), PAIR)
    return [(row["a"], row["b"], row["jaccard"]) for row in found.to_pylist()]


@settings(deadline=None)
@given(MEMBERS, THRESHOLDS, st.integers(1, 30), st.integers(1, 8))
def test_each_is_compared_with_the_leaders_of_its_crowd(
    drawn: list[tuple[str, int, set[int]]], threshold: float, most: int, size: int
) -> None:
    rows = members(drawn)
    removed: dict[str, tuple[str, float]] = {}
    near: set[tuple[str, str]] = set()
    leaders: dict[str, list[tuple[str, set[int]]]] = {}
    for crowd, order, identity, own in rows:
        mine = leaders.setdefault(crowd, [])
        scores = [(one, len(own & other) / len(own | other) if own | other else 1.0) for one, other in mine]
        beside = [(one, score) for one, score in scores if score >= threshold and order >= 0]
        near |= {(one, identity) for one, _ in beside}
        if beside:
            removed[identity] = beside[0]
        elif len(mine) < most:
            mine.append((identity, own))
    found = led(rows, threshold, most, size)
    assert {(a, b) for a, b, _ in found} <= near
    assert {one: (best, jaccard) for one, best, jaccard in star(found)} == removed
    assert components((a, b) for a, b, _ in found) == components(near)
    assert len(found) <= len(rows)


def test_shingles_of_many_leaders_are_kept() -> None:
    rows = [("a", 0, f"{at:03}", set(range(1000 * at, 1000 * at + 999))) for at in range(200)]
    again = [("a", 1, f"copy {one[2]}", one[3]) for one in rows]
    found = led([*rows, *again], 0.8, 1000, 64)
    assert found == [(one[2], copy[2], 1.0) for one, copy in zip(rows, again, strict=True)]
