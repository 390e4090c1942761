"""The metadata that all sources have about each document's paper, joined by ids. No text is read or moved."""

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain

import pyarrow as pa
from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from ingest.metadata import KNOWN, METADATA, PAPER
from lake.dataset import Output
from spark_jobs.session import read_table

IDS = ("corpusid", "pmid", "pmcid", "doi")
"""The ids that match a document with its paper, the surest first."""

IS_TEXT = ("title", "license", "redistributable")
"""Metadata that Semantic Scholar has about its own texts only."""


def part_of(key: str, parts: Column) -> Column:
    """The part of the clean documents to which an id belongs."""
    return F.pmod(F.xxhash64(key), parts).cast("int")


def write_known(read: Output, output: Output, parts: dict[str, int], spark: SparkSession) -> None:
    """Write the table `known`, partitioned by source, in the parts of the clean documents.

    Args:
        parts: The number of parts of each source.
    """
    places = [(source, part) for source, count in parts.items() for part in range(count)]
    if all(output.has_part("known", part, source) for source, part in places):
        return
    first = {source: places.index((source, 0)) for source in parts}
    counts, starts = (F.create_map(*map(F.lit, chain.from_iterable(of.items()))) for of in (parts, first))
    place = (starts[F.col("source")] + part_of("id", counts[F.col("source")])).cast("int")
    documents = _documents(read, spark)
    # The join reads papers twice, first for their ids alone.
    papers = _papers(_metadata(read, documents, spark)).persist(StorageLevel.DISK_ONLY)
    placed = known(documents, papers).withColumn("place", place)
    ordered = placed.repartitionById(len(places), "place").sortWithinPartitions("id")
    write = partial(_write_part, output=output, places=places)
    ordered.select("place", *KNOWN.names).mapInArrow(write, "place int").collect()
    papers.unpersist()
    for source, part in places:
        if not output.has_part("known", part, source):
            output.write_part("known", part, KNOWN.empty_table(), source)


def known(documents: DataFrame, papers: DataFrame) -> DataFrame:
    """Rows of KNOWN and `source`, one for each document whose paper is known."""
    matched = _match(documents, papers).join(papers, "paper")
    # Only texts of Semantic Scholar, which come without a title, take one from here.
    from_s2 = F.col("rank") == IDS.index("corpusid")
    return matched.withColumns({name: F.when(from_s2, F.col(name)) for name in IS_TEXT}).select("source", *KNOWN.names)


def _documents(read: Output, spark: SparkSession) -> DataFrame:
    meta = [F.col(f"meta.{field.name}").alias(field.name) for field in PAPER]
    return read_table(spark, read, "documents").select("id", F.col("source").cast("string"), *meta)


def _metadata(read: Output, documents: DataFrame, spark: SparkSession) -> DataFrame:
    """Rows of METADATA: records without a text, and the metadata of MEDLINE's own documents."""
    records = read_table(spark, read, "metadata", METADATA.names)
    medline = documents.where(F.col("revision").isNotNull()).withColumns(
        {
            "origin": F.lit("medline"),
            "deleted": F.lit(False),
            "title": F.lit(None).cast("string"),
            "license": F.lit(None).cast("string"),
            "redistributable": F.lit(None).cast("boolean"),
        }
    )
    return records.unionByName(medline.select(*METADATA.names))


def _papers(metadata: DataFrame) -> DataFrame:
    """One row for each paper, named in `paper`: Semantic Scholar's metadata with MEDLINE's last revision by PMID."""
    columns = [name for name in METADATA.names if name != "origin"]
    # The hash makes the choice between equal revisions independent of the order of arrival.
    last = F.desc("revision"), F.xxhash64(*columns).desc()
    medline = _first(metadata.where("origin = 'medline' and pmid is not null"), ("pmid",), *last)
    s2 = _first(metadata.where("origin = 's2'"), ("corpusid",), *last)
    a, b = s2.alias("a"), medline.alias("b")
    both = a.join(b, F.col("a.pmid") == F.col("b.pmid"), "full")
    shared = [F.coalesce(f"a.{name}", f"b.{name}").alias(name) for name in ("pmid", "pmcid", "doi", "corpusid")]
    shared += [F.coalesce(f"b.{name}", f"a.{name}").alias(name) for name in ("journal", "published")]
    return both.select(
        F.concat_ws("/", F.coalesce("a.pmid", "b.pmid"), F.col("a.corpusid").cast("string")).alias("paper"),
        *shared,
        F.col("b.publication_types").alias("publication_types"),
        F.col("a.publication_types").alias("types_s2"),
        "b.mesh",
        "a.citations",
        "b.revision",
        "b.deleted",
        *(f"a.{name}" for name in IS_TEXT),
    )


def _match(documents: DataFrame, papers: DataFrame) -> DataFrame:
    """The paper of each document (source, id, paper, rank), where `rank` is the place in IDS of the id that matched.

    Of several papers, that with the surest id counts, then the last revised.
    """
    by_id = _keys(documents, "source", "id").join(
        _keys(papers, "paper", F.coalesce("revision", F.lit("")).alias("revised")).drop("rank"), "key"
    )
    best = _first(by_id, ("source", "id"), F.asc("rank"), F.desc("revised"), F.desc("paper"))
    return best.select("source", "id", "paper", "rank")


def _first(rows: DataFrame, keys: tuple[str, ...], *order: Column) -> DataFrame:
    """The first row of each key. This sorts rows once, where an aggregate of whole rows would sort them twice."""
    place = F.row_number().over(Window.partitionBy(*keys).orderBy(*order))
    return rows.withColumn("turn", place).where("turn = 1").drop("turn")


def _keys(rows: DataFrame, *columns: str | Column) -> DataFrame:
    """A row for each id that a row has, with its place in IDS as `rank` and its `key`."""
    each = [
        F.when(
            F.col(name).isNotNull(),
            F.struct(
                F.lit(rank).alias("rank"),
                F.concat(F.lit(f"{name}:"), F.lower(F.col(name).cast("string"))).alias("key"),
            ),
        )
        for rank, name in enumerate(IDS)
    ]
    return rows.select(*columns, F.inline(F.array_compact(F.array(*each))))


def _write_part(
    batches: Iterable[pa.RecordBatch], output: Output, places: list[tuple[str, int]]
) -> Iterator[pa.RecordBatch]:
    """Write the rows of a part, which are sorted by id and take some hundred bytes for each document."""
    filled = [batch for batch in batches if batch.num_rows]
    if filled:
        rows = pa.Table.from_batches(filled)
        place = rows["place"][0].as_py()
        source, part = places[place]
        output.write_part("known", part, rows.select(KNOWN.names).cast(KNOWN), source)
        yield pa.RecordBatch.from_pydict({"place": pa.array([place], pa.int32())})
