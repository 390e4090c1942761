"""The metadata join at scale: documents and metadata are generated as the step `read` leaves them, and joined on Spark.

    python -m benchmarks.pubmed [--rows 1000000 …] [--dir DIR] [--cores 2] [--memory 4g] [--json]

Of 21 papers in Semantic Scholar, 16 have an abstract, which has no id but `corpusid`, and 5 a full text, which has all
ids; a tenth has no PMID. MEDLINE has metadata of another tenth. Each size is joined in a process of its own. The memory
is the peak of that process and those it starts (the JVM, Python workers) together. The exponent compares a size with
the one before: 1 is linear.
"""

import json
import math
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from operator import truediv
from pathlib import Path
from typing import Any

import click
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gap.command import table
from ingest.metadata import METADATA
from lake.dataset import Output
from lake.document import DOCUMENT, META
from spark_jobs.pubmed import write_known
from spark_jobs.session import SparkSettings, start

FILE_ROWS = 500_000
"""Rows of a part that `read` writes."""

PART_ROWS = 200_000
"""Documents of a part of `known`, as many as `clean` puts into 200 MB of abstracts."""

PAPERS, ALL = 5, 21
"""Full texts, and papers in all."""

BYTES = np.array([f"{byte:02x}".encode() for byte in range(256)])


def make(read: Output, rows: int) -> dict[str, int]:
    """Write `documents` and `metadata` of `rows` papers; returns how many documents each source has."""
    counts = {"papers": rows * PAPERS // ALL, "abstracts": rows - rows * PAPERS // ALL}
    # The metadata are in another order than the documents, so that the join has to move them.
    order = np.random.default_rng(1).permutation(rows) + 1
    part = 0
    for source, first in (("papers", 1), ("abstracts", 1 + counts["papers"])):
        for numbers in _runs(np.arange(first, first + counts[source])):
            read.write_part("documents", part, _documents(numbers, source), source)
            part += 1
    for part, numbers in enumerate(_runs(order)):
        tables = [_metadata(numbers, "s2"), _metadata(numbers[numbers % 10 == 1], "medline")]
        read.write_part("metadata", part, pa.concat_tables(tables))
    return counts


def _runs(numbers: np.ndarray) -> Iterator[np.ndarray]:
    return (numbers[start : start + FILE_ROWS] for start in range(0, len(numbers), FILE_ROWS))


def _text(before: str, numbers: np.ndarray) -> pa.Array:
    return pc.binary_join_element_wise(before, pa.array(numbers).cast(pa.string()), "")


def _rows(schema: pa.Schema, length: int, **columns: Any) -> pa.Table:
    """A table of `schema`. A column is an array, or a value for all rows; a missing column is null."""
    arrays = []
    for field in schema:
        column = columns.get(field.name)
        arrays.append(column if isinstance(column, pa.Array) else pa.repeat(pa.scalar(column, field.type), length))
    return pa.table(arrays, schema=schema)


def _documents(numbers: np.ndarray, source: str) -> pa.Table:
    ids = {name: column for name, column in _ids(numbers).items() if source == "papers" or name == "corpusid"}
    meta = _rows(pa.schema(list(META)), len(numbers), **ids)
    # Like real ids, which are hashes of 32 hex digits, these are spread and do not compress.
    spread = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    digits = pa.array(BYTES[spread.view(np.uint8)].view("S16")).cast(pa.string())
    return _rows(
        DOCUMENT,
        len(numbers),
        id=pc.binary_join_element_wise(digits, digits, ""),
        source=source,
        text=_text("Salt ", numbers),
        redistributable=False,
        meta=pa.StructArray.from_arrays([meta[name].combine_chunks() for name in meta.column_names], fields=list(META)),
    )


def _ids(numbers: np.ndarray) -> dict[str, pa.Array]:
    """All ids of papers. Every tenth has no PMID."""
    pmid = pc.if_else(pa.array(numbers % 10 != 0), _text("", numbers), None)
    return {
        "corpusid": pa.array(numbers),
        "pmid": pmid,
        "pmcid": _text("PMC", numbers),
        "doi": _text("10.1/", numbers),
    }


def _metadata(numbers: np.ndarray, origin: str) -> pa.Table:
    about: dict[str, Any] = {"journal": "Thirst", "published": "2012-07-19"}
    if origin == "s2":
        about |= _ids(numbers) | {
            "citations": 3,
            "publication_types": ["Review"],
            "title": _text("On salt, part ", numbers),
        }
    else:
        about |= {
            "pmid": _text("", numbers),
            "revision": "pubmed26n0001",
            "mesh": ["Thirst", "Water"],
            "publication_types": ["Letter"],
        }
    return _rows(METADATA, len(numbers), origin=origin, deleted=False, **about)


def measure(folder: str, counts: dict[str, int], cores: int, memory: str) -> dict[str, float]:
    """Join in this process. Returns seconds, and peak MB of this process and all below it."""
    read, output = Output(f"{folder}/read"), Output(f"{folder}/clean")
    spark = start(SparkSettings(master=f"local[{cores}]", memory=memory, options={"spark.local.dir": folder}))
    spark.range(1).count()
    peak, ended = 0.0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(0.5):
            peak = max(peak, _tree_mb(os.getpid()))

    watching = threading.Thread(target=watch)
    watching.start()
    started = time.monotonic()
    try:
        write_known(read, output, {name: 1 + count // PART_ROWS for name, count in counts.items()}, spark)
        seconds = time.monotonic() - started
    finally:
        ended.set()
        watching.join()
        spark.stop()
    known = output.scan("known").count_rows()
    if known != sum(counts.values()):
        raise AssertionError(f"`known` has {known:,} documents, not {sum(counts.values()):,}")
    return {"seconds": round(seconds, 1), "peak_mb": round(peak)}


def _tree_mb(root: int) -> float:
    """Memory of a process and all below it in MB. Memory that they share counts once: Linux gives this as PSS."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            after = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        parents.setdefault(int(after[1]), []).append(int(path.parent.name))
    tree, kilobytes = [root], 0
    for process in tree:
        tree += parents.get(process, [])
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines()
        except OSError:  # likewise
            continue
        kilobytes += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kilobytes / 1024


@click.command()
@click.option("--rows", "sizes", multiple=True, type=int, default=(100_000, 1_000_000), show_default=True)
@click.option("--dir", "folder", type=click.Path(file_okay=False, exists=True), help="Where the tables are made.")
@click.option("--cores", default=2, show_default=True)
@click.option("--memory", default="4g", show_default=True, help="Heap of the JVM.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(sizes: tuple[int, ...], folder: str | None, cores: int, memory: str, as_json: bool) -> None:
    """Measure time and memory of the metadata join at several sizes."""
    results: list[dict[str, Any]] = []
    for rows in sizes:
        with tempfile.TemporaryDirectory(dir=folder) as lake:
            counts = make(Output(f"{lake}/read"), rows)
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                figures = process.submit(measure, lake, counts, cores, memory).result()
        results.append({"rows": rows, "rows_s": round(rows / figures["seconds"]), **figures, "exponent": None})
        if len(results) > 1 and rows != results[-2]["rows"]:
            ratios = (results[-1][name] / results[-2][name] for name in ("seconds", "rows"))
            results[-1]["exponent"] = round(truediv(*map(math.log, ratios)), 2)
    if as_json:
        click.echo(json.dumps(results))
    else:
        lines = [["" if value is None else f"{value:,}" for value in figures.values()] for figures in results]
        click.echo(table(list(results[0]), lines, set(range(len(results[0])))))


if __name__ == "__main__":
    main()
