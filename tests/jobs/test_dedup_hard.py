"""Corpora and graphs that deduplication could choke on: odd pages, ties, every small graph in every order."""

import itertools
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession

from benchmarks.steps import stand_in
from dedup.cluster import components as reference_components
from dedup.cluster import star
from dedup.settings import DedupSettings
from lake.document import DOCUMENT, document_id, new_document
from lake.step import Outcome, Step
from spark_jobs.components import AT_ONCE, components
from spark_jobs.dedup import DEDUP, _stars, dedup

pytestmark = pytest.mark.engine

IDENTICAL = 4_000
LONGEST = 6_600_000
"""Words of the page of 50 MB."""


def run(lake: Path, documents: list[dict[str, Any]], settings: DedupSettings) -> tuple[Step[DedupSettings], Outcome]:
    clean = stand_in("clean", lake)
    parts = 3
    for part in range(parts):
        table = pa.Table.from_pylist(documents[part::parts], schema=DOCUMENT)
        clean.output.write_part("documents", part, table, "web")
    step = Step("dedup", DEDUP, settings, clean.lake, {"documents": clean})
    return step, dedup(step)


Verdict = tuple[str, str, float] | None


def decisions(step: Step[Any]) -> dict[str, Verdict]:
    """The rule, survivor and score of each dropped document, None for the others."""
    rows = step.output.scan("decisions").to_table().to_pylist()
    return {row["id"]: None if row["keep"] else (row["rule"], row["survivor"], row["score"]) for row in rows}


def test_odd_pages(tmp_path: Path, spark: SparkSession) -> None:
    rows: list[dict[str, Any]] = []
    expected: dict[str, Verdict] = {}

    def add(name: str, text: str, survivor: str | None = None, kind: str = "exact", score: float = 1.0) -> str:
        rows.append(new_document("web", name, text))
        survivor_id = document_id("web", survivor) if survivor else None
        expected[rows[-1]["id"]] = (kind, survivor_id, score) if survivor_id else None
        return name

    # The least id of equals stays.
    identical = sorted((f"same {at}" for at in range(IDENTICAL)), key=lambda name: document_id("web", name))
    page = " ".join(f"line{at}" for at in range(200))
    for at, name in enumerate(identical):
        add(name, page, identical[0] if at else None)
    # The near copy lacks the last hundredth.
    words = list(map(str, range(LONGEST)))
    long = " ".join(words)
    assert len(long) > 50_000_000
    less = LONGEST - LONGEST // 100
    add("long", long)
    add("less", " ".join(words[:less]), "long", "near", (less - 4) / (LONGEST - 4))
    # Pages without a word are copies of each other; the longest stays.
    add("dashes", "— … —")
    for name, text in (("empty", ""), ("empty again", ""), ("blank", " \n"), ("lost", "\ufffd")):
        add(name, text, "dashes")
    # Pages of a single word are copies where the word is the same, and like no other page.
    add("word!", "Word!")
    add("word", "word", "word!")
    add("other", "other")
    add("other twice", "other other")
    # A word repeated: pages shorter than a shingle differ by their length, longer pages are all alike.
    add("again 900", "again " * 900)
    for count in (1, 2, 3, 4):
        add(f"again {count}", "again " * count)
    for count in (5, 6, 500):
        add(f"again {count}", "again " * count, "again 900", "near")
    # Half a surrogate pair has become U+FFFD by now, which is no letter.
    add("mark", "one \ufffd two three four five six \ufffd")
    add("half", "one two \ufffd three four five six", "mark")
    add("whole", "one two three four five six", "mark")
    add("cut", "one two three four five si\ufffd")
    random.Random(1).shuffle(rows)
    step, outcome = run(tmp_path, rows, DedupSettings())
    assert decisions(step) == expected
    assert outcome.figures["crowded_buckets"]["buckets"] == 0
    assert outcome.figures["candidates"] < 20


def test_of_equally_preferred_near_copies_the_least_id_stays(tmp_path: Path, spark: SparkSession) -> None:
    """Pages of one length, in a crowd and in small buckets."""
    rows = []
    best = []
    for size in (2, 3, 12, 300):
        body = [f"w{size}x{at}" for at in range(80)]
        pages = [new_document("web", f"{size} {at}", " ".join([*body, f"{at:05}"])) for at in range(size)]
        rows += pages
        best.append(min(page["id"] for page in pages))
    step, _ = run(tmp_path, rows, DedupSettings(bucket_limit=16))
    verdicts = decisions(step)
    assert sorted(id_ for id_, drop in verdicts.items() if drop is None) == sorted(best)
    assert all(drop is None or drop[1] in best for drop in verdicts.values())


def test_of_a_crowd_around_the_threshold_none_stays_that_is_near_one_that_does(
    tmp_path: Path, spark: SparkSession
) -> None:
    """A form of 200 words with three filled in: of the pairs some are just within the threshold, some are not."""
    chance = random.Random(5)
    rows = []
    for at in range(800):
        words = [f"w{place}" for place in range(200)]
        for place in chance.sample(range(200), 3):
            words[place] = f"x{chance.randrange(10**9)}"
        rows.append(new_document("web", str(at), " ".join(words)))
    settings = DedupSettings(bucket_limit=16)
    step, outcome = run(tmp_path, rows, settings)
    assert outcome.figures["crowded_buckets"]["buckets"] > 0
    shingles = {row["id"]: set(zip(*(row["text"].split()[at:] for at in range(5)), strict=False)) for row in rows}
    kept: list[str] = []
    for row in sorted(rows, key=lambda row: (-len(row["text"]), row["id"])):
        shingles_of_row = shingles[row["id"]]
        if not any(
            len(shingles_of_row & shingles[id_]) / len(shingles_of_row | shingles[id_]) >= settings.threshold
            for id_ in kept
        ):
            kept.append(row["id"])
    assert {id_ for id_, drop in decisions(step).items() if drop is None} == set(kept)


def every_graph() -> dict[str, list[tuple[str, str]]]:
    """All 1,024 graphs on five nodes that bear their graph's name; a pair's first is less."""
    pairs = list(itertools.combinations("abcde", 2))
    return {
        f"{graph:04}": [(f"{graph:04}{a}", f"{graph:04}{b}") for at, (a, b) in enumerate(pairs) if graph >> at & 1]
        for graph in range(1 << len(pairs))
    }


def frame(spark: SparkSession, rows: list[Any], schema: str, parts: int, seed: int) -> DataFrame:
    """The rows in an order of the seed, dealt to the partitions one by one."""
    rows = rows.copy()
    random.Random(seed).shuffle(rows)
    return spark.createDataFrame(spark.sparkContext.parallelize(rows, parts), schema)


@pytest.mark.parametrize(
    ("at_once", "parts", "seed"), [(0, 1, 1), (0, 5, 2), (0, 3, 3), (AT_ONCE, 1, 4), (AT_ONCE, 7, 5)]
)
def test_components_of_all_graphs_on_five_nodes(spark: SparkSession, at_once: int, parts: int, seed: int) -> None:
    edges = [edge for graph in every_graph().values() for edge in graph]
    expected = reference_components(edges)
    chance = random.Random(seed)
    turned = [chance.choice([(a, b), (b, a)]) for a, b in edges] + chance.sample(edges, 500)
    clusters = components(frame(spark, turned, "a string not null, b string not null", parts, seed), at_once).collect()
    assert len(clusters) == len(expected)
    assert {row["id"]: row["cluster"] for row in clusters} == expected


def survivors(nodes: list[str], edges: set[tuple[str, str]]) -> dict[str, str]:
    """By dropped node, its survivor. Take the nodes by preference: a node is kept unless a kept node is next to it, and
    the most preferred of these is its survivor.
    """
    kept: list[str] = []
    dropped: dict[str, str] = {}
    for node in nodes:
        beside = [neighbour for neighbour in kept if (neighbour, node) in edges]
        if beside:
            dropped[node] = beside[0]
        else:
            kept.append(node)
    return dropped


@pytest.mark.parametrize(("parts", "seed"), [(1, 1), (3, 2), (6, 3)])
def test_stars_of_all_graphs_on_five_nodes(spark: SparkSession, parts: int, seed: int) -> None:
    """Nodes are preferred in an order of the seed, with ties that the id decides."""
    chance = random.Random(seed)
    near: list[tuple[str, str, float]] = []
    ordered: list[tuple[str, str, int]] = []
    expected: dict[str, tuple[str, float]] = {}
    for name, graph in every_graph().items():
        order = {f"{name}{letter}": chance.randrange(3) for letter in "abcde"}
        nodes = sorted(order, key=lambda node: (order[node], node))
        turned = {(min(edge, key=nodes.index), max(edge, key=nodes.index)): chance.random() for edge in graph}
        near += [(*edge, jaccard) for edge, jaccard in turned.items()]
        ordered += [(node, cluster, order[node]) for node, cluster in reference_components(graph).items()]
        dropped = survivors(nodes, set(turned))
        expected |= {node: (survivor, turned[survivor, node]) for node, survivor in dropped.items()}
        by_preference = sorted(turned, key=lambda edge: nodes.index(edge[0]))
        assert {node: best for node, best, _ in star((*edge, turned[edge]) for edge in by_preference)} == dropped
    stars = _stars(
        frame(spark, near, "a string, b string, jaccard double", parts, seed),
        frame(spark, ordered, "id string, cluster string, `order` long", parts, seed),
    ).collect()
    assert len(stars) == len(expected)
    assert {row["id"]: (row["survivor"], row["jaccard"]) for row in stars} == expected
