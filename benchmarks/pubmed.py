"""The metadata join at scale: documents and metadata as the step `read` leaves them, made here, joined on Spark.

    python -m benchmarks.pubmed [--rows 1000000 …] [--dir DIR] [--cores 2] [--memory 4g] [--json]

Of every 21 papers that Semantic Scholar tells of 16 have an abstract, which is known by its `corpusid` alone, and 5 a
full text, which has all its ids; a tenth has no PMID. MEDLINE tells of another tenth. Each size is joined in a process
of its own; the memory told is the largest that process and those it started (the JVM, Python workers) had at one time.
Of several sizes the exponent is told, too: 1 is linear.
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

from ingest.metadata import METADATA
from lake.dataset import Output
from lake.document import DOCUMENT, META
from ray_jobs.command import table
from spark_jobs.pubmed import write_known
from spark_jobs.session import SparkSettings, start

FILE_ROWS = 500_000
"""Rows of one part that `read` wrote."""

PART_ROWS = 200_000
"""Documents of one part of `known`, as many as `clean` puts into 200 MB of abstracts."""

PAPERS, ALL = 5, 21
"""Full texts among so many papers."""

BYTES = np.array([f"{one:02x}".encode() for one in range(256)])


def make(read: Output, rows: int) -> dict[str, int]:
    """Write `documents` and `metadata` of `rows` papers; returns how many documents each source has."""
    counts = {"papers": rows * PAPERS // ALL, "abstracts": rows - rows * PAPERS // ALL}
    # Metadata comes in an order of its own, so that the join has to move it.
    order = np.random.default_rng(1).permutation(rows) + 1
    part = 0
    for source, first in (("papers", 1), ("abstracts", 1 + counts["papers"])):
        for numbers in _runs(np.arange(first, first + counts[source])):
            read.write_part("documents", part, _documents(numbers, source), source)
            part += 1
    for part, numbers in enumerate(_runs(order)):
        told = [_metadata(numbers, "s2"), _metadata(numbers[numbers % 10 == 1], "medline")]
        read.write_part("metadata", part, pa.concat_tables(told))
    return counts


def _runs(numbers: np.ndarray) -> Iterator[np.ndarray]:
    return (numbers[start : start + FILE_ROWS] for start in range(0, len(numbers), FILE_ROWS))


def _text(before: str, numbers: np.ndarray) -> pa.Array:
    return pc.binary_join_element_wise(before, pa.array(numbers).cast(pa.string()), "")


def _rows(schema: pa.Schema, length: int, **columns: Any) -> pa.Table:
    """A table of `schema`: arrays as they are, one value for all rows, null where nothing is given."""
    made = []
    for field in schema:
        given = columns.get(field.name)
        made.append(given if isinstance(given, pa.Array) else pa.repeat(pa.scalar(given, field.type), length))
    return pa.table(made, schema=schema)


def _documents(numbers: np.ndarray, source: str) -> pa.Table:
    own = {name: column for name, column in _ids(numbers).items() if source == "papers" or name == "corpusid"}
    meta = _rows(pa.schema(list(META)), len(numbers), **own)
    # Spread like the hashes that ids are, 32 hex digits, and as incompressible.
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
    """All ids of papers; each tenth has no PMID."""
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
    """Join in this process: seconds, rows of `known`, and peak MB of this process and all below it."""
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
    found = output.scan("known").count_rows()
    if found != sum(counts.values()):
        raise AssertionError(f"{found:,} documents are told of, not {sum(counts.values()):,}")
    return {"seconds": round(seconds, 1), "peak_mb": round(peak)}


def _tree_mb(root: int) -> float:
    """Memory of a process and all below it in MB, from Linux; what they share counts once (PSS)."""
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
@click.option("--memory", default="4g", show_default=True, help="Of the JVM's heap.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(sizes: tuple[int, ...], folder: str | None, cores: int, memory: str, as_json: bool) -> None:
    """Tell time and memory of the metadata join at several sizes."""
    found: list[dict[str, Any]] = []
    for rows in sizes:
        with tempfile.TemporaryDirectory(dir=folder) as own:
            counts = make(Output(f"{own}/read"), rows)
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                one = process.submit(measure, own, counts, cores, memory).result()
        found.append({"rows": rows, "rows_s": round(rows / one["seconds"]), **one, "exponent": None})
        if len(found) > 1 and rows != found[-2]["rows"]:
            ratios = (found[-1][name] / found[-2][name] for name in ("seconds", "rows"))
            found[-1]["exponent"] = round(truediv(*map(math.log, ratios)), 2)
    if as_json:
        click.echo(json.dumps(found))
    else:
        lines = [["" if value is None else f"{value:,}" for value in one.values()] for one in found]
        click.echo(table(list(found[0]), lines, set(range(len(found[0])))))


if __name__ == "__main__":
    main()
