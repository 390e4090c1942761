"""Checks whether the scrapers of crawled sites still work, from WARC files and without the network."""

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
from ingest.web.archive import packed_record
from ingest.web.crawl import CrawlSettings
from ingest.web.fetchlog import Fetch, FetchLog
from ingest.web.health import Fault, Look, Symptom, Yield, expected, health
from lake import bundled
from lake.dataset import MANIFEST, Output
from lake.schema import schema
from ray_jobs.cluster import each

SAMPLE = 400
"""Documents of a site to extract, at most; in a larger site, a seeded hash of the URLs chooses them."""

DOCUMENTS_PER_TASK = 25

LOG = "fetches.jsonl"

HEALTH = schema(
    "site string, fetched int64, looked int64, documents int64, documents_expected int64, documents_last int64?, "
    "words int64, words_expected int64, words_last int64?, empty int64, hidden int64, faults list<string>"
)
"""A row per site: counts of ingest.web.health.Yield, what was expected, and what the last crawl had."""


@dataclass(frozen=True, slots=True)
class SiteHealth:
    """What a crawled site yields now, what it yielded at the last crawl if there was one, and what is wrong."""

    now: Yield
    last: Yield | None
    faults: tuple[Fault, ...]
    row: dict[str, Any]


def check(
    settings: CrawlSettings, data: str, sites: Sequence[str] = (), keep: bool = False, accept: bool = False
) -> list[SiteHealth]:
    """Check the named sites, or all of the settings. Writes nothing by default. Ray must be up.

    With `keep`, at the end of a crawl, `health.parquet` in the crawl's folder gets a row per site, and each site's
    manifest gets the key `health`, with which the next crawl is compared. Rows of other sites stay. `accept` is for a
    site that really shrank: it keeps all that too, and the yield of now counts as the last crawl's, unless it falls
    short of what the site's file expects.

    Raises:
        UserError: a site is not one of the settings, or its file is missing or wrong.
    """
    root = Path(data, settings.folder)
    checked = [_check(name, root, settings, keep, accept) for name in settings.chosen(sites)]
    if keep or accept:
        table = root / "health.parquet"
        rows = {row["site"]: row for row in pq.read_table(table).to_pylist()} if table.exists() else {}
        rows |= {site.row["site"]: site.row for site in checked}
        with Output(str(root.absolute())).create(table.name) as stream:
            pq.write_table(pa.Table.from_pylist(list(rows.values()), HEALTH), stream)
    return checked


def _check(name: str, root: Path, settings: CrawlSettings, keep: bool, accept: bool) -> SiteHealth:
    tag = bundled.tag(name)
    folder = root / tag
    site = expected(load_site(name), settings.limit)
    path = folder / MANIFEST
    manifest = json.loads(path.read_bytes()) if path.exists() else {}
    last = Yield.model_validate(manifest["last_yield"]) if manifest.get("last_yield") else None
    if manifest or (folder / LOG).exists():
        now = _yield(name, folder, manifest, settings.seed)
        last = now if accept else last
        faults = health(site, now, last)
    else:
        now = Yield.of(tag, [])
        faults = [Fault(tag, Symptom.NOTHING, f"{folder} holds no crawl", None, f"run `gap crawl CONFIG {tag}`")]
    row = {
        **now.model_dump(include={"site", "fetched", "looked", "documents", "words", "empty", "hidden"}),
        "documents_expected": site.expect.documents,
        "documents_last": last.documents if last else None,
        "words_expected": site.expect.words,
        "words_last": last.words if last else None,
        "faults": [str(fault) for fault in faults],
    }
    if (keep or accept) and manifest:
        manifest["health"] = {"found": now.model_dump(mode="json"), "faults": row["faults"]}
        if accept and not faults:
            manifest["last_yield"] = manifest["health"]["found"]
        Output(str(folder)).write_json(manifest, MANIFEST)
    return SiteHealth(now, last, tuple(faults), row)


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
    looks = [look for group in each(lambda task: _looks(name, folder, task), tasks, "check", "tasks") for look in group]
    barren = [url for url, links in index.items() if not links]
    extracted = Yield.of(bundled.tag(name), looks, len(documents), next(iter([*barren, *index]), None))
    # A missing index page does not count as unread: letters and pages have an end.
    faulty = (line for line in log if line.evidence is not None and line.reason != Miss.NOT_FOUND)
    unread = tuple(line.url for line in faulty if line.url in index)
    return extracted.model_copy(update={"listed": manifest.get("listed"), "links": index, "unread": unread})


def _looks(name: str, folder: Path, task: list[tuple[str, list[Fetch]]]) -> list[Look]:
    """Extract some documents as the step `read` does: the records of a document alone are a WARC file too."""
    settings = WarcInput(format="warc", source="guidelines", site=name, paths=("*",))
    site = load_site(name)
    looks = []
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place, "document.warc.gz")
        for url, pages in task:
            copy.write_bytes(
                b"".join(packed_record(folder, page) for page in sorted(pages, key=lambda page: page.place))
            )
            records = list(read_warc(copy, copy.name, settings))
            words = sum(len(record["text"].split()) for record in records if isinstance(record, dict))
            notes = [record.what for record in records if isinstance(record, Note)]
            if site.chapters is not None and not any(page.kind == "chapter" for page in pages):
                notes.append("chapters")
            looks.append(Look(url, words, not _hidden(records, site, len(pages)), tuple(notes)))
    return looks


def _hidden(records: Sequence[Record], site: Site, pages: int) -> bool:
    """Whether the content selector matches nothing on a page. The first of several pages may be a list of chapters."""
    missing = f"content: {site.content} matches nothing"
    lost = [record.native for record in records if isinstance(record, Rejected) and missing in record.drop.evidence]
    return bool(lost) and (pages == 1 or any(not native.endswith(":0") for native in lost))
