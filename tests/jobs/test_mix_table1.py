"""Mix on Spark, on a thousandth of the MEDITRON paper's table 1: the shares of the plan are the table's."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks import table1
from benchmarks.mix import compared, inputs, mixed
from lake.step import Step
from mixing.split import TRAIN

pytestmark = pytest.mark.engine


def trained(step: Step) -> dict[str, int]:
    """Train tokens by source, copies counted, from the rows of the plan."""
    tokens: Counter[str] = Counter()
    for row in step.output.scan("plan").to_table().to_pylist():
        if row["split"] == TRAIN:
            tokens[row["source"]] += row["copies"] * (row["tokens"] + 1)
    return dict(tokens)


def test_the_plan_has_the_shares_of_table_1(spark: Any, tmp_path: Path) -> None:
    """To 0.1 % of the whole mixture, and where each source has its share as ratio, of its own budget."""
    steps = inputs(str(tmp_path), table1.SCALE, 6_000)
    step = mixed(steps, table1.GAP_REPLAY, spark)
    gap_replay = trained(step)
    total = sum(gap_replay.values())
    assert {source: tokens / total for source, tokens in gap_replay.items()} == pytest.approx(table1.SHARES, abs=0.001)
    assert {row["source"]: row["train_tokens"] for row in compared(step)} == gap_replay
    by_ratio = trained(mixed(steps, table1.BY_RATIO, spark))
    longest = {source: int(one.tokens.max()) for source, one in table1.corpus().items()}
    for source, share in table1.SHARES.items():
        wanted = share * sum(by_ratio.values())
        # The total is itself made of budgets met to half a document each.
        assert abs(by_ratio[source] - wanted) <= max(0.001 * wanted, longest[source] / 2), source
