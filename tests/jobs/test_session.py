"""Spark reads and writes tables where pyarrow does, whatever Spark's default file system is."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from lake.dataset import Output
from spark_jobs.dedup import STAGING, WRITTEN, _stage
from spark_jobs.session import read_table, spark_path, write_table

pytestmark = pytest.mark.engine

DEFAULT = "fs.defaultFS"


@pytest.fixture
def elsewhere(spark: SparkSession) -> Iterator[None]:
    """A default file system that does not know local paths, as a cluster's HDFS does not."""
    hadoop = spark.sparkContext._jsc.hadoopConfiguration()
    before = hadoop.get(DEFAULT)
    hadoop.set(DEFAULT, "nowhere://cluster/")
    yield
    hadoop.set(DEFAULT, before)


@pytest.fixture
def frame(spark: SparkSession) -> DataFrame:
    return spark.range(20).selectExpr("cast(id as string) id", "'papers' source")


@pytest.mark.parametrize("name", ["lake", "my lake", "50%", "a%20b", "a#b:c", "é"])
def test_a_table_is_local_where_the_output_is(
    elsewhere: None, spark: SparkSession, frame: DataFrame, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / name
    output = Output(str(folder))
    write_table(frame, output, "rows", 2, source="papers")
    assert [path.name for path in sorted(folder.rglob("*.parquet"))] == ["part-00000.parquet", "part-00001.parquet"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]
    found = read_table(spark, output, "rows").collect()
    assert {(row.id, row.source) for row in found} == {(str(n), "papers") for n in range(20)}


def test_a_stage_is_local_where_the_output_is(elsewhere: None, frame: DataFrame, tmp_path: Path) -> None:
    assert _stage(frame, Output(str(tmp_path)), "rows").count() == 20
    assert (tmp_path / STAGING / "rows" / WRITTEN).is_file()


def test_a_uri_stays_as_it_is() -> None:
    assert spark_path(Output("hdfs://cluster/lake"), "rows") == "hdfs://cluster/lake/rows"
    assert spark_path(Output("file:///lake"), "rows") == spark_path(Output("/lake"), "rows") == "file:///lake/rows"
