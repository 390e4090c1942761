"""How fast the code of each stage is, in one process and without an engine, beside a peer where there is one.

    python -m benchmarks.stages [--data DIR] [--config CONFIG] [--json]

A ratio divides the speed of this project by that of the peer, measured in the same run on the same input. A run on one
machine shows orders of magnitude.
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
from gap.command import load_config, table, user_errors
from gap.config import Config
from ingest.clean import PartCleaner
from ingest.inputs import Unit, records, units
from lake.document import DOCUMENT, Document
from mixing.shards import token_type, write
from mixing.tokenizer.build import TokenizerSettings, train
from mixing.tokenizer.tokenizer import Tokenizer

SHORTEST = 0.5
"""Least seconds of a measurement, which is repeated until then; the quickest repetition counts."""

TRAIN_CHARACTERS = 2_000_000
ENCODE_CHARACTERS = 6_000_000
SKETCHED = 1_500
"""Few documents, for datasketch is the slowest of all."""

SHARD_TOKENS = 10_000_000
BATCH = 128


@dataclass(frozen=True)
class Figure:
    """A speed. `ratio` divides it by the speed of `peer`; `note` says whether both wrote the same."""

    stage: str
    what: str
    per_second: float
    unit: str
    peer: str = ""
    ratio: float | None = None
    note: str = ""


def seconds(work: Callable[[], object]) -> float:
    """Seconds of the quickest of the runs that SHORTEST has time for."""
    best, spent = float("inf"), 0.0
    while spent < SHORTEST:
        started = time.perf_counter()
        work()
        took = time.perf_counter() - started
        best, spent = min(best, took), spent + took
    return best


def read(config: Config) -> tuple[list[Figure], list[Document]]:
    """Speed of parsing by format, and the documents, each id once."""
    documents: dict[str, Document] = {}
    figures = []
    todo = units(config.read, config.data)
    for name in sorted({raw_input.format for raw_input in config.read.inputs}):
        of_format = [unit for unit in todo if config.read.inputs[unit.input].format == name]

        def parse(of_format: list[Unit] = of_format) -> list[Document]:
            read = chain.from_iterable(records(unit, config.read, config.data) for unit in of_format)
            return [record for record in read if isinstance(record, dict)]

        parsed = parse()
        took = seconds(parse)
        size = sum(path.stat().st_size for unit in of_format for path in unit.files)
        figures.append(Figure("read", f"{name}, {len(parsed):,} documents", len(parsed) / took, "documents"))
        figures.append(Figure("read", f"{name}, raw bytes", size / took / 1e6, "MB"))
        documents |= {document["id"]: document for document in parsed}
    return figures, [documents[id_] for id_ in sorted(documents)]


def clean(config: Config, documents: list[Document]) -> tuple[list[Figure], pa.Table]:
    by_source = {
        source: pa.Table.from_pylist([document for document in documents if document["source"] == source], DOCUMENT)
        for source in sorted({document["source"] for document in documents})
    }

    def work() -> pa.Table:
        cleaned = [PartCleaner(source, config.clean, "clean").clean(rows)[0] for source, rows in by_source.items()]
        return pa.concat_tables(cleaned)

    kept = work().combine_chunks()
    rate = len(documents) / seconds(work)
    return [Figure("clean", f"normalise, length, language of {len(documents):,}", rate, "documents")], kept


def sign(config: Config, documents: pa.Table) -> list[Figure]:
    """Speed from text to MinHash signature of word n-grams, beside datasketch with as many slots."""
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
    took, peer = seconds(ours), seconds(theirs)
    what = f"signatures of {slots} slots, {len(texts):,} documents"
    return [Figure("dedup", what, len(texts) / took, "documents", "datasketch", peer / took)]


def _shingles(text: str, ngram: int) -> list[bytes]:
    words = re.findall(r"\w+", text.lower())
    return [" ".join(words[at : at + ngram]).encode() for at in range(max(1, len(words) - ngram + 1))]


def decontaminate(config: Config, documents: pa.Table) -> list[Figure]:
    questions = question_table(load_questions(config.evaluate, config.data))
    batches = documents.select(list(COLUMNS)).to_batches()

    def work() -> list[pa.RecordBatch]:
        return list(find(batches, questions, config.decontaminate))

    work()  # compiles
    what = f"{len(questions):,} questions in {len(documents):,} documents"
    return [Figure("decontaminate", what, len(documents) / seconds(work), "documents")]


def encode(config: Config, documents: pa.Table) -> tuple[list[Figure], Tokenizer, list[npt.NDArray[Any]]]:
    """Speed of encoding in the batches of the step, with a tokenizer of the configured size, trained on a part."""
    settings = config.tokenizer if config.tokenizer.train else TokenizerSettings.model_validate(TRAINED)
    texts = documents["text"].to_pylist()
    made = train(_up_to(texts, TRAIN_CHARACTERS), settings)
    sample = list(_up_to(texts, ENCODE_CHARACTERS))

    def work() -> list[npt.NDArray[Any]]:
        return [ids for at in range(0, len(sample), BATCH) for ids in made.encode(sample[at : at + BATCH])]

    ids = work()
    took = seconds(work)
    tokens = sum(document.size for document in ids)
    what = f"encode {tokens:,} tokens, {made.vocab_size:,} ids"
    size = sum(len(text.encode()) for text in sample)
    figures = [
        Figure("tokenizer", what, tokens / took, "tokens"),
        Figure("tokenizer", "encode, text", size / took / 1e6, "MB"),
    ]
    return figures, made, [document for document in ids if document.size]


TRAINED = {"train": {"vocab_size": 8192}}


def _up_to(texts: list[str], characters: int) -> Iterator[str]:
    taken = 0
    for text in texts:
        if taken >= characters:
            return
        taken += len(text)
        yield text


def shard(made: Tokenizer, documents: list[npt.NDArray[Any]]) -> list[Figure]:
    """Speed from token ids to .bin and .idx, beside megatron-core, and whether both write the same bytes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from megatron.core.datasets.indexed_dataset import IndexedDatasetBuilder

    dtype = token_type(made.vocab_size)
    repeats = max(1, SHARD_TOKENS // sum(ids.size for ids in documents))
    many = documents * repeats
    # `write` adds the end of each document. The caller of Megatron must add it, which is not part of the measurement.
    ended = [np.append(ids, np.array(made.eod, dtype)) for ids in documents] * repeats

    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder, "ours"), Path(folder, "theirs")

        def build() -> None:
            builder = IndexedDatasetBuilder(f"{theirs}.bin", dtype=dtype)
            for ids in ended:
                builder.add_document(ids, [ids.size])
            builder.finalize(f"{theirs}.idx")

        took = seconds(lambda: write(ours.parent, ours.name, many, made.vocab_size, made.eod))
        peer = seconds(build)
        files = [[path.with_suffix(end).read_bytes() for end in (".bin", ".idx")] for path in (ours, theirs)]
    same = "bytes identical" if files[0] == files[1] else "BYTES DIFFER"
    size = sum(map(len, files[0])) / 1e6
    what = f"write {size:,.0f} MB, hashed and checked"
    return [Figure("shard", what, size / took, "MB", "megatron-core", peer / took, same)]


def stages(config: Config) -> list[Figure]:
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
    figures = stages(load_config(config or ready, [f"data={data}"]))
    if as_json:
        click.echo(json.dumps([asdict(figure) for figure in figures], indent=1))
        return
    rows = [_row(figure) for figure in figures]
    click.echo(table(("stage", "what", "a second", "unit", "speed against", ""), rows, right={2}))


def _row(figure: Figure) -> tuple[str, ...]:
    speed = f"{figure.per_second:,.1f}" if figure.per_second < 100 else f"{figure.per_second:,.0f}"
    ratio = f"{figure.ratio:,.1f} × {figure.peer}" if figure.ratio is not None else ""
    return figure.stage, figure.what, speed, figure.unit, ratio, figure.note


if __name__ == "__main__":
    main()
