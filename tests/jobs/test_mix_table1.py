"""Mix on Spark, on a thousandth of the MEDITRON paper's table 1: the shares of the plan are the table's."""

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lake.decision import DECISION
from lake.step import Account, Outcome, Step
from mixing.mixture import MixSettings
from spark_jobs.mix import mix
from tests.mixing import table1

pytestmark = pytest.mark.engine

PARTS = 3


def test_the_plan_has_the_shares_of_table_1(spark: Any, tmp_path: Path) -> None:
    """To 0.1 % of the whole mixture, and where each source has its share as ratio, of its own budget."""
    inputs = lake_of(tmp_path)
    gap_replay = mixed(inputs, table1.GAP_REPLAY, spark)
    total = sum(gap_replay.values())
    assert {source: tokens / total for source, tokens in gap_replay.items()} == pytest.approx(table1.SHARES, abs=0.001)
    by_ratio = mixed(inputs, table1.BY_RATIO, spark)
    longest = {source: int(one.tokens.max()) for source, one in table1.corpus().items()}
    for source, share in table1.SHARES.items():
        wanted = share * sum(by_ratio.values())
        # The total is itself made of budgets met to half a document each.
        assert abs(by_ratio[source] - wanted) <= max(0.001 * wanted, longest[source] / 2), source


def mixed(inputs: tuple[Step, ...], settings: MixSettings, spark: Any) -> dict[str, int]:
    """Train tokens by source, copies counted, from the rows of the plan."""
    step = Step("mix", "spark", 1, settings.model_dump(mode="json"), inputs[0].lake, inputs, follows="decontaminate")
    step.complete(lambda: mix(step, settings, spark, table1.SEED))
    tokens: Counter[str] = Counter()
    for row in step.output.scan("plan").to_table().to_pylist():
        if row["split"] == "train":
            tokens[row["source"]] += row["copies"] * (row["tokens"] + 1)
    return dict(tokens)


def lake_of(root: Path) -> tuple[Step, ...]:
    """The finished steps that mix reads; every document is its own cluster, and none was dropped."""
    tokenizer = Step("tokenizer", "ray", 1, {}, str(root))
    dedup = Step("dedup", "spark", 1, {}, str(root))
    decontaminate = Step("decontaminate", "spark", 1, {}, str(root))
    accounts = {}
    for source, one in table1.corpus().items():
        accounts[source] = Account.of(len(one.ids))
        for part in range(PARTS):
            counts = {"id": one.ids[part::PARTS], "tokens": pa.array(one.tokens[part::PARTS] - 1, pa.int32())}
            tokenizer.output.write_part("counts", part, pa.table(counts), source)
    ids = [(id_, source) for source, one in table1.corpus().items() for id_ in one.ids]
    clusters = pa.table({name: [id_ for id_, _ in ids] for name in ("id", "cluster")})
    dedup.output.write_part("clusters", 0, clusters)
    kept = [{"id": id_, "source": source, "step": "decontaminate", "keep": True} for id_, source in ids]
    decontaminate.output.write_part("decisions", 0, pa.Table.from_pylist(kept, DECISION))
    for step in (tokenizer, dedup, decontaminate):
        step.complete(lambda: Outcome(accounts))
    return tokenizer, dedup, decontaminate
