"""Data sets streamed through `datasets`: offline, from local files in the formats that it knows."""

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from ingest.inputs import ReadSettings, raw_files, records, units
from ingest.records import Rejected, Unsampled
from lake.error import UserError

pytest.importorskip("datasets")

COMMIT = "0123456789" * 4
BASE: dict[str, Any] = {
    "format": "hub", "source": "replay", "dataset": "parquet", "paths": ["*.parquet"],
    "fields": {"text": "text", "url": "meta.url", "fetched_at": "when"},
}  # fmt: skip
HUB: dict[str, Any] = {"format": "hub", "source": "replay", "dataset": "owner/name"}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))


def settings(**changes: Any) -> ReadSettings:
    return ReadSettings.model_validate({"inputs": [BASE | changes]})


def rows(numbers: range) -> list[dict[str, Any]]:
    when = datetime(2020, 1, 2)
    return [{"text": f"Text {n}.", "meta": {"url": f"https://example.org/{n}"}, "when": when} for n in numbers]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for name, numbers in (("a", range(120)), ("b", range(120, 200))):
        pq.write_table(pa.Table.from_pylist(rows(numbers)), folder / f"{name}.parquet")
    lines = (json.dumps(one, default=str) for one in rows(range(200)))
    (folder / "all.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


def found(read: ReadSettings, data: Path) -> tuple[list[Any], int]:
    every = [one for unit in units(read, str(data)) for one in records(unit, read, str(data))]
    passed = sum(one.count for one in every if isinstance(one, Unsampled))
    return [one for one in every if not isinstance(one, Unsampled)], passed


def test_rows_become_documents_by_the_field_map(data: Path) -> None:
    read = settings()
    assert [len(unit.files) for unit in units(read, str(data))] == [1, 1]
    documents, passed = found(read, data)
    assert passed == 0
    assert [one["text"] for one in documents] == [f"Text {n}." for n in range(200)]
    assert documents[7]["url"] == "https://example.org/7"
    assert documents[7]["fetched_at"].isoformat() == "2020-01-02T00:00:00+00:00"
    assert len({one["id"] for one in documents}) == 200


def test_a_sample_depends_on_the_rows_alone(data: Path) -> None:
    documents, passed = found(settings(keep=0.25), data)
    assert 25 <= len(documents) <= 75
    assert passed == 200 - len(documents)
    (data / "a.parquet").unlink()
    (data / "b.parquet").unlink()
    pq.write_table(pa.Table.from_pylist(rows(range(200))[::-1]), data / "c.parquet")
    again, _ = found(settings(keep=0.25), data)
    assert {one["id"] for one in again} == {one["id"] for one in documents}
    assert {one["text"] for one in found(settings(keep=0.25, seed=3), data)[0]} != {one["text"] for one in documents}


def test_json_is_streamed_too_and_a_limit_counts_what_was_drawn(data: Path) -> None:
    read = settings(dataset="json", paths=["*.jsonl"], fields={"text": "text", "id": "meta.url"}, limit=9, keep=0.5)
    documents, passed = found(read, data)
    assert len(documents) == 9
    assert 0 < passed < 100


def test_a_large_row_is_rejected_and_no_other(data: Path) -> None:
    documents, _ = found(settings(max_bytes=95), data)
    reasons = [one.drop.reason.value for one in documents if isinstance(one, Rejected)]
    assert set(reasons) == {"too_large"}
    assert len(reasons) < len(documents) == 200


def test_rows_that_python_cannot_hold_are_rejected_and_no_other(data: Path) -> None:
    texts = [f"Text {n}.".encode() for n in range(250)]
    texts[7] = b"no \xff UTF-8"
    when = pa.array([2**62 if n == 130 else 0 for n in range(250)], pa.timestamp("us"))
    pq.write_table(pa.table({"text": pa.array(texts).view(pa.string()), "when": when}), data / "a.parquet")
    read = settings(paths=["a.parquet"], keep=0.0001)
    rejected, passed = found(read, data)
    assert passed == 248
    assert [one.native for one in rejected] == ["a.parquet:8", "a.parquet:131"]
    assert {one.drop.reason.value for one in rejected} == {"undecodable"}
    every, _ = found(settings(paths=["a.parquet"]), data)
    assert [one["text"] for one in every[8:130]] == [f"Text {n}." for n in range(8, 130)]


def test_a_file_that_is_broken_before_its_first_row_is_named(data: Path) -> None:
    (data / "all.jsonl").write_bytes(b'{"text": "a"}\n{"text": "b')
    with pytest.raises(UserError, match=r"all\.jsonl"):
        found(settings(dataset="json", paths=["all.jsonl"]), data)
    (data / "a.parquet").write_bytes(b"")
    with pytest.raises(UserError, match=r"a\.parquet"):
        found(settings(paths=["a.parquet"]), data)


def test_an_unreadable_file_fails_its_unit(data: Path) -> None:
    (data / "a.parquet").write_bytes(b"PAR1 nonsense PAR1")
    with pytest.raises(UserError, match=r"a\.parquet: the stream broke after row 0: .*; run again"):
        found(settings(), data)


def test_a_stream_that_breaks_midway_fails_its_unit(data: Path) -> None:
    path = data / "a.parquet"
    pq.write_table(pa.Table.from_pylist(rows(range(6000))), path, row_group_size=20)
    last = pq.ParquetFile(path).metadata.row_group(299).column(0)
    start = last.dictionary_page_offset or last.data_page_offset
    whole = path.read_bytes()
    path.write_bytes(whole[:start] + bytes(40) + whole[start + 40 :])
    read = settings()
    stream = records(units(read, str(data))[0], read, str(data))
    assert isinstance(next(stream), dict)
    with pytest.raises(UserError, match=r"a\.parquet: the stream broke after row [1-9][0-9,]*: .*; run again"):
        list(stream)


def test_a_format_or_split_that_is_not_there_is_told_in_one_line(data: Path) -> None:
    with pytest.raises(UserError, match=r"data set nosuchformat: .*check dataset") as told:
        found(settings(dataset="nosuchformat"), data)
    assert "\n" not in str(told.value)


def test_a_missing_package_is_told_before_anything_is_read(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"source replay: the package datasets is not installed; pip install datasets"):
        raw_files(settings(), str(data))


def test_a_data_set_of_the_hub_has_parts_and_a_commit(tmp_path: Path) -> None:
    read = ReadSettings.model_validate({"inputs": [HUB | {"revision": COMMIT, "parts": 3}]})
    assert raw_files(read, str(tmp_path)) == []
    assert [(unit.part, unit.files, unit.turn) for unit in units(read, str(tmp_path))] == [(n, (), n) for n in range(3)]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (HUB, "revision: needed"),
        (HUB | {"revision": "main"}, "revision"),
        (HUB | {"revision": COMMIT, "paths": ["*.parquet"]}, "dataset: a name on the Hub has a /"),
        (HUB | {"dataset": "parquet", "revision": COMMIT}, "dataset: a name on the Hub has a /"),
        (HUB | {"revision": COMMIT, "parts": 2, "limit": 5}, "parts: only for"),
    ],
)
def test_settings_that_cannot_be_are_told(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        ReadSettings.model_validate({"inputs": [given]})
