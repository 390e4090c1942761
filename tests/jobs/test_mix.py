"""Mix on Spark: each document has its decision, budgets are met, and workers change no byte."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.steps import stand_in
from lake.decision import DECISION, Drop, Reason, decision
from lake.document import document_id
from lake.error import UserError
from lake.step import Account, Outcome, Step
from mixing.mixture import MixSettings
from mixing.split import VALIDATION, in_validation
from spark_jobs.mix import MIX
from tests.jobs.outputs import content, has_decisions, rows

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
    documents: dict[str, list[dict[str, Any]]] = {}
    for source, count in (("guidelines", 300), ("papers", 600), ("replay", 40)):
        documents[source] = []
        for n in range(count):
            tokens = 0 if (source, n) == EMPTY else 60 + n % 37
            documents[source].append({"id": document_id(source, str(n)), "tokens": tokens, "kept": n != DROPPED})
    return documents


def lake_of(root: Path, clusters_of: Mapping[str, str] | None = None) -> dict[str, Step[Any]]:
    """The finished steps that mix reads; parts have gaps, and one has no row. A document is its own cluster, unless
    `clusters_of` has another for its id.
    """
    named = clusters_of or {}
    tokenizer, dedup, decontaminate = (stand_in(name, root) for name in ("tokenizer", "dedup", "decontaminate"))
    clusters, decisions = [], []
    for source, documents in corpus().items():
        for part, third in ((0, 0), (1, 1), (3, 2)):
            in_part = documents[third::3]
            tokens = pa.array([document["tokens"] for document in in_part], pa.int32())
            table = pa.table({"id": [document["id"] for document in in_part], "tokens": tokens})
            tokenizer.output.write_part("counts", part, table, source)
        tokenizer.output.write_part("counts", 4, table.slice(0, 0), source)
        for document in documents:
            clusters.append({"id": document["id"], "cluster": named.get(document["id"], document["id"])})
            drop = None if document["kept"] else Drop(Reason.CONTAMINATED, "a question")
            decisions.append(decision("decontaminate", document["id"], source, drop))
    dedup.output.write_part("clusters", 0, pa.Table.from_pylist(clusters))
    decontaminate.output.write_part("decisions", 0, pa.Table.from_pylist(decisions, DECISION))
    accounts = {source: Account.of(len(rows) - 1, {"contaminated": 1}) for source, rows in corpus().items()}
    for step in (tokenizer, dedup, decontaminate):
        step.complete(lambda: Outcome(accounts))
    return {"tokenizer": tokenizer, "clusters": dedup, "kept": decontaminate}


def mixed(root: Path, inputs: dict[str, Step[Any]], settings: MixSettings = SETTINGS) -> Step[MixSettings]:
    step = Step("mix", MIX, settings, str(root), inputs, "kept", seed=SEED)
    step.run()
    return step


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Step[Any]]:
    return lake_of(tmp_path_factory.mktemp("before"))


@pytest.fixture(scope="module")
def step(inputs: dict[str, Step[Any]], spark: Any, tmp_path_factory: pytest.TempPathFactory) -> Step[MixSettings]:
    return mixed(tmp_path_factory.mktemp("mix"), inputs)


def test_every_document_has_one_decision_and_its_reason(step: Step[MixSettings]) -> None:
    assert has_decisions(step)
    decisions = rows(step, "decisions")
    entered = {document["id"] for documents in corpus().values() for document in documents if document["kept"]}
    assert len(decisions) == len(entered)
    assert {row["id"] for row in decisions} == entered
    assert {row["step"] for row in decisions} == {"mix"}
    reasons = Counter((row["source"], row["reason"]) for row in decisions)
    assert reasons["guidelines", "empty"] == 1
    assert reasons["papers", "over_budget"] > 200
    over = next(row for row in decisions if row["reason"] == "over_budget")
    assert over["evidence"].startswith("budget=")
    assert over["score"] == float(over["evidence"].split()[1].removeprefix("position="))
    selection = rows(step, "selection")
    assert {row["id"] for row in selection} == {row["id"] for row in decisions if row["keep"]}
    assert all(row["copies"] >= 1 for row in selection)


def test_budgets_are_met_to_half_a_document(step: Step[MixSettings]) -> None:
    *sources, total = step.manifest().figures["mixture"]
    table = {row["source"]: row for row in sources}
    sizes: Counter[tuple[str, str]] = Counter()
    for row in rows(step, "selection"):
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
    assert total["train_tokens"] == sum(row["train_tokens"] for row in sources)
    assert step.manifest().figures["missing_tokens"] == {}


def test_lengths_count_a_document_once_and_its_tokens_with_their_copies(step: Step[MixSettings]) -> None:
    expected: dict[str, Any] = {}
    for row in rows(step, "selection"):
        length = row["tokens"] + 1
        least = str(1 << (length.bit_length() - 1))
        bucket = expected.setdefault(row["source"], {}).setdefault(row["split"], {}).setdefault(least, Counter())
        bucket.update(documents=1, tokens=length * row["copies"])
    lengths = step.manifest().figures["lengths"]
    assert lengths == expected
    assert set(lengths["guidelines"]["train"]) == {"32", "64"}, "63 tokens and their end are 64"
    for row in step.manifest().figures["mixture"][:-1]:
        for split in ("train", "validation"):
            buckets = lengths[row["source"]].get(split, {}).values()
            assert sum(bucket["documents"] for bucket in buckets) == row[f"{split}_documents"]
            assert sum(bucket["tokens"] for bucket in buckets) == row[f"{split}_tokens"]


def test_the_split_is_that_of_the_clusters(step: Step[MixSettings]) -> None:
    guidelines = [row for row in rows(step, "selection") if row["source"] == "guidelines"]
    held_out = in_validation([row["id"] for row in guidelines], 0.05, SEED)
    assert [row["split"] == "validation" for row in guidelines] == held_out.tolist()
    assert all(row["copies"] == 1 for row in guidelines if row["split"] == "validation")


def test_no_cluster_spans_train_and_validation(spark: Any, tmp_path: Path) -> None:
    """A cluster has a guideline, a paper and a replayed document, whose sources hold out different shares. Every other
    cluster is named after a document of an earlier corpus.
    """
    shares = {"guidelines": 0.5, "papers": 0.3, "replay": 0.0}
    chains = [{document_id(source, str(n + at)): source for at, source in enumerate(shares)} for n in range(38)]
    names = [min(chain) if n % 2 else f"0{min(chain)[1:]}" for n, chain in enumerate(chains)]
    clusters = {id_: name for chain, name in zip(chains, names, strict=True) for id_ in chain}
    sources = {source: {"validation": share} for source, share in shares.items()}
    step = mixed(tmp_path, lake_of(tmp_path, clusters), MixSettings.model_validate({"sources": sources}))
    held = {row["id"]: row["split"] == VALIDATION for row in rows(step, "selection")}
    first = np.array([shares[chain[min(chain)]] for chain in chains])
    expected = in_validation(names, first, SEED).tolist()
    assert [{held[id_] for id_ in chain if id_ in held} for chain in chains] == [{side} for side in expected]
    torn = in_validation(names, shares["guidelines"], SEED) != in_validation(names, shares["replay"], SEED)
    assert torn[::2].any(), "each by its own source's share, some chains would be on both sides"
    assert torn[1::2].any()


def test_parts_have_the_numbers_of_the_clean_parts(step: Step[MixSettings], inputs: dict[str, Step[Any]]) -> None:
    for name in step.output.parts("selection"):
        counted = set(inputs["tokenizer"].output.read_part("counts", name)["id"].to_pylist())
        assert set(step.output.read_part("selection", name)["id"].to_pylist()) <= counted


def test_workers_and_partitions_change_no_byte(
    step: Step[MixSettings], inputs: dict[str, Step[Any]], spark: Any, tmp_path: Path
) -> None:
    before = spark.conf.get("spark.sql.shuffle.partitions")
    spark.conf.set("spark.sql.shuffle.partitions", "1")
    spark.conf.set("spark.sql.files.openCostInBytes", "1")
    try:
        other = mixed(tmp_path, inputs)
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", before)
        spark.conf.unset("spark.sql.files.openCostInBytes")
    assert content(other) == content(step)
    assert other.manifest().figures == step.manifest().figures


def test_missing_tokens_are_a_figure(inputs: dict[str, Step[Any]], spark: Any, tmp_path: Path) -> None:
    sources: dict[str, Any] = {"guidelines": {}, "papers": {"tokens": 200_000}, "replay": {"ratio": 0.001}}
    step = mixed(tmp_path, inputs, MixSettings.model_validate({"sources": sources}))
    table = {row["source"]: row for row in step.manifest().figures["mixture"]}
    missing = step.manifest().figures["missing_tokens"]
    assert missing == {"papers": 200_000 - table["papers"]["train_tokens"]}
    assert table["replay"]["train_documents"] == 1, "at least one document, however small the budget"


def test_a_source_without_entry_is_an_error(inputs: dict[str, Step[Any]], spark: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no entry for papers"):
        mixed(tmp_path, inputs, MixSettings.model_validate({"sources": {"guidelines": {}}}))
