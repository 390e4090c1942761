"""What training does on this machine's GPU: the same losses, how fast, in how much memory.

    python -m benchmarks.gpu [--json] [--tiny] [--slow FACTOR] [--part NAME …]

Needs torch, megatron-core, transformers, numpy, pyarrow, pydantic, pyyaml and click, but neither Ray nor vLLM. Each
part runs in a process of its own with a time limit, all together in 8 minutes at most; a part that fails prints its
last lines, and the next runs. Without CUDA, or with --tiny, models and sequences are tiny.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import click

from benchmarks import gpu_kernels, gpu_training

LIMIT = 480.0
"""Seconds for all parts."""

LAST_LINES = 5

Figures = list[dict[str, Any]]

PARTS: dict[str, tuple[float, Callable[[bool], Figures]]] = {
    "device": (60, gpu_training.device),
    "losses": (150, gpu_training.losses),
    "gate": (90, gpu_training.gate),
    "resume": (150, gpu_training.resume),
    "documents": (90, gpu_kernels.documents),
    "kernels": (120, gpu_kernels.ladder),
    "speed": (150, gpu_training.speed),
    "transformers": (90, gpu_training.transformers),
    "save": (120, gpu_training.save),
}
"""The most seconds of each part, and the function that returns its rows; it is told whether to be tiny."""


def run(part: str, tiny: bool, seconds: float) -> Figures:
    """The rows of a part, run in a process of its own, or one row that says how it failed."""
    command = [sys.executable, "-m", "benchmarks.gpu", "--inside", part, *(["--tiny"] if tiny else [])]
    # Megatron asks for the first where communication overlaps. With the second, a part may look for CUDA and then fork.
    environment = os.environ | {"CUDA_DEVICE_MAX_CONNECTIONS": "1", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
    process = subprocess.Popen(  # noqa: S603
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        figures, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        # Its forks, too.
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return [{"failed": f"not done in {seconds:.0f} s"}]
    if process.returncode:
        return [{"failed": "\n".join(errors.strip().splitlines()[-LAST_LINES:])}]
    return json.loads(figures.splitlines()[-1])


def lines(part: str, rows: Figures) -> Sequence[str]:
    """A part as text: each row with its figures."""
    return [f"{part}: " + ", ".join(f"{name} {_shown(value)}" for name, value in row.items()) for row in rows]


def _shown(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


@click.command(help=__doc__)
@click.option("--part", "chosen", multiple=True, type=click.Choice(list(PARTS)), help="Run these only.")
@click.option("--tiny", is_flag=True)
@click.option("--slow", default=1.0, help="Multiplies the time limits, for a busy machine.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--inside", hidden=True, type=click.Choice(list(PARTS)))
def main(chosen: tuple[str, ...], tiny: bool, slow: float, as_json: bool, inside: str | None) -> None:
    import torch

    tiny = tiny or not torch.cuda.is_available()
    if inside:
        # What libraries print must not precede the figures.
        figures = sys.stdout
        sys.stdout = sys.stderr
        print(json.dumps(PARTS[inside][1](tiny)), file=figures, flush=True)
        return
    started = time.monotonic()
    results: dict[str, Figures] = {}
    for part in chosen or PARTS:
        left = slow * LIMIT - (time.monotonic() - started)
        results[part] = (
            run(part, tiny, min(slow * PARTS[part][0], left)) if left > 0 else [{"failed": "no time was left"}]
        )
        if not as_json:
            click.echo("\n".join(lines(part, results[part])))
    if as_json:
        click.echo(json.dumps(results))


if __name__ == "__main__":
    main()
