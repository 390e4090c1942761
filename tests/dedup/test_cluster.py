"""Which documents go, and for which one that stays."""

import itertools

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.cluster import Edge, Entry, Kind, components, join_up, ranks, settle, star

IDS = [f"{number:02}" for number in range(12)]
DOCUMENTS = st.fixed_dictionaries(
    {
        one: st.builds(
            Entry,
            order=st.integers(0, 3),
            content=st.one_of(st.just(f"own {one}"), st.sampled_from(["same", "alike"])),
            keys=st.lists(st.sampled_from(["pmid:1", "doi:2", "pmcid:3"]), max_size=2).map(tuple),
        )
        for one in IDS
    }
)
PAIRS = st.sets(st.sampled_from(list(itertools.combinations(IDS, 2))), max_size=20)


def edges(documents: dict[str, Entry], found: set[tuple[str, str]]) -> list[Edge]:
    """The pairs, the preferred document first, each with a Jaccard that tells it apart."""
    turned = [sorted(pair, key=lambda one: (documents[one].order, one)) for pair in sorted(found)]
    return [(a, b, 0.8 + number / 1000) for number, (a, b) in enumerate(turned)]


def reachable(links: list[tuple[str, str]], start: str) -> set[str]:
    reached, more = {start}, True
    while more:
        grown = reached | {b for a, b in links if a in reached} | {a for a, b in links if b in reached}
        more, reached = grown != reached, grown
    return reached


@given(st.lists(st.tuples(st.sampled_from(IDS), st.sampled_from(IDS))))
def test_components(links: list[tuple[str, str]]) -> None:
    found = components(links)
    assert found.keys() == {one for link in links for one in link}
    assert all(cluster == min(reachable(links, one)) for one, cluster in found.items())


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(IDS), st.sampled_from(IDS))), st.integers(0, 30))
def test_components_compiled(links: list[tuple[str, str]], cut: int) -> None:
    """Whatever the chunks that the columns come in."""
    schema = pa.schema([("a", pa.string()), ("b", pa.string())])
    rows = [{"a": a, "b": b} for a, b in links]
    table = pa.concat_tables(pa.Table.from_pylist(part, schema) for part in (rows[:cut], rows[cut:]))
    found = join_up(table)
    assert dict(zip(found["id"].to_pylist(), found["cluster"].to_pylist(), strict=True)) == components(links)
    assert found["id"].to_pylist() == sorted({one for link in links for one in link})


def test_components_compiled_of_a_long_path_in_any_order() -> None:
    ids = [f"{number * 7919 % 100_003:06}" for number in range(100_003)]
    links = pa.table({"a": ids[:-1], "b": ids[1:]}).take(np.random.default_rng(1).permutation(len(ids) - 1))
    found = join_up(links)
    assert found.num_rows == len(ids)
    assert set(found["cluster"].to_pylist()) == {"000000"}


@given(DOCUMENTS, PAIRS, st.booleans())
def test_settle(documents: dict[str, Entry], found: set[tuple[str, str]], transitive: bool) -> None:
    near = edges(documents, found)
    dropped, clusters = settle(documents, near, transitive)
    kept = documents.keys() - dropped.keys()
    assert clusters.keys() == documents.keys()
    for cluster in set(clusters.values()):
        members = {one for one in documents if clusters[one] == cluster}
        assert min(members) == cluster
        assert len(members & kept) == 1 if transitive else members & kept
        best = min(members, key=lambda one: (documents[one].order, one))
        assert best in kept
    known = {(a, b): jaccard for a, b, jaccard in near}
    for one, duplicate in dropped.items():
        assert duplicate.survivor in kept
        assert clusters[duplicate.survivor] == clusters[one]
        if duplicate.kind is Kind.NEAR:
            assert duplicate.jaccard == known.get((duplicate.survivor, one))
            assert transitive or duplicate.jaccard is not None
    for one, other in itertools.combinations(sorted(kept), 2):
        assert documents[one].content != documents[other].content
        assert not set(documents[one].keys) & set(documents[other].keys)
        assert clusters[one] != clusters[other] or not transitive
        assert (one, other) not in found


@given(PAIRS)
def test_star_takes_the_best_first(found: set[tuple[str, str]]) -> None:
    near = sorted((a, b, 0.9) for a, b in found)
    removed = {one: survivor for one, survivor, _ in star(near)}
    expected: dict[str, str] = {}
    for one in IDS:
        if one not in expected:
            expected |= {b: one for a, b in found if a == one and b not in expected}
    assert removed == expected


def test_a_chain_is_cut_by_star_and_swallowed_by_transitive() -> None:
    documents = {one: Entry(order, one) for order, one in enumerate("abc")}
    chain = [("a", "b", 0.9), ("b", "c", 0.85)]
    assert settle(documents, chain, transitive=False)[0].keys() == {"b"}
    dropped, clusters = settle(documents, chain, transitive=True)
    assert {one: (it.survivor, it.jaccard) for one, it in dropped.items()} == {"b": ("a", 0.9), "c": ("a", None)}
    assert set(clusters.values()) == {"a"}


def test_a_copy_follows_its_representative() -> None:
    documents = {
        "a": Entry(0, "x"),
        "b": Entry(1, "y", ("pmid:1",)),
        "c": Entry(2, "y"),
        "d": Entry(3, "z", ("pmid:1",)),
    }
    dropped, _ = settle(documents, [("a", "b", 0.9)], transitive=False)
    assert {one: (it.survivor, it.kind, it.jaccard) for one, it in dropped.items()} == {
        "b": ("a", Kind.NEAR, 0.9),
        "c": ("a", Kind.EXACT, 0.9),
        "d": ("a", Kind.ID, None),
    }


def test_rank_is_source_then_licence_then_length() -> None:
    rows = [
        ("papers", True, 10),
        ("papers", True, 9),
        ("papers", False, 2**40),
        ("abstracts", True, 5),
        ("other", True, 7),
        ("more", True, 7),
    ]
    source, open_, length = (pa.array(column) for column in zip(*rows, strict=True))
    found = ranks(source, open_, length, ("papers", "abstracts")).to_pylist()
    assert found[:5] == sorted(set(found))
    assert found[4] == found[5]
