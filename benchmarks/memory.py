"""How much memory reading takes: generated gzip files of S2ORC or MEDLINE records, read at two sizes.

    python -m benchmarks.memory [--gb 0.1 --gb 2] [--dir DIR] [--kind s2orc|medline] [--json]

The sizes are those of the unpacked files. Each file is read in a process of its own, whose largest resident size is
printed. The size of the file does not change it where reading is streamed.
"""

import gzip
import json
import random
import re
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click

from gap.command import table
from ingest.records import Records
from ingest.sources.medline import MedlineInput
from ingest.sources.s2orc import S2Input

WORDS = ["salt", "thirst", "ward", "water", "patient", "night", "cup", "nurse", "sodium", "fever", "clinic", "dose"]
VARIANTS = 50
"""Different records, which the files repeat."""


def full_text(chance: random.Random) -> bytes:
    """A record of S2ORC with 60 paragraphs, a citation in each fifth, some 45 KB."""
    text = ""
    spans: dict[str, list[Any]] = {
        kind: [] for kind in ("sectionheader", "paragraph", "bibref", "bibentry", "bibtitle")
    }

    def add(kind: str, words: str, **attributes: str) -> None:
        nonlocal text
        spans[kind].append({"start": len(text), "end": len(text) + len(words), "attributes": attributes})
        text += words

    for number in range(60):
        if number % 6 == 0:
            add("sectionheader", f"Part {number}", n=str(number // 6 + 1))
            text += "\n\n"
        start = len(text)
        text += " ".join(chance.choices(WORDS, k=40)) + " "
        if number % 5 == 0:
            add("bibref", "[1]", ref_id=f"b{number % 20}")
        text += " ".join(chance.choices(WORDS, k=50)) + "."
        spans["paragraph"].append({"start": start, "end": len(text)})
        text += "\n\n"
    for number in range(20):
        start = len(text)
        add("bibtitle", " ".join(chance.choices(WORDS, k=9)))
        spans["bibentry"].append({"start": start, "end": len(text), "attributes": {"id": f"b{number}"}})
        text += "\n"
    annotations = {kind: json.dumps(of_kind) for kind, of_kind in spans.items()}
    ids = {"pubmed": "1", "pubmedcentral": None}
    return json.dumps(
        {"corpusid": 1, "externalids": ids, "content": {"text": text, "annotations": annotations}}
    ).encode()


def citation(chance: random.Random) -> bytes:
    words = " ".join(chance.choices(WORDS, k=250))
    return (
        '<PubmedArticle><MedlineCitation><PMID Version="1">1</PMID><Article><ArticleTitle>Salt</ArticleTitle>'
        f"<Abstract><AbstractText>{words}</AbstractText></Abstract></Article></MedlineCitation></PubmedArticle>"
    ).encode()


def make(path: Path, size: float, kind: str) -> None:
    """Write a gzip file that unpacks to at least `size` GB."""
    chance = random.Random(1)
    record = full_text if kind == "s2orc" else citation
    records = [record(chance) + b"\n" for _ in range(VARIANTS)]
    block = b"".join(records)
    with gzip.open(path, "wb", compresslevel=1) as out:
        out.write(b"" if kind == "s2orc" else b"<PubmedArticleSet>")
        for _ in range(int(size * 1e9 / len(block)) + 1):
            out.write(block)
        out.write(b"" if kind == "s2orc" else b"</PubmedArticleSet>")


def _records(kind: str) -> Callable[[Path, str], Records]:
    given = {"source": "papers", "paths": ("*",)}
    if kind == "s2orc":
        return S2Input.model_validate(given | {"format": "s2orc", "dataset": "s2orc"}).read
    return MedlineInput.model_validate(given | {"format": "medline"}).read


def measure(path: Path, kind: str) -> dict[str, float]:
    """Read a file in this process. Returns documents, peak MB, MB before and seconds."""
    before, started = peak(), time.monotonic()
    documents = sum(isinstance(record, dict) for record in _records(kind)(path, path.name))
    seconds = time.monotonic() - started
    return {"documents": documents, "peak_mb": peak(), "before_mb": before, "seconds": round(seconds, 1)}


def peak() -> float:
    """The largest resident size in MB, from Linux, for getrusage also counts the process that started this one."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return round(int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024, 1)  # type: ignore[index]


@click.command()
@click.option("--gb", "sizes", multiple=True, type=float, default=(0.1, 2.0), show_default=True)
@click.option("--dir", "folder", type=click.Path(file_okay=False, exists=True), help="Where the files are made.")
@click.option("--kind", type=click.Choice(["s2orc", "medline"]), default="s2orc", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(sizes: tuple[float, ...], folder: str | None, kind: str, as_json: bool) -> None:
    """Measure the peak memory of reading files of several sizes."""
    results = []
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        for size in sizes:
            packed = Path(scratch, "records.gz")
            make(packed, size, kind)
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                results.append({"gb": size, **process.submit(measure, packed, kind).result()})
    if as_json:
        click.echo(json.dumps(results))
    else:
        rows = [[f"{value:,}" for value in figures.values()] for figures in results]
        click.echo(table(list(results[0]), rows, set(range(len(results[0])))))


if __name__ == "__main__":
    main()
