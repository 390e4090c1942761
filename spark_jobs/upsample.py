"""Upsampling on Spark: the number of copies of each paper, from its metadata without its text."""

from collections.abc import Iterable, Iterator
from functools import partial, reduce
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lake.dataset import Output
from lake.schema import schema
from mixing.mixture import MixSettings
from mixing.split import TRAIN
from mixing.upsample import DATE, CitationScores, Quantiles, Scorer, Upsampling, counts
from spark_jobs.session import read_table

FIELDS = ("publication_types", "mesh", "journal", "published", "citations")
"""The fields of `meta` from which a score follows, in the order that `Scorer.score` takes."""

SCORED = schema("id string?, count int32?, categories list<string>?")
"""`count` is 0 where the paper is filtered out; `categories` then has the category that does so."""


def upsampled(settings: MixSettings) -> dict[str, Upsampling]:
    """The sources that upsample."""
    return {name: source.upsample for name, source in settings.sources.items() if source.upsample is not None}


def score(
    settings: dict[str, Upsampling], clean: Output, kept: DataFrame, spark: SparkSession
) -> tuple[DataFrame, dict[str, Quantiles]]:
    """Rows of SCORED for all documents of these sources whose `id` is in `kept`, and the quantiles of each source.

    The driver gets only two numbers for each source and year.
    """
    documents = read_table(spark, clean, "documents")
    about = documents.select("id", F.col("source").cast("string"), *(F.col(f"meta.{name}") for name in FIELDS))
    frames, bounds = [], {}
    for source, upsampling in settings.items():
        papers = about.where(F.col("source") == source).join(kept, "id")
        bounds[source] = _quantiles(papers, upsampling.citations)
        scored = partial(_score, scorer=Scorer(upsampling, bounds[source]))
        frames.append(papers.mapInArrow(scored, "id string, count int, categories array<string>"))
    return reduce(DataFrame.unionAll, frames), bounds


def _quantiles(papers: DataFrame, settings: CitationScores) -> Quantiles:
    """By year of publication, the least numbers of citations that the bottom and top shares do not exceed."""
    year = F.regexp_extract("published", f"^{DATE.pattern}", 1)
    known = papers.where("citations is not null").select(year.alias("year"), "citations")
    shares = {"bottom": settings.bottom, "top": 1 - settings.top}
    # Exact, unlike approx_percentile; its memory is a count for each distinct number of citations.
    least = (
        F.expr(f"percentile_disc({share}) within group (order by citations)").alias(name)
        for name, share in shares.items()
    )
    rows = known.where("year != ''").groupBy("year").agg(*least).orderBy("year").collect()
    return {row["year"]: (int(row["bottom"]), int(row["top"])) for row in rows}


def _score(batches: Iterable[pa.RecordBatch], scorer: Scorer) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        ids = batch["id"].to_pylist()
        columns = (batch[name].to_pylist() for name in FIELDS)
        scored = [scorer.score(*paper) for paper in zip(*columns, strict=True)]
        categories = [list(paper.categories) for paper in scored]
        yield pa.RecordBatch.from_pydict({"id": ids, "count": counts(ids, scored), "categories": categories}, SCORED)


def upsampling_figures(
    settings: dict[str, Upsampling], bounds: dict[str, Quantiles], rows: DataFrame
) -> dict[str, dict[str, Any]]:
    """By source, the numbers of train documents by count of copies (0 is filtered out) and by category, their tokens
    before and after upsampling, and the bounds of citations by year.

    Args:
        rows: source, split, tokens (with the end token), count, categories.
    """
    train = rows.where(F.col("split") == TRAIN).where(F.col("source").isin(list(settings)))
    figures: dict[str, dict[str, Any]] = {
        source: {
            "reference": upsampling.reference,
            "documents": {},
            "categories": {},
            "tokens_before": 0,
            "tokens_after": 0,
            "citations": {year: list(pair) for year, pair in bounds[source].items()},
        }
        for source, upsampling in settings.items()
    }
    sums = train.groupBy("source", "count").agg(F.count("*").alias("documents"), F.sum("tokens").alias("tokens"))
    for row in sums.orderBy("source", "count").collect():
        totals = figures[row["source"]]
        totals["documents"][str(row["count"])] = row["documents"]
        totals["tokens_before"] += row["tokens"]
        totals["tokens_after"] += row["tokens"] * row["count"]
    exploded = train.select("source", F.explode("categories").alias("category")).groupBy("source", "category")
    for row in exploded.agg(F.count("*").alias("documents")).orderBy("source", "category").collect():
        figures[row["source"]]["categories"][row["category"]] = row["documents"]
    return figures
