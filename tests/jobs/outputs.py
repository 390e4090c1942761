"""What a step has written."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from lake.dataset import Output
from lake.decision import DECISION
from lake.step import Step


def rows(step: Step[Any], table: str) -> list[dict[str, Any]]:
    return step.output.scan(table).to_table().to_pylist()


def content(step: Step[Any]) -> dict[str, bytes]:
    """The step's files without its manifest, which has the time."""
    return {name: data for name, data in content_of(step.output.local()).items() if name != "manifest.json"}


def content_of(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def has_decisions(step: Step[Any]) -> bool:
    """Whether all parts of `decisions` have exactly the columns of DECISION, where a folder may tell the source."""
    parts = step.output.parts("decisions")
    return bool(parts) and all(
        [(field.name, field.type) for field in pq.read_schema(step.output.local("decisions", part))]
        == [(field.name, field.type) for field in DECISION if field.name != "source" or not Output.part_place(part)[1]]
        for part in parts
    )
