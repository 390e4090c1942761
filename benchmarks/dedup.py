"""The speed and quality of deduplication, beside datasketch and rensa.

    python -m benchmarks.dedup --corpus corpus.parquet --pairs pairs.parquet [--plot FILE.svg] [--json]
    python -m benchmarks.dedup --scale 10000,100000,1000000 [--plot FILE.svg] [--json]

The corpus has the columns id and text. The pairs have a, b, j, and are all whose Jaccard of word 5-grams is at least
0.4, as benchmarks.noise makes them. Precision, recall and F1 count the documents with a lesser id in their cluster, and
compare them with the connected components of the pairs that reach the threshold.

Signatures are timed in one process, Parquet and words included, in documents per second of CPU time. The peers sign the
shingles of the first SKETCHED documents with as many slots, and find their words with Python's `re`. The job is the
whole Spark step, from clean documents to decisions and clusters, in documents per second and core; the session has run
it before. The curve shows, by Jaccard, the share of pairs that share a band, and the expected share.
Memory is the peak of the summed resident sizes of this process and its children (JVM, Python workers).
"""

import json
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.noise import corpus as noise
from benchmarks.steps import stand_in
from dedup.cluster import components
from dedup.minhash import shingle
from dedup.settings import DedupSettings
from dedup.sign import samples, sign
from gap.command import table, user_errors
from lake.document import DOCUMENT, META
from lake.step import Step
from spark_jobs.dedup import DEDUP
from spark_jobs.session import SparkSettings, start

SKETCHED = 2_000
RUNS = 3
"""Number of runs of which the quickest counts."""

BATCH = 2_000
WARMING = 5_000
"""Documents in the first run, which warms up Java and the workers."""

STEP = 0.05
EVERY = 0.2
"""Seconds between two samples of the memory."""


def documents(rows: pa.Table) -> pa.Table:
    """Rows (id, text) as clean documents."""
    count = rows.num_rows
    columns = {name: pa.nulls(count, DOCUMENT.field(name).type) for name in DOCUMENT.names}
    columns |= {"id": rows["id"].cast(pa.string()), "text": rows["text"].cast(pa.string())}
    columns |= {"source": pa.array(["web"] * count), "redistributable": pa.array([True] * count)}
    columns["meta"] = pa.array([{}] * count, META)
    return pa.table(columns, schema=DOCUMENT)


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of all threads of this process in the quickest of RUNS runs."""
    seconds = []
    for _ in range(RUNS):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return min(seconds)


def signatures(path: Path, settings: DedupSettings) -> dict[str, float]:
    """Documents per second and core from the Parquet file, and the ratio to the peers."""
    from datasketch import MinHash
    from rensa import RMinHash

    slots = settings.bands.slots
    file = pq.ParquetFile(path)
    count = file.metadata.num_rows
    texts = next(file.iter_batches(SKETCHED, columns=["text"]))["text"]

    def ours() -> None:
        for batch in file.iter_batches(BATCH, columns=["text"]):
            samples(batch["text"], shingle(batch["text"], settings.ngram), settings)

    def sketch() -> None:
        MinHash.bulk([[gram.encode() for gram in shingles(text)] for text in texts.to_pylist()], num_perm=slots)

    def rensa() -> None:
        RMinHash.digest_matrix_from_token_sets([shingles(text) for text in texts.to_pylist()], slots, 1)

    def shingles(text: str) -> list[str]:
        words = re.findall(r"\w+", text.lower())
        return [" ".join(words[at : at + settings.ngram]) for at in range(max(1, len(words) - settings.ngram + 1))]

    ours()  # compiles
    rate = count / cpu_seconds(ours)
    return {
        "signature_docs_per_core_s": round(rate),
        "ratio_to_datasketch": round(rate * cpu_seconds(sketch) / len(texts), 1),
        "ratio_to_rensa": round(rate * cpu_seconds(rensa) / len(texts), 1),
    }


@contextmanager
def peak_memory() -> Iterator[Callable[[], float]]:
    """Gives the peak resident size, in MB, of this process and its children since the block began."""
    peak = 0
    over = threading.Event()

    def watch() -> None:
        nonlocal peak
        parent = psutil.Process()
        while not over.wait(EVERY):
            total = 0
            for process in (parent, *parent.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    total += process.memory_info().rss
            peak = max(peak, total)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield lambda: peak / 1e6
    finally:
        over.set()
        watching.join()


def job(parts: Iterable[pa.Table], settings: DedupSettings, spark: Any, lake: str) -> tuple[Step[Any], dict[str, Any]]:
    """Run the Spark step on tables (id, text), each a part. Returns the step and its time and memory."""
    clean = stand_in("clean", lake)
    count = 0
    for number, rows in enumerate(parts):
        clean.output.write_part("documents", number, documents(rows), "web")
        count += rows.num_rows
    step = Step("dedup", DEDUP, settings, lake, {"documents": clean})
    with peak_memory() as peak:
        manifest = step.run()
    return step, {
        "documents": count,
        "seconds": manifest.seconds,
        "job_docs_per_core_s": round(count / manifest.seconds / spark.sparkContext.defaultParallelism),
        "peak_rss_mb": round(peak()),
    }


def quality(step: Step[Any], pairs: pa.Table, threshold: float) -> dict[str, Any]:
    """Precision, recall and F1 of documents, and the number of clusters without a survivor."""
    clusters = {row["id"]: row["cluster"] for row in step.output.scan("clusters").to_table().to_pylist()}
    near = pairs.filter(pairs["j"].to_numpy() >= pairs["j"].type.to_pandas_dtype()(threshold))
    edges = zip(*(near[name].cast(pa.string()).to_pylist() for name in ("a", "b")), strict=True)
    expected = {identity for identity, cluster in components(edges).items() if identity != cluster}
    actual = {identity for identity, cluster in clusters.items() if identity != cluster}
    hit = len(actual & expected)
    decisions = step.output.scan("decisions").to_table(columns=["id", "keep"]).to_pylist()
    alive = {clusters[row["id"]] for row in decisions if row["keep"]}
    return {
        "precision": hit / max(1, len(actual)),
        "recall": hit / max(1, len(expected)),
        "f1": 2 * hit / max(1, len(actual) + len(expected)),
        "clusters_without_survivor": len(set(clusters.values()) - alive),
    }


def curve(texts: pa.Table, pairs: pa.Table, settings: DedupSettings) -> list[dict[str, float]]:
    """By Jaccard, in steps of STEP: the number of pairs, the share that became candidates, and the expected share."""
    signed = pa.Table.from_batches(sign(documents(texts).to_batches(), settings))
    bands = pc.list_flatten(signed["bands"]).to_numpy().reshape(texts.num_rows, -1)
    ids = signed["id"].combine_chunks()
    a, b = (pc.index_in(pairs[name].cast(pa.string()), ids).to_numpy() for name in ("a", "b"))
    candidate = (bands[a] == bands[b]).any(axis=1)
    jaccard = pairs["j"].to_numpy().astype(np.float64)
    steps = np.floor(jaccard / STEP + 1e-6)
    rows = []
    for step in np.unique(steps):
        inside = steps == step
        rows.append(
            {
                "jaccard": round(float(step) * STEP, 2),
                "pairs": int(inside.sum()),
                "found": round(float(candidate[inside].mean()), 5),
                "expected": round(float(np.mean([settings.bands.recall(value) for value in jaccard[inside]])), 5),
            }
        )
    return rows


def labelled(path: Path, pairs: Path, settings: DedupSettings, spark: Any) -> dict[str, Any]:
    """All figures of a corpus with its pairs."""
    figures: dict[str, Any] = dict(signatures(path, settings))
    texts = pq.read_table(path, columns=["id", "text"])
    with tempfile.TemporaryDirectory() as lake:
        half = -(-texts.num_rows // 2)
        step, cost = job((texts.slice(at, half) for at in range(0, texts.num_rows, half)), settings, spark, lake)
        labels = pq.read_table(pairs)
        return figures | cost | quality(step, labels, settings.threshold) | {"curve": curve(texts, labels, settings)}


def scaled(sizes: list[int], settings: DedupSettings, spark: Any) -> dict[str, Any]:
    """Time and memory by size of a corpus of benchmarks.noise, and the exponent of time between the last two sizes."""
    rows = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as lake:
            rows.append(job(noise(size), settings, spark, lake)[1])
    exponents = {}
    if len(rows) > 1:
        small, large = rows[-2:]
        growth = np.log(large["seconds"] / small["seconds"]) / np.log(large["documents"] / small["documents"])
        exponents["exponent"] = round(float(growth), 3)
    return {"sizes": rows} | exponents


def plot(figures: dict[str, Any], settings: DedupSettings, path: Path) -> None:
    """Seconds and memory over documents, both axes logarithmic; or the curve, measured and expected."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams["svg.hashsalt"] = "gap-replay"
    if "curve" in figures:
        figure, axis = pyplot.subplots(figsize=(6, 3.4), layout="constrained")
        values = np.linspace(0, 1, 101)
        cut = settings.bands
        label = f"expected of {cut.bands} bands of {cut.rows} rows"
        axis.plot(values, [cut.recall(value) for value in values], label=label)
        middle = [row["jaccard"] + STEP / 2 if row["jaccard"] < 1 else 1 for row in figures["curve"]]
        axis.plot(middle, [row["found"] for row in figures["curve"]], "o", label="measured")
        axis.axvline(settings.threshold, color="grey", linestyle=":", label="threshold")
        axis.set(xlabel="Jaccard of two documents", ylabel="share found as candidates")
        axis.legend()
    else:
        figure, axes = pyplot.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
        rows = figures["sizes"]
        for axis, name, label in zip(axes, ("seconds", "peak_rss_mb"), ("seconds", "peak memory, MB"), strict=True):
            axis.loglog([row["documents"] for row in rows], [row[name] for row in rows], marker="o")
            axis.set(xlabel="documents", ylabel=label)
            axis.grid(alpha=0.3)
    figure.savefig(path, metadata={"Date": None})


@click.command(help=__doc__)
@click.option("--corpus", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--pairs", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--scale", help="Numbers of documents, separated by commas.")
@click.option("--plot", "picture", type=click.Path(dir_okay=False, path_type=Path), help="Draw the figures as an SVG.")
@click.option("--scheme", default=None, help="Signature scheme, if not the default.")
@click.option("--memory", default="4g", show_default=True, help="Memory of Spark's JVM.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@user_errors
def main(
    corpus: Path | None,
    pairs: Path | None,
    scale: str | None,
    picture: Path | None,
    scheme: str | None,
    memory: str,
    as_json: bool,
) -> None:
    if (corpus is None) != (pairs is None) or (corpus is None) == (scale is None):
        raise click.UsageError("give --corpus with --pairs, or --scale")
    try:
        sizes = [int(size) for size in scale.split(",")] if scale else []
    except ValueError:
        raise click.UsageError(f"--scale {scale}: not numbers separated by commas") from None
    settings = DedupSettings.model_validate({"scheme": scheme} if scheme else {})
    cores = len(os.sched_getaffinity(0))
    spark = start(SparkSettings(master=f"local[{cores}]", memory=memory))
    try:
        with tempfile.TemporaryDirectory() as lake:
            job(noise(WARMING), settings, spark, lake)
        figures = labelled(corpus, pairs, settings, spark) if corpus and pairs else scaled(sizes, settings, spark)
    finally:
        spark.stop()
    if picture:
        plot(figures, settings, picture)
    if as_json:
        click.echo(json.dumps(figures))
        return
    rows = figures.get("sizes") or figures.pop("curve")
    if "sizes" not in figures:
        for name, value in figures.items():
            click.echo(f"{name:<28}{value:>14,}")
    cells = [[f"{value:,}" for value in row.values()] for row in rows]
    click.echo(table(list(rows[0]), cells, set(range(len(rows[0])))))
    if "exponent" in figures:
        click.echo(f"seconds grow with documents to the power of {figures['exponent']}")


if __name__ == "__main__":
    main()
