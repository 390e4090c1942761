"""A path is what the user wrote, whoever opens the file."""

import os
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lake.dataset import Output
from lake.paths import absolute, at_home


def test_a_tilde_at_the_beginning_is_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir("/")
    assert at_home("~/lake") == absolute("~/lake") == f"{tmp_path}/lake"
    assert at_home("lake/~") == "lake/~"
    assert absolute("./~") == "/~"
    with pytest.raises(ValueError, match=r"^~nobody-here/lake: there is no such home folder; write \./~nobody"):
        at_home("~nobody-here/lake")


def test_a_uri_of_a_file_is_its_path_and_another_uri_stays() -> None:
    assert absolute("file:///my%20lake/%C3%A9") == "/my lake/é"
    assert absolute("s3://bucket/my%20lake") == "s3://bucket/my%20lake"
    assert absolute("/my%20lake") == "/my%20lake"


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="/"), min_size=1, max_size=12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_python_and_pyarrow_find_what_each_other_wrote(tmp_path: Path, name: str) -> None:
    if name in {".", ".."}:
        return
    folder = tmp_path / name
    output = Output(absolute(str(folder)))
    output.write_part("rows", 0, pa.table({"n": [1]}), source="papers")
    assert (folder / "rows" / "source=papers" / "part-00000.parquet").is_file()
    assert os.listdir(output.local()) == ["rows"]  # noqa: PTH208 - Python's plainest reader
    (folder / "rows" / "notes.txt").write_bytes(b"x")
    assert output.read_bytes("rows", "notes.txt") == b"x"
    assert output.scan("rows").to_table().to_pydict() == {"n": [1], "source": ["papers"]}
