"""One document's life: from its URL to its place in a shard, or where and why it was dropped."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.dataset as ds

from dedup.sign import SIGNATURES
from lake.dataset import Output
from lake.error import UserError
from lake.step import Step
from ray_jobs.sidebyside import beside, plain, side_by_side

ID = re.compile("[0-9a-f]{32}")
FUNNEL = ("read", "clean", "dedup", "decontaminate", "mix")


@dataclass(frozen=True)
class Life:
    """What the lake knows of a document. `document` is None where the record was too broken to become one, or where its
    URL gave no page; `fetched` is the row of the crawl's table (ingest.web.fetchlog.FETCH), where it was crawled.
    """

    id: str
    document: dict[str, Any] | None
    decisions: list[dict[str, Any]]
    places: list[dict[str, Any]]
    fetched: dict[str, Any] | None = None

    @property
    def drop(self) -> dict[str, Any] | None:
        """The decision that dropped the document, if one did."""
        return next((row for row in self.decisions if not row["keep"]), None)


def trace(steps: dict[str, Step], wanted: str, crawled: Path | None = None) -> Life:
    """Follow a document, given its id, its URL or the `file:line` of its record, through every step that is done.

    `crawled` is the folder of the crawls, which know of URLs that gave no page.

    Raises:
        UserError: nothing has been read yet, or nothing is known by that name.
    """
    fetched = _fetched(crawled, wanted)
    if not steps["read"].done and fetched is None:
        raise UserError("nothing has been read yet; start with: gap run CONFIG read")
    identity = _identity(steps["read"], wanted)
    decisions = [row for name in FUNNEL for row in _rows(steps[name], "decisions", identity)]
    if not decisions and fetched is None:
        raise UserError(f"{wanted}: no record has this id or URL; ids are 32 hex digits, URLs are matched whole")
    documents = list(_rows(steps["clean"], "documents", identity)) or list(_rows(steps["read"], "documents", identity))
    places = sorted(_rows(steps["shard"], "index", identity), key=lambda row: (row["shard"], row["document"]))
    return Life(identity, documents[0] if documents else None, decisions, places, fetched)


def _fetched(crawled: Path | None, url: str) -> dict[str, Any] | None:
    if crawled is None or "://" not in url:
        return None
    for folder in sorted(crawled.glob("*/fetches")):
        if rows := ds.dataset(folder).to_table(filter=pc.field("url") == url).to_pylist():
            return rows[0]
    return None


def _identity(read: Step, wanted: str) -> str:
    """The id of the document at a URL, or of the record that was rejected at a place; all else is taken for an id."""
    if not read.done or ID.fullmatch(wanted):
        return wanted
    if "://" in wanted and read.output.parts("documents"):
        found = read.output.scan("documents").to_table(columns=["id"], filter=pc.field("url") == wanted)
        if found.num_rows:
            return found["id"][0].as_py()
    named = pc.starts_with(pc.field("evidence"), f"{wanted}: ")
    rejected = read.output.scan("decisions").to_table(columns=["id"], filter=named)
    return rejected["id"][0].as_py() if rejected.num_rows else wanted


def _rows(step: Step, table: str, identity: str) -> Iterator[dict[str, Any]]:
    if step.done and step.output.parts(table):
        yield from step.output.scan(table).to_table(filter=pc.field("id") == identity).to_pylist()


@dataclass(frozen=True)
class Survivor:
    """The document that stayed in place of a duplicate: of this lake, or of the earlier corpus in the folder `earlier`,
    whose text is not here.
    """

    id: str
    document: dict[str, Any] | None
    earlier: str | None = None


def survivor(steps: dict[str, Step], life: Life) -> Survivor | None:
    """What stayed in place of a dropped duplicate. Earlier corpora are asked where this one does not have it, or where
    the document goes for its own earlier self.
    """
    drop = life.drop
    if drop is None or drop["step"] != "dedup":
        return None
    named = str(drop["evidence"]).removeprefix("survivor=").split()[0]
    if named != life.id and (found := next(_rows(steps["clean"], "documents", named), None)):
        return Survivor(named, found)
    folders = steps["dedup"].config.get("earlier", ())
    return Survivor(named, None, next((folder for folder in folders if _signed(Output(folder), named)), None))


def _signed(earlier: Output, identity: str) -> bool:
    return earlier.scan(SIGNATURES).count_rows(filter=pc.field("id") == identity) > 0


HEAD = ("id", "source", "title", "url")
"""What tells two documents apart, above their texts."""


def pair(life: Life, kept: Survivor, width: int) -> list[str]:
    """A dropped duplicate on the left and its survivor on the right, in lines for a terminal of `width` columns."""
    this = life.document
    if kept.document is None or this is None:
        return [f"kept: in the earlier corpus {plain(kept.earlier)}" if kept.earlier else "kept: not in this lake"]
    left, right = ([f"{name}: {one[name] or '–'}" for name in HEAD] for one in (this, kept.document))
    head = beside(["this", *left], ["kept", *right], width)
    return [*head, "", *side_by_side(this["text"], kept.document["text"], width)]
