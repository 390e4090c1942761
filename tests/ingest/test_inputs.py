"""Which files are read, how they are cut into units, and the records of a unit."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ingest.inputs import ReadSettings, raw_files, records, units
from ingest.records import Rejected
from lake.config import load
from lake.error import UserError

JSONL: dict[str, Any] = {"format": "jsonl", "source": "abstracts", "paths": ["abstracts/*.jsonl*"]}
JATS: dict[str, Any] = {"format": "jats", "source": "papers", "paths": ["papers/*.xml"], "files_per_part": 2}


def settings(*inputs: dict[str, Any]) -> ReadSettings:
    return ReadSettings.model_validate({"inputs": inputs})


def line(file: str, number: int) -> str:
    return json.dumps({"text": f"{file} {number}"}) + "\n"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two files of three records each, one of them gzip, and five papers."""
    for folder in ("abstracts", "papers"):
        (tmp_path / folder).mkdir()
    (tmp_path / "abstracts" / "b.jsonl").write_text("".join(line("b", n) for n in range(3)), encoding="utf-8")
    packed = gzip.compress("".join(line("a", n) for n in range(3)).encode())
    (tmp_path / "abstracts" / "a.jsonl.gz").write_bytes(packed)
    for n in range(5):
        paper = f"<article><body><p>Paper {n} says nothing.</p></body></article>"
        (tmp_path / "papers" / f"{n}.xml").write_text(paper, encoding="utf-8")
    return tmp_path


def texts(read: ReadSettings, data: Path) -> list[list[str]]:
    found = []
    for unit in units(read, str(data)):
        rows = list(records(unit, read, str(data)))
        found.append([row.drop.reason if isinstance(row, Rejected) else row["text"] for row in rows])
    return found


def test_raw_files_are_sorted_and_know_their_input(data: Path) -> None:
    found = raw_files(settings(JATS, JSONL), str(data))
    assert [position for position, _ in found] == [0] * 5 + [1] * 2
    assert [path.name for _, path in found][5:] == ["a.jsonl.gz", "b.jsonl"]


def test_a_file_that_two_patterns_match_is_read_once(data: Path) -> None:
    twice = settings(JSONL | {"paths": ["abstracts/*", "abstracts/a*"]})
    assert len(raw_files(twice, str(data))) == 2


def test_units_are_a_jsonl_file_or_some_papers(data: Path) -> None:
    read = settings(JSONL, JATS)
    found = units(read, str(data))
    assert [unit.part for unit in found] == [0, 1, 2, 3, 4]
    assert [len(unit.files) for unit in found] == [1, 1, 2, 2, 1]
    assert texts(read, data)[:3] == [
        ["a 0", "a 1", "a 2"],
        ["b 0", "b 1", "b 2"],
        ["Paper 0 says nothing.", "Paper 1 says nothing."],
    ]


@pytest.mark.parametrize(("limit", "expected"), [(2, ["a 0", "a 1"]), (4, ["a 0", "a 1", "a 2", "b 0"])])
def test_a_limit_takes_the_first_records_over_all_files(data: Path, limit: int, expected: list[str]) -> None:
    assert texts(settings(JSONL | {"limit": limit}), data) == [expected]


def test_a_limit_over_what_there_is_takes_all(data: Path) -> None:
    assert sum(map(len, texts(settings(JSONL | {"limit": 99}, JATS | {"limit": 99}), data))) == 11


def test_a_limit_takes_the_first_papers(data: Path) -> None:
    found = texts(settings(JATS | {"limit": 3}), data)
    assert [len(unit) for unit in found] == [2, 1]
    assert found[1] == ["Paper 2 says nothing."]


def test_ids_without_a_key_do_not_depend_on_where_the_data_is(
    data: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    read = settings(JSONL)
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "data"
    data.rename(elsewhere)
    moved = [row["id"] for row in records(units(read, str(elsewhere))[0], read, str(elsewhere))]
    elsewhere.rename(data)
    assert moved == [row["id"] for row in records(units(read, str(data))[0], read, str(data))]


def test_a_pattern_that_matches_nothing_is_told_with_its_key(data: Path) -> None:
    read = settings(JSONL, JATS | {"paths": ["papers/*.xml", "papers/*.nxml"]})
    with pytest.raises(UserError, match=r"^read\.inputs\.1\.paths: no file matches .*papers/\*\.nxml; set data="):
        raw_files(read, str(data))


@pytest.mark.parametrize("left", ["part-1.gz.part", "part-1.gz.part.json", "manifest.json.part"])
def test_a_dataset_of_which_a_fetch_was_broken_off_is_told(tmp_path: Path, left: str) -> None:
    given = {"format": "s2orc", "dataset": "abstracts", "source": "abstracts", "paths": ["s2/*/abstracts/*.gz"]}
    for release in ("2023-08-01", "2024-01-02"):
        folder = tmp_path / "s2" / release / "abstracts"
        folder.mkdir(parents=True)
        (folder / "part-0.gz").write_bytes(gzip.compress(b""))
    read = settings(given)
    # Filled by hand, as far as anything tells.
    assert len(raw_files(read, str(tmp_path))) == 2
    (folder / left).touch()
    for find in (raw_files, units):
        with pytest.raises(
            UserError, match=rf"^read\.inputs\.0\.paths: .*{left} is left .*; run gap fetch again$"
        ) as told:
            find(read, str(tmp_path))
        assert "\n" not in str(told.value)
    # What another input holds is its own affair.
    (tmp_path / "s2" / "2024-01-02" / "abstracts" / "x.jsonl").write_text("", encoding="utf-8")
    assert raw_files(settings(JSONL | {"paths": ["s2/*/abstracts/*.jsonl"]}), str(tmp_path))


def test_a_file_that_vanished_is_told_in_one_line(data: Path) -> None:
    read = settings(JSONL)
    (unit, _) = units(read, str(data))
    unit.files[0].unlink()
    with pytest.raises(UserError, match=r"a\.jsonl\.gz: No such file"):
        list(records(unit, read, str(data)))


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("empty.jsonl", b"", []),
        ("empty.jsonl.gz", b"", ["truncated_file"]),
        ("packed.jsonl.gz", gzip.compress(b"", mtime=0), []),
        ("blank.jsonl", b"\n \n\t\r\n\n", []),
        ("no-gzip.jsonl.gz", b"plain", ["truncated_file"]),
        ("binary.jsonl", bytes(range(256)), ["malformed_json", "undecodable"]),
    ],
)
def test_hostile_files_raise_nothing(tmp_path: Path, name: str, content: bytes, expected: list[str]) -> None:
    (tmp_path / name).write_bytes(content)
    assert texts(settings(JSONL | {"paths": [name]}), tmp_path) == [expected]


def test_an_empty_paper_is_a_rejected_record(tmp_path: Path) -> None:
    for name, content in (("empty.xml", b""), ("packed.xml.gz", gzip.compress(b"")), ("zero.xml.gz", b"")):
        (tmp_path / name).write_bytes(content)
    assert texts(settings(JATS | {"paths": ["*.xml*"]}), tmp_path) == [["malformed_xml"] * 2, ["malformed_xml"]]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "csv"}, "inputs.0"),
        ({"limit": 0}, "limit"),
        ({"paths": ["/etc/*"]}, "'/etc/\\*' is not a pattern below the data folder"),
        ({"paths": [""]}, "it is blank"),
        ({"paths": []}, "paths"),
        ({"source": "Papers/.."}, "source"),
        ({"files_per_part": 3}, "files_per_part"),
    ],
)
def test_wrong_inputs_are_told(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(json.dumps({"inputs": [JSONL | change]}), encoding="utf-8")
    with pytest.raises(UserError, match=said) as told:
        load(file, (), ReadSettings)
    assert "\n" not in str(told.value)


def test_no_input_is_an_error() -> None:
    with pytest.raises(ValidationError):
        settings()
