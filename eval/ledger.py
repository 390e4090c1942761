"""Accounts as tables: what entered, what was dropped and why, what was kept, by source."""

from collections.abc import Sequence
from dataclasses import dataclass

from eval.summary import FUNNEL, Manifests
from lake.step import Account, Manifest


@dataclass(frozen=True)
class Ledger:
    """A step's account, or that of several. `columns` are the sources (or benchmarks) of which something entered; every
    list of numbers has the sum first, then one number a column."""

    columns: list[str]
    entered: list[int]
    dropped: dict[str, list[int]]
    kept: list[int]


def ledger(manifest: Manifest) -> Ledger:
    return _ledger(manifest, _entered(manifest))


def way(steps: Manifests) -> Ledger:
    """The account of the whole way of the documents; a reason has the name of its step before it."""
    first, last = steps[FUNNEL[0]], steps[FUNNEL[-1]]
    columns = _entered(first)
    dropped = {
        f"{name}: {reason}": numbers
        for name in FUNNEL
        for reason, numbers in _ledger(steps[name], columns).dropped.items()
    }
    return Ledger(columns, _ledger(first, columns).entered, dropped, _ledger(last, columns).kept)


def _entered(manifest: Manifest) -> list[str]:
    return [name for name, one in manifest.accounts.items() if one.entered]


def _ledger(manifest: Manifest, columns: Sequence[str]) -> Ledger:
    accounts = [manifest.total, *(manifest.accounts.get(name, Account()) for name in columns)]
    return Ledger(
        list(columns),
        [one.entered for one in accounts],
        {reason: [one.dropped.get(reason, 0) for one in accounts] for reason in manifest.total.dropped},
        [one.kept for one in accounts],
    )
