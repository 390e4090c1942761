"""Documents that quote a question are dropped with what they quote, and no others."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from benchmarks.steps import stand_in
from dedup.decontaminate import DecontaminateSettings
from eval.settings import EvaluateSettings
from lake.decision import DECISION, Drop, Reason, decision
from lake.document import DOCUMENT, document_id, new_document
from lake.step import Step
from spark_jobs.decontaminate import DECONTAMINATE, decontaminate
from tests.jobs.outputs import rows

pytestmark = pytest.mark.engine

LONG = "A woman of 54 years has had pain in both wrists for six weeks. Which test confirms the diagnosis?"
OTHER = "Which vitamin is made in the skin when it is exposed to sunlight?"
QUESTIONS = {
    "medqa": {"1": LONG, "2": OTHER},
    "mmlu": {"1": f"{LONG} Choose one.", "2": "Name a vitamin."},
}
TASK = """
title: A benchmark
hub: none
license: CC0-1.0
files: [{name}.jsonl]
fields: {{id: id, question: q, answer: a}}
options: ["yes", "no"]
"""
TEXTS = {
    ("papers", "quote"): f"Exam corner. {LONG.upper()} The answer is below.",
    ("papers", "near"): LONG.replace("54", "55").replace("six", "seven").replace("confirms", "shows"),
    ("papers", "both"): f"{OTHER} And: {LONG}",
    ("abstracts", "clean"): "Vitamin D is made in the skin. Name a vitamin.",
    ("abstracts", "gone"): LONG,
    ("web", "quote"): OTHER,
}


def step_of(
    data: Path, clean: Step[Any], dedup: Step[Any], questions: dict[str, dict[str, str]]
) -> Step[DecontaminateSettings]:
    """The step with these questions by benchmark and id."""
    for name, texts in questions.items():
        lines = [json.dumps({"id": id_, "q": text, "a": "yes"}) for id_, text in texts.items()]
        (data / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
        (data / f"{name}.yaml").write_text(TASK.format(name=name), encoding="utf-8")
    asked = EvaluateSettings.model_validate(
        {"benchmarks": [{"task": str(data / f"{name}.yaml")} for name in questions]}
    )
    inputs, given = {"documents": clean, "kept": dedup}, {"asked": asked, "data": str(data)}
    return Step("decontaminate", DECONTAMINATE, DecontaminateSettings(), str(data), inputs, extra=given)


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> tuple[Step[Any], Step[Any]]:
    lake = tmp_path_factory.mktemp("lake")
    clean = stand_in("clean", lake)
    dedup = stand_in("dedup", lake, {"documents": clean})
    for source in ("papers", "abstracts", "web"):
        documents = [new_document(source, native, text) for (of, native), text in TEXTS.items() if of == source]
        clean.output.write_part("documents", 0, pa.Table.from_pylist(documents, schema=DOCUMENT), source)
    drop = Drop(Reason.NEAR_DUPLICATE, "", 0.9, "near", survivor="x")
    verdicts = [
        decision("dedup", document_id(source, native), source, drop if native == "gone" else None)
        for source, native in TEXTS
    ]
    dedup.output.write_part("decisions", 0, pa.Table.from_pylist(verdicts, schema=DECISION))
    return clean, dedup


def test_decisions_hits_and_figures(steps: tuple[Step[Any], Step[Any]], spark: SparkSession, tmp_path: Path) -> None:
    step = step_of(tmp_path, *steps, QUESTIONS)
    outcome = decontaminate(step, **step.extra)
    decisions = {row["id"]: row for row in rows(step, "decisions")}
    names = {document_id(source, native): (source, native) for source, native in TEXTS}
    assert {names[id_] for id_ in decisions} == TEXTS.keys() - {("abstracts", "gone")}
    dropped = {names[id_]: row for id_, row in decisions.items() if not row["keep"]}
    assert dropped.keys() == {("papers", "quote"), ("papers", "both"), ("web", "quote")}
    assert {row["reason"] for row in dropped.values()} == {"contaminated"}
    assert {row["rule"] for row in dropped.values()} == {"run"}
    assert dropped["web", "quote"]["evidence"] == f'It quotes question 2 of medqa: "{OTHER[:-1]}"'
    assert dropped["papers", "quote"]["evidence"].startswith('It quotes question 1 of medqa: "A WOMAN OF 54')
    assert dropped["papers", "quote"]["score"] == 1.0
    near = decisions[document_id("papers", "near")]
    assert list(near) == DECISION.names
    assert all(near[name] is None for name in DECISION.names[4:])

    hits = [(row["benchmark"], row["question"], names[row["id"]]) for row in rows(step, "hits")]
    assert len(hits) == len(set(hits))
    assert set(hits) == {
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


def test_where_no_question_is_long_enough_to_be_searched_all_stay(
    steps: tuple[Step[Any], Step[Any]], spark: SparkSession, tmp_path: Path
) -> None:
    step = step_of(tmp_path, *steps, {"short": {"1": "Name a vitamin."}})
    outcome = decontaminate(step, **step.extra)
    assert sum(account.kept for account in outcome.accounts.values()) == len(TEXTS) - 1
    assert step.output.scan("hits").count_rows() == 0
    short = {"questions": 1, "searched": 0, "hit": 0, "hit_by_source": {}}
    assert outcome.figures == {"benchmarks": {"short": short}}
