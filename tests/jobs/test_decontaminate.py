"""Contaminated documents are dropped with what they quote, and no other."""

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from dedup.decontaminate import DecontaminateSettings
from lake.decision import DECISION, Drop, Reason, decision
from lake.document import DOCUMENT, document_id, new_document
from lake.step import Step
from spark_jobs.decontaminate import decontaminate

pytestmark = pytest.mark.engine

LONG = "A woman of 54 years has had pain in both wrists for six weeks. Which test confirms the diagnosis?"
OTHER = "Which vitamin is made in the skin when it is exposed to sunlight?"
QUESTIONS = pa.table(
    {
        "benchmark": ["medqa", "medqa", "mmlu", "mmlu"],
        "question": ["1", "2", "1", "2"],
        "text": [LONG, OTHER, f"{LONG} Choose one.", "Name a vitamin."],
    }
)
TEXTS = {
    ("papers", "quote"): f"Exam corner. {LONG.upper()} The answer is below.",
    ("papers", "near"): LONG.replace("54", "55").replace("six", "seven").replace("confirms", "shows"),
    ("papers", "both"): f"{OTHER} And: {LONG}",
    ("abstracts", "clean"): "Vitamin D is made in the skin. Name a vitamin.",
    ("abstracts", "gone"): LONG,
    ("web", "quote"): OTHER,
}


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> tuple[Step, Step]:
    lake = str(tmp_path_factory.mktemp("lake"))
    clean = Step("clean", "spark", 1, {}, lake)
    dedup = Step("dedup", "spark", 1, {}, lake, (clean,))
    for source in ("papers", "abstracts", "web"):
        rows = [new_document(source, native, text) for (of, native), text in TEXTS.items() if of == source]
        clean.output.write_part("documents", 0, pa.Table.from_pylist(rows, schema=DOCUMENT), source)
    gone = Drop(Reason.NEAR_DUPLICATE, "", 0.9, "near", survivor="x")
    verdicts = [
        decision("dedup", document_id(source, native), source, gone if native == "gone" else None)
        for source, native in TEXTS
    ]
    dedup.output.write_part("decisions", 0, pa.Table.from_pylist(verdicts, schema=DECISION))
    return clean, dedup


def test_decisions_hits_and_figures(steps: tuple[Step, Step], spark: SparkSession) -> None:
    clean, _ = steps
    step = Step("decontaminate", "spark", 1, {}, clean.lake, steps)
    outcome = decontaminate(step, DecontaminateSettings(), spark, QUESTIONS)
    decisions = {row["id"]: row for row in step.output.scan("decisions").to_table().to_pylist()}
    names = {document_id(source, native): (source, native) for source, native in TEXTS}
    assert {names[one] for one in decisions} == TEXTS.keys() - {("abstracts", "gone")}
    dropped = {names[one]: row for one, row in decisions.items() if not row["keep"]}
    assert dropped.keys() == {("papers", "quote"), ("papers", "both"), ("web", "quote")}
    assert {row["reason"] for row in dropped.values()} == {"contaminated"}
    assert {row["rule"] for row in dropped.values()} == {"run"}
    assert dropped["web", "quote"]["evidence"] == f'It quotes question 2 of medqa: "{OTHER[:-1]}"'
    assert dropped["papers", "quote"]["evidence"].startswith('It quotes question 1 of medqa: "A WOMAN OF 54')
    assert dropped["papers", "quote"]["score"] == 1.0
    near = decisions[document_id("papers", "near")]
    assert list(near) == DECISION.names
    assert all(near[name] is None for name in DECISION.names[4:])

    hits = step.output.scan("hits").to_table().to_pylist()
    found = {(row["benchmark"], row["question"], names[row["id"]]) for row in hits}
    assert len(hits) == len(found)
    assert found == {
        ("medqa", "1", ("papers", "quote")),
        ("medqa", "1", ("papers", "both")),
        ("medqa", "2", ("papers", "both")),
        ("medqa", "2", ("web", "quote")),
        ("mmlu", "1", ("papers", "quote")),
        ("mmlu", "1", ("papers", "both")),
    }
    assert outcome.accounts["papers"].dropped == {"contaminated": 2}
    assert (outcome.accounts["abstracts"].entered, outcome.accounts["abstracts"].kept) == (1, 1)
    assert outcome.figures["benchmarks"] == {
        "medqa": {"questions": 2, "searched": 2, "hit": 2, "hit_by_source": {"papers": 2, "web": 1}},
        "mmlu": {"questions": 2, "searched": 1, "hit": 1, "hit_by_source": {"papers": 1}},
    }


def test_without_questions_all_stay(steps: tuple[Step, Step], spark: SparkSession) -> None:
    clean, _ = steps
    step = Step("decontaminate", "spark", 1, {"none": True}, clean.lake, steps)
    outcome = decontaminate(step, DecontaminateSettings(), spark, QUESTIONS.slice(0, 0))
    assert sum(one.kept for one in outcome.accounts.values()) == len(TEXTS) - 1
    assert step.output.scan("hits").count_rows() == 0
    assert outcome.figures == {"benchmarks": {}}
