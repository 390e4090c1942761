"""Every pair of a small bucket is compared, and a linear number of pairs of a crowded one."""

import itertools

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.bands import choose
from dedup.buckets import CANDIDATE, ENTRY, candidates
from dedup.minhash import band_keys, signatures

ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(1, 30)), max_size=40)


def entries(rows: list[tuple[int, int, int]]) -> pa.Table:
    ordered = sorted((band, order, at, size, at * 2**58 % 2**63) for at, (band, order, size) in enumerate(rows))
    return pa.Table.from_pylist([dict(zip(ENTRY.names, row, strict=True)) for row in ordered], schema=ENTRY)


def run(table: pa.Table, threshold: float, limit: int, cuts: list[int] | None = None, piece: int = 2**20) -> pa.Table:
    edges = [0, *sorted(cut % (table.num_rows + 1) for cut in cuts or []), table.num_rows]
    batches = [batch for a, b in itertools.pairwise(edges) for batch in table.slice(a, b - a).to_batches()]
    return pa.Table.from_batches(candidates(batches, threshold, limit, piece), schema=CANDIDATE)


def pairs(output: pa.Table) -> set[tuple[int, int]]:
    return {(row["a"], row["b"]) for row in output.to_pylist() if row["a"] is not None}


@given(ROWS, st.lists(st.integers(0, 100), max_size=4), st.sampled_from([0.5, 0.8, 1.0]))
def test_all_pairs_of_small_buckets(rows: list[tuple[int, int, int]], cuts: list[int], threshold: float) -> None:
    table = entries(rows)
    expected = {
        (a["number"], b["number"])
        for a, b in itertools.combinations(table.to_pylist(), 2)
        if a["band"] == b["band"] and min(a["size"], b["size"]) / max(a["size"], b["size"]) >= threshold
    }
    output = run(table, threshold, 64, cuts)
    assert pairs(output) == expected
    assert output["crowd"].null_count == output.num_rows


@given(ROWS, st.lists(st.integers(0, 100), max_size=4), st.integers(5, 12))
def test_batches_do_not_matter_and_crowds_are_counted(
    rows: list[tuple[int, int, int]], cuts: list[int], piece: int
) -> None:
    table = entries(rows)
    output = run(table, 0.5, 3, cuts, piece)
    assert sorted(map(str, output.to_pylist())) == sorted(map(str, run(table, 0.5, 3, None, piece).to_pylist()))
    crowds = (
        [row for row in np.unique([row[0] for row in rows], return_counts=True)[1].tolist() if row > 3] if rows else []
    )
    assert sorted(output["crowd"].drop_null().to_pylist()) == sorted(crowds)


@settings(max_examples=20)
@given(st.integers(100, 400), st.integers(50, 300))
def test_all_of_a_crowd_of_equals_are_linked_with_the_best(count: int, piece: int) -> None:
    output = run(entries([(1, 1, 20 + at % 3) for at in range(count)]), 0.8, 16, None, max(piece, 40))
    reached, more = {0}, True
    while more:
        grown = reached | {b for a, b in pairs(output) if a in reached}
        more, reached = grown != reached, grown
    assert len(reached) == count
    assert output.num_rows < 40 * count


def test_pairs_in_a_crowd_are_found_beside_its_boilerplate() -> None:
    """2,000 pages share 60 % of their shingles, and 100 pairs of them share more."""
    random = np.random.default_rng(7)
    boilerplate = random.integers(0, 2**64 - 1, size=120, dtype=np.uint64)
    pages, planted = [], set()
    for page in range(2000):
        page_shingles = random.integers(0, 2**64 - 1, size=80, dtype=np.uint64)
        if page % 20 == 1:
            page_shingles[:72] = pages[-1][120:192]
            planted.add((page - 1, page))
        pages.append(np.concatenate([boilerplate, page_shingles]))
    cut = choose(0.8, 0.999, 128)
    offsets = np.arange(2001) * 200
    keys, sketches = band_keys(signatures(offsets, np.concatenate(pages), cut.slots), cut)
    rows = sorted(
        (int(key), 0, page, 200, int(sketch))
        for page in range(2000)
        for key, sketch in zip(keys[page].view(np.int64), sketches[page].view(np.int64), strict=True)
    )
    output = run(
        pa.Table.from_pylist([dict(zip(ENTRY.names, row, strict=True)) for row in rows], schema=ENTRY), 0.8, 16
    )
    assert output["crowd"].drop_null().to_pylist()
    assert len(planted & pairs(output)) >= 99
    assert output.num_rows < 40 * len(rows)
