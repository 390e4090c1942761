"""How fast text becomes Megatron's shards, compared with encode_batch and megatron-core's IndexedDatasetBuilder.

    python -m benchmarks.shards --input FILE.jsonl.gz|FILE.parquet --tokenizer DIR [--json]

The tokenizer is a folder or file as in `tokenizer.path`, or package/file as in `tokenizer.package`; the tokens of the
format are added. The texts are the field or column `text`.

Both sides read the file block by block, encode the same batches on one thread, and write .bin and .idx with ends of
documents. Ours also checks each id and hashes both files. The figure is the fastest of RUNS runs in CPU seconds of this
process, each with an encoder that has not seen the file. It excludes loading the tokenizer, proving the encoder, and
verification. `ids_equal` says whether the files of both sides are equal, byte for byte.
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

from gap.command import user_errors
from lake.error import UserError
from mixing.shards import token_type, write
from mixing.tokenizer.build import TokenizerSettings, adopt
from mixing.tokenizer.encoder import forget
from mixing.tokenizer.tokenizer import Tokenizer

RUNS = 3
BATCH = 256
BLOCK = 1 << 22
"""Bytes of JSON that are parsed together."""

NAME = "shard"


def batches(file: Path) -> Iterator[list[str]]:
    """The texts that are not empty, in batches of at most BATCH.

    Raises:
        UserError: the file is neither JSON lines nor Parquet with a column text, or it holds no text.
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


def ours(file: Path, tokenizer: Tokenizer, folder: Path) -> int:
    """Write the shard with our code and return its tokens, ends included."""
    documents = (ids for texts in batches(file) for ids in tokenizer.encode(texts))
    return write(folder, NAME, (ids for ids in documents if ids.size), tokenizer.vocab_size, tokenizer.eod).tokens


def theirs(file: Path, tokenizer: Tokenizer, folder: Path) -> None:
    """Write the same shard with tokenizers and megatron-core alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from megatron.core.datasets.indexed_dataset import IndexedDatasetBuilder

    backend, end = tokenizer.backend, tokenizer.eod
    backend.encode_special_tokens = True
    dtype = token_type(tokenizer.vocab_size)
    builder = IndexedDatasetBuilder(str(folder / f"{NAME}.bin"), dtype=dtype)
    for texts in batches(file):
        for encoding in backend.encode_batch(texts, add_special_tokens=False):
            ids: npt.NDArray[Any] = np.array([*encoding.ids, end], dtype=dtype)
            if ids.size > 1:
                builder.add_document(ids, [ids.size])
    builder.finalize(str(folder / f"{NAME}.idx"))


def settings_of(origin: str) -> TokenizerSettings:
    """The settings that adopt a folder, a file, or package/file."""
    return TokenizerSettings.model_validate({"path" if Path(origin).exists() else "package": origin})


def compare(file: Path, settings: TokenizerSettings) -> dict[str, Any]:
    """All figures of the benchmark."""
    size = sum(len(text.encode()) for texts in batches(file) for text in texts)
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    with tempfile.TemporaryDirectory() as root:
        folders = {side: Path(root, side) for side in seconds}
        for folder in folders.values():
            folder.mkdir()
        for _ in range(RUNS):
            forget()
            tokenizer = adopt(settings)
            encoder = tokenizer.encoder.name
            started = time.process_time()
            tokens = ours(file, tokenizer, folders["ours"])
            seconds["ours"].append(time.process_time() - started)
            tokenizer = adopt(settings)
            started = time.process_time()
            theirs(file, tokenizer, folders["theirs"])
            seconds["theirs"].append(time.process_time() - started)
        written, expected = (
            [folder.joinpath(NAME + end).read_bytes() for end in (".bin", ".idx")] for folder in folders.values()
        )
    best = {side: min(runs) for side, runs in seconds.items()}
    return {
        "encoder": encoder,
        "mb": round(size / 1e6, 2),
        "tokens": tokens,
        "mb_per_core_s": round(size / 1e6 / best["ours"], 1),
        "tokens_per_core_s": round(tokens / best["ours"]),
        "ids_equal": written == expected,
        "hf_mb_per_core_s": round(size / 1e6 / best["theirs"], 1),
        "ratio_to_hf": round(best["theirs"] / best["ours"], 1),
    }


@click.command(help=__doc__)
@click.option("--input", "file", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--tokenizer", "origin", required=True, help="A folder, a file, or package/file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@user_errors
def main(file: Path, origin: str, as_json: bool) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    figures = compare(file, settings_of(origin))
    if as_json:
        click.echo(json.dumps(figures))
        return
    for name, value in figures.items():
        click.echo(f"{name:<20}{value:>20,}" if isinstance(value, int | float) else f"{name:<20}{value:>20}")


if __name__ == "__main__":
    main()
