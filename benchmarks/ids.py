"""Whether the fast encoder and Hugging Face's tokenizers give the texts of files the same ids.

    python -m benchmarks.ids PATH… --tokenizer DIR

A PATH is a file or a folder of files. The texts are the strings of JSON and JSON lines, the string columns of Parquet,
and other files as a whole; .gz is decompressed. The exit code is 1 where a text has other ids.
"""

import gzip
import json
import os
import sys
import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.shards import BATCH, settings_of
from gap.command import user_errors
from lake.error import UserError
from mixing.tokenizer.build import adopt
from mixing.tokenizer.tokenizer import Tokenizer


def texts_of(file: Path) -> Iterator[str]:
    """The texts of a file in order, without empty ones.

    Raises:
        UserError: the file is not of the type that its name says, or not text.
    """
    try:
        yield from filter(None, _texts(file))
    except (OSError, ValueError, EOFError, zlib.error, pa.ArrowException) as error:
        raise UserError(f"{file}: cannot be read: {' '.join(str(error).split())}") from None


def _texts(file: Path) -> Iterator[str]:
    if file.suffix == ".parquet":
        for rows in pq.ParquetFile(file).iter_batches():
            for column in rows.columns:
                if column.type in {pa.string(), pa.large_string()}:
                    yield from column.to_pylist()
        return
    kind = Path(file.name.removesuffix(".gz")).suffix
    with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
        if kind == ".jsonl":
            for line in stream:
                yield from _strings(json.loads(line))
        else:
            data = stream.read()
            yield from _strings(json.loads(data)) if kind == ".json" else [data.decode()]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for child in value.values() if isinstance(value, dict) else value:
            yield from _strings(child)


def differing(tokenizer: Tokenizer, texts: Sequence[str]) -> list[str]:
    """The texts to which the fast encoder and Hugging Face's `encode_batch` give different ids."""
    ids, bounds = tokenizer.encoder.encode(texts)
    tokenizer.backend.encode_special_tokens = True
    encodings = tokenizer.backend.encode_batch(texts, add_special_tokens=False)
    return [
        text
        for text, encoding, (start, stop) in zip(texts, encodings, pairwise(bounds.tolist()), strict=True)
        if ids[start:stop].tolist() != encoding.ids
    ]


@click.command(help=__doc__)
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path), metavar="PATH…")
@click.option("--tokenizer", "origin", required=True, help="A folder, a file, or package/file.")
@user_errors
def main(paths: tuple[Path, ...], origin: str) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    tokenizer = adopt(settings_of(origin))
    count = size = 0
    differ: list[str] = []
    for path in paths:
        for file in sorted(below for below in path.rglob("*") if below.is_file()) if path.is_dir() else [path]:
            texts = list(texts_of(file))
            for at in range(0, len(texts), BATCH):
                differ += differing(tokenizer, texts[at : at + BATCH])
            count += len(texts)
            size += sum(len(text.encode()) for text in texts)
    click.echo(f"{tokenizer.encoder.name}: {count:,} texts, {size / 1e6:.1f} MB, {len(differ):,} with other ids")
    for text in differ[:10]:
        click.echo(f"  {text[:80]!r}")
    sys.exit(bool(differ))


if __name__ == "__main__":
    main()
