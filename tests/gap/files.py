"""A lake's files, to be compared with those of another run."""

import json
from pathlib import Path
from typing import Any

from lake.dataset import MANIFEST

MEASURED = {"seconds", "finished_at"}


def files(folder: Path) -> dict[str, bytes | dict[str, Any]]:
    """The content of all files below a folder."""
    return {str(path.relative_to(folder)): content(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def content(path: Path) -> bytes | dict[str, Any]:
    """A file's bytes; of a manifest all that is no time."""
    if path.name == MANIFEST:
        return {key: value for key, value in json.loads(path.read_bytes()).items() if key not in MEASURED}
    return path.read_bytes()


def has_begun(lake: Path, step: str) -> bool:
    """Whether a step has written something."""
    return any(lake.glob(f"{step}-*/*/*"))
