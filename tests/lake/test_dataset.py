"""Parts, atomic writes and tables partitioned by source."""

from pathlib import Path

import pyarrow as pa
import pytest

from lake.dataset import Output
from lake.error import UserError


def rows(*ids: str, source: str = "papers") -> pa.Table:
    return pa.table({"id": list(ids), "source": [source] * len(ids), "n": list(range(len(ids)))})


def test_equal_rows_give_equal_bytes_and_no_temporary_file_stays(tmp_path: Path) -> None:
    first, second = Output(str(tmp_path / "a")), Output(str(tmp_path / "b"))
    for output in (first, second):
        output.write_part("t", 3, rows("x", "y"))
    assert first.parts("t") == ["part-00003.parquet"]
    assert first.read_bytes("t", "part-00003.parquet") == second.read_bytes("t", "part-00003.parquet")
    assert [path.name for path in (tmp_path / "a" / "t").iterdir()] == ["part-00003.parquet"]


def test_partitioned_table_restores_its_source(tmp_path: Path) -> None:
    output = Output(str(tmp_path))
    output.write_part("t", 0, rows("x"), "papers")
    output.write_part("t", 0, rows("y", source="replay"), "replay")
    assert output.sources("t") == ["papers", "replay"]
    assert output.has_part("t", 0, "papers")
    assert not output.has_part("t", 1, "papers")
    table = output.scan("t").to_table().sort_by("id")
    assert table.column("source").to_pylist() == ["papers", "replay"]
    assert output.scan("t", "replay").to_table()["id"].to_pylist() == ["y"]
    part = output.read_part("t", "source=replay/part-00000.parquet", ["id", "source"])
    assert part.to_pylist() == [{"id": "y", "source": "replay"}]


def test_what_a_killed_run_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    output = Output(str(tmp_path))
    output.write_bytes(b"whole", "t", "a.json")
    (tmp_path / "t" / ".a.json.0123abcd").write_bytes(b"ha")
    (tmp_path / "t" / ".keep").write_bytes(b"")
    output.sweep()
    assert sorted(path.name for path in (tmp_path / "t").iterdir()) == [".keep", "a.json"]
    Output(str(tmp_path / "nowhere")).sweep()


def test_a_parts_name_tells_its_place() -> None:
    for place in ((3, None), (12, "papers"), (123_456, "papers")):
        assert Output.part_place(Output.part_name(*place)) == place
    with pytest.raises(ValueError):
        Output.part_place("source=papers/other.parquet")


def test_parts_come_by_source_and_number(tmp_path: Path) -> None:
    output = Output(str(tmp_path))
    places = [(number, source) for source in ("papers-2", "papers") for number in (3, 99_999, 100_000)]
    for number, source in reversed(places):
        output.write_part("t", number, pa.table({"x": [1]}), source)
    assert [output.part_place(name) for name in output.parts("t")] == places


def test_missing_table_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such table"):
        Output(str(tmp_path)).scan("t")


def test_a_folder_that_can_be_written_is_made_and_stays_empty(tmp_path: Path) -> None:
    for _ in range(2):
        Output(str(tmp_path / "new" / "lake")).check_writable("lake")
    assert list(tmp_path.rglob("*")) == [tmp_path / "new", tmp_path / "new" / "lake"]


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "lake"):
        with pytest.raises(UserError, match=rf"^disk: {folder} cannot be written: .*; set disk= to a writable folder$"):
            Output(str(folder)).check_writable("disk")


def test_object_storage_has_no_local_path() -> None:
    with pytest.raises(UserError, match="local or mounted disk"):
        Output("s3://bucket/lake").local("x")


def test_files(tmp_path: Path) -> None:
    output = Output(str(tmp_path))
    assert not output.exists("deep", "x.json")
    output.write_json({"b": 1, "a": "é"}, "deep", "x.json")
    assert output.read_json("deep", "x.json") == {"a": "é", "b": 1}
    output.delete("deep")
    output.delete("deep")
    assert not output.exists("deep")
