"""One document's life: from its URL to its place in a shard, or where and why it was dropped."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from lake.dataset import Output
from lake.error import UserError
from lake.step import Step

FUNNEL = ("read", "clean", "dedup", "decontaminate", "mix")


@dataclass(frozen=True)
class Life:
    """What the lake knows of a document. `document` is None where the record was too broken to become one."""

    id: str
    document: dict[str, Any] | None
    decisions: list[dict[str, Any]]
    places: list[dict[str, Any]]

    @property
    def drop(self) -> dict[str, Any] | None:
        """The decision that dropped the document, if one did."""
        return next((row for row in self.decisions if not row["keep"]), None)


def trace(steps: dict[str, Step], wanted: str) -> Life:
    """Follow a document, given its id or URL, through every step that is done.

    Raises:
        UserError: nothing has been read yet, or no record has that id or URL.
    """
    if not steps["read"].done:
        raise UserError("nothing has been read yet; start with: gap run CONFIG read")
    identity = _identity(steps["read"].output, wanted)
    decisions = [row for name in FUNNEL for row in _rows(steps[name], "decisions", identity)]
    if not decisions:
        raise UserError(f"{wanted}: no record has this id or URL; ids are 32 hex digits, URLs are matched whole")
    documents = list(_rows(steps["clean"], "documents", identity)) or list(_rows(steps["read"], "documents", identity))
    places = sorted(_rows(steps["shard"], "index", identity), key=lambda row: (row["shard"], row["document"]))
    return Life(identity, documents[0] if documents else None, decisions, places)


def _identity(read: Output, wanted: str) -> str:
    """The id of the document at a URL; anything else is taken for an id."""
    if "://" not in wanted or not read.parts("documents"):
        return wanted
    found = read.scan("documents").to_table(columns=["id"], filter=pc.field("url") == wanted)
    return found["id"][0].as_py() if found.num_rows else wanted


def _rows(step: Step, table: str, identity: str) -> Iterator[dict[str, Any]]:
    if step.done and step.output.parts(table):
        yield from step.output.scan(table).to_table(filter=pc.field("id") == identity).to_pylist()


def survivor(steps: dict[str, Step], life: Life) -> dict[str, Any] | None:
    """The document that stayed in place of a dropped duplicate."""
    drop = life.drop
    if drop is None or drop["step"] != "dedup":
        return None
    named = str(drop["evidence"]).removeprefix("survivor=").split()[0]
    return next(_rows(steps["clean"], "documents", named), None)
