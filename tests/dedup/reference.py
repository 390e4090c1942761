"""The whole rule of deduplication in plain Python, against which the Spark job is tested."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from dedup.cluster import Edge, Likeness, components, star


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
    kind: Likeness
    jaccard: float | None


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
            identity: Duplicate(best, Likeness.NEAR, jaccards.get((best, identity)))
            for identity, best in _best(linked, preference).items()
            if identity != best
        }
    else:
        ordered = sorted(edges, key=lambda edge: preference(edge[0]))
        dropped = {identity: Duplicate(best, Likeness.NEAR, jaccard) for identity, best, jaccard in star(ordered)}
    for copy, representative in copies.items():
        onward = dropped.get(representative)
        exact = documents[copy].content == documents[representative].content
        survivor = onward.survivor if onward else representative
        jaccard = (onward.jaccard if onward else 1.0) if exact else None
        dropped[copy] = Duplicate(survivor, Likeness.EXACT if exact else Likeness.ID, jaccard)
    return dropped, {identity: clusters.get(identity, identity) for identity in documents}


def settle_titles(
    dropped: Mapping[str, Duplicate], clusters: Mapping[str, str], titled: Mapping[str, tuple[str, Likeness]]
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
