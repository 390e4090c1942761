"""Accounts as tables: what entered, what was dropped and why, and what was kept, by source."""

from collections.abc import Sequence
from dataclasses import dataclass

from lake.step import Account, Manifest


@dataclass(frozen=True)
class Ledger:
    """The account of a step or of several in a row.

    `columns` are the sources (or benchmarks) of which something entered. Every list of numbers begins with the sum and
    has one number for each column after it.
    """

    columns: list[str]
    entered: list[int]
    dropped: dict[str, list[int]]
    kept: list[int]


def ledger(step: Manifest) -> Ledger:
    return _ledger(step, _entered(step))


def way(funnel: Sequence[Manifest]) -> Ledger:
    """The account from the first step to the last. The name of its step stands before each reason."""
    if not funnel:
        return Ledger([], [0], {}, [0])
    columns = _entered(funnel[0])
    ledgers = {step.step: _ledger(step, columns) for step in funnel}
    dropped = {f"{name}: {reason}": row for name, step in ledgers.items() for reason, row in step.dropped.items()}
    return Ledger(columns, ledgers[funnel[0].step].entered, dropped, ledgers[funnel[-1].step].kept)


def _entered(step: Manifest) -> list[str]:
    return [name for name, account in step.accounts.items() if account.entered]


def _ledger(step: Manifest, columns: Sequence[str]) -> Ledger:
    accounts = [step.total, *(step.accounts.get(name, Account()) for name in columns)]
    return Ledger(
        list(columns),
        [account.entered for account in accounts],
        {reason: [account.dropped.get(reason, 0) for account in accounts] for reason in step.total.dropped},
        [account.kept for account in accounts],
    )
