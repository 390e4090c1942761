"""`gap verify`, `merge` and `split`: check shards, put them together, cut them."""

import shlex
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
import pyarrow.parquet as pq

from gap.command import OVERRIDES, load_config, ray_up, table, user_errors
from gap.plan import plan
from lake.dataset import MANIFEST, Output
from lake.error import UserError
from lake.progress import progress
from lake.step import Kind, Manifest, of_kind
from mixing.reshard import cut, cut_places, merge_places
from mixing.reshard import merge as put_together
from mixing.shards import FOLDER_OF_SHARDS, read_index, verify_shard, without_remedy
from mixing.tokenizer.tokenizer import Tokenizer
from ray_jobs.shard_check import Checked, WrittenCheck, check_step, index_rows

PLACES = ".places.parquet"
"""The suffix of the file beside a merged or split shard that says where its documents lie: rows of the index table."""

SHARD = click.Path(path_type=Path)


@click.command()
@click.argument("target", metavar="CONFIG|SHARDS")
@OVERRIDES
@click.option(
    "--sample", default=100, show_default=True, type=click.IntRange(0), help="Documents to decode in each shard."
)
@click.option("--tokenizer", type=SHARD, help="For SHARDS: a lake's tokenizer folder, for ids and ends of documents.")
@click.option("--vocab-size", type=click.IntRange(1), help="For SHARDS, in place of --tokenizer: ids are below it.")
@click.option("--eod", type=click.IntRange(0), help="For SHARDS, with --vocab-size: the id that ends each document.")
@user_errors
def verify(
    target: str,
    overrides: tuple[str, ...],
    sample: int,
    tokenizer: Path | None,
    vocab_size: int | None,
    eod: int | None,
) -> None:
    """Check shards; each fault is a line that names its shard. Exit code 0: all well; 1: a fault; 2: wrong use.

    With a CONFIG, everything in its shard step is checked: header, bounds, lengths, ids, ends of documents, the index
    table, SHA-256 against the manifest, and what megatron-core reads. A fixed sample of each shard's documents is
    decoded and compared with the clean text.

    SHARDS is a folder of .bin and .idx files, or one of them, from anywhere. In the folder of a shard step, everything
    but the text is checked against its manifest and index table. Elsewhere only the files themselves are checked:
    header, bounds and lengths, and with a tokenizer or a vocabulary also ids and ends. Packed shards do not show where
    documents end, so for them give --vocab-size alone.

    \b
    Examples:
      gap verify configs/demo.yaml --sample 1000
      gap verify /data/shards --vocab-size 32000 --eod 2
    """
    path = Path(target)
    if path.is_dir() or path.suffix in {".bin", ".idx"} or path.with_name(path.name + ".idx").is_file():
        checked, unchecked = _bare(path, overrides, tokenizer, vocab_size, eod)
        remedy = None
    else:
        if tokenizer or vocab_size or eod is not None:
            raise UserError(f"{target}: not a folder of shards; with a CONFIG the lake's tokenizer is used")
        config = load_config(target, overrides)
        (step,) = of_kind(plan(config), Kind.SHARDS)
        if not step.done:
            raise UserError(f"the shards have not been written yet; gap run {target} {step.name}")
        with ray_up(config.ray):
            checked, unchecked = check_step(step, sample), None
        again = shlex.join((target, step.name, *overrides))
        remedy = f"delete {step.output.root}, then: gap run {again}"
    for shard in checked:
        for message in shard.faults:
            click.echo(f"gap: {message}", err=True)
    if broken := sum(bool(shard.faults) for shard in checked):
        click.echo(f"gap: {broken:,} of {len(checked):,} shards at fault" + (f"; {remedy}" if remedy else ""), err=True)
        sys.exit(1)
    counts = ("documents", "tokens", "sampled", "exact")
    documents, tokens, sampled, exact = (sum(getattr(shard, count) for shard in checked) for count in counts)
    click.echo(f"{len(checked):,} shards, {documents:,} documents, {tokens:,} tokens: all well")
    if unchecked:
        click.echo(unchecked)
    if sampled:
        others = f"; the other {sampled - exact:,} have the right ids, but the tokenizer loses some of their text"
        click.echo(f"{sampled:,} documents decoded, {exact:,} exactly to their text{others if exact < sampled else ''}")


def _bare(
    path: Path, overrides: Sequence[str], tokenizer: Path | None, vocab_size: int | None, eod: int | None
) -> tuple[list[Checked], str]:
    """Check shards that are named without a config. Returns them and what was not checked."""
    if overrides:
        raise UserError(f"{overrides[0]}: KEY=VALUE changes a CONFIG; {path} is shards")
    if eod is not None and vocab_size is None:
        raise UserError("--eod needs --vocab-size, the number of ids")
    if tokenizer is not None:
        if vocab_size is not None:
            raise UserError("give --tokenizer or --vocab-size, not both")
        made = Tokenizer.load(tokenizer)
        vocab_size, eod = made.vocab_size, made.eod
    shards = prefixes(path)
    origin = _step_of(shards[0].parent)
    if origin is None:
        if vocab_size is None:
            click.echo("gap: ids and ends are not checked without --tokenizer, or --vocab-size and --eod", err=True)
        check = partial(check_bare, vocab_size=vocab_size, eod=eod)
        return _each(
            check, shards
        ), "SHA-256 and text were not checked: the parent folder has no manifest of a shard step"
    step, manifest = origin
    written = {row["name"]: row for row in manifest.figures["shards"]}
    if path.is_dir():
        shards = sorted({*shards, *(path / name for name in written)})
    job = WrittenCheck(
        step,
        manifest.figures["vocab_size"] if vocab_size is None else vocab_size,
        manifest.figures["end_of_document"] if eod is None else eod,
        manifest.config.get("pack"),
    )
    return _each(partial(_written, job, written), shards), "text was not checked; gap verify CONFIG checks it"


def _step_of(folder: Path) -> tuple[Output, Manifest] | None:
    """The shard step that a folder of shards belongs to, and its manifest; None if there is none."""
    folder = folder.resolve()
    step = Output(str(folder.parent))
    if folder.name != FOLDER_OF_SHARDS or not step.exists(MANIFEST):
        return None
    try:
        manifest = Manifest.model_validate(step.read_json(MANIFEST))
    except ValueError:  # shards may lie anywhere, even beside a foreign manifest.json
        return None
    return (step, manifest) if manifest.kind is Kind.SHARDS else None


def _written(job: WrittenCheck, written: Mapping[str, dict[str, Any]], prefix: Path) -> Checked:
    if prefix.name not in written:
        return Checked(prefix.name, (f"{prefix}: the step wrote no such shard",), 0, 0)
    return job.check(written[prefix.name])


def _each(check: Callable[[Path], Checked], shards: Sequence[Path]) -> list[Checked]:
    checked = []
    with progress("verify", len(shards), "shards") as bar:
        for prefix in shards:
            checked.append(check(prefix))
            bar.update()
    return checked


@click.command()
@click.argument("target", type=SHARD)
@click.argument("shards", nargs=-1, required=True, type=SHARD, metavar="SHARD...")
@user_errors
def merge(target: Path, shards: tuple[Path, ...]) -> None:
    """Write the documents of SHARDs, in this order, as the single shard TARGET (.bin and .idx).

    The bytes are those of writing all documents at once. Name a SHARD by its .bin, its .idx or both, as a shell's
    pattern does, but each only once. Shards of a lake also give TARGET.places.parquet, which says where each document
    id lies in TARGET. The sequences of a packed shard are copied as they are.

    \b
    Example:
      gap merge /data/train LAKE/shard-*/shards/train-*
    """
    names = Counter(shard.resolve() for shard in shards)
    if twice := next((shard for shard in shards if names[shard.resolve()] > 1), None):
        raise UserError(f"{twice}: named twice; a merge takes each shard once")
    prefixes = list({prefix.resolve(): prefix for prefix in map(prefix_of, shards)}.values())
    target = prefix_of(target)
    places = [rows for prefix in prefixes if (rows := _places(prefix)) is not None]
    with _no_remedy():
        made = put_together(prefixes, target.parent, target.name)
    # The file beside an earlier shard of that name is wrong now.
    Path(f"{target}{PLACES}").unlink(missing_ok=True)
    if len(places) == len(prefixes):
        pq.write_table(merge_places(places, target.name), f"{target}{PLACES}", compression="zstd")
    click.echo(f"{target}: {made.documents:,} documents, {made.tokens:,} tokens, SHA-256 of .bin {made.bin_sha256}")


@click.command()
@click.argument("shard", type=SHARD)
@click.argument("folder", type=SHARD)
@click.option("--tokens", required=True, type=click.IntRange(1), help="The most tokens in a piece.")
@user_errors
def split(shard: Path, folder: Path, tokens: int) -> None:
    """Cut SHARD between documents into pieces FOLDER/NAME-00000, … of at most --tokens tokens.

    A longer document becomes a piece by itself. `gap merge` of the pieces in order gives SHARD again. A lake's shard
    also gives a .places.parquet for each piece; a packed one does not, because it is cut between sequences.

    \b
    Example:
      gap split LAKE/shard-…/shards/train-papers-00000.bin /data/pieces --tokens 100000000
    """
    prefix = prefix_of(shard)
    with _no_remedy():
        pieces = cut(prefix, folder, tokens)
    places = _places(prefix)
    if places is not None and places.num_rows == sum(piece.documents for piece in pieces):
        for piece, rows_of_piece in zip(pieces, cut_places(places, pieces), strict=True):
            pq.write_table(rows_of_piece, folder / f"{piece.name}{PLACES}", compression="zstd")
    rows = [(piece.name, f"{piece.documents:,}", f"{piece.tokens:,}") for piece in pieces]
    click.echo(table(("shard", "documents", "tokens"), rows, {1, 2}))


@contextmanager
def _no_remedy() -> Iterator[None]:
    """Drop the advice to run the shard step again, because the shards may come from anywhere."""
    try:
        yield
    except UserError as error:
        raise UserError(without_remedy(error)) from None


def _places(prefix: Path) -> pa.Table | None:
    """Where the documents of a shard lie, from the file beside it or from the shard step that it belongs to."""
    beside = prefix.with_name(prefix.name + PLACES)
    if beside.is_file():
        return pq.read_table(beside)
    return index_rows(Output(str(prefix.parent.parent.resolve())), prefix.name)


def prefixes(target: Path) -> list[Path]:
    """The shards of a folder, sorted, even with a file missing; or the single shard `target`, suffix or not.

    Raises:
        UserError: there is none.
    """
    if target.is_dir():
        files = [file for kind in ("bin", "idx") for file in target.glob(f"*.{kind}")]
        shards = sorted({prefix_of(file) for file in files})
        if not shards:
            raise UserError(f"{target}: no shard in this folder; shards are pairs of .bin and .idx files")
        return shards
    prefix = prefix_of(target)
    if not any(prefix.with_name(f"{prefix.name}.{kind}").is_file() for kind in ("bin", "idx")):
        raise UserError(f"{prefix}: no such shard; a shard is a pair of .bin and .idx files")
    return [prefix]


def prefix_of(shard: Path) -> Path:
    """A shard's path without the suffix .bin or .idx."""
    return shard.with_suffix("") if shard.suffix in {".bin", ".idx"} else shard


def check_bare(prefix: Path, vocab_size: int | None, eod: int | None) -> Checked:
    """Check a shard that no lake describes: ids only if `vocab_size` is known, ends only if `eod` is."""
    try:
        index = read_index(prefix) if vocab_size is None else verify_shard(prefix, vocab_size, eod)
    except UserError as error:
        return Checked(prefix.name, (without_remedy(error),), 0, 0)
    return Checked(prefix.name, (), index.lengths.size, index.tokens)
