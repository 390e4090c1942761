"""The result of a crawl: a row per URL, and the manifest that adds them up."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from ingest.web.archive import Archive
from ingest.web.fetchlog import Fetch
from lake.step import Account


def fetches(log: Iterable[Fetch], unasked: Iterable[Fetch]) -> list[Fetch]:
    """The last state of every URL, sorted by URL. URLs that were not requested are added unless their page is kept."""
    rows = {line.url: line for line in log}
    for row in unasked:
        if row.url not in rows or not rows[row.url].kept:
            rows[row.url] = row
    return [rows[url] for url in sorted(rows)]


def manifest(
    tag: str, rows: list[Fetch], archive: Archive, figures: dict[str, Any], last: dict[str, Any] | None
) -> dict[str, Any]:
    """Accounts of URLs by kind, where `in` is kept and missed together, and the figures of the crawl.

    `last` is the manifest that this one replaces. The yield that its check saw is kept as `last_yield` for the next
    check, unless the check saw faults: then `last_yield` stays as it was.
    """
    health = (last or {}).get("health")
    return {
        "site": tag,
        "accounts": _accounts(rows),
        "last_yield": health["found"] if health and not health["faults"] else (last or {}).get("last_yield"),
        "bytes": sum(row.length or 0 for row in rows if row.kept),
        "files": {path.name: path.stat().st_size for path in archive.files()},
        **figures,
    }


def _accounts(rows: list[Fetch]) -> dict[str, dict[str, Any]]:
    kinds: dict[str, list[Fetch]] = {}
    for row in rows:
        kinds.setdefault(row.kind, []).append(row)
    accounts = {}
    for kind, members in sorted(kinds.items()):
        missed = Counter(str(row.reason) for row in members if not row.kept)
        accounts[kind] = Account.of(sum(row.kept for row in members), missed, len(members)).model_dump(by_alias=True)
    return accounts
