"""`gap dump`: the selected documents as Parquet that `datasets` loads, the same bytes in every run."""

import shutil
from pathlib import Path

import pytest

from gap.dump import COLUMNS, write
from lake.dataset import Output
from lake.error import UserError
from tests.jobs.outputs import content_of
from tests.jobs.sharded import Before, documents, selected

datasets = pytest.importorskip("datasets")
pytestmark = pytest.mark.engine


def dumped(before: Before, folder: Path, free_only: bool = False) -> Path:
    write(before.mix, Output(str(folder)), "a corpus", free_only)
    return folder


@pytest.fixture(scope="module")
def whole(before: Before, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dumped(before, tmp_path_factory.mktemp("dump") / "whole")


def planned(free_only: bool = False) -> dict[tuple[str, str], dict[str, object]]:
    found = {}
    for rows in documents().values():
        for position, row in enumerate(rows):
            plan = selected(position, row)
            if plan and (row["redistributable"] or not free_only):
                found[plan["split"], str(row["id"])] = {name: row[name] for name in COLUMNS} | {
                    "copies": plan["copies"]
                }
    return found


def loaded(folder: Path, cache: Path, *how: str) -> dict[tuple[str, str], dict[str, object]]:
    """Rows by split and id, as `datasets` gives them."""
    kind, place = ("parquet", {"data_dir": str(folder)}) if how else (str(folder), {})
    splits = datasets.load_dataset(kind, **place, cache_dir=str(cache))
    found = {(name, row["id"]): row for name, rows in splits.items() for row in rows}
    assert len(found) == sum(rows.num_rows for rows in splits.values())
    return found


@pytest.mark.parametrize("how", [(), ("parquet",)], ids=["by its card", "as parquet"])
def test_datasets_loads_the_selection(whole: Path, tmp_path: Path, how: tuple[str, ...]) -> None:
    assert loaded(whole, tmp_path, *how) == planned()


def test_what_may_not_be_passed_on_stays(before: Before, whole: Path, tmp_path: Path) -> None:
    free = dumped(before, tmp_path / "free", free_only=True)
    found = loaded(free, tmp_path / "cache")
    assert found == planned(free_only=True)
    assert 0 < len(found) < len(planned())
    card = (free / "README.md").read_text(encoding="utf-8")
    assert "only those that may be redistributed" in card
    withheld = sum(
        int(line.split("|")[5]) for line in card.splitlines() if line.startswith(("| train", "| validation"))
    )
    assert withheld == len(planned()) - len(found)


def test_a_killed_dump_goes_on_to_the_same_bytes(before: Before, whole: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(whole, other)
    (other / "README.md").unlink()
    gone, *left = sorted(other.glob("*/*.parquet"))
    gone.unlink()
    (gone.parent / ".part-00001.parquet.0123abcd").write_bytes(b"half")
    untouched = [path.stat().st_mtime_ns for path in left]
    dumped(before, other)
    assert content_of(other) == content_of(whole)
    assert [path.stat().st_mtime_ns for path in left] == untouched
    assert content_of(dumped(before, tmp_path / "again")) == content_of(whole)


def test_another_selection_does_not_mix_in(before: Before, whole: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="documents of another mixture"):
        dumped(before, whole, free_only=True)
    (tmp_path / "train").mkdir()
    with pytest.raises(UserError, match="the folder holds something else"):
        dumped(before, tmp_path)
