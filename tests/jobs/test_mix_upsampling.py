"""Upsampling on Spark: papers by what is known of them, against the same scores worked out in plain Python."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lake.dataset import Output
from lake.decision import DECISION
from lake.document import DOCUMENT, Document, new_document
from lake.step import Account, Outcome, Step
from mixing.mixture import MixSettings
from mixing.split import stable_hash
from mixing.upsample import Scorer, Upsampling, counts
from spark_jobs.mix import mix

pytestmark = pytest.mark.engine

SEED = 11
KINDS = (
    ["Journal Article"],
    ["Journal Article", "Review"],
    ["Meta-Analysis", "Systematic Review"],
    ["Letter"],
    ["Retracted Publication", "Journal Article"],
    None,
)
DROPPED, EMPTY = 7, 13


def settings(**papers: Any) -> MixSettings:
    sources = {"guidelines": {"validation": 0.1}, "papers": {"validation": 0.1, "upsample": "table10"} | papers}
    return MixSettings.model_validate({"sources": sources})


def papers() -> list[Document]:
    """300 papers of three years. Of each year's a fifth has no citations told."""
    rows = []
    for n in range(300):
        meta = {
            "publication_types": KINDS[n % len(KINDS)],
            "mesh": ["Humans", "Animals"] if n % 29 == 0 else ["Humans"] if n % 2 else None,
            "journal": "BMJ" if n % 11 == 0 else "Annals of Invented Medicine",
            "published": f"{(2010, 2015, 2021)[n // 100]}-0{1 + n % 9}" if n % 17 else None,
            "citations": None if n % 5 == 0 else n * 37 % 101,
        }
        rows.append(new_document("papers", str(n), "text", meta))
    return rows


def tokens(n: int) -> int:
    return 0 if n == EMPTY else 60 + n % 37


def lake_of(root: Path) -> tuple[Step, ...]:
    """The finished steps that mix reads."""
    clean, tokenizer, dedup, decontaminate = steps = tuple(
        Step(name, "spark", 1, {}, str(root)) for name in ("clean", "tokenizer", "dedup", "decontaminate")
    )
    guidelines = [new_document("guidelines", str(n), "text") for n in range(60)]
    decisions, ids = [], []
    for source, rows in (("papers", papers()), ("guidelines", guidelines)):
        for part in range(3):
            mine = range(part, len(rows), 3)
            table = {"id": [rows[n]["id"] for n in mine], "tokens": pa.array([tokens(n) for n in mine], pa.int32())}
            clean.output.write_part("documents", part, pa.Table.from_pylist([rows[n] for n in mine], DOCUMENT), source)
            tokenizer.output.write_part("counts", part, pa.table(table), source)
        for n, row in enumerate(rows):
            ids.append(row["id"])
            reason = "contaminated" if n == DROPPED else None
            decisions.append({"id": row["id"], "source": source, "step": "x", "keep": not reason, "reason": reason})
    dedup.output.write_part("clusters", 0, pa.table({"id": ids, "cluster": ids}))
    decontaminate.output.write_part("decisions", 0, pa.Table.from_pylist(decisions, DECISION))
    accounts = {
        source: Account.of(count - 1, {"contaminated": 1}) for source, count in (("papers", 300), ("guidelines", 60))
    }
    for step in steps:
        step.complete(lambda: Outcome(accounts))
    return steps


def mixed(root: Path, inputs: tuple[Step, ...], spark: Any, chosen: MixSettings) -> Step:
    step = Step("mix", "spark", 1, {}, str(root), inputs, follows="decontaminate")
    step.complete(lambda: mix(step, chosen, spark, SEED))
    return step


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Step, ...]:
    return lake_of(tmp_path_factory.mktemp("before"))


@pytest.fixture(scope="module")
def step(inputs: tuple[Step, ...], spark: Any, tmp_path_factory: pytest.TempPathFactory) -> Step:
    return mixed(tmp_path_factory.mktemp("mix"), inputs, spark, settings())


def content(output: Output) -> dict[str, bytes]:
    tables = ("plan", "decisions")
    return {f"{one}/{part}": output.read_bytes(one, part) for one in tables for part in output.parts(one)}


def rows_of(step: Step, table: str, source: str = "papers") -> dict[str, dict[str, Any]]:
    rows = step.output.scan(table).to_table().to_pylist()
    return {row["id"]: row for row in rows if row["source"] == source}


def bounds() -> dict[str, list[int]]:
    """Of the kept papers of a year: the least number of citations that a quarter, and three quarters, do not exceed."""
    found = {}
    for year in ("2010", "2015", "2021"):
        told = sorted(
            one["meta"]["citations"]
            for n, one in enumerate(papers())
            if n != DROPPED and (one["meta"]["published"] or "").startswith(year)
            if one["meta"]["citations"] is not None
        )
        found[year] = [told[int(np.ceil(share * len(told))) - 1] for share in (0.25, 0.75)]
    return found


@pytest.fixture(scope="module")
def expected() -> dict[str, tuple[int, tuple[str, ...]]]:
    """Count and categories of every paper that enters."""
    scorer = Scorer(Upsampling(), {year: (low, high) for year, (low, high) in bounds().items()})
    entered = [one for n, one in enumerate(papers()) if n != DROPPED]
    names = ("publication_types", "mesh", "journal", "published", "citations")
    scored = [scorer.score(*(one["meta"][name] for name in names)) for one in entered]
    found = counts([one["id"] for one in entered], scored).tolist()
    return {one["id"]: (count, mine.categories) for one, count, mine in zip(entered, found, scored, strict=True)}


def test_papers_have_as_many_copies_as_their_scores_say(
    step: Step, expected: dict[str, tuple[int, tuple[str, ...]]]
) -> None:
    planned, decided = rows_of(step, "plan"), rows_of(step, "decisions")
    assert decided.keys() == expected.keys()
    empty = papers()[EMPTY]["id"]
    assert {id_ for id_, row in decided.items() if row["keep"]} == planned.keys()
    assert planned.keys() == {id_ for id_, (count, _) in expected.items() if count} - {empty}
    held = {id_ for id_, row in planned.items() if row["split"] == "validation"}
    assert 10 < len(held) < 50
    assert {planned[id_]["copies"] for id_ in held} == {1}, "validation documents are never copied"
    assert max(expected[id_][0] for id_ in held) > 1
    assert {id_: row["copies"] for id_, row in planned.items() if id_ not in held} == {
        id_: expected[id_][0] for id_ in planned.keys() - held
    }
    assert len({row["copies"] for row in planned.values()}) >= 4
    assert {row["copies"] for row in rows_of(step, "plan", "guidelines").values()} == {1}


def test_what_is_filtered_out_has_its_reason_and_its_category(
    step: Step, expected: dict[str, tuple[int, tuple[str, ...]]]
) -> None:
    dropped = {id_: row for id_, row in rows_of(step, "decisions").items() if row["reason"] == "filtered_out"}
    assert {id_: row["evidence"] for id_, row in dropped.items()} == {
        id_: f"category={categories[0]}" for id_, (count, categories) in expected.items() if not count
    }
    assert {row["evidence"] for row in dropped.values()} == {
        "category=Retracted Publication",
        "category=MeSH Animals",
    }
    assert step.manifest().accounts["papers"].dropped == {"empty": 1, "filtered_out": len(dropped)}


def test_the_figures_tell_what_upsampling_did(step: Step, expected: dict[str, tuple[int, tuple[str, ...]]]) -> None:
    figures = step.manifest().figures
    assert figures["upsampling"].keys() == {"papers"}
    told = figures["upsampling"]["papers"]
    assert told["reference"] == "2023-07"
    assert told["citations"] == bounds()
    planned = rows_of(step, "plan")
    empty = papers()[EMPTY]["id"]
    (row,) = (row for row in figures["mixture"] if row["source"] == "papers")
    by_count = Counter(r["copies"] for r in planned.values() if r["split"] == "train")
    without_token = expected[empty][0]
    by_count[without_token] += 1
    shown = {int(count): documents for count, documents in told["documents"].items()}
    assert {count: documents for count, documents in shown.items() if count} == by_count
    assert 0 < shown[0] <= sum(not count for count, _ in expected.values())
    assert told["tokens_after"] == row["train_tokens"] == row["available_tokens"] == row["budget_tokens"]
    assert row["epochs"] == 1
    once = sum(r["tokens"] + 1 for r in planned.values() if r["split"] == "train")
    assert once < told["tokens_before"] < told["tokens_after"]
    held = {id_ for id_, r in planned.items() if r["split"] == "validation"}
    named = Counter(one for id_, (count, mine) in expected.items() if count and id_ not in held for one in mine)
    assert {one: told["categories"][one] for one in named} == named
    assert told["categories"].keys() - named.keys() == {"Retracted Publication", "MeSH Animals"}


def test_lengths_are_those_of_one_copy(step: Step) -> None:
    """Of documents of 61 to 97 tokens, however many copies they have."""
    found = step.manifest().figures["lengths"]["papers"]
    planned = [row for row in rows_of(step, "plan").values() if row["split"] == "train"]
    assert found["train"].keys() == {"32", "64"}
    assert sum(one["documents"] for one in found["train"].values()) == len(planned)
    assert sum(one["tokens"] for one in found["train"].values()) == sum(
        row["copies"] * (row["tokens"] + 1) for row in planned
    )


@pytest.mark.parametrize("whole", [0, 2])
def test_a_budget_is_one_of_tokens_with_their_copies(
    step: Step, inputs: tuple[Step, ...], spark: Any, tmp_path: Path, whole: int
) -> None:
    """It ends before the middle of a document of several copies, which is then left out with all of them."""
    train = {id_: row for id_, row in rows_of(step, "plan").items() if row["split"] == "train"}
    hashes = dict(zip(train, stable_hash(train, f"mix:{SEED}").tolist(), strict=True))
    order = sorted(train, key=lambda id_: hashes[id_])
    sizes = [train[id_]["copies"] * (train[id_]["tokens"] + 1) for id_ in order]
    place = next(n for n in range(100, len(order)) if train[order[n]]["copies"] > 2)
    available = step.manifest().figures["upsampling"]["papers"]["tokens_after"]
    assert sum(sizes) == available
    budget = whole * available + sum(sizes[:place]) + sizes[place] * 2 // 5
    found = mixed(tmp_path, inputs, spark, settings(tokens=budget, max_epochs=3))
    (row,) = (row for row in found.manifest().figures["mixture"] if row["source"] == "papers")
    assert (row["available_tokens"], row["budget_tokens"], row["missing_tokens"]) == (available, budget, 0)
    assert row["train_tokens"] == whole * available + sum(sizes[:place])
    planned = {id_: row["copies"] for id_, row in rows_of(found, "plan").items() if row["split"] == "train"}
    assert planned == {
        id_: copies for n, id_ in enumerate(order) if (copies := train[id_]["copies"] * (whole + (n < place)))
    }
    reasons = found.manifest().accounts["papers"].dropped
    assert reasons["filtered_out"] == step.manifest().accounts["papers"].dropped["filtered_out"]
    assert reasons.get("over_budget", 0) == (0 if whole else len(order) - place)


def test_workers_and_partitions_change_no_byte(
    step: Step, inputs: tuple[Step, ...], spark: Any, tmp_path: Path
) -> None:
    before = spark.conf.get("spark.sql.shuffle.partitions")
    spark.conf.set("spark.sql.shuffle.partitions", "5")
    spark.conf.set("spark.sql.files.openCostInBytes", "1")
    spark.conf.set("spark.sql.files.maxPartitionBytes", "2048")
    try:
        other = mixed(tmp_path, inputs, spark, settings())
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", before)
        spark.conf.unset("spark.sql.files.openCostInBytes")
        spark.conf.unset("spark.sql.files.maxPartitionBytes")
    assert content(other.output) == content(step.output)
    assert other.manifest().figures == step.manifest().figures


def test_a_ready_mixture_leaves_the_other_sources_out(inputs: tuple[Step, ...], spark: Any, tmp_path: Path) -> None:
    found = mixed(tmp_path, inputs, spark, MixSettings.model_validate("pmc-upsampled"))
    table = {row["source"]: row for row in found.manifest().figures["mixture"]}
    assert table.keys() == {"guidelines", "papers", "total"}, "sources that the corpus lacks have no row"
    assert table["guidelines"]["train_documents"] == table["guidelines"]["validation_documents"] == 0
    assert found.manifest().accounts["guidelines"].dropped == {"empty": 1, "over_budget": 58}
    assert table["papers"]["share"] == 1
