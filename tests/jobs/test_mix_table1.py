"""Mix on Spark, on a thousandth of table 1 of the MEDITRON paper: the selection has the shares of the table."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks import table1
from benchmarks.mix import compared, inputs, mixed
from lake.step import Step
from mixing.split import TRAIN
from tests.jobs.outputs import rows

pytestmark = pytest.mark.engine


def trained(step: Step[Any]) -> dict[str, int]:
    """Train tokens of all copies by source, from the rows of the selection."""
    tokens: Counter[str] = Counter()
    for row in rows(step, "selection"):
        if row["split"] == TRAIN:
            tokens[row["source"]] += row["copies"] * (row["tokens"] + 1)
    return dict(tokens)


def test_the_selection_has_the_shares_of_table_1(spark: Any, tmp_path: Path) -> None:
    """To 0.1 % of the mixture, and with the shares as ratios, to 0.1 % of the budget of each source."""
    steps = inputs(str(tmp_path), table1.SCALE, 6_000)
    step = mixed(steps, table1.GAP_REPLAY)
    gap_replay = trained(step)
    total = sum(gap_replay.values())
    assert {source: tokens / total for source, tokens in gap_replay.items()} == pytest.approx(table1.SHARES, abs=0.001)
    assert {row["source"]: row["train_tokens"] for row in compared(step)} == gap_replay
    by_ratio = trained(mixed(steps, table1.BY_RATIO))
    longest = {source: int(documents.tokens.max()) for source, documents in table1.corpus().items()}
    for source, share in table1.SHARES.items():
        budget = share * sum(by_ratio.values())
        # A budget is met to half a document.
        assert abs(by_ratio[source] - budget) <= max(0.001 * budget, longest[source] / 2), source
