"""RedPajama-v1 and data like it: JSON Lines with `text` and `meta`, of which a small random share is read."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from ingest.fidelity.ledger import Ledger
from ingest.raw_input import Pace
from ingest.records import Note, Original, Record, Records, Rejected, rejected
from ingest.sources.jsonl import CONVERT, NOT_UTF8, is_null
from ingest.sources.sampling import SampledInput, digest, draw, sampled
from lake.characters import is_utf8
from lake.decision import Drop, Reason, RecordError
from lake.document import Document, new_document
from lake.jsonl import json_object, kind
from lake.lines import raw_lines
from lake.values import Share, Text

COMMON_CRAWL = "common_crawl"
UNKNOWN = "unknown"


class RedpajamaInput(SampledInput):
    """Files of RedPajama-v1, plain, `.gz` or `.zst`: c4, common_crawl, github, arxiv, book, wikipedia, stackexchange.

    `shares` replaces `keep` for some subsets: `{github: 0.0008, book: 0}`. A record's subset is its
    `red_pajama_subset`, else `meta.source`, else `subset`, for files whose records do not say. It becomes the
    document's `meta.site`. The bytes of a record decide whether it is drawn, so the sample of a smaller `keep` is part
    of that of a larger one. Records that no share can draw are not parsed, so only drawn ones can be found broken.
    """

    format: Literal["redpajama"]
    shares: dict[Text, Share] = Field(default_factory=dict)
    subset: Text | None = None

    @property
    def pace(self) -> Pace:
        """Timed by hand on the samples' lines, repeated to 60 MB, at `keep: 0.0004`: nearly no line was drawn."""
        return Pace(320, 0.95)

    def share_of(self, subset: str) -> float:
        return self.shares.get(subset, self.keep)

    def read(self, path: Path, name: str) -> Records:
        """The records that were drawn, and the number of those that were not.

        A line over `max_bytes` is rejected, drawn or not, since it was never held whole.
        """
        return sampled(_drawn(path, name, self))


def _drawn(path: Path, name: str, settings: RedpajamaInput) -> Iterator[Record | None]:
    largest = max([settings.keep, *settings.shares.values()])
    for native, line in raw_lines(path, name, settings.max_bytes):
        if isinstance(line, Drop):
            yield Rejected(native, line)
            continue
        data = line.strip()
        number = draw(data, settings.seed)
        if number < largest:
            yield from _records(data, native, number, settings)
        else:
            yield None


def _records(line: bytes, native: str, number: float, settings: RedpajamaInput) -> Iterator[Record | None]:
    """The record with its notes, or None where it is not drawn."""
    try:
        record = json_object(line)
    except RecordError as error:
        yield rejected(native, error.reason, str(error)) if number < settings.keep else None
        return
    meta = _meta(record)
    subset = _subset(record, meta, settings)
    if number >= settings.share_of(subset):
        yield None
        return
    wrong: dict[str, str] = {}
    document = _document(record, meta, subset, line, native, settings, wrong)
    if not isinstance(document, Rejected):
        place = document["url"] or native
        if not is_utf8(line):
            yield Note(place, *NOT_UTF8)
        yield from (Note(place, f"wrong {field}", fault) for field, fault in wrong.items())
        yield Original(partial(_original, line))
    yield document


def _original(line: bytes, ledger: Ledger) -> str:
    return str(json_object(line)["text"])


def _meta(record: dict[str, Any]) -> dict[str, Any]:
    """The record's `meta`, which the Hub's copy has as a string of JSON; empty where it is missing or broken."""
    meta = record.get("meta")
    if isinstance(meta, str):
        try:
            meta = json.loads(meta)
        except (ValueError, RecursionError):
            return {}
    return meta if isinstance(meta, dict) else {}


def _subset(record: dict[str, Any], meta: dict[str, Any], settings: RedpajamaInput) -> str:
    """The subset in lower case. Records of Common Crawl name their file: `cc/2023-06/en_head_0000.json.gz/…`."""
    stated = (record.get("red_pajama_subset"), meta.get("source"), record.get("source"))
    named = next((value for value in stated if isinstance(value, str) and value), settings.subset or UNKNOWN)
    name = CONVERT["site"](named).lower()
    return COMMON_CRAWL if name.startswith("cc/") else name


def _document(
    record: dict[str, Any],
    meta: dict[str, Any],
    subset: str,
    line: bytes,
    native: str,
    settings: RedpajamaInput,
    wrong: dict[str, str],
) -> Document | Rejected:
    """`wrong` takes the details that are left out, by field, since the text is worth keeping without them."""
    if record.get("text") is None:
        return rejected(native, Reason.MISSING_FIELD, "no text")
    try:
        text = CONVERT["text"](record["text"])
    except TypeError:
        return rejected(native, Reason.WRONG_TYPE, f"text is a string, not {record['text']!r:.80}")
    return new_document(
        settings.source,
        f"{subset}:{digest(line)}",
        text,
        {"site": settings.site or subset},
        url=_detail("url", meta.get("url"), wrong),
        title=_detail("title", meta.get("title"), wrong),
        fetched_at=_detail("fetched_at", meta.get("timestamp"), wrong),
        license=settings.license,
        redistributable=settings.redistributable,
    )


def _detail(field: str, value: Any, wrong: dict[str, str]) -> Any:
    if is_null(value) or value == "":
        return None
    try:
        return CONVERT[field](value) or None
    except (ValueError, TypeError, OverflowError):
        wrong[field] = f"{field} does not take {kind(value)} {value!r:.80}"
        return None
