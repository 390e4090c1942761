"""How fast text becomes Megatron's shards, beside tokenizers' encode_batch and megatron-core's IndexedDatasetBuilder.

    python -m benchmarks.shards --input FILE.jsonl.gz|FILE.parquet --tokenizer DIR [--json]

The tokenizer is a folder or file as `tokenizer.path` takes it, or package/file as `tokenizer.package` does; the tokens
of the format are added. The texts are the field or column `text`.

Both sides read the file in the same way, a block at a time, encode the texts in the same batches on one thread, and
write .bin and .idx, ends of documents included; ours also checks every id and hashes both files. Of RUNS runs the
quickest counts, in CPU seconds of this process, each with a tokenizer that has not seen the file. Loading the tokenizer
and proving the encoder are not counted, nor is verification. `ids_equal` says that the files of both are the same, byte
for byte.
"""

import json
import os
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.json
import pyarrow.parquet as pq

from lake.error import UserError
from mixing.encoder import forget
from mixing.shards import token_type, write
from mixing.tokenizer import Tokenizer, TokenizerSettings, adopt
from ray_jobs.command import user_errors

RUNS = 3
BATCH = 256
BLOCK = 1 << 22
"""Bytes of JSON that are parsed at once."""

NAME = "shard"


def batches(file: Path) -> Iterator[list[str]]:
    """The texts that are not empty, BATCH of them or fewer at a time.

    Raises:
        UserError: the file is neither JSON lines nor Parquet with a column text, or there is no text in it.
    """
    empty = True
    try:
        for block in _blocks(file):
            column = block["text"]
            if column.type not in {pa.string(), pa.large_string()}:
                raise TypeError(f"text is {column.type}")
            for at in range(0, len(column), BATCH):
                texts = list(filter(None, column.slice(at, BATCH).to_pylist()))
                empty = empty and not texts
                yield texts
    except (pa.ArrowException, OSError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: not JSON lines or Parquet with texts: {' '.join(str(error).split())}") from None
    if empty:
        raise UserError(f"{file}: no text in the field or column text")


def _blocks(file: Path) -> Iterator[pa.RecordBatch]:
    if file.suffix == ".parquet":
        yield from pq.ParquetFile(file).iter_batches(columns=["text"])
        return
    with pa.input_stream(file, compression="detect") as stream:
        yield from pyarrow.json.open_json(
            stream,
            pyarrow.json.ReadOptions(use_threads=False, block_size=BLOCK),
            pyarrow.json.ParseOptions(pa.schema([("text", pa.string())]), unexpected_field_behavior="ignore"),
        )


def ours(file: Path, made: Tokenizer, folder: Path) -> int:
    """The tokens written, ends included."""
    documents = (ids for texts in batches(file) for ids in made.encode(texts))
    return write(folder, NAME, (ids for ids in documents if ids.size), made.vocab_size, made.eod).tokens


def theirs(file: Path, made: Tokenizer, folder: Path) -> None:
    """The same files with tokenizers and megatron-core alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from megatron.core.datasets.indexed_dataset import IndexedDatasetBuilder

    backend, end = made.backend, made.eod
    backend.encode_special_tokens = True
    dtype = token_type(made.vocab_size)
    builder = IndexedDatasetBuilder(str(folder / f"{NAME}.bin"), dtype=dtype)
    for texts in batches(file):
        for one in backend.encode_batch(texts, add_special_tokens=False):
            ids: npt.NDArray[Any] = np.array([*one.ids, end], dtype=dtype)
            if ids.size > 1:
                builder.add_document(ids, [ids.size])
    builder.finalize(str(folder / f"{NAME}.idx"))


def origin(tokenizer: str) -> TokenizerSettings:
    """Of a folder, a file, or package/file."""
    return TokenizerSettings.model_validate({"path" if Path(tokenizer).exists() else "package": tokenizer})


def compare(file: Path, settings: TokenizerSettings) -> dict[str, Any]:
    """All figures."""
    size = sum(len(text.encode()) for texts in batches(file) for text in texts)
    mine, other = [], []
    with tempfile.TemporaryDirectory() as name:
        folders = Path(name, "ours"), Path(name, "theirs")
        for folder in folders:
            folder.mkdir()
        for _ in range(RUNS):
            forget()
            made = adopt(settings)
            encoder = made.encoder.name
            started = time.process_time()
            tokens = ours(file, made, folders[0])
            mine.append(time.process_time() - started)
            made = adopt(settings)
            started = time.process_time()
            theirs(file, made, folders[1])
            other.append(time.process_time() - started)
        written, expected = (
            [folder.joinpath(NAME + end).read_bytes() for end in (".bin", ".idx")] for folder in folders
        )
    return {
        "encoder": encoder,
        "mb": round(size / 1e6, 2),
        "tokens": tokens,
        "mb_per_core_s": round(size / 1e6 / min(mine), 1),
        "tokens_per_core_s": round(tokens / min(mine)),
        "ids_equal": written == expected,
        "hf_mb_per_core_s": round(size / 1e6 / min(other), 1),
        "ratio_to_hf": round(min(other) / min(mine), 1),
    }


@click.command(help=__doc__)
@click.option("--input", "file", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--tokenizer", required=True, help="A folder, a file, or package/file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@user_errors
def main(file: Path, tokenizer: str, as_json: bool) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    figures = compare(file, origin(tokenizer))
    if as_json:
        click.echo(json.dumps(figures))
        return
    for name, value in figures.items():
        click.echo(f"{name:<20}{value:>20,}" if isinstance(value, int | float) else f"{name:<20}{value:>20}")


if __name__ == "__main__":
    main()
