"""`gap verify`, `merge` and `split`: shards checked, put together and cut."""

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
"""Beside a shard that was merged or split: the rows of the lake's index table, where its documents lie."""

SHARD = click.Path(path_type=Path)


@click.command()
@click.argument("target", metavar="CONFIG|SHARDS")
@OVERRIDES
@click.option("--sample", default=100, show_default=True, type=click.IntRange(0), help="Documents a shard to decode.")
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
    """Check shards whole; one line a fault, which names the shard. Exit code 0: all well; 1: a fault; 2: wrong use.

    Of a CONFIG's shard step all is checked: header, bounds, lengths, ids, ends of documents, the index table, SHA-256
    against the manifest, megatron-core's own reading, and of each shard a sample of documents, always the same, whose
    tokens are decoded and compared with the clean text.

    SHARDS, a folder of .bin and .idx or one of them, may come from anywhere. Below the folder of a shard step its
    manifest and index table tell what they should be, and all but the text is checked. Elsewhere only what is in them
    is: header, bounds, lengths, and with a tokenizer or a vocabulary ids and ends; of packed shards nobody then knows
    where documents end, so give --vocab-size alone.

    \b
    Examples:
      gap verify configs/demo.yaml --sample 1000
      gap verify /data/shards --vocab-size 32000 --eod 2
    """
    path = Path(target)
    if path.is_dir() or path.suffix in {".bin", ".idx"} or path.with_name(path.name + ".idx").is_file():
        found, unchecked = _bare(path, overrides, tokenizer, vocab_size, eod)
        remedy = None
    else:
        if tokenizer or vocab_size or eod is not None:
            raise UserError(f"{target}: no folder of shards; with a CONFIG the lake's own tokenizer is used")
        config = load_config(target, overrides)
        (step,) = of_kind(plan(config), Kind.SHARDS)
        if not step.done:
            raise UserError(f"the shards have not been written yet; gap run {target} {step.name}")
        with ray_up(config):
            found, unchecked = check_step(step, sample), None
        again = shlex.join((target, step.name, *overrides))
        remedy = f"delete {step.output.root}, then: gap run {again}"
    for one in found:
        for message in one.faults:
            click.echo(f"gap: {message}", err=True)
    if broken := sum(bool(one.faults) for one in found):
        click.echo(f"gap: {broken:,} of {len(found):,} shards at fault" + (f"; {remedy}" if remedy else ""), err=True)
        sys.exit(1)
    sums = [sum(getattr(one, name) for one in found) for name in ("documents", "tokens", "sampled", "exact")]
    click.echo(f"{len(found):,} shards, {sums[0]:,} documents, {sums[1]:,} tokens: all well")
    if unchecked:
        click.echo(unchecked)
    if sums[2]:
        others = f"; the other {sums[2] - sums[3]:,} have its ids, the tokenizer loses some of it"
        lossless = sums[2] == sums[3]
        click.echo(f"{sums[2]:,} documents decoded, {sums[3]:,} to their very text{'' if lossless else others}")


def _bare(
    path: Path, overrides: Sequence[str], tokenizer: Path | None, vocab_size: int | None, eod: int | None
) -> tuple[list[Checked], str]:
    """What is found in shards that are named without their lake, and what was not looked at."""

    if overrides:
        raise UserError(f"{overrides[0]}: KEY=VALUE changes a CONFIG; {path} is shards")
    if eod is not None and vocab_size is None:
        raise UserError("--eod needs --vocab-size, which is how many ids there are")
    if tokenizer is not None:
        if vocab_size is not None:
            raise UserError("give --tokenizer or --vocab-size, not both")
        made = Tokenizer.load(tokenizer)
        vocab_size, eod = made.vocab_size, made.eod
    shards = prefixes(path)
    found = _step_of(shards[0].parent)
    if found is None:
        if vocab_size is None:
            click.echo("gap: ids and ends are not checked without --tokenizer, or --vocab-size and --eod", err=True)
        check = partial(check_bare, vocab_size=vocab_size, eod=eod)
        return _each(check, shards), "SHA-256 and text were not checked: the folder above has no shard step's manifest"
    step, manifest = found
    written = {one["name"]: one for one in manifest.figures["shards"]}
    if path.is_dir():
        shards = sorted({*shards, *(path / name for name in written)})
    job = WrittenCheck(
        step,
        manifest.figures["vocab_size"] if vocab_size is None else vocab_size,
        manifest.figures["end_of_document"] if eod is None else eod,
        manifest.config.get("pack"),
    )
    return _each(partial(_written, job, written), shards), "text was not checked; gap verify CONFIG does"


def _step_of(folder: Path) -> tuple[Output, Manifest] | None:
    """The shard step that a folder of shards is part of, and its manifest; None where there is none."""
    folder = folder.resolve()
    step = Output(str(folder.parent))
    if folder.name != FOLDER_OF_SHARDS or not step.exists(MANIFEST):
        return None
    try:
        manifest = Manifest.model_validate(step.read_json(MANIFEST))
    except ValueError:  # shards may lie beside anything, and so beside another's manifest.json
        return None
    return (step, manifest) if manifest.kind is Kind.SHARDS else None


def _written(job: WrittenCheck, written: Mapping[str, dict[str, Any]], prefix: Path) -> Checked:
    if prefix.name not in written:
        return Checked(prefix.name, (f"{prefix}: the step wrote no such shard",), 0, 0)
    return job.check(written[prefix.name])


def _each(check: Callable[[Path], Checked], shards: Sequence[Path]) -> list[Checked]:
    found = []
    with progress("verify", len(shards), "shards") as bar:
        for prefix in shards:
            found.append(check(prefix))
            bar.update()
    return found


@click.command()
@click.argument("target", type=SHARD)
@click.argument("shards", nargs=-1, required=True, type=SHARD, metavar="SHARD...")
@user_errors
def merge(target: Path, shards: tuple[Path, ...]) -> None:
    """Write the documents of SHARDs, in the order given, as the one shard TARGET (.bin and .idx).

    The bytes are those of writing all documents at once. A SHARD is named by its .bin, its .idx or both, as a shell's
    pattern finds them, but no more than once. Shards of a lake also give TARGET.places.parquet, which tells
    for each document id where it lies in TARGET. A packed shard's sequences are taken as they are.

    \b
    Example:
      gap merge /data/train LAKE/shard-*/shards/train-*
    """

    names = Counter(shard.resolve() for shard in shards)
    if twice := next((shard for shard in shards if names[shard.resolve()] > 1), None):
        raise UserError(f"{twice}: named twice; a merge takes each shard once")
    prefixes = list({prefix.resolve(): prefix for prefix in map(prefix_of, shards)}.values())
    target = prefix_of(target)
    places = [one for prefix in prefixes if (one := _places(prefix)) is not None]
    with _no_remedy():
        made = put_together(prefixes, target.parent, target.name)
    # What stood beside an earlier shard of that name leads nowhere now.
    Path(f"{target}{PLACES}").unlink(missing_ok=True)
    if len(places) == len(prefixes):
        pq.write_table(merge_places(places, target.name), f"{target}{PLACES}", compression="zstd")
    click.echo(f"{target}: {made.documents:,} documents, {made.tokens:,} tokens, SHA-256 of .bin {made.bin_sha256}")


@click.command()
@click.argument("shard", type=SHARD)
@click.argument("folder", type=SHARD)
@click.option("--tokens", required=True, type=click.IntRange(1), help="At most so many in a piece.")
@user_errors
def split(shard: Path, folder: Path, tokens: int) -> None:
    """Cut SHARD between documents into the pieces FOLDER/NAME-00000, … of at most so many tokens.

    A longer document is a piece of its own. `gap merge` of the pieces in order gives SHARD again. A lake's shard also
    gives a .places.parquet for each piece; a packed one does not, for it is cut between its sequences.

    \b
    Example:
      gap split LAKE/shard-…/shards/train-papers-00000.bin /data/pieces --tokens 100000000
    """

    prefix = prefix_of(shard)
    with _no_remedy():
        pieces = cut(prefix, folder, tokens)
    places = _places(prefix)
    if places is not None and places.num_rows == sum(piece.documents for piece in pieces):
        for piece, mine in zip(pieces, cut_places(places, pieces), strict=True):
            pq.write_table(mine, folder / f"{piece.name}{PLACES}", compression="zstd")
    rows = [(piece.name, f"{piece.documents:,}", f"{piece.tokens:,}") for piece in pieces]
    click.echo(table(("shard", "documents", "tokens"), rows, {1, 2}))


@contextmanager
def _no_remedy() -> Iterator[None]:
    """Faults of shards without the advice to run the shard step again, for they may come from anywhere."""
    try:
        yield
    except UserError as error:
        raise UserError(without_remedy(error)) from None


def _places(prefix: Path) -> pa.Table | None:
    """Where the documents of a shard lie: from the file beside it, or from the lake's step that it is in."""
    beside = prefix.with_name(prefix.name + PLACES)
    return (
        pq.read_table(beside)
        if beside.is_file()
        else index_rows(Output(str(prefix.parent.parent.resolve())), prefix.name)
    )


def prefixes(target: Path) -> list[Path]:
    """The shards of a folder, sorted, a half of one included; or the one shard that `target` is, with a suffix or not.

    Raises:
        UserError: there is none.
    """
    if target.is_dir():
        files = [file for kind in ("bin", "idx") for file in target.glob(f"*.{kind}")]
        found = sorted({prefix_of(file) for file in files})
        if not found:
            raise UserError(f"{target}: no shard in this folder; shards are pairs of .bin and .idx files")
        return found
    prefix = prefix_of(target)
    if not any(prefix.with_name(f"{prefix.name}.{kind}").is_file() for kind in ("bin", "idx")):
        raise UserError(f"{prefix}: no such shard; a shard is a pair of .bin and .idx files")
    return [prefix]


def prefix_of(shard: Path) -> Path:
    """A shard's path without the suffix of one of its files, which it may have."""
    return shard.with_suffix("") if shard.suffix in {".bin", ".idx"} else shard


def check_bare(prefix: Path, vocab_size: int | None, eod: int | None) -> Checked:
    """Check a shard of which no lake tells; ids only where `vocab_size` is known, ends only where `eod` is."""
    try:
        found = read_index(prefix) if vocab_size is None else verify_shard(prefix, vocab_size, eod)
    except UserError as error:
        return Checked(prefix.name, (without_remedy(error),), 0, 0)
    return Checked(prefix.name, (), found.lengths.size, found.tokens)
