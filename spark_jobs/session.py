"""The Spark session, its Java, and step tables as DataFrames."""

import os
import re
import tempfile
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints, field_validator
from pyspark.sql import DataFrame, DataFrameReader, SparkSession

from lake.config import Settings
from lake.dataset import Output
from lake.error import UserError
from lake.values import Count, Text
from spark_jobs.machine import check_machine

_LOG = """rootLogger.level = error
rootLogger.appenderRef.stderr.ref = stderr
# Spark prints a notice if this class's level differs from the root's.
logger.gateway.name = org.apache.spark.api.python.PythonGatewayServer
logger.gateway.level = error
# What keeps Spark from starting reaches Python as an exception, which is told in one line.
logger.context.name = org.apache.spark.SparkContext
logger.context.level = off
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


def bytes_of(memory: str) -> int | None:
    """The bytes of a size as Java takes it, such as 900m; None where it is none."""
    match = MEMORY.fullmatch(memory)
    return None if match is None else int(match[1]) << 10 * (1 + "kmgt".index(match[2].lower()))


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
        check(settings)
        _prepare_environment()
        builder = builder.master(settings.master)
        options = options | _embedded(settings)
    for key, value in (options | settings.options).items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


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
    check_machine(settings.memory)


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


def write_table(
    frame: DataFrame,
    output: Output,
    table: str,
    parts: int,
    key: str | tuple[str, ...] = "id",
    source: str | None = None,
) -> None:
    """Write a table in `parts` parts. The hash of `key` chooses a row's part, and parts are sorted by `key`, so equal
    rows give equal bytes.

    With `source`, only that source's folder is written, and the column moves to the folder's name. `key` must be unique
    in `frame`. It is a column or several, of which the first chooses the part.
    """
    keys = (key,) if isinstance(key, str) else key
    staging = f".{table}-{source or 'all'}"
    output.delete(staging)
    if source is not None and "source" in frame.columns:
        frame = frame.drop("source")
    frame.repartition(parts, keys[0]).sortWithinPartitions(*keys).write.parquet(spark_path(output, staging))
    written = [f"{staging}/{name}" for name in output.files(staging) if name.endswith(".parquet")]
    output.adopt_parts(table, written, source)
    output.delete(staging)
