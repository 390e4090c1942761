"""Raw files found by pattern."""

from pathlib import Path

import pytest

from lake.error import UserError
from lake.files import find


def test_a_pattern_finds_each_file_once_and_sorted(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt"):
        (tmp_path / name).touch()
    (tmp_path / "c.txt").mkdir()
    assert find(["*.txt", "a.*"], str(tmp_path), "paths") == [tmp_path / "a.txt", tmp_path / "b.txt"]


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("/etc/*", "/etc/.* is absolute"),
        ("*.gz", "no file matches"),
        ("a/**.gz", "Invalid pattern: .*; write folder/"),
        ("", "Unacceptable pattern: ''"),
    ],
)
def test_a_pattern_that_finds_nothing_is_told(tmp_path: Path, pattern: str, said: str) -> None:
    with pytest.raises(UserError, match=f"^paths: {said}"):
        find([pattern], str(tmp_path), "paths")
