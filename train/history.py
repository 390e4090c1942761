"""What a training leaves on disk, for those who read it without torch."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHECKPOINTS, PROGRESS, STOPPED, STOP = "checkpoints", "progress.json", "stopped.json", "stop"
"""STOPPED says why training cannot go on. Whoever writes STOP asks it to write a checkpoint and end."""

STATE = "state.json"

Row = dict[str, Any]


@dataclass(frozen=True)
class History:
    """What happened, as rows by step. It goes into every checkpoint and into the manifest.

    `losses`: {step, loss (nats per token), lr, grad_norm, seconds, tokens_per_second, mfu (None on CPUs), memory_gb,
    skipped, phases: {data, forward_backward, optimizer, checkpoint: seconds}}.
    `validation`, measured after so many steps: {step, sources: {source: {loss, perplexity, bits_per_byte, tokens,
    bytes}}}.
    `spikes`: {step, what, value, limit, documents: [{id, source, url}]}. `saves`: {step, stall, seconds, bytes};
    `failed_saves`: {step, reason}. `resumed_from`: steps.
    """

    losses: list[Row] = field(default_factory=list)
    validation: list[Row] = field(default_factory=list)
    spikes: list[Row] = field(default_factory=list)
    saves: list[Row] = field(default_factory=list)
    failed_saves: list[Row] = field(default_factory=list)
    resumed_from: list[int] = field(default_factory=list)


def latest(root: Path) -> Path | None:
    """The newest whole checkpoint."""
    return max(root.glob("step-*"), default=None)


def read_state(checkpoint: Path) -> dict[str, Any]:
    """The `state` that `save` wrote."""
    return json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
