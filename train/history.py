"""What a training leaves on disk, for those who read it without torch."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from lake.error import UserError
from lake.files import sha256

MODEL = "model"
"""The folder of a Hugging Face model in the output of an import or export."""

CHECKPOINTS, PROGRESS, STOPPED, STOP = "checkpoints", "progress.json", "stopped.json", "stop"
"""STOPPED says why training cannot go on. Whoever writes STOP asks it to write a checkpoint and end."""

STATE, DIGESTS = "state.json", "digests.json"
"""Files of a checkpoint: what the loop remembers; size and SHA-256 of all other files, written last."""

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
    `origin`: what the sequences of a step follow from, {mixture, sequence, tokenizer, batch, seed}.
    """

    losses: list[Row] = field(default_factory=list)
    validation: list[Row] = field(default_factory=list)
    spikes: list[Row] = field(default_factory=list)
    saves: list[Row] = field(default_factory=list)
    failed_saves: list[Row] = field(default_factory=list)
    resumed_from: list[int] = field(default_factory=list)
    origin: Row = field(default_factory=dict)


@dataclass(frozen=True)
class Newest:
    """The newest whole checkpoint, if there is any, and why newer ones are broken, by name."""

    checkpoint: Path | None
    broken: dict[str, str]


def folder_of(root: Path, step: int) -> Path:
    """The checkpoint of a step. Until it is whole, a dot precedes its name."""
    return root / f"step-{step:08d}"


def step_of(name: str) -> int:
    return int(name.removeprefix("step-"))


def checkpoints(root: Path) -> list[Path]:
    """All that bear a checkpoint's name, oldest first."""
    return sorted(root.glob("step-*"))


def damage(checkpoint: Path, part: int = 0, parts: int = 1, contents: bool = True) -> str | None:
    """Why a checkpoint is broken, or None.

    Each of `parts` readers looks at its share of the files. Without `contents` only sizes are compared.
    """
    name = DIGESTS
    try:
        files = json.loads((checkpoint / DIGESTS).read_text(encoding="utf-8"))
        for name, (size, digest) in sorted(files.items())[part::parts]:
            found = (checkpoint / name).stat().st_size
            if found != size:
                return f"{name} has {found:,} of {size:,} bytes"
            if contents and sha256(checkpoint / name) != digest:
                return f"the bytes of {name} have changed"
    except OSError as error:
        return f"{name}: {error.strerror}"
    except (ValueError, TypeError, AttributeError):
        return f"{DIGESTS} cannot be read"
    return None


def newest(candidates: Sequence[Path], damage_of: Callable[[Path], str | None] = damage) -> Newest:
    """The last candidate without damage; a broken one gives way to the one before.

    Raises:
        UserError: there are checkpoints, and all are broken.
    """
    broken: dict[str, str] = {}
    for checkpoint in reversed(candidates):
        reason = damage_of(checkpoint)
        if reason is None:
            return Newest(checkpoint, broken)
        broken[checkpoint.name] = reason
    if broken:
        root, reasons = candidates[0].parent, "; ".join(f"{name}: {reason}" for name, reason in broken.items())
        raise UserError(f"{root}: no checkpoint is whole ({reasons}); restore one, or delete {root} to train anew")
    return Newest(None, broken)


def check_checkpoints(folder: Path) -> None:
    """Look for a checkpoint of a training that is done. Only sizes are compared, so it takes no time.

    Raises:
        UserError: all were deleted or are broken.
    """
    root = folder / CHECKPOINTS
    if newest(checkpoints(root), partial(damage, contents=False)).checkpoint is None:
        raise UserError(f"{root}: the checkpoints were deleted; restore the last one, or delete {folder} to train anew")


def read_state(checkpoint: Path) -> dict[str, Any]:
    """The `state` that was saved."""
    return json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
