"""From duplicate pairs to clusters and survivors.

The document with the least rank (`ranks`) stays, and of equal ranks the one with the least id. `settle` is the whole
rule in plain Python, against which the Spark job is tested. The job itself runs `star` on each cluster.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

from dedup.words import Places
from lake.decision import Reason

_LONGEST = 2**32 - 1

Edge = tuple[str, str, float]
"""Two ids and the Jaccard of their documents; the preferred one comes first."""


class Kind(StrEnum):
    """How a duplicate was found, which is the `rule` of its decision, with the decision's reason and evidence."""

    EXACT = "exact", Reason.EXACT_DUPLICATE, "Another document has the same words in the same order."
    ID = "id", Reason.ID_DUPLICATE, "Another document has the same id."
    NEAR = "near", Reason.NEAR_DUPLICATE, "Another document has nearly the same word n-grams."
    TITLE = "title", Reason.SAME_TITLE, "Another page of the site has the same title."
    OVERVIEW = "overview", Reason.SUB_PAGE, "An overview of the site stands for this page."

    reason: Reason
    evidence: str

    def __new__(cls, value: str, reason: Reason, evidence: str) -> Self:
        kind = str.__new__(cls, value)
        kind._value_, kind.reason, kind.evidence = value, reason, evidence
        return kind


@dataclass(frozen=True, slots=True)
class Entry:
    """The rank, content key and id keys (dedup.exact) of a document."""

    order: int
    content: str
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The survivor of a dropped document, and how the duplicate was found. `jaccard` is None where no edge has it."""

    survivor: str
    kind: Kind
    jaccard: float | None


def ranks(source: pa.Array, redistributable: pa.Array, length: pa.Array, prefer: tuple[str, ...]) -> pa.Array:
    """int64 for each document, least for the most preferred: by the place of its source in `prefer`, then
    redistributable before others, then longest in characters.
    """
    coded = source.dictionary_encode() if not pa.types.is_dictionary(source.type) else source
    places = [prefer.index(name) if name in prefer else len(prefer) for name in coded.dictionary.to_pylist()]
    place = np.array(places, dtype=np.int64)[coded.indices.to_numpy()]
    closed = ~redistributable.to_numpy(zero_copy_only=False).astype(bool)
    short = _LONGEST - np.minimum(length.to_numpy().astype(np.int64), _LONGEST)
    return pa.array(place << 33 | closed.astype(np.int64) << 32 | short)


def components(edges: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Each id in the edges with the least id of its connected component."""
    parent: dict[str, str] = {}

    def root(node: str) -> str:
        top = parent.setdefault(node, node)
        while parent[top] != top:
            top = parent[top]
        while parent[node] != top:
            parent[node], node = top, parent[node]
        return top

    for left, right in edges:
        low, high = sorted((root(left), root(right)))
        parent[high] = low
    return {node: root(node) for node in parent}


def join_up(edges: pa.Table) -> pa.Table:
    """The `components` of rows (a, b) as a table (id, cluster), compiled. Memory is proportional to the edges."""
    ends = pa.chunked_array([*edges["a"].chunks, *edges["b"].chunks], pa.string())
    ids = ends.unique().sort()
    places = pc.index_in(ends, ids).to_numpy().astype(np.int64)
    roots = _roots(places[: edges.num_rows], places[edges.num_rows :], len(ids))
    return pa.table({"id": ids, "cluster": ids.take(pa.array(roots))})


@njit(cache=True, nogil=True)
def _roots(a: Places, b: Places, count: int) -> Places:
    """The least node in the component of each of `count` nodes."""
    parent = np.arange(count)
    for edge in range(a.size):
        left, right = a[edge], b[edge]
        while parent[left] != left:
            parent[left] = parent[parent[left]]
            left = parent[left]
        while parent[right] != right:
            parent[right] = parent[parent[right]]
            right = parent[right]
        parent[max(left, right)] = min(left, right)
    for node in range(count):
        parent[node] = parent[parent[node]]  # the parent is less than the node, so it already points at its root
    return parent


def star(edges: Iterable[Edge]) -> Iterator[tuple[str, str, float]]:
    """Removed ids, each with its survivor and their Jaccard, from edges sorted by the preference of the first document.

    In order of preference, each document that is not yet removed stays and removes all its neighbours. So a removed
    document has an edge to its survivor, and no two documents that stay have one.
    """
    removed: set[str] = set()
    for best, neighbour, jaccard in edges:
        if best not in removed and neighbour not in removed:
            removed.add(neighbour)
            yield neighbour, best, jaccard


def settle(
    documents: Mapping[str, Entry], near: Iterable[Edge], transitive: bool
) -> tuple[dict[str, Duplicate], dict[str, str]]:
    """The dropped documents, and the cluster of each document: the least id among its duplicates, whatever the policy.

    First, under either policy, documents of the same words or ids collapse to the most preferred of them, their
    representative. Only edges of `near` between representatives count. The survivor of a collapsed document is its
    representative, or the survivor of that.
    """

    def preference(identity: str) -> tuple[int, str]:
        return documents[identity].order, identity

    holders: defaultdict[str, list[str]] = defaultdict(list)
    for identity, entry in documents.items():
        for key in (entry.content, *entry.keys):
            holders[key].append(identity)
    same = components((first, other) for first, *others in holders.values() for other in others)
    copies = {copy: best for copy, best in _best(same, preference).items() if copy != best}

    edges = [edge for edge in near if edge[0] not in copies and edge[1] not in copies]
    clusters = components([*((a, b) for a, b, _ in edges), *copies.items()])
    if transitive:
        jaccards = {(a, b): jaccard for a, b, jaccard in edges}
        linked = {identity: clusters[identity] for edge in edges for identity in edge[:2]}
        dropped = {
            identity: Duplicate(best, Kind.NEAR, jaccards.get((best, identity)))
            for identity, best in _best(linked, preference).items()
            if identity != best
        }
    else:
        ordered = sorted(edges, key=lambda edge: preference(edge[0]))
        dropped = {identity: Duplicate(best, Kind.NEAR, jaccard) for identity, best, jaccard in star(ordered)}
    for copy, representative in copies.items():
        onward = dropped.get(representative)
        exact = documents[copy].content == documents[representative].content
        survivor = onward.survivor if onward else representative
        jaccard = (onward.jaccard if onward else 1.0) if exact else None
        dropped[copy] = Duplicate(survivor, Kind.EXACT if exact else Kind.ID, jaccard)
    return dropped, {identity: clusters.get(identity, identity) for identity in documents}


def settle_titles(
    dropped: Mapping[str, Duplicate], clusters: Mapping[str, str], titled: Mapping[str, tuple[str, Kind]]
) -> tuple[dict[str, Duplicate], dict[str, str]]:
    """The result of `settle` for the documents that remained, together with those that left first by their title.

    Where the survivor of a title was itself dropped, its own survivor takes its place.

    Args:
        titled: By the id of a document that left, the survivor of its title and the kind.
    """
    by_title = {
        identity: Duplicate(dropped[survivor].survivor if survivor in dropped else survivor, kind, None)
        for identity, (survivor, kind) in titled.items()
    }
    separate = {identity: identity for identity in titled} | dict(clusters)
    merged = components((identity, separate[survivor]) for identity, (survivor, _) in titled.items())
    return dict(dropped) | by_title, {identity: merged.get(cluster, cluster) for identity, cluster in separate.items()}


def _best(groups: Mapping[str, str], preference: Callable[[str], tuple[int, str]]) -> dict[str, str]:
    """Each id with the most preferred id of its group."""
    best: dict[str, str] = {}
    for identity, group in groups.items():
        best[group] = min(best.get(group, identity), identity, key=preference)
    return {identity: best[group] for identity, group in groups.items()}
