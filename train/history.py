"""What a training leaves on disk, for those who read it without torch."""

import json
from pathlib import Path
from typing import Any

CHECKPOINTS, PROGRESS = "checkpoints", "progress.json"
STATE = "state.json"


def latest(root: Path) -> Path | None:
    """The newest whole checkpoint."""
    return max(root.glob("step-*"), default=None)


def read_state(checkpoint: Path) -> dict[str, Any]:
    """The `state` that `save` wrote."""
    return json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
