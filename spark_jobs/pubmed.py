"""What all sources tell of each document's paper, joined on ids alone: no text is read or moved."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa
from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from ingest.metadata import KNOWN, METADATA, PAPER
from lake.dataset import Output
from spark_jobs.session import read_table

IDS = ("corpusid", "pmid", "pmcid", "doi")
"""The ids a document is found by, the surest first."""

IS_TEXT = ("title", "license", "redistributable")
"""What Semantic Scholar tells of a text that it gives out itself."""


def part_of(key: str, parts: Column) -> Column:
    """The part of the clean documents that an id belongs to."""
    return F.pmod(F.xxhash64(key), parts).cast("int")


def write_known(read: Output, output: Output, parts: dict[str, int], spark: SparkSession) -> None:
    """Write the table `known`, partitioned by source, in the parts of the clean documents.

    Args:
        parts: How many parts each source has.
    """
    places = [(source, part) for source, count in parts.items() for part in range(count)]
    if all(output.has_part("known", part, source) for source, part in places):
        return
    first = {source: places.index((source, 0)) for source in parts}
    count = F.create_map(*(F.lit(one) for pair in parts.items() for one in pair))
    start = F.create_map(*(F.lit(one) for pair in first.items() for one in pair))
    place = (start[F.col("source")] + part_of("id", count[F.col("source")])).cast("int")
    documents = _documents(read, spark)
    # Asked for twice: to find a document's paper by its ids alone, and to tell of it.
    papers = _papers(_told(read, documents, spark)).persist(StorageLevel.DISK_ONLY)
    placed = known(documents, papers).withColumn("place", place)
    ordered = placed.repartitionById(len(places), "place").sortWithinPartitions("id")
    ordered.select("place", *KNOWN.names).mapInArrow(_to_part(KnownWriter(output, places)), "place int").collect()
    papers.unpersist()
    for source, part in places:
        if not output.has_part("known", part, source):
            output.write_part("known", part, KNOWN.empty_table(), source)


def known(documents: DataFrame, papers: DataFrame) -> DataFrame:
    """Rows of KNOWN and `source`, one for each document that is told of."""
    found = _match(documents, papers).join(papers, "paper")
    # A title is for texts that Semantic Scholar gives without one; any other text stays as it is.
    theirs = F.col("rank") == IDS.index("corpusid")
    told = found.withColumns({name: F.when(theirs, F.col(name)) for name in IS_TEXT})
    return told.select("source", *KNOWN.names)


def _documents(read: Output, spark: SparkSession) -> DataFrame:
    meta = [F.col(f"meta.{field.name}").alias(field.name) for field in PAPER]
    return read_table(spark, read, "documents").select("id", F.col("source").cast("string"), *meta)


def _told(read: Output, documents: DataFrame, spark: SparkSession) -> DataFrame:
    """Rows of METADATA: those without a text, and what MEDLINE's documents tell of themselves."""
    rows = read_table(spark, read, "metadata", METADATA.names)
    own = documents.where(F.col("revision").isNotNull()).withColumns(
        {
            "origin": F.lit("medline"),
            "deleted": F.lit(False),
            "title": F.lit(None).cast("string"),
            "license": F.lit(None).cast("string"),
            "redistributable": F.lit(None).cast("boolean"),
        }
    )
    return rows.unionByName(own.select(*METADATA.names))


def _papers(told: DataFrame) -> DataFrame:
    """One row a paper, with its name in `paper`: what Semantic Scholar tells, and MEDLINE's last word on its PMID."""
    columns = [name for name in METADATA.names if name != "origin"]
    # Which of equal revisions is taken must not depend on the order of arrival.
    last = F.desc("revision"), F.xxhash64(*columns).desc()
    medline = _first(told.where("origin = 'medline' and pmid is not null"), ("pmid",), *last)
    s2 = _first(told.where("origin = 's2'"), ("corpusid",), *last)
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
    """The paper of each document: source, id, paper and, in `rank`, by which of IDS. Of several the one by the surest,
    then the last revised.
    """
    by_id = _keys(documents, "source", "id").join(
        _keys(papers, "paper", F.coalesce("revision", F.lit("")).alias("said")).drop("rank"), "key"
    )
    best = _first(by_id, ("source", "id"), F.asc("rank"), F.desc("said"), F.desc("paper"))
    return best.select("source", "id", "paper", "rank")


def _first(rows: DataFrame, keys: tuple[str, ...], *order: Column) -> DataFrame:
    """The first row of every key. Rows are sorted once, where an aggregate of whole rows would sort them twice."""
    place = F.row_number().over(Window.partitionBy(*keys).orderBy(*order))
    return rows.withColumn("turn", place).where("turn = 1").drop("turn")


def _keys(rows: DataFrame, *columns: str | Column) -> DataFrame:
    """A row for every id that is there, with its kind in `rank` and `key`."""
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
    exploded = rows.select(*columns, F.explode(F.array_compact(F.array(*each))).alias("one"))
    names = [name for name in exploded.columns if name != "one"]
    return exploded.select(*names, "one.rank", "one.key")


def _to_part(writer: "KnownWriter") -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        given = [batch for batch in batches if batch.num_rows]
        if given:
            place = writer.write(pa.Table.from_batches(given))
            yield pa.RecordBatch.from_pydict({"place": pa.array([place], pa.int32())})

    return write


@dataclass(frozen=True)
class KnownWriter:
    """Writes a part's rows, which come sorted by id: some hundred bytes for each of its documents."""

    output: Output
    places: list[tuple[str, int]]

    def write(self, rows: pa.Table) -> int:
        place: int = rows["place"][0].as_py()
        source, part = self.places[place]
        self.output.write_part("known", part, rows.select(KNOWN.names).cast(KNOWN), source)
        return place
