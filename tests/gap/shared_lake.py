"""A run of three small steps, for tests that start several over one lake.

    python -m tests.gap.shared_lake LAKE LR LOG [--no-wait]

Each step writes a line to LOG, and a temporary file beside each part, as real ones do. While there is a file HOLD
beside LOG, its parts do not end.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa

from gap.config import Config
from gap.run import run_steps
from lake.config import Settings, load
from lake.error import UserError
from lake.step import Account, Body, Kind, Outcome, Step

HOLD = "hold"


class Rate(Settings):
    lr: float = 0.0


def write(step: Step[Any], log: Path) -> Outcome:
    with log.open("a") as lines:
        lines.write(f"{step.name} {step.settings.lr} {os.getpid()}\n")
    for part in range(5):
        if not step.output.has_part("rows", part):
            with step.output.part_writer("rows", part, pa.schema([("n", pa.int64())])) as add:
                time.sleep(0.05)
                while log.with_name(HOLD).exists():
                    time.sleep(0.05)
                add(pa.table({"n": [part]}))
    return Outcome({"all": Account.of(5)})


def steps(lake: str, lr: float, log: Path) -> dict[str, Step[Any]]:
    reader, trainer = (Body(write, kind, "python", 1) for kind in (Kind.READER, Kind.CLEANER))
    extra = {"log": log}
    read = Step("read", reader, Rate(), lake, extra=extra)
    clean = Step("clean", reader, Rate(), lake, {"documents": read}, "documents", extra=extra)
    train = Step("train", trainer, Rate(lr=lr), lake, {"documents": clean}, "documents", extra=extra)
    return {step.name: step for step in (read, clean, train)}


if __name__ == "__main__":
    place, rate, log_file, *no_wait = sys.argv[1:]
    config = load("configs/demo.yaml", [f"lake={place}"], Config)
    try:
        run_steps(config, steps(place, float(rate), Path(log_file)), lambda *_: None, waits=not no_wait)
    except UserError as error:
        sys.exit(f"gap: {error}")
