"""Which documents are audited in a run, and what the audits of a source say together."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final

import pyarrow as pa

from ingest.fidelity.audit import Audit
from lake.schema import schema

AUDIT = schema("id string, outcome string, rule string, count int64, example string?")
"""The audit of a document: a row for its `tokens`, one for those `kept`, one for each rule under which tokens were
`left_out` or `written`, and one for each token shown of those `lost` or `invented`, whose rule is the token itself."""

EXAMPLES: Final = 5


def sampled(share: float) -> Callable[[str], bool]:
    """Whether the document of an id is audited: the first that is asked for, and a share of the others by their id."""
    first = True

    def chosen(identity: str) -> bool:
        nonlocal first
        before, first = first, False
        return share > 0 and (before or int(identity[:8], 16) < share * 16**8)

    return chosen


def audit_rows(identity: str, audit: Audit) -> list[dict[str, Any]]:
    """Rows of AUDIT."""
    counted = [("tokens", "", audit.tokens), ("kept", "", audit.kept)]
    counted += [("left_out", rule, count) for rule, count in sorted(audit.left_out.items())]
    counted += [("written", rule, count) for rule, count in sorted(audit.written.items())]
    rows = [{"outcome": outcome, "rule": rule, "count": count, "example": None} for outcome, rule, count in counted]
    for outcome, total, shown in (
        ("lost", audit.lost, audit.losses),
        ("invented", audit.invented, audit.inventions),
    ):
        rows += [
            {"outcome": outcome, "rule": finding.value, "count": 1, "example": f"{finding.excerpt} ⇢ {finding.other}"}
            for finding in shown
        ]
        if total > len(shown):
            rows.append({"outcome": outcome, "rule": "", "count": total - len(shown), "example": None})
    return [{"id": identity, **row} for row in rows]


def audit_figures(rows: pa.Table) -> dict[str, Any]:
    """What the audits of a source say together: documents, tokens, and what became of these, with EXAMPLES of losses.

    `per_10_000` is how many tokens of 10,000 in the sources were lost.
    """
    counts: dict[str, Counter[str]] = {outcome: Counter() for outcome in ("left_out", "written")}
    totals: Counter[str] = Counter()
    examples: dict[str, list[str]] = {"lost": [], "invented": []}
    ordered = rows.sort_by([("id", "ascending"), ("outcome", "ascending")]).to_pylist()
    for row in ordered:
        totals[row["outcome"]] += row["count"]
        if row["outcome"] in counts:
            counts[row["outcome"]][row["rule"]] += row["count"]
        elif row["example"] is not None and len(examples[row["outcome"]]) < EXAMPLES:
            examples[row["outcome"]].append(f"{row['id']}: {row['example']}")
    tokens = totals["tokens"]
    return {
        "documents": len({row["id"] for row in ordered}),
        "tokens": tokens,
        "kept": totals["kept"],
        **{outcome: dict(sorted(by_rule.items())) for outcome, by_rule in counts.items()},
        "lost": totals["lost"],
        "invented": totals["invented"],
        "per_10_000": round(totals["lost"] / tokens * 10_000, 3) if tokens else 0.0,
        "examples": examples,
    }


def audit_table(audits: Iterable[tuple[str, Audit]]) -> pa.Table:
    """A table of AUDIT."""
    return pa.Table.from_pylist([row for identity, audit in audits for row in audit_rows(identity, audit)], AUDIT)
