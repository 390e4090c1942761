"""Which documents are dropped, and for which survivor."""

import itertools

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from dedup.cluster import Edge, Likeness, components, join_up, ranks, star
from tests.dedup.reference import Entry, settle

IDS = [f"{number:02}" for number in range(12)]
DOCUMENTS = st.fixed_dictionaries(
    {
        identity: st.builds(
            Entry,
            order=st.integers(0, 3),
            content=st.one_of(st.just(f"words of {identity}"), st.sampled_from(["same", "alike"])),
            keys=st.lists(st.sampled_from(["pmid:1", "doi:2", "pmcid:3"]), max_size=2).map(tuple),
        )
        for identity in IDS
    }
)
PAIRS = st.sets(st.sampled_from(list(itertools.combinations(IDS, 2))), max_size=20)


def edges(documents: dict[str, Entry], pairs: set[tuple[str, str]]) -> list[Edge]:
    """The pairs, the preferred document first, each with a Jaccard of its own."""
    ordered = [sorted(pair, key=lambda identity: (documents[identity].order, identity)) for pair in sorted(pairs)]
    return [(a, b, 0.8 + number / 1000) for number, (a, b) in enumerate(ordered)]


def reachable(links: list[tuple[str, str]], start: str) -> set[str]:
    reached, more = {start}, True
    while more:
        grown = reached | {b for a, b in links if a in reached} | {a for a, b in links if b in reached}
        more, reached = grown != reached, grown
    return reached


@given(st.lists(st.tuples(st.sampled_from(IDS), st.sampled_from(IDS))))
def test_components(links: list[tuple[str, str]]) -> None:
    clusters = components(links)
    assert clusters.keys() == {end for link in links for end in link}
    assert all(cluster == min(reachable(links, identity)) for identity, cluster in clusters.items())


@given(st.lists(st.tuples(st.sampled_from(IDS), st.sampled_from(IDS))), st.integers(0, 30))
def test_components_compiled(links: list[tuple[str, str]], cut: int) -> None:
    """The result does not depend on the chunks of the columns."""
    schema = pa.schema([("a", pa.string()), ("b", pa.string())])
    rows = [{"a": a, "b": b} for a, b in links]
    table = pa.concat_tables(pa.Table.from_pylist(part, schema) for part in (rows[:cut], rows[cut:]))
    clusters = join_up(table)
    assert dict(zip(clusters["id"].to_pylist(), clusters["cluster"].to_pylist(), strict=True)) == components(links)
    assert clusters["id"].to_pylist() == sorted({end for link in links for end in link})


def test_components_compiled_of_a_long_path_in_any_order() -> None:
    ids = [f"{number * 7919 % 100_003:06}" for number in range(100_003)]
    links = pa.table({"a": ids[:-1], "b": ids[1:]}).take(np.random.default_rng(1).permutation(len(ids) - 1))
    clusters = join_up(links)
    assert clusters.num_rows == len(ids)
    assert set(clusters["cluster"].to_pylist()) == {"000000"}


@given(DOCUMENTS, PAIRS, st.booleans())
def test_settle(documents: dict[str, Entry], pairs: set[tuple[str, str]], transitive: bool) -> None:
    near = edges(documents, pairs)
    dropped, clusters = settle(documents, near, transitive)
    kept = documents.keys() - dropped.keys()
    assert clusters.keys() == documents.keys()
    for cluster in set(clusters.values()):
        members = {identity for identity in documents if clusters[identity] == cluster}
        assert min(members) == cluster
        assert len(members & kept) == 1 if transitive else members & kept
        best = min(members, key=lambda identity: (documents[identity].order, identity))
        assert best in kept
    jaccards = {(a, b): jaccard for a, b, jaccard in near}
    for identity, duplicate in dropped.items():
        assert duplicate.survivor in kept
        assert clusters[duplicate.survivor] == clusters[identity]
        if duplicate.kind is Likeness.NEAR:
            assert duplicate.jaccard == jaccards.get((duplicate.survivor, identity))
            assert transitive or duplicate.jaccard is not None
    for a, b in itertools.combinations(sorted(kept), 2):
        assert documents[a].content != documents[b].content
        assert not set(documents[a].keys) & set(documents[b].keys)
        assert clusters[a] != clusters[b] or not transitive
        assert (a, b) not in pairs


@given(PAIRS)
def test_star_takes_the_best_first(pairs: set[tuple[str, str]]) -> None:
    near = sorted((a, b, 0.9) for a, b in pairs)
    removed = {identity: survivor for identity, survivor, _ in star(near)}
    expected: dict[str, str] = {}
    for identity in IDS:
        if identity not in expected:
            expected |= {b: a for a, b in pairs if a == identity and b not in expected}
    assert removed == expected


def test_a_chain_is_cut_by_star_and_dropped_by_transitive() -> None:
    documents = {identity: Entry(order, identity) for order, identity in enumerate("abc")}
    chain = [("a", "b", 0.9), ("b", "c", 0.85)]
    assert settle(documents, chain, transitive=False)[0].keys() == {"b"}
    dropped, clusters = settle(documents, chain, transitive=True)
    assert {identity: (drop.survivor, drop.jaccard) for identity, drop in dropped.items()} == {
        "b": ("a", 0.9),
        "c": ("a", None),
    }
    assert set(clusters.values()) == {"a"}


def test_a_copy_follows_its_representative() -> None:
    documents = {
        "a": Entry(0, "x"),
        "b": Entry(1, "y", ("pmid:1",)),
        "c": Entry(2, "y"),
        "d": Entry(3, "z", ("pmid:1",)),
    }
    dropped, _ = settle(documents, [("a", "b", 0.9)], transitive=False)
    assert {identity: (drop.survivor, drop.kind, drop.jaccard) for identity, drop in dropped.items()} == {
        "b": ("a", Likeness.NEAR, 0.9),
        "c": ("a", Likeness.EXACT, 0.9),
        "d": ("a", Likeness.ID, None),
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
    order = ranks(source, open_, length, ("papers", "abstracts")).to_pylist()
    assert order[:5] == sorted(set(order))
    assert order[4] == order[5]
