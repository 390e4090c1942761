"""Mix on Spark: every document decided, budgets met, and the same bytes however many workers there are."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lake.dataset import Output
from lake.decision import DECISION
from lake.document import document_id
from lake.error import UserError
from lake.step import Account, Outcome, Step
from mixing.mixture import MixSettings
from mixing.split import VALIDATION, in_validation
from spark_jobs.mix import mix

pytestmark = pytest.mark.engine

SEED = 11
SETTINGS = MixSettings.model_validate(
    {
        "sources": {
            "guidelines": {"validation": 0.05, "tokens": 60_000, "max_epochs": 4},
            "papers": {"validation": 0.03, "keep": 0.5},
            "replay": {"ratio": 0.01},
        }
    }
)
DROPPED = 7
EMPTY = "guidelines", 1


def corpus() -> dict[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = {}
    for source, count in (("guidelines", 300), ("papers", 600), ("replay", 40)):
        rows[source] = []
        for n in range(count):
            tokens = 0 if (source, n) == EMPTY else 60 + n % 37
            rows[source].append({"id": document_id(source, str(n)), "tokens": tokens, "kept": n != DROPPED})
    return rows


def lake_of(root: Path, clusters_of: Mapping[str, str] | None = None) -> tuple[Step, ...]:
    """The finished steps that mix reads; parts have gaps, and one has no row. A document is its own cluster, unless
    `clusters_of` has another for its id.
    """
    named = clusters_of or {}
    tokenizer = Step("tokenizer", "ray", 1, {}, str(root))
    dedup = Step("dedup", "spark", 1, {}, str(root))
    decontaminate = Step("decontaminate", "spark", 1, {}, str(root))
    clusters, decisions = [], []
    for source, rows in corpus().items():
        for part, third in ((0, 0), (1, 1), (3, 2)):
            mine = rows[third::3]
            table = pa.table(
                {"id": [row["id"] for row in mine], "tokens": pa.array([row["tokens"] for row in mine], pa.int32())}
            )
            tokenizer.output.write_part("counts", part, table, source)
        tokenizer.output.write_part("counts", 4, table.slice(0, 0), source)
        clusters += [{"id": row["id"], "cluster": named.get(row["id"], row["id"])} for row in rows]
        for row in rows:
            reason = None if row["kept"] else "contaminated"
            decisions.append({"id": row["id"], "source": source, "step": "x", "keep": row["kept"], "reason": reason})
    dedup.output.write_part("clusters", 0, pa.Table.from_pylist(clusters))
    decontaminate.output.write_part("decisions", 0, pa.Table.from_pylist(decisions, DECISION))
    accounts = {source: Account.of(len(rows) - 1, {"contaminated": 1}) for source, rows in corpus().items()}
    for step in (tokenizer, dedup, decontaminate):
        step.complete(lambda: Outcome(accounts))
    return tokenizer, dedup, decontaminate


def mixed(root: Path, inputs: tuple[Step, ...], spark: Any, settings: MixSettings = SETTINGS) -> Step:
    step = Step("mix", "spark", 1, {}, str(root), inputs, follows="decontaminate")
    step.complete(lambda: mix(step, settings, spark, SEED))
    return step


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Step, ...]:
    return lake_of(tmp_path_factory.mktemp("before"))


@pytest.fixture(scope="module")
def step(inputs: tuple[Step, ...], spark: Any, tmp_path_factory: pytest.TempPathFactory) -> Step:
    return mixed(tmp_path_factory.mktemp("mix"), inputs, spark)


def content(output: Output) -> dict[str, bytes]:
    return {
        f"{table}/{part}": output.read_bytes(table, part)
        for table in ("plan", "decisions")
        for part in output.parts(table)
    }


def test_every_document_has_one_decision_and_its_reason(step: Step) -> None:
    rows = step.output.scan("decisions").to_table().to_pylist()
    entered = {row["id"] for rows in corpus().values() for row in rows if row["kept"]}
    assert len(rows) == len(entered)
    assert {row["id"] for row in rows} == entered
    assert {row["step"] for row in rows} == {"mix"}
    reasons = Counter((row["source"], row["reason"]) for row in rows)
    assert reasons["guidelines", "empty"] == 1
    assert reasons["papers", "over_budget"] > 200
    over = next(row for row in rows if row["reason"] == "over_budget")
    assert over["evidence"].startswith("budget=")
    assert over["score"] == float(over["evidence"].split()[1].removeprefix("position="))
    planned = step.output.scan("plan").to_table().to_pylist()
    assert {row["id"] for row in planned} == {row["id"] for row in rows if row["keep"]}
    assert all(row["copies"] >= 1 for row in planned)


def test_budgets_are_met_to_half_a_document(step: Step) -> None:
    *rows, total = step.manifest().figures["mixture"]
    table = {row["source"]: row for row in rows}
    sizes: Counter[tuple[str, str]] = Counter()
    for row in step.output.scan("plan").to_table().to_pylist():
        sizes[row["source"], row["split"]] += row["copies"] * (row["tokens"] + 1)
    for source in ("guidelines", "papers", "replay"):
        assert sizes[source, "train"] == table[source]["train_tokens"]
        assert sizes[source, "validation"] == table[source]["validation_tokens"]
    assert abs(table["guidelines"]["train_tokens"] - 60_000) <= 49
    assert 2 < table["guidelines"]["epochs"] < 3
    assert abs(table["papers"]["epochs"] - 0.5) < 0.01
    assert abs(table["replay"]["share"] - 0.01) < 0.0006
    assert table["replay"]["train_documents"] >= 1
    assert table["replay"]["validation_documents"] == 0
    assert 0.02 < table["guidelines"]["held_out"] < 0.09
    assert total["train_tokens"] == sum(row["train_tokens"] for row in rows)
    assert step.manifest().figures["missing_tokens"] == {}


def test_lengths_count_a_document_once_and_its_tokens_with_their_copies(step: Step) -> None:
    expected: dict[str, Any] = {}
    for row in step.output.scan("plan").to_table().to_pylist():
        length = row["tokens"] + 1
        least = str(1 << (length.bit_length() - 1))
        bucket = expected.setdefault(row["source"], {}).setdefault(row["split"], {}).setdefault(least, Counter())
        bucket.update(documents=1, tokens=length * row["copies"])
    found = step.manifest().figures["lengths"]
    assert found == expected
    assert set(found["guidelines"]["train"]) == {"32", "64"}, "63 tokens and their end are 64"
    for row in step.manifest().figures["mixture"][:-1]:
        for split in ("train", "validation"):
            buckets = found[row["source"]].get(split, {}).values()
            assert sum(one["documents"] for one in buckets) == row[f"{split}_documents"]
            assert sum(one["tokens"] for one in buckets) == row[f"{split}_tokens"]


def test_the_split_is_that_of_the_clusters(step: Step) -> None:
    rows = [row for row in step.output.scan("plan").to_table().to_pylist() if row["source"] == "guidelines"]
    held = in_validation([row["id"] for row in rows], 0.05, SEED)
    assert [row["split"] == "validation" for row in rows] == held.tolist()
    assert all(row["copies"] == 1 for row in rows if row["split"] == "validation")


def test_no_cluster_spans_train_and_validation(spark: Any, tmp_path: Path) -> None:
    """Chains of a guideline, a paper and a replayed document, whose sources hold out different shares; every other
    chain has its name from a document of an earlier corpus.
    """
    shares = {"guidelines": 0.5, "papers": 0.3, "replay": 0.0}
    chains = [{document_id(source, str(n + at)): source for at, source in enumerate(shares)} for n in range(38)]
    names = [min(chain) if n % 2 else f"0{min(chain)[1:]}" for n, chain in enumerate(chains)]
    clusters = {id_: name for chain, name in zip(chains, names, strict=True) for id_ in chain}
    sources = {source: {"validation": share} for source, share in shares.items()}
    step = mixed(tmp_path, lake_of(tmp_path, clusters), spark, MixSettings.model_validate({"sources": sources}))
    held = {row["id"]: row["split"] == VALIDATION for row in step.output.scan("plan").to_table().to_pylist()}
    first = np.array([shares[chain[min(chain)]] for chain in chains])
    expected = in_validation(names, first, SEED).tolist()
    assert [{held[id_] for id_ in chain if id_ in held} for chain in chains] == [{side} for side in expected]
    torn = in_validation(names, shares["guidelines"], SEED) != in_validation(names, shares["replay"], SEED)
    assert torn[::2].any(), "each by its own source's share, some chains would be on both sides"
    assert torn[1::2].any()


def test_parts_have_the_numbers_of_the_clean_parts(step: Step, inputs: tuple[Step, ...]) -> None:
    for name in step.output.parts("plan"):
        counted = set(inputs[0].output.read_part("counts", name)["id"].to_pylist())
        assert set(step.output.read_part("plan", name)["id"].to_pylist()) <= counted


def test_workers_and_partitions_change_no_byte(
    step: Step, inputs: tuple[Step, ...], spark: Any, tmp_path: Path
) -> None:
    before = spark.conf.get("spark.sql.shuffle.partitions")
    spark.conf.set("spark.sql.shuffle.partitions", "1")
    spark.conf.set("spark.sql.files.openCostInBytes", "1")
    try:
        other = mixed(tmp_path, inputs, spark)
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", before)
        spark.conf.unset("spark.sql.files.openCostInBytes")
    assert content(other.output) == content(step.output)
    assert other.manifest().figures == step.manifest().figures


def test_what_cannot_be_met_is_told(inputs: tuple[Step, ...], spark: Any, tmp_path: Path) -> None:
    sources: dict[str, Any] = {"guidelines": {}, "papers": {"tokens": 200_000}, "replay": {"ratio": 0.001}}
    step = mixed(tmp_path, inputs, spark, MixSettings.model_validate({"sources": sources}))
    table = {row["source"]: row for row in step.manifest().figures["mixture"]}
    missing = step.manifest().figures["missing_tokens"]
    assert missing == {"papers": 200_000 - table["papers"]["train_tokens"]}
    assert table["replay"]["train_documents"] == 1, "at least one document, however small the budget"


def test_a_source_without_entry_is_told(inputs: tuple[Step, ...], tmp_path: Path) -> None:
    step = Step("mix", "spark", 1, {}, str(tmp_path), inputs)
    with pytest.raises(UserError, match="no entry for papers"):
        mix(step, MixSettings.model_validate({"sources": {"guidelines": {}}}), None, SEED)  # type: ignore[arg-type]
