"""Upsampling on Spark: papers have as many copies as their scores say, which plain Python works out again here."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.steps import stand_in
from lake.decision import DECISION, Drop, Reason, decision
from lake.document import DOCUMENT, Document, new_document
from lake.step import Account, Outcome, Step
from mixing.mixture import MixSettings
from mixing.split import stable_hash
from mixing.upsample import Scorer, Upsampling, counts
from spark_jobs.mix import MIX
from tests.jobs.outputs import content, rows

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
    """300 papers of three years. In each year a fifth has no number of citations."""
    documents = []
    for n in range(300):
        meta = {
            "publication_types": KINDS[n % len(KINDS)],
            "mesh": ["Humans", "Animals"] if n % 29 == 0 else ["Humans"] if n % 2 else None,
            "journal": "BMJ" if n % 11 == 0 else "Annals of Invented Medicine",
            "published": f"{(2010, 2015, 2021)[n // 100]}-0{1 + n % 9}" if n % 17 else None,
            "citations": None if n % 5 == 0 else n * 37 % 101,
        }
        documents.append(new_document("papers", str(n), "text", meta))
    return documents


def tokens(n: int) -> int:
    return 0 if n == EMPTY else 60 + n % 37


def lake_of(root: Path) -> dict[str, Step[Any]]:
    """The finished steps that mix reads, by role."""
    names = {"documents": "clean", "tokenizer": "tokenizer", "clusters": "dedup", "kept": "decontaminate"}
    steps = {role: stand_in(name, root) for role, name in names.items()}
    guidelines = [new_document("guidelines", str(n), "text") for n in range(60)]
    decisions, ids = [], []
    for source, documents in (("papers", papers()), ("guidelines", guidelines)):
        for part in range(3):
            places = range(part, len(documents), 3)
            in_part = [documents[n] for n in places]
            counts = pa.array([tokens(n) for n in places], pa.int32())
            table = pa.table({"id": [document["id"] for document in in_part], "tokens": counts})
            steps["documents"].output.write_part("documents", part, pa.Table.from_pylist(in_part, DOCUMENT), source)
            steps["tokenizer"].output.write_part("counts", part, table, source)
        for n, document in enumerate(documents):
            ids.append(document["id"])
            drop = Drop(Reason.CONTAMINATED, "a question") if n == DROPPED else None
            decisions.append(decision("decontaminate", document["id"], source, drop))
    steps["clusters"].output.write_part("clusters", 0, pa.table({"id": ids, "cluster": ids}))
    steps["kept"].output.write_part("decisions", 0, pa.Table.from_pylist(decisions, DECISION))
    accounts = {
        source: Account.of(count - 1, {"contaminated": 1}) for source, count in (("papers", 300), ("guidelines", 60))
    }
    for step in steps.values():
        step.complete(lambda: Outcome(accounts))
    return steps


def mixed(root: Path, inputs: dict[str, Step[Any]], chosen: MixSettings) -> Step[MixSettings]:
    step = Step("mix", MIX, chosen, str(root), inputs, "kept", seed=SEED)
    step.run()
    return step


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Step[Any]]:
    return lake_of(tmp_path_factory.mktemp("before"))


@pytest.fixture(scope="module")
def step(inputs: dict[str, Step[Any]], spark: Any, tmp_path_factory: pytest.TempPathFactory) -> Step[MixSettings]:
    return mixed(tmp_path_factory.mktemp("mix"), inputs, settings())


def rows_of(step: Step[MixSettings], table: str, source: str = "papers") -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in rows(step, table) if row["source"] == source}


def bounds() -> dict[str, list[int]]:
    """Of the kept papers of a year: the least number of citations that a quarter, and three quarters, do not exceed."""
    by_year = {}
    for year in ("2010", "2015", "2021"):
        citations = sorted(
            paper["meta"]["citations"]
            for n, paper in enumerate(papers())
            if n != DROPPED and (paper["meta"]["published"] or "").startswith(year)
            if paper["meta"]["citations"] is not None
        )
        by_year[year] = [citations[int(np.ceil(share * len(citations))) - 1] for share in (0.25, 0.75)]
    return by_year


@pytest.fixture(scope="module")
def expected() -> dict[str, tuple[int, tuple[str, ...]]]:
    """Count and categories of every paper that enters."""
    scorer = Scorer(Upsampling(), {year: (low, high) for year, (low, high) in bounds().items()})
    entered = [paper for n, paper in enumerate(papers()) if n != DROPPED]
    names = ("publication_types", "mesh", "journal", "published", "citations")
    scored = [scorer.score(*(paper["meta"][name] for name in names)) for paper in entered]
    copies = counts([paper["id"] for paper in entered], scored).tolist()
    by_paper = zip(entered, copies, scored, strict=True)
    return {paper["id"]: (count, score.categories) for paper, count, score in by_paper}


def test_papers_have_as_many_copies_as_their_scores_say(
    step: Step[MixSettings], expected: dict[str, tuple[int, tuple[str, ...]]]
) -> None:
    selection, decisions = rows_of(step, "selection"), rows_of(step, "decisions")
    assert decisions.keys() == expected.keys()
    empty = papers()[EMPTY]["id"]
    assert {id_ for id_, row in decisions.items() if row["keep"]} == selection.keys()
    assert selection.keys() == {id_ for id_, (count, _) in expected.items() if count} - {empty}
    held_out = {id_ for id_, row in selection.items() if row["split"] == "validation"}
    assert 10 < len(held_out) < 50
    assert {selection[id_]["copies"] for id_ in held_out} == {1}, "validation documents are never copied"
    assert max(expected[id_][0] for id_ in held_out) > 1
    assert {id_: row["copies"] for id_, row in selection.items() if id_ not in held_out} == {
        id_: expected[id_][0] for id_ in selection.keys() - held_out
    }
    assert len({row["copies"] for row in selection.values()}) >= 4
    assert {row["copies"] for row in rows_of(step, "selection", "guidelines").values()} == {1}


def test_a_filtered_paper_has_its_reason_and_its_category(
    step: Step[MixSettings], expected: dict[str, tuple[int, tuple[str, ...]]]
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


def test_the_figures_of_upsampling_are_those_of_the_selection(
    step: Step[MixSettings], expected: dict[str, tuple[int, tuple[str, ...]]]
) -> None:
    figures = step.manifest().figures
    assert figures["upsampling"].keys() == {"papers"}
    upsampled = figures["upsampling"]["papers"]
    assert upsampled["reference"] == "2023-07"
    assert upsampled["citations"] == bounds()
    selection = rows_of(step, "selection")
    empty = papers()[EMPTY]["id"]
    (row,) = (row for row in figures["mixture"] if row["source"] == "papers")
    by_count = Counter(r["copies"] for r in selection.values() if r["split"] == "train")
    without_token = expected[empty][0]
    by_count[without_token] += 1
    shown = {int(count): documents for count, documents in upsampled["documents"].items()}
    assert {count: documents for count, documents in shown.items() if count} == by_count
    assert 0 < shown[0] <= sum(not count for count, _ in expected.values())
    assert upsampled["tokens_after"] == row["train_tokens"] == row["available_tokens"] == row["budget_tokens"]
    assert row["epochs"] == 1
    once = sum(r["tokens"] + 1 for r in selection.values() if r["split"] == "train")
    assert once < upsampled["tokens_before"] < upsampled["tokens_after"]
    held_out = {id_ for id_, r in selection.items() if r["split"] == "validation"}
    named = Counter(
        category
        for id_, (count, categories) in expected.items()
        if count and id_ not in held_out
        for category in categories
    )
    assert {name: upsampled["categories"][name] for name in named} == named
    assert upsampled["categories"].keys() - named.keys() == {"Retracted Publication", "MeSH Animals"}


def test_lengths_are_those_of_one_copy(step: Step[MixSettings]) -> None:
    """Documents have 61 to 97 tokens, whatever the number of copies."""
    lengths = step.manifest().figures["lengths"]["papers"]["train"]
    selection = [row for row in rows_of(step, "selection").values() if row["split"] == "train"]
    assert lengths.keys() == {"32", "64"}
    assert sum(bucket["documents"] for bucket in lengths.values()) == len(selection)
    assert sum(bucket["tokens"] for bucket in lengths.values()) == sum(
        row["copies"] * (row["tokens"] + 1) for row in selection
    )


@pytest.mark.parametrize("whole", [0, 2])
def test_a_budget_counts_the_tokens_of_all_copies(
    step: Step[MixSettings], inputs: dict[str, Step[Any]], spark: Any, tmp_path: Path, whole: int
) -> None:
    """The budget ends before the middle of a document of several copies, all of which are left out."""
    train = {id_: row for id_, row in rows_of(step, "selection").items() if row["split"] == "train"}
    hashes = dict(zip(train, stable_hash(train, f"mix:{SEED}").tolist(), strict=True))
    order = sorted(train, key=lambda id_: hashes[id_])
    sizes = [train[id_]["copies"] * (train[id_]["tokens"] + 1) for id_ in order]
    place = next(n for n in range(100, len(order)) if train[order[n]]["copies"] > 2)
    available = step.manifest().figures["upsampling"]["papers"]["tokens_after"]
    assert sum(sizes) == available
    budget = whole * available + sum(sizes[:place]) + sizes[place] * 2 // 5
    other = mixed(tmp_path, inputs, settings(tokens=budget, max_epochs=3))
    (row,) = (row for row in other.manifest().figures["mixture"] if row["source"] == "papers")
    assert (row["available_tokens"], row["budget_tokens"], row["missing_tokens"]) == (available, budget, 0)
    assert row["train_tokens"] == whole * available + sum(sizes[:place])
    selection = {id_: row["copies"] for id_, row in rows_of(other, "selection").items() if row["split"] == "train"}
    assert selection == {
        id_: copies for n, id_ in enumerate(order) if (copies := train[id_]["copies"] * (whole + (n < place)))
    }
    reasons = other.manifest().accounts["papers"].dropped
    assert reasons["filtered_out"] == step.manifest().accounts["papers"].dropped["filtered_out"]
    assert reasons.get("over_budget", 0) == (0 if whole else len(order) - place)


def test_workers_and_partitions_change_no_byte(
    step: Step[MixSettings], inputs: dict[str, Step[Any]], spark: Any, tmp_path: Path
) -> None:
    before = spark.conf.get("spark.sql.shuffle.partitions")
    spark.conf.set("spark.sql.shuffle.partitions", "5")
    spark.conf.set("spark.sql.files.openCostInBytes", "1")
    spark.conf.set("spark.sql.files.maxPartitionBytes", "2048")
    try:
        other = mixed(tmp_path, inputs, settings())
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", before)
        spark.conf.unset("spark.sql.files.openCostInBytes")
        spark.conf.unset("spark.sql.files.maxPartitionBytes")
    assert content(other) == content(step)
    assert other.manifest().figures == step.manifest().figures


def test_a_ready_mixture_leaves_the_other_sources_out(inputs: dict[str, Step[Any]], spark: Any, tmp_path: Path) -> None:
    other = mixed(tmp_path, inputs, MixSettings.model_validate("pmc-upsampled"))
    table = {row["source"]: row for row in other.manifest().figures["mixture"]}
    assert table.keys() == {"guidelines", "papers", "total"}, "sources that the corpus lacks have no row"
    assert table["guidelines"]["train_documents"] == table["guidelines"]["validation_documents"] == 0
    assert other.manifest().accounts["guidelines"].dropped == {"empty": 1, "over_budget": 58}
    assert table["papers"]["share"] == 1
