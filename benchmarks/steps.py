"""Stand-ins for steps, whose output a benchmark or a test writes by hand."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lake.config import Settings
from lake.step import Body, Kind, Outcome, Step


def stand_in(
    name: str,
    lake: Path | str,
    inputs: Mapping[str, Step[Any]] | None = None,
    settings: Settings | None = None,
    kind: Kind = Kind.READER,
    **more: Any,
) -> Step[Any]:
    """A step without a function: finish it with `complete`. `more` are other fields of Step."""
    body = Body[Any](_no_work, kind, "none", 1)
    return Step(name, body, settings or Settings(), str(lake), inputs or {}, **more)


def _no_work(step: Step[Any], **_: Any) -> Outcome:
    raise NotImplementedError(f"{step.name} is a stand-in")
