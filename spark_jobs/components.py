"""Connected components of a graph of any shape and size, without bringing it to one machine."""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F


def components(edges: DataFrame) -> DataFrame:
    """Rows (id, cluster) for every id in the rows (a, b) of `edges`; a cluster is named by its smallest id.

    Alternating large-star and small-star (Kiveris et al. 2014): each round points the larger neighbours of every node
    at its least neighbour, then the smaller ones, until each component is a star around its least id. A path of n
    nodes takes O(log² n) rounds. Every round is checkpointed on the executors, so plans do not grow.
    """
    low, high = F.least("a", "b"), F.greatest("a", "b")
    links = edges.filter(F.col("a") != F.col("b")).select(high.alias("node"), low.alias("low")).distinct()
    links = links.localCheckpoint(eager=False)
    before = _digest(links)
    while True:
        links = _small_star(_large_star(links)).localCheckpoint(eager=False)
        after = _digest(links)
        if after == before:
            break
        before = after
    stars = links.select(F.col("node").alias("id"), F.col("low").alias("cluster"))
    centres = links.select(F.col("low").alias("id"), F.col("low").alias("cluster")).distinct()
    return stars.unionByName(centres)


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
    """Number and mixed hashes of the rows: equal for equal sets of links, and made by the same job that makes them."""
    row = links.agg(F.count("*"), F.bit_xor(F.xxhash64("node", "low"))).first()
    assert row is not None
    return row[0], row[1]
