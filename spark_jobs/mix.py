"""Mix: select the documents to train on, how often, and those to hold out; compute the mixture's table."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, Row, SparkSession, Window
from pyspark.sql import functions as F

from lake.dataset import Output
from lake.decision import DECISION, Drop, Reason, decision
from lake.schema import schema
from lake.step import Body, Cost, Kind, Outcome, Step, account
from mixing.mixture import Budget, MixSettings, amounts, budgets, check_sources, copies, mixture_table
from mixing.split import TRAIN, VALIDATION, in_validation, stable_hash
from spark_jobs.session import read_table, session
from spark_jobs.upsample import score, upsampled, upsampling_figures

SELECTION = schema("id string, source string, split string, copies int32, tokens int32")
"""`tokens` are those of one copy, without its end of document."""

SUMMARY = "source string, split string, keep boolean, reason string, length long, documents long, tokens long"
"""`length` is the power of two under which `figures["lengths"]` counts a document, 0 if it is dropped."""

Lengths = dict[str, dict[str, dict[str, dict[str, int]]]]

BUCKET_BITS = 10
"""Each source's random order is cut into 2^10 stretches, so that no single task must compute a running sum."""


def mix(step: Step[MixSettings]) -> Outcome:
    """Decide on every document that decontamination kept, and select those to train on and those to hold out.

    Parts of `selection` and `decisions` hold the same documents as the clean part of their number. The driver sees sums
    by source and stretch, never a document. Upsampling reads `meta` of the clean documents; without it, they are not
    read.

    Raises:
        UserError: the corpus has a source that the settings lack.
    """
    settings, spark = step.settings, session()
    sources = step.input("tokenizer").output.sources("counts")
    check_sources(settings, sources)
    for name in ("selection", "decisions"):
        step.output.delete(name)
    kept = read_table(spark, step.input("kept").output, "decisions").where("keep").select("id")
    rows = _documents(step, kept, spark)
    upsampling = {source: scheme for source, scheme in upsampled(settings).items() if source in sources}
    if upsampling:
        scored, bounds = score(upsampling, step.input("documents").output, kept, spark)
        rows = rows.join(scored, "id", "left").fillna(1, "count")
    else:
        bounds = {}
        rows = rows.withColumns({"count": F.lit(1), "categories": F.lit(None).cast("array<string>")})
    rows = rows.persist()
    try:
        stretches = _train_tokens(rows)
        planned = budgets(settings, {source: int(tokens.sum()) for source, tokens in stretches.items()})
        # A ready mixture may name sources that this corpus lacks.
        planned = {source: budget for source, budget in planned.items() if source in sources or budget.requested}
        before = {source: np.cumsum(tokens) - tokens for source, tokens in stretches.items()}
        writer = SelectionWriter(step.output, step.name, planned, before)
        groups = _in_random_order(rows).groupBy("source", "part")
        written = groups.applyInArrow(_by_part(writer), SUMMARY).groupBy("source", "split", "keep", "reason", "length")
        summary = written.agg(F.sum("documents").alias("documents"), F.sum("tokens").alias("tokens")).collect()
        figures = upsampling_figures(upsampling, bounds, rows) if upsampling else {}
    finally:
        rows.unpersist()
    kept_rows = (row for row in summary if row["keep"])
    taken = amounts((row["source"], row["split"], row["documents"], row["tokens"]) for row in kept_rows)
    table = mixture_table(taken, planned)
    missing = {source: budget.missing for source, budget in planned.items() if budget.missing}
    accounts = account(row.asDict() | {"count": row["documents"]} for row in summary)
    return Outcome(
        accounts=accounts,
        figures={
            "mixture": table,
            "missing_tokens": missing,
            "lengths": _lengths(summary),
            "upsampling": figures,
        },
    )


# From `python -m benchmarks.mix`: the full mix, 21.8 M documents.
MIX = Body[MixSettings](mix, Kind.MIXTURE, "spark", 4, Cost(start=9, documents=42_000, row_bytes=37))


def _documents(step: Step[MixSettings], kept: DataFrame, spark: SparkSession) -> DataFrame:
    """Kept documents with id, source, clean part, split, tokens with their end, and place in the random order."""
    shares = {source: mixed.validation for source, mixed in step.settings.sources.items()}
    seed = step.seed
    assert seed is not None

    @F.arrow_udf("boolean")
    def held_out(clusters: pa.Array, sources: pa.Array) -> pa.Array:
        fractions = np.array([shares[source] for source in sources.to_pylist()], dtype=np.float64)
        return pa.array(in_validation(clusters.to_pylist(), fractions, seed))

    @F.arrow_udf("long")
    def order(ids: pa.Array) -> pa.Array:
        return pa.array(stable_hash(ids.to_pylist(), f"mix:{seed}"))

    part = F.regexp_extract(F.col("_metadata.file_path"), r"part-(\d+)\.parquet$", 1).cast("int")
    counts = read_table(spark, step.input("tokenizer").output, "counts").select(
        "id", F.col("source").cast("string"), part.alias("part"), "tokens"
    )
    clusters = read_table(spark, step.input("clusters").output, "clusters").select("id", "cluster")
    sources = read_table(spark, step.input("tokenizer").output, "counts", ["id", "source"])
    return (
        counts.join(kept, "id")
        .join(clusters, "id")
        .join(_named_by_others(clusters, sources), "id", "left")
        .select(
            "id",
            "source",
            "part",
            F.when(held_out("cluster", F.coalesce("first", "source")), VALIDATION).otherwise(TRAIN).alias("split"),
            # A document without tokens is not written, so it has no end either.
            F.when(F.col("tokens") > 0, F.col("tokens") + 1).otherwise(0).cast("long").alias("tokens"),
            order("id").alias("order"),
        )
    )


def _named_by_others(clusters: DataFrame, sources: DataFrame) -> DataFrame:
    """For documents whose cluster has another document's id: the source of its first document, as (id, first).

    The first document, kept or not, is the one whose id names the cluster or, if that belongs to an earlier corpus, the
    smallest id of this corpus. A document whose id names its cluster is the first, so only few need a look-up.
    """
    others = clusters.where(F.col("cluster") != F.col("id"))
    members = others.unionByName(others.select(F.col("cluster").alias("id"), "cluster"))
    first = F.min_by(F.col("source").cast("string"), "id").alias("first")
    firsts = members.join(sources, "id").groupBy("cluster").agg(first)
    return others.join(firsts, "cluster").select("id", "first")


def _train_tokens(rows: DataFrame) -> dict[str, npt.NDArray[np.int64]]:
    """Train tokens of each source by stretch of its random order, including the copies of upsampling."""
    stretch = F.shiftright("order", 63 - BUCKET_BITS).cast("int").alias("stretch")
    train = rows.where(F.col("split") == TRAIN).withColumn("size", F.col("tokens") * F.col("count"))
    sums = train.groupBy("source", stretch).agg(F.sum("size").alias("tokens"))
    tokens: dict[str, npt.NDArray[np.int64]] = {}
    for row in sums.collect():
        tokens.setdefault(row["source"], np.zeros(1 << BUCKET_BITS, dtype=np.int64))[row["stretch"]] = row["tokens"]
    return tokens


def _in_random_order(rows: DataFrame) -> DataFrame:
    """Add each document's stretch and, as `before`, the tokens ahead of it in the stretch, with their copies.

    `categories` gives way to `filtered`, the category that filters a document out.
    """
    rows = rows.withColumn("stretch", F.shiftright("order", 63 - BUCKET_BITS).cast("int"))
    ahead = (
        Window.partitionBy("source", "split", "stretch")
        .orderBy("order", "id")
        .rowsBetween(Window.unboundedPreceding, Window.currentRow)
    )
    size = F.col("tokens") * F.col("count")
    filtered = F.when(F.col("count") == 0, F.element_at("categories", 1))
    rows = rows.withColumns({"before": F.sum(size).over(ahead) - size, "filtered": filtered})
    return rows.drop("order", "categories")


def _by_part(writer: "SelectionWriter") -> Callable[[tuple[pa.Scalar, ...], pa.Table], pa.Table]:
    def write(key: tuple[pa.Scalar, ...], rows: pa.Table) -> pa.Table:
        return writer.write(key[0].as_py(), key[1].as_py(), rows)

    return write


@dataclass(frozen=True)
class SelectionWriter:
    """Decides on the documents of a part and writes its `selection` and `decisions`.

    `before` holds the train tokens ahead of each stretch by source, including the copies of upsampling.
    """

    output: Output
    step: str
    planned: dict[str, Budget]
    before: dict[str, npt.NDArray[np.int64]]

    def write(self, source: str, part: int, rows: pa.Table) -> pa.Table:
        """Returns sums of the decisions, in the shape of SUMMARY."""
        rows = rows.sort_by("id")
        tokens, counts = rows["tokens"].to_numpy(), rows["count"].to_numpy()
        sizes = tokens * counts
        train = np.asarray(pc.equal(rows["split"], TRAIN))
        before = rows["before"].to_numpy()
        if source in self.before:
            before = before + self.before[source][rows["stretch"].to_numpy()]
        repeats = np.where(train, counts * copies(sizes, before, self.planned[source]), 1)
        repeats = np.where(sizes > 0, repeats, 0).astype(np.int32)
        why = zip(repeats.tolist(), rows["filtered"].to_pylist(), sizes.tolist(), before.tolist(), strict=True)
        drops = [None if count else self._drop(source, *document) for count, *document in why]
        ids = rows["id"].to_pylist()
        decided = [decision(self.step, id_, source, drop) for id_, drop in zip(ids, drops, strict=True)]
        decisions = pa.Table.from_pylist(decided, DECISION)
        kept = pa.array(repeats > 0)
        lengths = np.where(repeats > 0, _power_of_two(np.maximum(tokens, 1)), 0)
        selection = rows.select(["id", "split"]).append_column("copies", pa.array(repeats))
        selection = selection.append_column("tokens", pa.array((tokens - 1).astype(np.int32))).filter(kept)
        self.output.write_part("decisions", part, decisions, source)
        self.output.write_part(
            "selection", part, _with_source(selection, source).select(SELECTION.names).cast(SELECTION), source
        )
        summary = pa.table(
            {
                "split": rows["split"],
                "keep": kept,
                "reason": decisions["reason"],
                "length": lengths,
                "documents": pa.array(np.ones(len(rows), dtype=np.int64)),
                "tokens": pa.array(tokens * repeats),
            }
        )
        keys = ["split", "keep", "reason", "length"]
        summed = summary.group_by(keys).aggregate([("documents", "sum"), ("tokens", "sum")])
        summed = summed.rename_columns({"documents_sum": "documents", "tokens_sum": "tokens"})
        return _with_source(summed, source).select(["source", *keys, "documents", "tokens"])

    def _drop(self, source: str, filtered: str | None, size: int, position: int) -> Drop:
        """Why a document gets no copy. `size` counts its tokens, including the copies of upsampling."""
        if filtered is not None:
            return Drop(Reason.FILTERED_OUT, f"category={filtered}")
        if not size:
            return Drop(Reason.EMPTY, "tokens=0")
        budget = self.planned[source].tokens
        return Drop(Reason.OVER_BUDGET, f"budget={budget} position={position} tokens={size}", float(position))


def _with_source(table: pa.Table, source: str) -> pa.Table:
    return table.append_column("source", pa.array([source] * len(table), pa.string()))


def _lengths(summary: Iterable[Row]) -> Lengths:
    """By source and split: for each power of two, how many documents have at least that many tokens and less than twice
    as many, and their tokens.

    The length is that of one copy with its end. `documents` counts each document once, `tokens` counts all its copies.
    """
    lengths: Lengths = {}
    for row in sorted((row for row in summary if row["keep"]), key=lambda row: (*row[:2], row["length"])):
        counts = {"documents": row["documents"], "tokens": row["tokens"]}
        lengths.setdefault(row["source"], {}).setdefault(row["split"], {})[str(row["length"])] = counts
    return lengths


def _power_of_two(tokens: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The largest power of two up to each number ≥ 1. Exact, because it comes from the exponent."""
    return np.int64(1) << (np.frexp(tokens)[1].astype(np.int64) - 1)
