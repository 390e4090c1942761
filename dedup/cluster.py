"""From duplicate pairs to clusters and survivors.

The document with the least rank (`ranks`) stays, and of equal ranks the one with the least id. The Spark job runs
`star` on each cluster. Tests compare the job with the whole rule in plain Python (tests/dedup/reference.py).
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Self, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

from dedup.words import Places
from lake.decision import Reason

_LONGEST = 2**32 - 1

Edge = tuple[str, str, float]
"""Two ids and the Jaccard of their documents; the preferred one comes first."""


Node = TypeVar("Node", str, int)


class Likeness(StrEnum):
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


def star(edges: Iterable[tuple[Node, Node, float]]) -> Iterator[tuple[Node, Node, float]]:
    """Removed ids, each with its survivor and their Jaccard, from edges sorted by the preference of the first document.

    In order of preference, each document that is not yet removed stays and removes all its neighbours. So a removed
    document has an edge to its survivor, and no two documents that stay have one.
    """
    removed: set[Node] = set()
    for best, neighbour, jaccard in edges:
        if best not in removed and neighbour not in removed:
            removed.add(neighbour)
            yield neighbour, best, jaccard
