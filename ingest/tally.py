"""What cleaning counted in each part, and the accounts and figures that sum it up."""

from collections import Counter
from typing import Any

import pyarrow as pa

from lake.schema import schema
from lake.step import Account

TALLY = schema("source string, figure string, key string, count int64")
"""The figures are, for all documents: entered, kept and dropped (key: reason); for those whose language was detected:
language (key: its code); for those kept: license and site (keys: their names), redistributable and characters, and what
was changed in their texts: characters_replaced (key: kind), masked (key: kind), lines_removed (key: rule) and
marks_broken. Other keys are empty."""

Counts = Counter[tuple[str, str]]
"""By figure and key."""


def tally_table(source: str, counts: Counts) -> pa.Table:
    """Rows of TALLY, sorted. A source without documents has a row too, so that it is not forgotten."""
    every = sorted(({("entered", ""): 0} | counts).items())
    rows = [{"source": source, "figure": figure, "key": key, "count": count} for (figure, key), count in every]
    return pa.Table.from_pylist(rows, TALLY)


class Tally:
    """The tallies of all parts, added up by source, figure and key."""

    def __init__(self, rows: pa.Table) -> None:
        self._counts: dict[str, dict[str, Counter[str]]] = {}
        for row in rows.select(TALLY.names).sort_by([(name, "ascending") for name in TALLY.names]).to_pylist():
            figures = self._counts.setdefault(row["source"], {})
            figures.setdefault(row["figure"], Counter())[row["key"]] += row["count"]

    def accounts(self) -> dict[str, Account]:
        """Accounts by source."""
        kept, entered, dropped = self._total("kept"), self._total("entered"), self._by_key("dropped")
        return {source: Account.of(kept[source], dropped[source], entered[source]) for source in self._counts}

    def figures(self) -> dict[str, Any]:
        """What the cards say about the corpus: sites and changes where there are any, the rest for every source."""
        languages = sum((figures.get("language", Counter()) for figures in self._counts.values()), Counter())
        return {
            "licenses": self._by_key("license"),
            "redistributable": self._total("redistributable"),
            "sites": self._by_key("site", some=True),
            "characters": self._total("characters"),
            "languages": dict(sorted(languages.items())),
            "characters_replaced": self._by_key("characters_replaced", some=True),
            "masked": self._by_key("masked", some=True),
            "lines_removed": self._by_key("lines_removed", some=True),
            "marks_broken": {source: n for source, n in self._total("marks_broken").items() if n},
        }

    def _by_key(self, figure: str, some: bool = False) -> dict[str, dict[str, int]]:
        """By source; with `some`, for sources that have any."""
        every = {source: dict(figures.get(figure, {})) for source, figures in self._counts.items()}
        return {source: counts for source, counts in every.items() if counts or not some}

    def _total(self, figure: str) -> dict[str, int]:
        return {source: sum(counts.values()) for source, counts in self._by_key(figure).items()}
