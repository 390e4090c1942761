"""YAML files of the package and of users."""

from pathlib import Path

import pytest

from lake.bundled import read
from lake.config import Settings
from lake.error import UserError


class Named(Settings):
    name: str


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name: [", "not YAML: "),
        (b"name: \xff", "not YAML: "),
        (b"name: [1]", "name: Input should be a valid string"),
    ],
)
def test_a_fault_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "site.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read(path, Named)
    assert str(error.value).startswith(f"{path}: {message}")
    assert "\n" not in str(error.value)
