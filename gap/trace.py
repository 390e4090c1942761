"""`gap trace`: one document's life, from its URL to its place in a shard, or where and why it was dropped."""

import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pyarrow.compute as pc
import pyarrow.dataset as ds

from dedup.sign import SIGNATURES
from gap.command import CONFIG, OVERRIDES, load_config, user_errors
from gap.fidelity import reread, shown
from gap.plan import plan
from gap.sidebyside import beside, plain, side_by_side
from lake.dataset import Output
from lake.error import UserError
from lake.step import Kind, Step, Steps, of_kind
from mixing.shards import FOLDER_OF_SHARDS, read_tokens
from mixing.tokenizer.tokenizer import Tokenizer

ID = re.compile("[0-9a-f]{32}")
PIPED_WIDTH = 120
"""Columns where the output is no terminal."""

BEGINNING = 90
"""Characters of a text that are shown of each place."""

HEAD = ("id", "source", "title", "url")
"""What tells two documents apart, above their texts."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """A copy of a document in a shard: its row of the shard step's index, and that step."""

    row: Row
    shards: Step[Any]


@dataclass(frozen=True)
class Life:
    """What the lake knows of a document.

    `document` is None where the record was too broken to become one, or where its URL gave no page. `fetched` is the
    row of the crawl's table (ingest.web.fetchlog.FETCH), where the document was crawled. `survivor` is what stayed in
    place of a duplicate.
    """

    id: str
    document: Row | None
    decisions: list[Row]
    places: list[Place]
    fetched: Row | None = None
    survivor: "Survivor | None" = None

    @property
    def drop(self) -> Row | None:
        """The decision that dropped the document, if one did."""
        return next((row for row in self.decisions if not row["keep"]), None)


@dataclass(frozen=True)
class Survivor:
    """The document that stayed in place of a duplicate.

    It is of this lake, or of the earlier corpus in the folder `earlier`, whose text is not here.
    """

    id: str
    document: Row | None
    earlier: str | None = None


@click.command()
@CONFIG
@click.argument("document", metavar="ID|URL|FILE:LINE")
@click.option(
    "--fidelity", is_flag=True, help="Read the raw record again and show what of it is not in the clean text."
)
@OVERRIDES
@user_errors
def trace(config: str, document: str, fidelity: bool, overrides: tuple[str, ...]) -> None:
    """Tell one document's life: from its URL to split, shard and offset, or the step, reason and evidence of its drop.

    A record that never became a document is named by its place, as in its evidence. The tokens at each place in a shard
    are decoded and compared with the document's text. A duplicate is shown beside the document that stayed, as wide as
    the terminal: [-words-] are only in the duplicate, {+words+} only in what stayed. With --fidelity the raw record is
    shown beside the clean text in the same way: »5« is a number, sign or negation that is lost or invented.
    """
    loaded = load_config(config, overrides)
    steps = plan(loaded)
    life = follow(steps, document, Path(loaded.data, loaded.crawl.folder) if loaded.crawl else None)
    for name, text in story(life, steps):
        click.echo(f"{name:<15}{plain(text)}")
    width = shutil.get_terminal_size((PIPED_WIDTH, 0)).columns
    if fidelity:
        click.echo("\n".join(["", *shown(reread(loaded.read, loaded.data, steps, life.id), width)]))
    elif life.survivor is not None:
        click.echo("\n".join(["", *pair(life.document, life.survivor, width)]))


def follow(steps: Steps, name: str, crawled: Path | None = None) -> Life:
    """Follow a document, given its id, its URL or the `file:line` of its record, through every step that is done.

    `crawled` is the folder of the crawls, which know of URLs that gave no page.

    Raises:
        UserError: nothing has been read yet, or nothing is known by that name.
    """
    fetched = _fetched(crawled, name)
    readers = [step for step in of_kind(steps, Kind.READER) if step.done]
    if not readers and fetched is None:
        raise UserError("nothing has been read yet; start with: gap run CONFIG read")
    identity = next((known for step in readers if (known := _identity(step, name))), name)
    decisions = [row for step in steps.values() for row in _rows(step, "decisions", identity)]
    if not decisions and fetched is None:
        raise UserError(f"{name}: no record has this id or URL; ids are 32 hex digits, URLs are matched whole")
    documents = [row for step in steps.values() for row in _rows(step, "documents", identity)]
    places = [Place(row, step) for step in of_kind(steps, Kind.SHARDS) for row in _rows(step, "index", identity)]
    places.sort(key=lambda place: (place.row["shard"], place.row["document"]))
    drop = next((row for row in decisions if row["survivor"]), None)
    survivor = _survivor(steps, drop) if drop else None
    return Life(identity, documents[-1] if documents else None, decisions, places, fetched, survivor)


def _fetched(crawled: Path | None, url: str) -> Row | None:
    if crawled is None or "://" not in url:
        return None
    for folder in sorted(crawled.glob("*/fetches")):
        if rows := ds.dataset(folder).to_table(filter=pc.field("url") == url).to_pylist():
            return rows[0]
    return None


def _identity(reader: Step[Any], name: str) -> str | None:
    """The id of the document at a URL, or of the record that was rejected at a place."""
    if ID.fullmatch(name):
        return name
    for table, column in (("documents", "url"), ("decisions", "native")):
        if reader.output.parts(table):
            ids = reader.output.scan(table).to_table(columns=["id"], filter=pc.field(column) == name)["id"]
            if len(ids):
                return str(ids[0].as_py())
    return None


def _rows(step: Step[Any], table: str, identity: str) -> Iterator[Row]:
    if step.done and step.output.parts(table):
        scan = step.output.scan(table)
        if "id" in scan.schema.names:
            yield from scan.to_table(filter=pc.field("id") == identity).to_pylist()


def _survivor(steps: Steps, drop: Row) -> Survivor:
    """What stayed in place of a duplicate.

    Earlier corpora are asked where this one lacks the document, or has it as the one that was dropped.
    """
    survivor = drop["survivor"]
    deduplication = steps[drop["step"]]
    document = next(_rows(deduplication.input("documents"), "documents", survivor), None)
    if survivor != drop["id"] and document is not None:
        return Survivor(survivor, document)
    earlier = deduplication.settings.earlier
    return Survivor(survivor, None, next((folder for folder in earlier if _signed(Output(folder), survivor)), None))


def _signed(earlier: Output, identity: str) -> bool:
    return earlier.scan(SIGNATURES).count_rows(filter=pc.field("id") == identity) > 0


def story(life: Life, steps: Steps) -> Iterator[tuple[str, str]]:
    """The lines to print, each with its name; the name is empty where a line goes on with the one before."""
    yield "id", life.id
    if (page := life.fetched) is not None:
        yield "crawl", f"kept: {page['warc']}, byte {page['offset']:,}" if page["kept"] else f"missed: {page['reason']}"
        if page["evidence"]:
            yield "", f"evidence: {page['evidence']}"
    for name in ("source", "title", "url", "license"):
        if life.document is not None and life.document[name]:
            yield name, life.document[name]
    for row in life.decisions:
        yield row["step"], "kept" if row["keep"] else f"dropped: {_verdict(row)}"
        if row["evidence"]:
            yield "", f"evidence: {row['evidence']}"
    for place in life.places:
        yield from _place(place, life.document)
    if life.drop is None and not life.places and (page is None or page["kept"]):
        waiting = next((step.name for step in steps.values() if not step.done), None)
        yield "next", "its source has no place in the shards" if waiting is None else f"{waiting} has not run yet"


def _verdict(row: Row) -> str:
    rule = f" by the rule {row['rule']}" if row["rule"] else ""
    measure = "Jaccard" if row["survivor"] else "score"
    score = f" ({measure} {row['score']:.3f})" if row["score"] is not None else ""
    survivor = f", for {row['survivor']}" if row["survivor"] else ""
    return f"{row['reason']}{rule}{score}{survivor}"


def _place(place: Place, document: Row | None) -> Iterable[tuple[str, str]]:
    """Where a copy lies, and whether the tokens there decode to the document's text."""
    row = place.row
    tokenizer = Tokenizer.of(place.shards.input("tokenizer").output)
    shards = place.shards.output.below(FOLDER_OF_SHARDS)
    tokens = read_tokens(shards, row["shard"], row["offset"], row["tokens"])
    text = tokenizer.decode(tokens[:-1])
    same = document is not None and text == document["text"] and tokens[-1] == tokenizer.eod
    return [
        ("shard", f"{row['split']}, {row['shard']}.bin, document {row['document']}, token {row['offset']:,}"),
        ("", f"{row['tokens']:,} tokens; decoded, they {'are' if same else 'are NOT'} the document's text"),
        ("", f"“{' '.join(text.split())[:BEGINNING]}…”"),
    ]


def pair(document: Row | None, survivor: Survivor, width: int) -> list[str]:
    """A dropped duplicate on the left and its survivor on the right, in lines for a terminal of `width` columns."""
    if survivor.document is None or document is None:
        where = f"in the earlier corpus {plain(survivor.earlier)}" if survivor.earlier else "not in this lake"
        return [f"kept: {where}"]
    left, right = ([f"{name}: {row[name] or '–'}" for name in HEAD] for row in (document, survivor.document))
    head = beside(["this", *left], ["kept", *right], width)
    return [*head, "", *side_by_side(document["text"], survivor.document["text"], width)]
