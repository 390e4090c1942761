"""A broken checkpoint is found, and gives way to the one before."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lake.error import UserError
from lake.files import sha256
from train.history import CHECKPOINTS, DIGESTS, check_checkpoints, checkpoints, damage, folder_of, newest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three checkpoints of two files."""
    for step in (10, 20, 30):
        folder = folder_of(tmp_path / CHECKPOINTS, step)
        folder.mkdir(parents=True)
        for name in ("one", "two"):
            (folder / name).write_text(f"{name} {step}" * 100)
        files = {path.name: (path.stat().st_size, sha256(path)) for path in folder.iterdir()}
        (folder / DIGESTS).write_text(json.dumps(files))
    return tmp_path / CHECKPOINTS


def cut(folder: Path) -> None:
    (folder / "two").write_text((folder / "two").read_text()[:50])


def emptied(folder: Path) -> None:
    (folder / "one").write_text("")


def missing(folder: Path) -> None:
    (folder / "one").unlink()


def changed(folder: Path) -> None:
    (folder / "two").write_text("x" * (folder / "two").stat().st_size)


def undescribed(folder: Path) -> None:
    (folder / DIGESTS).unlink()


def garbled(folder: Path) -> None:
    (folder / DIGESTS).write_text('{"one": [3')


BREAKS = [
    (cut, "two has 50 of"),
    (emptied, "one has 0 of"),
    (missing, "one: No such file"),
    (changed, "two have changed"),
]
BREAKS += [(undescribed, f"{DIGESTS}: No such file"), (garbled, f"{DIGESTS} cannot be read")]


@pytest.mark.parametrize(("broken", "reason"), BREAKS)
def test_a_broken_newest_gives_way_to_the_one_before(root: Path, broken: Callable[[Path], None], reason: str) -> None:
    assert newest(checkpoints(root)).checkpoint == folder_of(root, 30)
    broken(folder_of(root, 30))
    found = newest(checkpoints(root))
    assert found.checkpoint == folder_of(root, 20)
    assert list(found.broken) == ["step-00000030"]
    assert reason in found.broken["step-00000030"]
    readers = [damage(folder_of(root, 30), part, 3) for part in range(3)]
    assert any(reason in told for told in readers if told), "each of three readers looks at a share"


def test_all_broken_is_one_line(root: Path) -> None:
    for folder in checkpoints(root):
        cut(folder)
    with pytest.raises(UserError, match="no checkpoint is whole") as told:
        newest(checkpoints(root))
    assert "\n" not in str(told.value)


def test_deleted_checkpoints_are_told_before_they_are_read(root: Path) -> None:
    check_checkpoints(root.parent)
    for folder in checkpoints(root):
        folder.rename(folder.with_name(f".{folder.name}"))
    with pytest.raises(UserError, match="were deleted"):
        check_checkpoints(root.parent)
    assert newest(checkpoints(root)).checkpoint is None
