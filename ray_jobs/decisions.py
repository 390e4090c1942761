"""Tasks that decide on records: write each part once, and count its decisions for the accounts."""

from collections.abc import Callable
from typing import Any

from lake.dataset import Output


def decided(output: Output, part: int, source: str, write: Callable[[], None]) -> list[dict[str, Any]]:
    """Call `write` unless the part's `decisions` are there. It must write them last: they mark the part as complete.

    Returns:
        The decisions, counted: rows of source, keep, reason and count.
    """
    if not output.has_part("decisions", part, source):
        write()
    columns = ["source", "keep", "reason"]
    rows = output.read_part("decisions", Output.part_name(part, source), columns)
    counted = rows.group_by(columns).aggregate([([], "count_all")])
    return counted.rename_columns({"count_all": "count"}).to_pylist()
