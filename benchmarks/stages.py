"""How fast each stage's own code is, in one process and without an engine, beside a peer where there is one.

    python -m benchmarks.stages [--data DIR] [--config CONFIG] [--json]

A ratio is this project's speed over the peer's, both measured here and now on the same input. One run on one machine
tells orders of magnitude.
"""

import json
import os
import re
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dedup.decontaminate import COLUMNS, find
from dedup.minhash import shingle, signatures
from eval.questions import load_questions, question_table
from ingest.clean import PartCleaner
from ingest.inputs import records, units
from lake.config import load
from lake.document import DOCUMENT, Document
from mixing.shards import token_type, write
from mixing.tokenizer.build import TokenizerSettings, train
from mixing.tokenizer.tokenizer import Tokenizer
from ray_jobs.command import table, user_errors
from ray_jobs.pipeline import Pipeline

SHORTEST = 0.5
"""Seconds that a measurement takes at least, by repeating it; the quickest repetition counts."""

TRAIN_CHARACTERS = 2_000_000
ENCODE_CHARACTERS = 6_000_000
SKETCHED = 1_500
"""Documents that datasketch signs, for it is the slowest of all."""

SHARD_TOKENS = 10_000_000
BATCH = 128


@dataclass(frozen=True)
class Figure:
    """A speed; `ratio` is it over that of the `peer`; `note` says what was compared besides."""

    stage: str
    what: str
    per_second: float
    unit: str
    peer: str = ""
    ratio: float | None = None
    note: str = ""


def seconds(work: Callable[[], object]) -> float:
    """Of the quickest of as many runs as SHORTEST takes."""
    best, spent = float("inf"), 0.0
    while spent < SHORTEST:
        started = time.perf_counter()
        work()
        took = time.perf_counter() - started
        best, spent = min(best, took), spent + took
    return best


def read(config: Pipeline) -> tuple[list[Figure], list[Document]]:
    """Parsing by format, and the documents that it gave, each id once."""
    documents: dict[str, Document] = {}
    figures = []
    todo = units(config.read, config.data)
    for form in sorted({one.format for one in config.read.inputs}):
        mine = [unit for unit in todo if config.read.inputs[unit.input].format == form]

        def parse(mine: list[Any] = mine) -> list[Document]:
            read = chain.from_iterable(records(unit, config.read, config.data) for unit in mine)
            return [one for one in read if isinstance(one, dict)]

        found = parse()
        took = seconds(parse)
        size = sum(path.stat().st_size for unit in mine for path in unit.files)
        figures.append(Figure("read", f"{form}, {len(found):,} documents", len(found) / took, "documents"))
        figures.append(Figure("read", f"{form}, raw bytes", size / took / 1e6, "MB"))
        documents |= {one["id"]: one for one in found}
    return figures, [documents[id_] for id_ in sorted(documents)]


def clean(config: Pipeline, documents: list[Document]) -> tuple[list[Figure], pa.Table]:
    by_source = {
        source: pa.Table.from_pylist([one for one in documents if one["source"] == source], DOCUMENT)
        for source in sorted({one["source"] for one in documents})
    }

    def work() -> pa.Table:
        cleaned = [PartCleaner(source, config.clean, "clean").clean(rows)[0] for source, rows in by_source.items()]
        return pa.concat_tables(cleaned)

    kept = work().combine_chunks()
    rate = len(documents) / seconds(work)
    return [Figure("clean", f"normalise, length, language of {len(documents):,}", rate, "documents")], kept


def sign(config: Pipeline, documents: pa.Table) -> list[Figure]:
    """Text to MinHash signature of word n-grams, ours and datasketch's, of equally many slots."""
    from datasketch import MinHash

    settings = config.dedup
    slots = settings.bands.slots
    texts = documents["text"].combine_chunks()[:SKETCHED]

    def ours() -> None:
        shingled = shingle(texts, settings.ngram)
        signatures(shingled.offsets, shingled.values, slots)

    def theirs() -> None:
        MinHash.bulk([_shingles(text, settings.ngram) for text in texts.to_pylist()], num_perm=slots)

    ours()  # compiles
    mine, other = seconds(ours), seconds(theirs)
    what = f"signatures of {slots} slots, {len(texts):,} documents"
    return [Figure("dedup", what, len(texts) / mine, "documents", "datasketch", other / mine)]


def _shingles(text: str, ngram: int) -> list[bytes]:
    words = re.findall(r"\w+", text.lower())
    return [" ".join(words[at : at + ngram]).encode() for at in range(max(1, len(words) - ngram + 1))]


def decontaminate(config: Pipeline, documents: pa.Table) -> list[Figure]:
    questions = question_table(load_questions(config.evaluate, config.data))
    batches = documents.select(list(COLUMNS)).to_batches()

    def work() -> list[pa.RecordBatch]:
        return list(find(batches, questions, config.decontaminate))

    work()  # compiles
    what = f"{len(questions):,} questions in {len(documents):,} documents"
    return [Figure("decontaminate", what, len(documents) / seconds(work), "documents")]


def encode(config: Pipeline, documents: pa.Table) -> tuple[list[Figure], Tokenizer, list[npt.NDArray[Any]]]:
    """The tokenizer step's encoding, in its batches, with a tokenizer of the config's size trained on a part."""
    wanted = config.tokenizer if config.tokenizer.train else TokenizerSettings.model_validate(TRAINED)
    texts = documents["text"].to_pylist()
    made = train(_up_to(texts, TRAIN_CHARACTERS), wanted)
    some = list(_up_to(texts, ENCODE_CHARACTERS))

    def work() -> list[npt.NDArray[Any]]:
        return [ids for at in range(0, len(some), BATCH) for ids in made.encode(some[at : at + BATCH])]

    ids = work()
    took = seconds(work)
    tokens = sum(one.size for one in ids)
    what = f"encode {tokens:,} tokens, {made.vocab_size:,} ids"
    size = sum(len(text.encode()) for text in some)
    figures = [
        Figure("tokenizer", what, tokens / took, "tokens"),
        Figure("tokenizer", "encode, text", size / took / 1e6, "MB"),
    ]
    return figures, made, [one for one in ids if one.size]


TRAINED = {"train": {"vocab_size": 8192}}


def _up_to(texts: list[str], characters: int) -> Iterator[str]:
    taken = 0
    for text in texts:
        if taken >= characters:
            return
        taken += len(text)
        yield text


def shard(made: Tokenizer, documents: list[npt.NDArray[Any]]) -> list[Figure]:
    """Token ids to .bin and .idx, ours and megatron-core's, and whether both wrote the same bytes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from megatron.core.datasets.indexed_dataset import IndexedDatasetBuilder

    dtype = token_type(made.vocab_size)
    repeats = max(1, SHARD_TOKENS // sum(one.size for one in documents))
    many = documents * repeats
    # Ours adds the end of document itself; Megatron's caller must, and here has done so beforehand.
    ended = [np.append(one, np.array(made.eod, dtype)) for one in documents] * repeats

    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder, "ours"), Path(folder, "theirs")

        def build() -> None:
            builder = IndexedDatasetBuilder(f"{theirs}.bin", dtype=dtype)
            for ids in ended:
                builder.add_document(ids, [ids.size])
            builder.finalize(f"{theirs}.idx")

        mine = seconds(lambda: write(ours.parent, ours.name, many, made.vocab_size, made.eod))
        other = seconds(build)
        files = [[path.with_suffix(end).read_bytes() for end in (".bin", ".idx")] for path in (ours, theirs)]
    same = "bytes identical" if files[0] == files[1] else "BYTES DIFFER"
    size = sum(map(len, files[0])) / 1e6
    what = f"write {size:,.0f} MB, hashed and checked"
    return [Figure("shard", what, size / mine, "MB", "megatron-core", other / mine, same)]


def stages(config: Pipeline) -> list[Figure]:
    """All figures, in the order of the steps."""
    figures, documents = read(config)
    more, kept = clean(config, documents)
    figures += more + sign(config, kept) + decontaminate(config, kept)
    more, made, ids = encode(config, kept)
    return figures + more + shard(made, ids)


@click.command(help=__doc__)
@click.option("--data", default="samples", show_default=True, help="Folder of raw files and benchmarks.")
@click.option("--config", default=None, help="By default configs/demo.yaml for the samples, else configs/nih.yaml.")
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects instead of a table.")
@user_errors
def main(data: str, config: str | None, as_json: bool) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    ready = "configs/demo.yaml" if Path(data).name == "samples" else "configs/nih.yaml"
    figures = stages(load(config or ready, [f"data={data}"], Pipeline))
    if as_json:
        click.echo(json.dumps([asdict(one) for one in figures], indent=1))
        return
    rows = [_row(one) for one in figures]
    click.echo(table(("stage", "what", "a second", "unit", "speed against", ""), rows, right={2}))


def _row(one: Figure) -> tuple[str, ...]:
    speed = f"{one.per_second:,.1f}" if one.per_second < 100 else f"{one.per_second:,.0f}"
    ratio = f"{one.ratio:,.1f} × {one.peer}" if one.ratio is not None else ""
    return one.stage, one.what, speed, one.unit, ratio, one.note


if __name__ == "__main__":
    main()
