"""Leaders stay, and documents within their threshold do not."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from dedup.cluster import components, star
from dedup.leaders import MEMBER, PAIR, lead

THRESHOLDS = st.sampled_from([0.3, 0.5, 2 / 3, 0.8, 1.0])
MEMBERS = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(-1, 2), st.sets(st.integers(0, 9), max_size=8)), max_size=30
)


def members(drawn: list[tuple[str, int, set[int]]]) -> list[tuple[str, int, str, set[int]]]:
    return sorted((crowd, order, f"{at:02}", values) for at, (crowd, order, values) in enumerate(drawn))


def led(
    rows: list[tuple[str, int, str, set[int]]], threshold: float, most: int, size: int
) -> list[tuple[str, str, float]]:
    packed = [(*row[:3], np.array(sorted(row[3]), dtype=np.uint64).tobytes()) for row in rows]
    table = pa.Table.from_pylist([dict(zip(MEMBER.names, row, strict=True)) for row in packed], MEMBER)
    pairs = pa.Table.from_batches(lead(table.to_batches(max_chunksize=size), threshold, most), PAIR)
    return [(row["a"], row["b"], row["jaccard"]) for row in pairs.to_pylist()]


@given(MEMBERS, THRESHOLDS, st.integers(1, 30), st.integers(1, 8))
def test_documents_are_compared_with_the_leaders_of_their_crowd(
    drawn: list[tuple[str, int, set[int]]], threshold: float, most: int, size: int
) -> None:
    rows = members(drawn)
    removed: dict[str, tuple[str, float]] = {}
    near: set[tuple[str, str]] = set()
    leaders: dict[str, list[tuple[str, set[int]]]] = {}
    for crowd, order, identity, values in rows:
        ahead = leaders.setdefault(crowd, [])
        scores = [
            (leader, len(values & theirs) / len(values | theirs) if values | theirs else 1.0)
            for leader, theirs in ahead
        ]
        within = [(leader, score) for leader, score in scores if score >= threshold and order >= 0]
        near |= {(leader, identity) for leader, _ in within}
        if within:
            removed[identity] = within[0]
        elif len(ahead) < most:
            ahead.append((identity, values))
    pairs = led(rows, threshold, most, size)
    assert {(a, b) for a, b, _ in pairs} <= near
    assert {identity: (best, jaccard) for identity, best, jaccard in star(pairs)} == removed
    assert components((a, b) for a, b, _ in pairs) == components(near)
    assert len(pairs) <= len(rows)


def test_shingles_of_many_leaders_are_kept() -> None:
    rows = [("a", 0, f"{at:03}", set(range(1000 * at, 1000 * at + 999))) for at in range(200)]
    copies = [("a", 1, f"copy {row[2]}", row[3]) for row in rows]
    pairs = led([*rows, *copies], 0.8, 1000, 64)
    assert pairs == [(row[2], copy[2], 1.0) for row, copy in zip(rows, copies, strict=True)]
