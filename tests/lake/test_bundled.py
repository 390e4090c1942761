"""YAML files that come with the package, and a user's own."""

from pathlib import Path

import pytest

from lake.bundled import read
from lake.config import Settings
from lake.error import UserError


class Named(Settings):
    name: str


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"name: 2020-13-45", "not YAML: month must be in 1..12"),
        (b"name: [", "not YAML: "),
        (b"name: \xff", "not YAML: "),
        (b"name: [1]", "name: Input should be a valid string"),
    ],
)
def test_a_file_that_is_wrong_is_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError) as raised:
        read(path, Named)
    assert str(raised.value).startswith(f"{path}: {said}")
    assert "\n" not in str(raised.value)
