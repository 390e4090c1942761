"""Spark reads and writes tables where pyarrow does, whatever Spark's default file system is."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession

from lake.dataset import Output
from lake.paths import absolute
from spark_jobs.dedup import STAGING, WRITTEN, _stage
from spark_jobs.session import read_table, spark_path, write_table

pytestmark = pytest.mark.engine

DEFAULT = "fs.defaultFS"


def _is_a_name(text: str) -> bool:
    return text not in {".", ".."}


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


NAMES = (
    *("lake", "my lake", " lake ", "50%", "a%20b", "a#b:c", "é", "Ärzte", "~", "~x", "run[1]", "{a,b}", "a*", "a?b"),
    *("a\\b", "$HOME", "'a'", '"b"', "a&b;c", "source=papers", "_a", "100%25", "日本"),
)


@pytest.mark.parametrize("name", NAMES)
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


@given(st.text(st.sampled_from("ab ~%20[]{}*?\\#:é=,;'+&$!@^()-_."), min_size=1, max_size=8).filter(_is_a_name))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_python_pyarrow_and_spark_find_what_each_other_wrote(
    spark: SparkSession, frame: DataFrame, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / name
    output = Output(absolute(str(folder)))
    write_table(frame, output, "spark", 1, source="papers")
    output.write_part("arrow", 0, pa.table({"id": ["1"], "source": ["papers"]}), source="papers")
    assert (folder / "spark" / "source=papers" / "part-00000.parquet").is_file()
    assert (folder / "arrow" / "source=papers" / "part-00000.parquet").is_file()
    assert output.scan("spark").count_rows() == read_table(spark, output, "spark").count() == 20
    assert output.scan("arrow").count_rows() == read_table(spark, output, "arrow").count() == 1


def test_a_stage_is_local_where_the_output_is(elsewhere: None, frame: DataFrame, tmp_path: Path) -> None:
    assert _stage(frame, Output(str(tmp_path)), "rows").count() == 20
    assert (tmp_path / STAGING / "rows" / WRITTEN).is_file()


def test_a_uri_stays_as_it_is() -> None:
    assert spark_path(Output("hdfs://cluster/lake"), "rows") == "hdfs://cluster/lake/rows"
    assert spark_path(Output("file:///lake"), "rows") == spark_path(Output("/lake"), "rows") == "file:///lake/rows"
