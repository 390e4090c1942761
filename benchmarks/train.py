"""Tokens a second of this project's loop under Ray, of bare Megatron-core, and of Hugging Face transformers.

    python -m benchmarks.train [--json] [--sequences 512,2048] [--peers NAMES] [--steps 1] [--rounds 5] [--tiny]

All train the shape of SmolLM2-135M with random weights in float32, on the same number of sequences a step, with all
CPUs. They take turns of `--steps` steps, `--rounds` times. tokens_per_s is the median over the rounds; a ratio is the
median of the ratios within a round, which noise of the machine disturbs less. peak_mb is the largest resident size of
the process that trains.

All are in memory at once. The attention of bare Megatron takes memory in the square of the sequence: at 2,048 it leaves
no room for a third in 24 GB, so compare with one of `--peers` after the other.

Bare Megatron is its GPTModel with its own attention and norm, DDP, optimizer and schedule, on the same stand-ins for
CUDA. transformers is LlamaForCausalLM with SDPA attention and torch's fused AdamW.
"""

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import click

from benchmarks.contest import PEERS, contest
from benchmarks.peers import SMOLLM2, SMOLLM2_VOCABULARY
from gap.command import table
from train.recipe import Llama, Recipe

TOKENS_A_STEP = 2048
TINY = Llama(layers=2, hidden=32, heads=2, kv_heads=1, head_size=16, ffn=64, tied=True)
TINY_VOCABULARY = 512


def recipe(shape: Llama, sequence: int) -> Recipe:
    """A run without end, validation or checkpoints."""
    sequences = max(1, TOKENS_A_STEP // sequence)
    never = 1_000_000
    return Recipe.model_validate(
        {
            "model": shape.model_dump(),
            "sequence": sequence,
            "batch": {"total": sequences, "micro": 1},
            "steps": never,
            "optimizer": {"lr": 1e-4},
            "validation": {"every": never, "sequences": 1},
            "checkpoints": {"every": never},
        }
    )


def compare(
    peers: Sequence[str], shape: Llama, vocab_size: int, sequence: int, steps: int, rounds: int
) -> dict[str, Any]:
    """The figures of one sequence length."""
    run = recipe(shape, sequence)
    threads = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        answers = contest(peers, run, vocab_size, threads, steps, rounds, Path(folder))
    tokens = steps * run.batch.total * sequence
    speeds = {name: [tokens / one["seconds"] for one in rows] for name, rows in answers.items()}
    ratios = {
        f"ratio_to_{peer}": round(median(a / b for a, b in zip(speeds["ours"], speeds[peer], strict=True)), 3)
        for peer in peers
    }
    return {
        "sequence": sequence,
        **ratios,
        "tokens_per_s": {name: round(median(of), 1) for name, of in speeds.items()},
        "peak_mb": {name: rows[-1]["peak_mb"] for name, rows in answers.items()},
        "rounds": {name: [round(speed, 1) for speed in of] for name, of in speeds.items()},
    }


@click.command(help=__doc__)
@click.option("--sequences", default="512,2048", show_default=True, help="Lengths, with commas between.")
@click.option("--peers", default=",".join(PEERS), show_default=True, help="Whom to compare with, commas between.")
@click.option("--steps", default=1, show_default=True, help="Steps in a turn.")
@click.option("--rounds", default=5, show_default=True, help="Turns of each.")
@click.option("--tiny", is_flag=True, help="A model of two small layers, to try the benchmark itself.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(sequences: str, peers: str, steps: int, rounds: int, tiny: bool, as_json: bool) -> None:
    shape, vocab_size = (TINY, TINY_VOCABULARY) if tiny else (SMOLLM2, SMOLLM2_VOCABULARY)
    lengths = [int(length) for length in sequences.split(",")]
    figures = [compare(peers.split(","), shape, vocab_size, length, steps, rounds) for length in lengths]
    if as_json:
        click.echo(json.dumps(figures))
        return
    rows = [
        (
            f"{row['sequence']:,}",
            name,
            f"{row['tokens_per_s'][name]:,}",
            f"{row['peak_mb'][name]:,}",
            str(row.get(f"ratio_to_{name}", "")),
        )
        for row in figures
        for name in row["tokens_per_s"]
    ]
    click.echo(table(("sequence", "loop", "tokens/s", "peak MB", "ours is faster by"), rows, {0, 2, 3, 4}))


if __name__ == "__main__":
    main()
