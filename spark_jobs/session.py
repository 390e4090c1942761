"""The Spark session, its Java, and step tables as DataFrames."""

import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Annotated

import pyarrow as pa
from py4j.protocol import Py4JError
from pydantic import Field, StringConstraints, field_validator
from pyspark import TaskContext
from pyspark.errors.exceptions.captured import CapturedException
from pyspark.sql import DataFrame, DataFrameReader, SparkSession
from pyspark.sql.pandas.types import to_arrow_schema

from lake.config import Settings
from lake.dataset import ROW_GROUP, Output
from lake.error import UserError
from lake.values import Count, Text
from spark_jobs.gateway import cause, launch, words
from spark_jobs.machine import check_machine, check_masters

_LOG = """rootLogger.level = error
rootLogger.appenderRef.stderr.ref = stderr
# Spark prints a notice if this class's level differs from the root's.
logger.gateway.name = org.apache.spark.api.python.PythonGatewayServer
logger.gateway.level = error
# What keeps Spark from starting, and what ends a task, reaches Python as an exception, which is told in one line.
logger.context.name = org.apache.spark.SparkContext
logger.context.level = off
logger.task.name = org.apache.spark.executor.Executor
logger.task.level = off
logger.tasks.name = org.apache.spark.scheduler.TaskSetManager
logger.tasks.level = off
logger.writer.name = org.apache.spark.sql.execution.datasources.FileFormatWriter
logger.writer.level = off
logger.abort.name = org.apache.spark.util.Utils
logger.abort.level = off
appender.stderr.type = Console
appender.stderr.name = stderr
appender.stderr.target = SYSTEM_ERR
appender.stderr.layout.type = PatternLayout
appender.stderr.layout.pattern = %d{HH:mm:ss} %p %c{1}: %m%n
"""

MASTER = re.compile(
    r"local(\[(\*|[1-9][0-9]{0,3})(,[1-9][0-9]{0,3})?\])?|yarn|k8s://\S+|spark://[^\s,:/]+:[0-9]+(,[^\s,:/]+:[0-9]+)*"
)
MEMORY = re.compile("([0-9]{1,12})([kmgtKMGT])")
LEAST_MEMORY, MOST_MEMORY = 512 * 2**20, 16 * 2**40
"""Spark needs one and a half times the 300 MiB that it keeps for itself."""
Option = Annotated[str, StringConstraints(max_length=200, pattern=r"^spark\.[A-Za-z0-9_.-]+$")]
KEYS = {
    "spark.master": "master",
    "spark.driver.memory": "memory",
    "spark.sql.shuffle.partitions": "shuffle_partitions",
}
"""Options of Spark that have keys of their own."""

RELIED_ON = {
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.parquet.compression.codec": "zstd",
    # A batch of rows in a Python worker, small enough for the processor's cache.
    "spark.sql.execution.arrow.maxRecordsPerBatch": "2000",
}
"""The steps rely on these options wherever they run."""


class SparkSettings(Settings):
    """How Spark runs. This does not change what a step writes, so it is not part of a fingerprint.

    Under spark-submit only `options` counts; master, memory and partitions are those of spark-submit.
    """

    master: Text = "local[*]"
    memory: Text = "2g"
    shuffle_partitions: Annotated[Count, Field(le=1_000_000)] = 8
    options: dict[Option, Text] = Field(default_factory=dict)

    @field_validator("master")
    @classmethod
    def _known(cls, master: str) -> str:
        if MASTER.fullmatch(master) is None:
            raise ValueError(
                f"{master!r} is none of local, local[CORES], local[*], yarn, spark://HOST:PORT and k8s://URL"
            )
        return master

    @field_validator("memory")
    @classmethod
    def _enough(cls, memory: str) -> str:
        if (size := bytes_of(memory)) is None or not LEAST_MEMORY <= size <= MOST_MEMORY:
            raise ValueError(f"{memory!r} is no size from 512m to 16t, such as 2g")
        return memory

    @field_validator("options")
    @classmethod
    def _of_no_key(cls, options: dict[str, str]) -> dict[str, str]:
        for option in options:
            if option in KEYS:
                raise ValueError(f"{option}: the key for it is spark.{KEYS[option]}, and of spark-submit --conf")
            if option in RELIED_ON:
                raise ValueError(f"{option}: the steps rely on {RELIED_ON[option]}; take it out")
        return options


def bytes_of(memory: str) -> int | None:
    """The bytes of a size as Java takes it, such as 900m; None where it is none."""
    match = MEMORY.fullmatch(memory)
    return None if match is None else int(match[1]) << 10 * (1 + "kmgt".index(match[2].lower()))


def start(settings: SparkSettings) -> SparkSession:
    """Start a session on this machine, or take the one of spark-submit. Embedded, it listens only on loopback.

    Raises:
        UserError: as `check`, or Spark does not start.
    """
    options = RELIED_ON | settings.options
    # The variable points to the JVM that spark-submit has started.
    embedded = "PYSPARK_GATEWAY_PORT" not in os.environ
    if embedded:
        check(settings)
        _prepare_environment()
        options = _embedded(settings) | options
    try:
        if embedded:
            launch(options)
        builder = SparkSession.builder.appName("gap-replay")
        for key, value in options.items():
            builder = builder.config(key, value)
        started = builder.getOrCreate()
        for key, value in options.items():
            # A session begins with any value; set later, it is looked at, and not in the middle of a step.
            if started.conf.isModifiable(key):
                started.conf.set(key, value)
    except Exception as error:  # whatever Java or PySpark raises
        raise UserError(f"spark: it does not start: {cause(error)}; look at the section spark") from error
    words().passed_on = True
    return started


def lasting(error: BaseException) -> BaseException:
    """The error of a step. One of Spark asks the JVM for its text whenever it is shown, and the JVM ends before."""
    if isinstance(error, CapturedException | Py4JError):
        return RuntimeError(str(error)).with_traceback(error.__traceback__)
    return error


def stop(session: SparkSession) -> None:
    """End the session."""
    words().passed_on = False
    # PySpark prints a traceback if the JVM closes its connection for accumulators first. No step uses these.
    session.sparkContext._accumulatorServer.handle_error = lambda request, address: None
    session.stop()


def session() -> SparkSession:
    """The running session."""
    return SparkSession.active()


def check(settings: SparkSettings) -> None:
    """Find a Java, and look at what else an embedded Spark needs of this machine. Under spark-submit, it runs already.

    Raises:
        UserError: Spark would not start.
    """
    if "PYSPARK_GATEWAY_PORT" in os.environ or SparkSession.getActiveSession() is not None:
        return
    needed, there = bytes_of(settings.memory) or 0, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise UserError(
            f"spark.memory: {settings.memory} is more than this machine has, {there // 2**20}m; set it to less"
        )
    check_masters(settings.master)
    check_machine(settings.memory)


def _embedded(settings: SparkSettings) -> dict[str, str]:
    of_keys = {option: str(getattr(settings, key)) for option, key in KEYS.items()}
    return of_keys | {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        # Small tasks, so that few cores finish at about the same time.
        "spark.sql.files.maxPartitionBytes": "32m",
        "spark.sql.warehouse.dir": str(Path(tempfile.gettempdir(), "gap-spark-warehouse")),
    }


def _prepare_environment() -> None:
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    if "SPARK_CONF_DIR" not in os.environ:
        folder = Path(tempfile.mkdtemp(prefix="gap-spark-"))
        (folder / "log4j2.properties").write_text(_LOG, encoding="utf-8")
        os.environ["SPARK_CONF_DIR"] = str(folder)


def spark_path(output: Output, *names: str) -> str:
    """The path as a URI for Spark: on a cluster, a bare path may not mean the local disk.

    Hadoop takes the path in a URI literally, so nothing is escaped.
    """
    return f"file://{output.local(*names)}" if output.is_local else output.path(*names)


def reader(spark: SparkSession) -> DataFrameReader:
    """A reader that takes `*`, `?`, `[`, `{` and `\\` in a path as they are, as writers do, and not as a pattern."""
    return spark.read.option("__globPaths__", "false")


def read_table(spark: SparkSession, output: Output, table: str, columns: list[str] | None = None) -> DataFrame:
    """A step's table. `source` comes from the folders if the table is partitioned by it."""
    path = spark_path(output, table)
    frame = reader(spark).option("basePath", path).parquet(path)
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
