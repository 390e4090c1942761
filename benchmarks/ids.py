"""Whether texts have the same ids from the fast encoder and from Hugging Face's tokenizers: all that files hold.

    python -m benchmarks.ids PATH… --tokenizer DIR

A PATH is a file or a folder of files. The texts are the strings of JSON and JSON lines, the string columns of Parquet,
and other files whole; what ends in .gz is unpacked. Exit code 1 where a text has other ids.
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

from benchmarks.shards import BATCH, origin
from lake.error import UserError
from mixing.tokenizer import Tokenizer, adopt
from ray_jobs.command import user_errors


def texts_of(file: Path) -> Iterator[str]:
    """The texts of a file that are not empty, in its order.

    Raises:
        UserError: the file is not what its name says, or no text.
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
        for one in value.values() if isinstance(value, dict) else value:
            yield from _strings(one)


def differing(made: Tokenizer, texts: Sequence[str]) -> list[str]:
    """The texts that the fast encoder gives other ids than Hugging Face's `encode_batch`."""
    ids, bounds = made.encoder.encode(texts)
    made.backend.encode_special_tokens = True
    wanted = made.backend.encode_batch(texts, add_special_tokens=False)
    places = pairwise(bounds.tolist())
    return [
        text
        for text, one, (start, stop) in zip(texts, wanted, places, strict=True)
        if ids[start:stop].tolist() != one.ids
    ]


@click.command(help=__doc__)
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path), metavar="PATH…")
@click.option("--tokenizer", required=True, help="A folder, a file, or package/file.")
@user_errors
def main(paths: tuple[Path, ...], tokenizer: str) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    made = adopt(origin(tokenizer))
    count = size = 0
    differ: list[str] = []
    for path in paths:
        for file in sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]:
            texts = list(texts_of(file))
            for at in range(0, len(texts), BATCH):
                differ += differing(made, texts[at : at + BATCH])
            count += len(texts)
            size += sum(len(text.encode()) for text in texts)
    click.echo(f"{made.encoder.name}: {count:,} texts, {size / 1e6:.1f} MB, {len(differ):,} with other ids")
    for text in differ[:10]:
        click.echo(f"  {text[:80]!r}")
    sys.exit(bool(differ))


if __name__ == "__main__":
    main()
