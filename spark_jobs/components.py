"""Connected components of a graph of any shape and size. A large graph is never brought to one machine."""

from collections.abc import Iterable, Iterator

import pyarrow as pa
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from dedup.cluster import join_up
from lake.schema import schema

AT_ONCE = 1_000_000
"""Greatest number of links, some 100 MB, that one task takes, which costs less than a single round over all tasks."""

EDGE = schema("a string?, b string?")


def components(edges: DataFrame, at_once: int = AT_ONCE) -> DataFrame:
    """Rows (id, cluster) for each id in the rows (a, b) of `edges`. The least id of a component names its cluster.

    More than `at_once` links go through alternating large-star and small-star (Kiveris et al. 2014): each round points
    the larger neighbours of every node at its least neighbour, then the smaller ones, until each component is a star
    around its least id. A path of n nodes takes O(log² n) rounds. Each round is checkpointed on the executors, so that
    plans do not grow.
    """
    low, high = F.least("a", "b"), F.greatest("a", "b")
    links = edges.filter(F.col("a") != F.col("b")).select(high.alias("node"), low.alias("low")).distinct()
    links = links.localCheckpoint(eager=False)
    before = _digest(links)
    if before[0] <= at_once:
        pairs = links.select(F.col("node").alias("a"), F.col("low").alias("b"))
        return pairs.repartition(1).mapInArrow(_join_up, "id string, cluster string")
    while True:
        links = _small_star(_large_star(links)).localCheckpoint(eager=False)
        after = _digest(links)
        if after == before:
            break
        before = after
    stars = links.select(F.col("node").alias("id"), F.col("low").alias("cluster"))
    centres = links.select(F.col("low").alias("id"), F.col("low").alias("cluster")).distinct()
    return stars.unionByName(centres)


def _join_up(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    edges = pa.Table.from_batches((batch.cast(EDGE) for batch in batches), EDGE)
    yield from join_up(edges).to_batches(max_chunksize=10_000)


def _large_star(links: DataFrame) -> DataFrame:
    both = links.unionByName(links.select(F.col("low").alias("node"), F.col("node").alias("low")))
    least = F.least("node", F.min("low").over(Window.partitionBy("node")))
    return (
        both.withColumn("least", least)
        .filter(F.col("low") > F.col("node"))
        .select(F.col("low").alias("node"), F.col("least").alias("low"))
        .distinct()
    )


def _small_star(links: DataFrame) -> DataFrame:
    least = links.withColumn("least", F.min("low").over(Window.partitionBy("node")))
    turned = F.explode(F.array("node", "low")).alias("node")
    return least.select(turned, F.col("least").alias("low")).filter(F.col("node") != F.col("low")).distinct()


def _digest(links: DataFrame) -> tuple[int, int]:
    """Number of rows and XOR of their hashes, equal for equal sets; the same job makes links and digest."""
    row = links.agg(F.count("*"), F.bit_xor(F.xxhash64("node", "low"))).first()
    assert row is not None
    return row[0], row[1]
