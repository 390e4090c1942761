"""Clean on Spark: each planted document is dropped for its reason, and neither workers nor kills change a byte."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from benchmarks.steps import stand_in
from ingest.clean import CleanSettings
from ingest.inputs import ReadSettings, units
from lake.dataset import Output
from lake.decision import DECISION
from lake.document import DOCUMENT, document_id, new_document
from lake.step import Account, Outcome, Step
from ray_jobs.read import UnitReader
from spark_jobs.clean import CLEAN
from tests import reasons
from tests.jobs.outputs import content, has_decisions, rows

pytestmark = pytest.mark.engine

LINE = "The patient should drink enough water and return to the clinic when the fever lasts longer than three days."
LONG = " ".join([LINE] * 4)
SMALL = CleanSettings(part_mb=0.02)


def finished(root: Path, documents: dict[str, list[list[dict[str, Any]]]]) -> Step[Any]:
    """A read step of documents by source and part."""
    step = stand_in("read", root)
    for source, parts in documents.items():
        for part, records in enumerate(parts):
            step.output.write_part("documents", part, pa.Table.from_pylist(records, DOCUMENT), source)
    accounts = {source: Account.of(sum(map(len, parts))) for source, parts in documents.items()}
    step.complete(lambda: Outcome(accounts))
    return step


def cleaned(lake: Path, read: Step[Any], settings: CleanSettings = SMALL) -> Step[CleanSettings]:
    step = Step("clean", CLEAN, settings, str(lake), {"documents": read}, "documents")
    step.run()
    return step


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory, sample_inputs: ReadSettings, samples: str) -> Step[Any]:
    step = stand_in("read", tmp_path_factory.mktemp("read"))
    reader = UnitReader(step.output, "read", sample_inputs, samples)
    counted = [row for unit in units(sample_inputs, samples) for row in reader.read(unit) if row["keep"]]
    kept: Counter[str] = Counter()
    for row in counted:
        kept[row["source"]] += row["count"]
    step.complete(lambda: Outcome({source: Account.of(count) for source, count in kept.items()}))
    return step


@pytest.fixture(scope="module")
def step(
    read: Step[Any], spark: SparkSession, sample_cleaning: CleanSettings, tmp_path_factory: pytest.TempPathFactory
) -> Step[CleanSettings]:
    return cleaned(tmp_path_factory.mktemp("clean"), read, sample_cleaning)


def test_each_planted_document_is_dropped_for_its_reason_and_no_other(
    step: Step[Any], planted: dict[str, dict[str, str]]
) -> None:
    dropped = [row for row in rows(step, "decisions") if not row["keep"]]
    assert {row["id"]: row["reason"] for row in dropped} == planted["clean"]
    assert len(dropped) == len(planted["clean"])
    assert {row["reason"] for row in dropped} == reasons.CLEAN
    assert all(row["evidence"] for row in dropped)
    assert all(row["score"] is not None for row in dropped if row["reason"] in ("too_short", "non_english"))


def test_every_document_that_entered_has_one_decision(step: Step[Any], read: Step[Any]) -> None:
    entered = Counter(row["id"] for row in rows(read, "documents"))
    assert Counter(row["id"] for row in rows(step, "decisions")) == entered
    kept = Counter(row["id"] for row in rows(step, "decisions") if row["keep"])
    assert Counter(row["id"] for row in rows(step, "documents")) == kept
    assert set(kept.values()) == {1}


def test_the_survivor_of_an_id_is_one_whole_record(step: Step[Any], read: Step[Any]) -> None:
    repeated = document_id("guidelines", "gl-celiac")
    before = [row for row in rows(read, "documents") if row["id"] == repeated]
    (after,) = (row for row in rows(step, "documents") if row["id"] == repeated)
    assert len(before) == 2
    assert any(after == record | {"lang": "en"} for record in before)


def test_an_update_of_medline_retracts_a_paper_whose_text_came_from_elsewhere(step: Step[Any], read: Step[Any]) -> None:
    before = {row["id"]: row for row in rows(read, "documents")}
    papers = [row for row in rows(step, "documents") if row["source"] == "papers"]
    (retracted,) = (row for row in papers if "Retracted Publication" in (row["meta"]["publication_types"] or []))
    assert "Retracted Publication" not in (before[retracted["id"]]["meta"]["publication_types"] or [])
    assert retracted["text"] == before[retracted["id"]]["text"]


def test_documents_are_whole_sorted_and_placed_by_id(step: Step[Any], read: Step[Any]) -> None:
    entered = rows(read, "documents")
    before = {row["id"]: row for row in entered}
    repeated = {id_ for id_, count in Counter(row["id"] for row in entered).items() if count > 1}
    assert repeated
    assert has_decisions(step)
    parts = step.output.parts("documents")
    assert len([name for name in parts if "guidelines" in name]) > 2
    assert parts == step.output.parts("decisions") == step.output.parts("tally")
    for name in parts:
        part, source = Output.part_place(name)
        documents = step.output.read_part("documents", name, DOCUMENT.names).cast(DOCUMENT)
        ids = documents["id"].to_pylist()
        assert ids == sorted(ids)
        for row in documents.to_pylist():
            assert row["source"] == source
            assert row["lang"] == "en"
            if source == "guidelines" and row["id"] not in repeated:
                assert row | {"lang": None} == before[row["id"]] | {"lang": None}
            elif source != "replay" and row["id"] not in repeated:
                # Metadata complete a paper: its ids, and a title before its text.
                assert row["text"].removeprefix(f"{row['title']}\n\n") in before[row["id"]]["text"]
        stored = pq.read_schema(step.output.local("documents", Output.part_name(part, source)))
        assert stored.remove_metadata().equals(pa.schema([field for field in DOCUMENT if field.name != "source"]))
        decisions = step.output.read_part("decisions", name, DECISION.names).cast(DECISION)
        assert set(ids) == set(decisions.filter(decisions["keep"])["id"].to_pylist())


def test_figures_and_accounts_are_those_of_the_tables(step: Step[Any]) -> None:
    manifest = step.manifest()
    documents = rows(step, "documents")
    sources = {"abstracts", "guidelines", "papers", "replay"}
    assert set(manifest.accounts) == sources
    for source in sources:
        of_source = [row for row in documents if row["source"] == source]
        assert manifest.accounts[source].kept == len(of_source)
        assert manifest.figures["characters"][source] == sum(len(row["text"]) for row in of_source)
        assert manifest.figures["redistributable"][source] == sum(row["redistributable"] for row in of_source)
        assert sum(manifest.figures["licenses"][source].values()) == len(of_source)
        sites = Counter(row["meta"]["site"] for row in of_source if row["meta"]["site"])
        assert manifest.figures["sites"].get(source, {}) == dict(sites)
    dropped = {"deleted_citation": 1, "no_pubmed_id": 1, "non_english": 1, "superseded": 2}
    assert manifest.accounts["abstracts"].dropped == dropped
    assert manifest.figures["masked"] == {"replay": {"email": 2, "phone": 2, "record": 2}}
    languages = manifest.figures["languages"]
    assert languages.pop("en") > len(documents)
    assert languages == {"de": 1, "es": 1, "fr": 1}


@pytest.mark.parametrize("partitions", ["1", "3"])
def test_partitions_and_batches_change_no_byte(
    step: Step[Any],
    read: Step[Any],
    spark: SparkSession,
    sample_cleaning: CleanSettings,
    tmp_path: Path,
    partitions: str,
) -> None:
    other = {
        "spark.sql.shuffle.partitions": partitions,
        "spark.sql.files.openCostInBytes": "1",
        "spark.sql.execution.arrow.maxRecordsPerBatch": partitions,
    }
    before = {key: spark.conf.get(key) for key in other}
    for key, value in other.items():
        spark.conf.set(key, value)
    try:
        again = cleaned(tmp_path, read, sample_cleaning)
    finally:
        for key, value in before.items():
            spark.conf.set(key, str(value).removesuffix("b"))
    assert content(again) == content(step)
    assert again.manifest().figures == step.manifest().figures


def test_killed_it_resumes_with_the_parts_that_are_not_whole(
    step: Step[Any], read: Step[Any], spark: SparkSession, sample_cleaning: CleanSettings, tmp_path: Path
) -> None:
    root = tmp_path / step.output.local().name
    shutil.copytree(step.output.local(), root)
    (root / "manifest.json").unlink()
    # One worker died before the tally, another while it wrote documents.
    (root / "tally" / Output.part_name(1, "guidelines")).unlink()
    for table in ("documents", "decisions", "tally"):
        (root / table / Output.part_name(0, "replay")).unlink()
    half = root / "documents" / "source=replay" / ".part-00000.parquet.0123abcd"
    half.write_bytes(b"half")
    untouched = root / "documents" / Output.part_name(0, "guidelines")
    written_at = untouched.stat().st_mtime_ns
    again = cleaned(tmp_path, read, sample_cleaning)
    assert content(again) == content(step)
    assert untouched.stat().st_mtime_ns == written_at
    assert again.manifest().accounts == step.manifest().accounts


def test_one_part_is_enough_for_little_text(
    step: Step[Any], read: Step[Any], spark: SparkSession, sample_cleaning: CleanSettings, tmp_path: Path
) -> None:
    whole = cleaned(tmp_path, read, sample_cleaning.model_copy(update={"part_mb": 200}))
    assert [Output.part_place(name)[0] for name in whole.output.parts("documents")] == [0] * 4
    assert whole.manifest().accounts == step.manifest().accounts


def test_the_same_record_of_an_id_stays_in_any_order(spark: SparkSession, tmp_path: Path) -> None:
    """An id has three texts, each twice, in any part."""
    texts = [f"{LONG} Version {n}." for n in range(3)] * 2
    documents = [new_document("web", "1", text) for text in texts] + [new_document("web", "1", "short")]
    survivors = []
    for name, parts in (("a", [documents]), ("b", [documents[3:], documents[:3]]), ("c", [documents[::-1]])):
        step = cleaned(tmp_path / name, finished(tmp_path / name, {"web": parts}))
        survivors.append([row["text"] for row in rows(step, "documents")])
        assert step.manifest().accounts == {"web": Account.of(1, {"repeated_id": 5, "too_short": 1})}
    assert survivors[0] == survivors[1] == survivors[2]
    assert survivors[0][0] in texts


def test_sources_without_documents_have_a_part(spark: SparkSession, tmp_path: Path) -> None:
    read = finished(
        tmp_path, {"none": [[]], "web": [[new_document("web", "1", ""), new_document("web", "2", "a")], []]}
    )
    step = cleaned(tmp_path, read)
    assert step.output.sources("documents") == ["none", "web"]
    assert rows(step, "documents") == []
    assert step.manifest().accounts == {"none": Account.of(0), "web": Account.of(0, {"empty": 1, "too_short": 1})}


def test_text_that_is_no_utf8_kills_no_task(spark: SparkSession, tmp_path: Path) -> None:
    raw = pa.array([LONG.encode() + b" \xff\xc3\xed\xa0\x80end"], pa.binary())
    broken = pa.StringArray.from_buffers(1, *raw.buffers()[1:])
    table = pa.Table.from_pylist([new_document("web", "1", LONG, title="\x00")], DOCUMENT)
    table = table.set_column(DOCUMENT.get_field_index("text"), DOCUMENT.field("text"), broken)
    read = stand_in("read", tmp_path)
    read.output.write_part("documents", 0, table, "web")
    read.complete(lambda: Outcome({"web": Account.of(1)}))
    (document,) = rows(cleaned(tmp_path, read), "documents")
    assert document["text"] == f"{LONG} ÿÃ\ufffdend"
    assert document["title"] == "\ufffd"
