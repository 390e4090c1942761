"""Which documents are duplicates, and of which document that stays."""

from collections.abc import Iterable, Iterator
from functools import partial, reduce
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from dedup.buckets import CANDIDATE, candidates
from dedup.cluster import Likeness, star
from dedup.leaders import MEMBER, PAIR, lead
from dedup.minhash import jaccard
from dedup.permutations import permutations
from dedup.settings import DedupSettings
from dedup.sign import COLUMNS, EARLIER, SIGNATURES, SIGNED, sets, sign
from dedup.titles import SITES_WITH_OVERVIEWS, Titled, TitleDrop, title_drops
from lake.dataset import Output
from lake.decision import DECISION
from lake.schema import schema
from lake.step import Account, Body, Cost, Kind, Outcome, Step, account
from spark_jobs.components import components
from spark_jobs.session import read_table, reader, session, spark_path, write_table

STAGING = ".staging"
WRITTEN = "_SUCCESS"
"""The file that Spark writes last, which marks a whole table."""

ROWS_PER_PART = 1_000_000
ROWS_PER_BATCH = 10_000
SMALL = 1_000_000
"""Greatest number of ids, some 100 MB, that every executor gets. More are joined by a shuffle of both sides."""

STAR = schema("id string?, survivor string?, jaccard float64?")
"""A near-duplicate that is dropped, its survivor, and their Jaccard."""


def dedup(step: Step[DedupSettings]) -> Outcome:
    """Write `decisions` and `clusters` for every clean document; the rule is that of tests/dedup/reference.py.

    `clusters` has (id, cluster): the least id among the document's duplicates of any kind, those in earlier corpora
    included, whatever the policy. The rule of a drop is its `Likeness`, its score the exact Jaccard of the document
    and its survivor. `signatures` stays where the settings keep it.
    """
    settings, output, spark = step.settings, step.output, session()
    clean = step.input("documents").output
    signed = _signed(clean, output, settings, spark)
    known = _with_earlier(signed, settings)
    titled = _titled(clean, known.filter("`order` >= 0"), settings).localCheckpoint()
    others = known.join(_small(titled.select("id")), "id", "left_anti")
    copies = _copies(others).localCheckpoint()
    originals = others.join(_small(copies.select("id")), "id", "left_anti")
    proposed = _stage(_candidates(originals, settings), output, "candidates")
    numbers = proposed.filter("a is not null").select("a", "b").distinct()
    pairs = _stage(_jaccard(numbers, known, "number"), output, "pairs")
    compared = pairs.filter(F.col("jaccard") >= settings.threshold)
    near = compared.unionByName(_led(proposed, originals, settings)).dropDuplicates(["a", "b"]).localCheckpoint()
    links = copies.select(F.col("representative").alias("a"), F.col("id").alias("b")).unionByName(near.select("a", "b"))
    clusters = components(links).localCheckpoint()
    ordered = clusters.join(known.select("id", "order"), "id")
    under = {"star": _stars(near, ordered).localCheckpoint(), "transitive": _best(near, ordered).localCheckpoint()}
    removed = under[settings.policy]
    by_text = _drops(removed, copies)
    by_text = (by_text.unionByName(_same_ids(signed, known)) if settings.earlier else by_text).localCheckpoint()
    drops = _score(_with_titles(by_text, titled), known)
    clusters = _with_title_clusters(clusters, titled).localCheckpoint()

    parts = 1 + signed.count() // ROWS_PER_PART
    write_table(_decisions(signed, drops, step.name), output, "decisions", parts)
    cluster = F.coalesce("cluster", "id").alias("cluster")
    write_table(signed.select("id").join(clusters, "id", "left").select("id", cluster), output, "clusters", parts)
    decisions = read_table(spark, output, "decisions")
    accounts = _accounts(decisions, signed)
    figures = _figures(read_table(spark, output, "clusters"), proposed, pairs, settings)
    # `transitive` removes all that `star` removes.
    further = under["transitive"].join(under["star"], "id", "left_anti")
    figures["only_transitive_removes"] = further.join(signed, "id", "left_semi").count()
    figures |= _earlier_figures(known, decisions, settings)
    output.delete(STAGING)
    if not settings.keep_signatures:
        output.delete(SIGNATURES)
    return Outcome(accounts=accounts, figures=figures)


def check(step: Step[DedupSettings]) -> None:
    """Raises UserError if the installed datasketch gives other signatures than ours."""
    if step.settings.scheme == "datasketch":
        permutations(step.settings.ngram, step.settings.bands.slots)


# docs/dedup.md, by `python -m benchmarks.dedup`: the whole step at a million documents; signatures, 75,000 documents of
# 2.8 KB a second; signatures and shingles lie on disk while the step runs.
COST = Cost(start=15, documents=7_376, megabytes=210, row_bytes=55, scratch_bytes=1.0)
DEDUP = Body[DedupSettings](dedup, Kind.DEDUPLICATION, "spark", 6, COST, check)


def _small(rows: DataFrame) -> DataFrame:
    """The rows, which are computed already, marked for a join without a shuffle of the other side if they are few."""
    return F.broadcast(rows) if rows.count() <= SMALL else rows


def _signed(clean: Output, output: Output, settings: DedupSettings, spark: SparkSession) -> DataFrame:
    """The table `signatures`: rows of SIGNED in the parts of the clean documents. No text passes through the JVM."""
    missing = [name for name in clean.parts("documents") if not output.exists(SIGNATURES, name)]
    if missing:
        parts = spark.sparkContext.parallelize(missing, len(missing))
        parts.foreach(partial(_sign_part, clean=clean, output=output, settings=settings))
    return read_table(spark, output, SIGNATURES).withColumn("source", F.col("source").cast("string"))


def _sign_part(name: str, clean: Output, output: Output, settings: DedupSettings) -> None:
    rows = clean.read_part("documents", name, list(COLUMNS))
    index, source = Output.part_place(name)
    with output.part_writer(SIGNATURES, index, SIGNED, source, plain=True) as store:
        for batch in sign(rows.to_batches(max_chunksize=ROWS_PER_BATCH), settings):
            store(pa.Table.from_batches([batch]))


def _with_earlier(signed: DataFrame, settings: DedupSettings) -> DataFrame:
    """The documents, and before all of them in rank those that stayed of earlier corpora. Each id is there once."""
    if not settings.earlier:
        return signed
    kept = (
        _kept(signed.sparkSession, Output(folder)).withColumn("place", F.lit(place))
        for place, folder in enumerate(settings.earlier)
    )
    latest = Window.partitionBy("id").orderBy(F.desc("place"))
    ranked = reduce(DataFrame.unionByName, kept).withColumn("rank", F.row_number().over(latest))
    earlier = ranked.filter("rank = 1").select(*signed.columns)
    fresh = signed.join(earlier.select("id"), "id", "left_anti")
    return fresh.unionByName(earlier.withColumn("order", F.col("order") - EARLIER)).localCheckpoint()


def _kept(spark: SparkSession, earlier: Output) -> DataFrame:
    kept = read_table(spark, earlier, "decisions").filter("keep").select("id")
    return read_table(spark, earlier, SIGNATURES).join(kept, "id", "left_semi")


def _same_ids(signed: DataFrame, known: DataFrame) -> DataFrame:
    """Rows as of `_drops` for documents whose id an earlier corpus has: its document of that id is their survivor."""
    earlier = known.filter("`order` < 0").select(
        "id", F.col("content").alias("before"), F.col("shingles").alias("left")
    )
    both = signed.join(earlier, "id")
    kind = F.when(F.col("content") == F.col("before"), Likeness.EXACT.value).otherwise(Likeness.ID.value).alias("kind")
    sides = both.select(F.col("id").alias("a"), F.col("id").alias("b"), "left", F.col("shingles").alias("right"))
    measured = sides.mapInArrow(_measure, from_arrow_schema(PAIR)).select(F.col("a").alias("id"), "jaccard")
    return both.select("id", F.col("id").alias("survivor"), kind).join(measured, "id")


def _stage(frame: DataFrame, output: Output, name: str) -> DataFrame:
    """Write rows that several later stages read, so that a lost executor or a killed run does not lose them."""
    path = spark_path(output, STAGING, name)
    if not output.exists(STAGING, name, WRITTEN):
        frame.write.mode("overwrite").option("compression", "none").parquet(path)
    return reader(frame.sparkSession).schema(frame.schema).parquet(path)


def _copies(known: DataFrame) -> DataFrame:
    """Documents with the words or an id of a preferred document: (id, representative, kind)."""
    key = F.explode(F.concat(F.array("content"), "keys")).alias("key")
    holders = known.select("id", "order", key)
    best = F.min_by("id", F.struct("order", "id")).alias("a")
    shared = holders.groupBy("key").agg(best, F.count("*").alias("holders")).filter("holders > 1")
    same = components(holders.join(shared, "key").select("a", F.col("id").alias("b")))
    group = Window.partitionBy("cluster").orderBy("order", "id")
    alike = F.col("content") == F.first("content").over(group)
    return (
        same.join(known.select("id", "order", "content"), "id")
        .select(
            "id",
            "order",
            F.first("id").over(group).alias("representative"),
            F.when(alike, Likeness.EXACT.value).otherwise(Likeness.ID.value).alias("kind"),
        )
        .filter((F.col("id") != F.col("representative")) & (F.col("order") >= 0))
        .drop("order")
    )


def _candidates(known: DataFrame, settings: DedupSettings) -> DataFrame:
    """Rows of dedup.buckets.CANDIDATE: each pair once per band that it shares, and crowded buckets."""
    band = F.explode(F.arrays_zip("bands", "sketches")).alias("band")
    entries = known.select("order", "number", "size", band).select(
        F.col("band.bands").alias("band"), "order", "number", "size", F.col("band.sketches").alias("sketch")
    )
    compare = partial(candidates, threshold=settings.threshold, limit=settings.bucket_limit)
    return (
        entries.repartition("band")
        .sortWithinPartitions("band", "order", "number")
        .mapInArrow(compare, from_arrow_schema(CANDIDATE))
    )


def _jaccard(pairs: DataFrame, known: DataFrame, name: str) -> DataFrame:
    """Rows of PAIR for pairs (a, b) of values of the column `name`.

    The preferred document of a pair of numbers comes first; of equal ranks, that with the lesser id, not number.
    """
    place = F.struct("order", "id")
    left = known.select(F.col(name).alias("a"), place.alias("of_a"), F.col("shingles").alias("left"))
    right = known.select(F.col(name).alias("b"), place.alias("of_b"), F.col("shingles").alias("right"))
    sides = pairs.join(left, "a").join(right, "b").filter("of_a.id <> of_b.id")
    if name == "number":
        sides = sides.withColumns({"of_a": F.least("of_a", "of_b"), "of_b": F.greatest("of_a", "of_b")})
    sides = sides.select(F.col("of_a.id").alias("a"), F.col("of_b.id").alias("b"), "left", "right")
    return sides.mapInArrow(_measure, from_arrow_schema(PAIR))


def _measure(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        values = pa.array(jaccard(*sets(batch["left"]), *sets(batch["right"])))
        yield pa.RecordBatch.from_arrays([batch["a"], batch["b"], values], schema=PAIR)


def _best(near: DataFrame, ordered: DataFrame) -> DataFrame:
    """Rows of STAR under the policy `transitive`: all but the most preferred are dropped. Without an edge to the
    survivor, the Jaccard is null.
    """
    linked = near.select(F.explode(F.array("a", "b")).alias("id")).distinct()
    group = Window.partitionBy("cluster").orderBy("order", "id")
    best = linked.join(ordered, "id").select("id", F.first("id").over(group).alias("survivor"))
    edges = near.select(F.col("a").alias("survivor"), F.col("b").alias("id"), "jaccard")
    dropped = best.filter(F.col("id") != F.col("survivor"))
    return dropped.join(edges, ["id", "survivor"], "left").select(*STAR.names)


def _led(proposed: DataFrame, originals: DataFrame, settings: DedupSettings) -> DataFrame:
    """Rows of PAIR from dedup.leaders. Documents that crowded buckets link make a crowd, which one task takes."""
    bands = proposed.filter("crowd is not null").select("band").distinct().localCheckpoint()
    if bands.isEmpty():
        return originals.sparkSession.createDataFrame([], from_arrow_schema(PAIR))
    inside = originals.select("id", F.explode("bands").alias("band")).join(F.broadcast(bands), "band")
    band = F.col("band").cast("string")
    held = inside.groupBy("id").agg(F.min(band).alias("first"), F.collect_list(band).alias("all")).localCheckpoint()
    # There are few buckets and many documents, so components are those of buckets.
    links = held.select(F.col("first").alias("a"), F.explode("all").alias("b")).distinct()
    joined = components(links).select(F.col("id").alias("first"), "cluster")
    crowd = F.coalesce("cluster", "first").alias("crowd")
    crowds = held.join(F.broadcast(joined), "first", "left").select("id", crowd).localCheckpoint()
    rows = originals.join(_small(crowds), "id").select(*MEMBER.names)
    return (
        rows.repartition("crowd")
        .sortWithinPartitions("crowd", "order", "id")
        .mapInArrow(partial(lead, threshold=settings.threshold), from_arrow_schema(PAIR))
    )


def _stars(near: DataFrame, ordered: DataFrame) -> DataFrame:
    """Rows of STAR under the policy `star`."""
    edges = near.join(ordered.withColumnRenamed("id", "a"), "a").select("cluster", "order", "a", "b", "jaccard")
    return (
        edges.repartition("cluster")
        .sortWithinPartitions("cluster", "order", "a")
        .mapInArrow(_remove, from_arrow_schema(STAR))
    )


def _remove(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """dedup.cluster.star for each cluster of edges sorted by cluster and by preference of `a`."""
    names = ("cluster", "a", "b", "jaccard")
    edges = chain.from_iterable(zip(*(batch[name].to_pylist() for name in names), strict=True) for batch in batches)
    clusters = (star(edge[1:] for edge in cluster) for _, cluster in groupby(edges, itemgetter(0)))
    removed = chain.from_iterable(clusters)
    while rows := list(islice(removed, ROWS_PER_BATCH)):
        yield pa.RecordBatch.from_pylist([dict(zip(STAR.names, row, strict=True)) for row in rows], schema=STAR)


def _drops(removed: DataFrame, copies: DataFrame) -> DataFrame:
    """The drops (id, survivor, jaccard or null, kind). A copy has the survivor of its representative, if any."""
    onward = removed.withColumnRenamed("id", "representative")
    exact = F.col("kind") == Likeness.EXACT.value
    copied = copies.join(onward, "representative", "left").select(
        "id",
        F.coalesce("survivor", "representative").alias("survivor"),
        F.when(exact & F.col("survivor").isNull(), 1.0).when(exact, F.col("jaccard")).alias("jaccard"),
        "kind",
    )
    return removed.withColumn("kind", F.lit(Likeness.NEAR.value)).unionByName(copied)


def _titled(clean: Output, signed: DataFrame, settings: DedupSettings) -> DataFrame:
    """The documents that leave by their title: (id, survivor, kind). One task takes a site."""
    pages = read_table(signed.sparkSession, clean, "documents", ["id", "source", "title", "url", "meta.site"])
    pages = pages.filter(F.col("source").isin(*settings.titles) & F.col("site").isNotNull())
    rows = pages.join(signed.select("id", "order"), "id").select("site", *Titled._fields)
    return rows.groupBy("site").applyInArrow(_by_title, "id string, survivor string, kind string")


def _by_title(key: tuple[pa.Scalar, ...], rows: pa.Table) -> pa.Table:
    titles = (Titled(**row) for row in rows.select(Titled._fields).to_pylist())
    drops = list(title_drops(titles, overviews=key[0].as_py() in SITES_WITH_OVERVIEWS))
    schema = pa.schema([(name, pa.string()) for name in TitleDrop._fields])
    return pa.Table.from_pylist([drop._asdict() for drop in drops], schema=schema)


def _with_titles(by_text: DataFrame, titled: DataFrame) -> DataFrame:
    """All drops. Where the survivor of a title was dropped by its text, its own survivor takes its place."""
    onward = by_text.select(F.col("id").alias("survivor"), F.col("survivor").alias("last"))
    survivor = F.coalesce("last", "survivor").alias("survivor")
    by_title = titled.join(onward, "survivor", "left").select("id", survivor, "kind")
    return by_text.unionByName(by_title.withColumn("jaccard", F.lit(None).cast("double")))


def _with_title_clusters(clusters: DataFrame, titled: DataFrame) -> DataFrame:
    """Clusters (id, cluster), merged where a title links them."""
    sides = titled.join(clusters, "id", "left").select(
        F.coalesce("cluster", "id").alias("a"), F.col("survivor").alias("id")
    )
    pairs = sides.join(clusters, "id", "left").select("a", F.coalesce("cluster", "id").alias("b"))
    merged = components(pairs).select(F.col("id").alias("cluster"), F.col("cluster").alias("whole"))
    # A document that only its title links is not in `clusters` yet.
    titled_only = merged.join(clusters, "cluster", "left_anti").select(
        F.col("cluster").alias("id"), F.col("whole").alias("cluster")
    )
    joined = clusters.join(merged, "cluster", "left").select("id", F.coalesce("whole", "cluster").alias("cluster"))
    return joined.unionByName(titled_only)


def _score(drops: DataFrame, known: DataFrame) -> DataFrame:
    """The drops with the Jaccard of each in `score`."""
    unknown = drops.filter("jaccard is null").select(F.col("survivor").alias("a"), F.col("id").alias("b"))
    measured = _jaccard(unknown, known, "id").select(F.col("b").alias("id"), F.col("jaccard").alias("measured"))
    return drops.join(measured, "id", "left").withColumn("score", F.coalesce("jaccard", "measured"))


def _decisions(signed: DataFrame, drops: DataFrame, step: str) -> DataFrame:
    columns = {
        "step": F.lit(step),
        "keep": F.col("kind").isNull(),
        "reason": F.coalesce(*(F.when(F.col("kind") == kind.value, kind.reason.value) for kind in Likeness)),
        "rule": F.col("kind"),
        "evidence": F.coalesce(*(F.when(F.col("kind") == kind.value, kind.evidence) for kind in Likeness)),
        "native": F.lit(None).cast("string"),
    }
    return signed.select("id", "source").join(drops, "id", "left").withColumns(columns).select(*DECISION.names)


def _accounts(decisions: DataFrame, signed: DataFrame) -> dict[str, Account]:
    decided = decisions.groupBy("source", "keep", "reason").count().collect()
    entered = {row["source"]: row["count"] for row in signed.groupBy("source").count().collect()}
    return account((row.asDict() for row in decided), entered)


def _earlier_figures(known: DataFrame, decisions: DataFrame, settings: DedupSettings) -> dict[str, Any]:
    """The number of documents of earlier corpora, and of drops in this one whose survivor is one of them."""
    if not settings.earlier:
        return {}
    earlier = known.filter("`order` < 0").select("id")
    removed = decisions.select(F.col("survivor").alias("id")).join(earlier, "id", "left_semi").count()
    return {"earlier": {"documents": earlier.count(), "removed_for": removed}}


def _figures(clusters: DataFrame, proposed: DataFrame, pairs: DataFrame, settings: DedupSettings) -> dict[str, Any]:
    sizes = clusters.groupBy("cluster").count().groupBy(F.col("count").alias("size")).count().collect()
    histogram = {str(size): count for size, count in sorted((row["size"], row["count"]) for row in sizes)}
    size = F.col("crowd")
    crowds = proposed.agg(F.count(size), F.coalesce(F.sum(size), F.lit(0)), F.coalesce(F.max(size), F.lit(0))).first()
    compared = pairs.agg(F.count("*"), F.count_if(F.col("jaccard") >= settings.threshold)).first()
    assert crowds is not None
    assert compared is not None
    return {
        "bands": settings.bands.bands,
        "rows": settings.bands.rows,
        "curve": settings.bands.curve(),
        "candidates": compared[0],
        "verified": compared[1],
        "crowded_buckets": {"buckets": crowds[0], "documents": crowds[1], "largest": crowds[2]},
        "clusters_by_size": histogram,
    }
