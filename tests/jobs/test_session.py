"""Spark reads and writes tables where pyarrow does, whatever Spark's default file system is."""

import errno
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark import SparkContext
from pyspark.accumulators import AccumulatorTCPServer, UpdateRequestHandler
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from lake.dataset import ROW_GROUP, Output
from lake.error import UserError
from lake.paths import absolute
from spark_jobs import session
from spark_jobs.dedup import STAGING, WRITTEN, _stage
from spark_jobs.session import SparkSettings, _row_groups, lasting, read_table, spark_path, start, write_table

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
    write_table(frame, output, "rows", 2)
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
    write_table(frame, output, "spark", 1)
    output.write_part("arrow", 0, pa.table({"id": ["1"], "source": ["papers"]}), source="papers")
    assert (folder / "spark" / "part-00000.parquet").is_file()
    assert (folder / "arrow" / "source=papers" / "part-00000.parquet").is_file()
    assert output.scan("spark").count_rows() == read_table(spark, output, "spark").count() == 20
    assert output.scan("arrow").count_rows() == read_table(spark, output, "arrow").count() == 1


def test_an_option_of_a_wrong_type_is_told_before_a_query_fails_on_it(spark: SparkSession) -> None:
    with pytest.raises(UserError, match=r"^spark: it does not start: .*'x' in the config \"spark\.sql\.autoBroadcast"):
        start(SparkSettings(options={"spark.sql.autoBroadcastJoinThreshold": "x"}))


def test_an_error_of_a_task_is_known_when_its_jvm_has_ended(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(_: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(PySparkException) as raised:
        spark.range(1).mapInArrow(fill, "id long").collect()
    error = lasting(raised.value)
    monkeypatch.setattr(SparkContext, "_gateway", None)
    assert os.strerror(errno.ENOSPC) in str(error)
    other = ValueError("of no JVM")
    assert lasting(other) is other


IN_A_FOREIGN_LOCALE = """
import sys
from lake.dataset import Output
from spark_jobs.session import SparkSettings, read_table, start, write_table
spark = start(SparkSettings(master="local[1]", shuffle_partitions=1))
output = Output(sys.argv[1])
write_table(spark.range(3).selectExpr("concat('ö', id) id"), output, "rows", 1)
print([row.id for row in read_table(spark, output, "rows").sort("id").collect()] == ["ö0", "ö1", "ö2"])
"""


def test_a_locale_that_is_not_installed_knows_umlauts(tmp_path: Path) -> None:
    folder = tmp_path / "Ärzte größer"
    done = subprocess.run(
        [sys.executable, "-c", IN_A_FOREIGN_LOCALE, str(folder)],
        env={**os.environ, "LC_ALL": "xx_XX.UTF-8"},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "True\n", done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_a_stage_is_local_where_the_output_is(elsewhere: None, frame: DataFrame, tmp_path: Path) -> None:
    assert _stage(frame, Output(str(tmp_path)), "rows").count() == 20
    assert (tmp_path / STAGING / "rows" / WRITTEN).is_file()


def test_a_uri_stays_as_it_is() -> None:
    assert spark_path(Output("hdfs://cluster/lake"), "rows") == "hdfs://cluster/lake/rows"
    assert spark_path(Output("file:///lake"), "rows") == spark_path(Output("/lake"), "rows") == "file:///lake/rows"


@pytest.mark.parametrize(
    ("rows", "sizes"), [(0, []), (1, [1]), (7, [7]), (ROW_GROUP, [ROW_GROUP]), (70_000, [ROW_GROUP, 4464])]
)
def test_row_groups_do_not_depend_on_batches(rows: int, sizes: list[int]) -> None:
    table = pa.table({"id": range(rows), "text": [str(number) for number in range(rows)]})
    for batch in (1999, 2000, 100_000):
        groups = list(_row_groups(table.to_batches(max_chunksize=batch)))
        assert [len(group) for group in groups] == sizes
        assert all(column.num_chunks == 1 for group in groups for column in group.columns)
        assert not groups or pa.concat_tables(groups).equals(table)


def test_a_table_has_all_its_parts_and_equal_bytes_whatever_arrives_first(spark: SparkSession, tmp_path: Path) -> None:
    for name, slices in (("one", 1), ("seven", 7)):
        rows = spark.range(0, 5000, 1, slices).selectExpr("cast(id as string) id", "array(id, null) numbers")
        write_table(rows if slices == 1 else rows.orderBy("numbers"), Output(str(tmp_path / name)), "rows", 3)
    files = {
        name: [path.read_bytes() for path in sorted((tmp_path / name).rglob("*.parquet"))] for name in ("one", "seven")
    }
    assert len(files["one"]) == 3
    assert files["one"] == files["seven"]
    few, output = spark.range(1).selectExpr("cast(id as string) id"), Output(str(tmp_path / "few"))
    write_table(spark.range(90).selectExpr("cast(id as string) id"), output, "rows", 9)
    write_table(few, output, "rows", 4)
    assert output.parts("rows") == [Output.part_name(index) for index in range(4)]
    assert output.scan("rows").to_table(["id"]).to_pylist() == [{"id": "0"}]


def test_a_jvm_that_ends_first_prints_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    token = "token"
    server = AccumulatorTCPServer(("127.0.0.1", 0), UpdateRequestHandler, token)
    thread = Thread(target=server.serve_forever)
    thread.start()
    jvm = socket.create_connection(server.server_address, 60)
    jvm.sendall(token.encode() + struct.pack("!i", 0))
    assert jvm.recv(1), "it listens"

    def end() -> None:
        jvm.shutdown(socket.SHUT_WR)
        assert jvm.recv(1) == b"", "its handler has ended"
        server.shutdown()
        thread.join()

    running: Any = SimpleNamespace(sparkContext=SimpleNamespace(_accumulatorServer=server), stop=end)
    monkeypatch.setattr(session, "words", lambda: SimpleNamespace())
    session.stop(running)
    jvm.close()
    assert capsys.readouterr().err == ""
