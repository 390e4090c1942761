"""From duplicate pairs to clusters and survivors.

Which document stays is declared: the least by rank (`ranks`), then by id. `settle` is the whole rule without an engine,
the reference that the Spark job is tested against; `star` is the part of it that the job itself runs, by cluster.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

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
    """How a duplicate was found: the same title on one site, or an overview there that stands for it (dedup.titles);
    among the others, the same words, the same work by its ids, a Jaccard from the threshold up.
    """

    EXACT = "exact"
    ID = "id"
    NEAR = "near"
    TITLE = "title"
    OVERVIEW = "overview"


EVIDENCE = "survivor=%s kind=%s"
"""The evidence of a drop: the id of the survivor and the kind."""

REASONS = {
    Kind.EXACT: Reason.EXACT_DUPLICATE,
    Kind.ID: Reason.ID_DUPLICATE,
    Kind.NEAR: Reason.NEAR_DUPLICATE,
    Kind.TITLE: Reason.SAME_TITLE,
    Kind.OVERVIEW: Reason.SUB_PAGE,
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A document as the rule sees it: rank, content key, id keys (dedup.exact)."""

    order: int
    content: str
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A dropped document's survivor, and how it was found. `jaccard`, of the two, is None where no edge told it."""

    survivor: str
    kind: Kind
    jaccard: float | None


def ranks(source: pa.Array, redistributable: pa.Array, length: pa.Array, prefer: tuple[str, ...]) -> pa.Array:
    """int64 per document, the smaller the more it is preferred: by its source's place in `prefer`, then redistributable
    ones, then the longest in characters.
    """
    coded = source.dictionary_encode() if not pa.types.is_dictionary(source.type) else source
    places = [prefer.index(name) if name in prefer else len(prefer) for name in coded.dictionary.to_pylist()]
    place = np.array(places, dtype=np.int64)[coded.indices.to_numpy()]
    closed = ~redistributable.to_numpy(zero_copy_only=False).astype(bool)
    short = _LONGEST - np.minimum(length.to_numpy().astype(np.int64), _LONGEST)
    return pa.array(place << 33 | closed.astype(np.int64) << 32 | short)


def components(edges: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Every id in the edges with the smallest id of its connected component."""
    parent: dict[str, str] = {}

    def root(node: str) -> str:
        top = parent.setdefault(node, node)
        while parent[top] != top:
            top = parent[top]
        while parent[node] != top:
            parent[node], node = top, parent[node]
        return top

    for one, other in edges:
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    return {node: root(node) for node in parent}


def join_up(edges: pa.Table) -> pa.Table:
    """`components` of the columns (a, b), compiled: a table (id, cluster). Takes memory in proportion to the edges."""
    ends = pa.chunked_array([*edges["a"].chunks, *edges["b"].chunks], pa.string())
    ids = ends.unique().sort()
    places = pc.index_in(ends, ids).to_numpy().astype(np.int64)
    roots = _roots(places[: edges.num_rows], places[edges.num_rows :], len(ids))
    return pa.table({"id": ids, "cluster": ids.take(pa.array(roots))})


@njit(cache=True, nogil=True)
def _roots(one: Places, other: Places, count: int) -> Places:
    """The least node that each of `count` nodes is linked with."""
    parent = np.arange(count)
    for edge in range(one.size):
        left, right = one[edge], other[edge]
        while parent[left] != left:
            parent[left] = parent[parent[left]]
            left = parent[left]
        while parent[right] != right:
            parent[right] = parent[parent[right]]
            right = parent[right]
        parent[max(left, right)] = min(left, right)
    for node in range(count):
        parent[node] = parent[parent[node]]  # a node's parent is less, so it has its root by now
    return parent


def star(edges: Iterable[Edge]) -> Iterator[tuple[str, str, float]]:
    """Removed id, survivor and their Jaccard, of edges sorted by the preference of their first document.

    Documents are taken from the most preferred on: one that nothing has removed stays and removes all its neighbours.
    So each removed document has an edge to its survivor, and no two that stay have an edge.
    """
    removed: set[str] = set()
    for best, other, jaccard in edges:
        if best not in removed and other not in removed:
            removed.add(other)
            yield other, best, jaccard


def settle(
    documents: Mapping[str, Entry], near: Iterable[Edge], transitive: bool
) -> tuple[dict[str, Duplicate], dict[str, str]]:
    """What is dropped, and the cluster of every document: the smallest id among its duplicates of any kind and policy.

    First documents of the same words or ids are collapsed to the best of them, whatever the policy: identity carries
    over. `near` counts between these only. The survivor of a collapsed document is its representative, or the survivor
    of that.
    """

    def preference(identity: str) -> tuple[int, str]:
        return documents[identity].order, identity

    holders: defaultdict[str, list[str]] = defaultdict(list)
    for identity, entry in documents.items():
        for key in (entry.content, *entry.keys):
            holders[key].append(identity)
    same = components((found[0], other) for found in holders.values() for other in found[1:])
    copies = {one: best for one, best in _best(same, preference).items() if one != best}

    edges = [edge for edge in near if edge[0] not in copies and edge[1] not in copies]
    links = [(one, other) for one, other, _ in edges] + list(copies.items())
    clusters = components(links)
    if transitive:
        known = {(one, other): jaccard for one, other, jaccard in edges}
        alone = {one: clusters[one] for edge in edges for one in edge[:2]}
        dropped = {
            one: Duplicate(best, Kind.NEAR, known.get((best, one)))
            for one, best in _best(alone, preference).items()
            if one != best
        }
    else:
        ordered = sorted(edges, key=lambda edge: preference(edge[0]))
        dropped = {one: Duplicate(best, Kind.NEAR, jaccard) for one, best, jaccard in star(ordered)}
    for one, representative in copies.items():
        onward = dropped.get(representative)
        exact = documents[one].content == documents[representative].content
        survivor = onward.survivor if onward else representative
        jaccard = (onward.jaccard if onward else 1.0) if exact else None
        dropped[one] = Duplicate(survivor, Kind.EXACT if exact else Kind.ID, jaccard)
    return dropped, {one: clusters.get(one, one) for one in documents}


def settle_titles(
    dropped: Mapping[str, Duplicate], clusters: Mapping[str, str], titled: Mapping[str, tuple[str, Kind]]
) -> tuple[dict[str, Duplicate], dict[str, str]]:
    """What `settle` gave for the others, with the documents that left before by their title: id → the document of that
    title that stays for it, and the kind.

    Where that one has gone for another, so have they.
    """
    by_title = {
        one: Duplicate(dropped[survivor].survivor if survivor in dropped else survivor, kind, None)
        for one, (survivor, kind) in titled.items()
    }
    alone = {one: one for one in titled} | dict(clusters)
    merged = components((one, alone[survivor]) for one, (survivor, _) in titled.items())
    return dict(dropped) | by_title, {one: merged.get(cluster, cluster) for one, cluster in alone.items()}


def _best(groups: Mapping[str, str], preference: Callable[[str], tuple[int, str]]) -> dict[str, str]:
    """The most preferred member of the group of each."""
    best: dict[str, str] = {}
    for one, group in groups.items():
        best[group] = min(best.get(group, one), one, key=preference)
    return {one: best[group] for one, group in groups.items()}
