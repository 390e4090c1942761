"""Check: whether the scrapers of crawled sites still find what they should; from WARC files, without the network."""

import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ingest.records import Note, Record, Rejected
from ingest.site import Site, load_site
from ingest.sources.warc import WarcInput, read_warc
from ingest.web.answer import Miss
from ingest.web.crawl import CrawlSettings
from ingest.web.fetchlog import Fetch, FetchLog
from ingest.web.health import Fault, Look, Symptom, Yield, expected, health
from lake import bundled
from lake.dataset import MANIFEST
from ray_jobs.cluster import each

SAMPLE = 400
"""Documents of a site that are extracted; of a larger one as many, chosen by a seeded hash of their URLs."""

DOCUMENTS_PER_TASK = 25

LOG = "fetches.jsonl"

HEALTH = pa.schema(
    [
        pa.field("site", pa.string(), nullable=False),
        pa.field("fetched", pa.int64(), nullable=False),
        pa.field("looked", pa.int64(), nullable=False),
        pa.field("documents", pa.int64(), nullable=False),
        pa.field("documents_expected", pa.int64(), nullable=False),
        pa.field("documents_last", pa.int64()),
        pa.field("words", pa.int64(), nullable=False),
        pa.field("words_expected", pa.int64(), nullable=False),
        pa.field("words_last", pa.int64()),
        pa.field("empty", pa.int64(), nullable=False),
        pa.field("hidden", pa.int64(), nullable=False),
        pa.field("faults", pa.list_(pa.string()), nullable=False),
    ]
)
"""A row a site: the counts of ingest.web.health.Yield, what was expected, and what the crawl before had."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a crawled site yields, what the crawl before did where there was one, and what is wrong."""

    found: Yield
    last: Yield | None
    faults: tuple[Fault, ...]
    row: dict[str, Any]


def check(
    settings: CrawlSettings, data: str, sites: Sequence[str] = (), keep: bool = False, accept: bool = False
) -> list[Checked]:
    """Check the crawled sites named, or all of the settings; writes nothing.

    With `keep`, for a crawl at its end, there is a row each in `health.parquet` of the crawl's folder, and each site's
    manifest gets the key `health`, which the next crawl is held against; rows of other sites stay. With `accept` it is
    kept as well, and what a site yields now, if its expectations have no fault to find with it, takes the place of what
    the crawl before had: for a site that truly shrank. Ray must be up.

    Raises:
        UserError: a site is not one of the settings, or its file is missing or wrong.
    """
    root = Path(data, settings.folder)
    checked = [_check(name, root, settings, keep, accept) for name in settings.chosen(sites)]
    if keep or accept:
        table, temporary = root / "health.parquet", root / ".health.parquet"
        rows = {row["site"]: row for row in pq.read_table(table).to_pylist()} if table.exists() else {}
        rows |= {one.row["site"]: one.row for one in checked}
        pq.write_table(pa.Table.from_pylist(list(rows.values()), HEALTH), temporary)
        temporary.replace(table)
    return checked


def _check(name: str, root: Path, settings: CrawlSettings, keep: bool, accept: bool) -> Checked:
    tag = bundled.tag(name)
    folder = root / tag
    site = expected(load_site(name), settings.limit)
    path = folder / MANIFEST
    manifest = json.loads(path.read_bytes()) if path.exists() else {}
    last = Yield.model_validate(manifest["last_yield"]) if manifest.get("last_yield") else None
    if manifest or (folder / LOG).exists():
        found = _yield(name, folder, manifest, settings.seed)
        last = found if accept else last
        faults = health(site, found, last)
    else:
        found = Yield.of(tag, [])
        faults = [Fault(tag, Symptom.NOTHING, f"{folder} holds no crawl", None, f"run `gap crawl CONFIG {tag}`")]
    row = {
        **found.model_dump(include={"site", "fetched", "looked", "documents", "words", "empty", "hidden"}),
        "documents_expected": site.expect.documents,
        "documents_last": last.documents if last else None,
        "words_expected": site.expect.words,
        "words_last": last.words if last else None,
        "faults": [str(fault) for fault in faults],
    }
    if (keep or accept) and manifest:
        manifest["health"] = {"found": found.model_dump(mode="json"), "faults": row["faults"]}
        if accept and not faults:
            manifest["last_yield"] = manifest["health"]["found"]
        temporary = path.with_name(f".{MANIFEST}.new")
        temporary.write_text(json.dumps(manifest, indent=2, ensure_ascii=False), encoding="utf-8")
        temporary.replace(path)
    return Checked(found, last, tuple(faults), row)


def _yield(name: str, folder: Path, manifest: dict[str, Any], seed: int) -> Yield:
    index: dict[str, int] = manifest.get("index", {})
    documents: dict[str, list[Fetch]] = {}
    log = FetchLog(folder / LOG)
    for line in log:
        if line.kept and line.kind in ("document", "chapter"):
            documents.setdefault(line.document or line.url, []).append(line)
    chosen = sorted(documents, key=lambda url: hashlib.sha256(f"{seed} {url}".encode()).digest())[:SAMPLE]
    groups = [chosen[start : start + DOCUMENTS_PER_TASK] for start in range(0, len(chosen), DOCUMENTS_PER_TASK)]
    tasks = [[(url, documents[url]) for url in group] for group in groups]
    looks = [look for found in each(lambda task: _looks(name, folder, task), tasks, "check", "tasks") for look in found]
    barren = [url for url, links in index.items() if not links]
    found = Yield.of(bundled.tag(name), looks, len(documents), next(iter([*barren, *index]), None))
    unread = tuple(line.url for line in log if line.url in index and _unread(line))
    return found.model_copy(update={"listed": manifest.get("listed"), "links": index, "unread": unread})


def _unread(page: Fetch) -> bool:
    """Whether an index page was not had now. One that is not there is none: letters and pages have an end."""
    return page.evidence is not None and page.reason != Miss.NOT_FOUND


def _looks(name: str, folder: Path, task: list[tuple[str, list[Fetch]]]) -> list[Look]:
    """Extract some documents just as the step `read` does: the records of each alone are a WARC file too."""
    settings = WarcInput(format="warc", source="guidelines", site=name, paths=("*",))
    site = load_site(name)
    looks = []
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place, "document.warc.gz")
        for url, pages in task:
            copy.write_bytes(b"".join(_record(folder, page) for page in sorted(pages, key=lambda page: page.place)))
            found = list(read_warc(copy, copy.name, settings))
            words = sum(len(one["text"].split()) for one in found if isinstance(one, dict))
            notes = [one.what for one in found if isinstance(one, Note)]
            if site.chapters is not None and not any(page.kind == "chapter" for page in pages):
                notes.append("chapters")
            looks.append(Look(url, words, not _hidden(found, site, len(pages)), tuple(notes)))
    return looks


def _hidden(found: Sequence[Record], site: Site, pages: int) -> bool:
    """Whether the content selector matches nothing on a page. The first one of several may be a list of chapters."""
    missing = f"content: {site.content} matches nothing"
    lost = [one.native for one in found if isinstance(one, Rejected) and missing in one.drop.evidence]
    return bool(lost) and (pages == 1 or any(not native.endswith(":0") for native in lost))


def _record(folder: Path, page: Fetch) -> bytes:
    name, offset, end = page.place
    with (folder / name).open("rb") as stream:
        stream.seek(offset)
        return stream.read(end - offset)
