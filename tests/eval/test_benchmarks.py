"""The benchmarks that come with the project: their real files, and the same questions in every form."""

import csv
import gzip
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eval.questions import Question, load_questions, load_shots
from eval.settings import EvaluateSettings
from lake.decision import Reason
from lake.error import UserError
from tests.eval.workbook import workbook


def asking(task: str, **more: Any) -> EvaluateSettings:
    return EvaluateSettings.model_validate({"benchmarks": [{"task": task, **more}]})


def usable(questions: Iterable[Question]) -> list[Question]:
    return [question for question in questions if question.drop is None]


def said(questions: Iterable[Question]) -> list[tuple[Any, ...]]:
    """What is asked of whom, whatever file it comes from."""
    return [(q.text, q.options, q.answer, q.context, q.explanation, q.group) for q in questions if q.drop is None]


def records_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def parquet(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


# The authors' files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "answers", "dropped"),
    [
        ("pubmedqa", {"yes": 276, "no": 169, "maybe": 55}, 0),
        ("pubmedqa-closed", {"yes": 276, "no": 169, "maybe": 55}, 0),
        # In four the right option occurs twice.
        ("medmcqa", {"A": 1347, "B": 1084, "C": 925, "D": 823}, 4),
        ("medqa-4", {"A": 145, "B": 113, "C": 141, "D": 101}, 0),
        ("mmlu-medical", {"A": 118, "B": 141, "C": 146, "D": 168}, 0),
    ],
)
def test_the_real_benchmarks_load(task: str, answers: dict[str, int], dropped: int, shared_data: Path) -> None:
    every = load_questions(asking(task), str(shared_data))
    questions = usable(every)
    assert len(every) - len(questions) == dropped
    assert Counter(question.answer for question in questions) == answers
    assert len({question.id for question in questions}) == len(questions)
    assert all(question.answer in question.options and len(question.options) == len(answers) for question in questions)
    assert all(bool(question.context) == (task == "pubmedqa") for question in questions)


@pytest.mark.parametrize(
    ("task", "count", "shots", "answer"),
    [
        ("gsm8k", 300, 100, "18"),
        ("medxpertqa", 244, 0, "J"),
        ("bc2gm", 300, 50, "human MHC\nRING1\nHKE6\nHKE4 genes"),
        ("bc5chem", 297, 50, "dobutamine"),
        (
            "bc5disease",
            297,
            50,
            "Torsade de pointes\nventricular tachycardia\ndilated cardiomyopathy\ncongestive heart failure",
        ),
        ("ncbi-disease", 300, 50, "ataxia - telangiectasia\nsporadic T - cell leukaemia"),
    ],
)
def test_the_other_kinds_load_with_their_shots(
    task: str, count: int, shots: int, answer: str, shared_data: Path
) -> None:
    settings = asking(task)
    every = load_questions(settings, str(shared_data))
    questions = usable(every)
    assert len(questions) == count
    assert {question.drop.reason for question in every if question.drop} <= {Reason.EXACT_DUPLICATE}
    assert len(load_shots(settings.benchmarks[0], str(shared_data))) == shots
    assert questions[0].answer == answer


def test_pubmedqa_asks_its_test_ids_and_its_abstracts_lack_the_conclusion(shared_data: Path) -> None:
    folder = shared_data / "benchmarks"
    truth = json.loads(gzip.decompress((folder / "pubmedqa_test_ground_truth.json.gz").read_bytes()))
    records = json.loads(gzip.decompress((folder / "pubmedqa_ori_pqal.json.gz").read_bytes()))
    settings = asking("pubmedqa")
    for question in load_questions(settings, str(shared_data)):
        record = records[question.id]
        assert question.answer == truth[question.id] == record["final_decision"]
        assert record["LONG_ANSWER"].strip() not in question.context
        assert all(part.strip() in question.context for part in record["CONTEXTS"])
    shots = {shot.id for shot in load_shots(settings.benchmarks[0], str(shared_data))}
    assert shots == records.keys() - truth.keys()


def test_medmcqa_counts_its_right_option_from_one(shared_data: Path) -> None:
    """Explanations often begin with the right letter, which shows whether `cop` counts from 0 or from 1."""
    agrees: Counter[bool] = Counter()
    for question in usable(load_questions(asking("medmcqa"), str(shared_data))):
        explanation = question.explanation.lower().removeprefix("ans").lstrip(" .:-('")
        if explanation[:2] in {f"{letter}." for letter in "abcd"} | {f"{letter} " for letter in "bcd"}:
            agrees[explanation[0].upper() == question.answer] += 1
    assert agrees.total() > 300
    assert agrees[True] > 0.9 * agrees.total()


def test_medqa_answers_are_the_texts_that_the_authors_give(shared_data: Path) -> None:
    records = records_of(shared_data / "benchmarks" / "medqa_4options_test_500.jsonl.gz")
    for question, record in zip(load_questions(asking("medqa-4"), str(shared_data)), records, strict=True):
        assert question.options[question.answer] == record["answer"]
        assert question.text == record["question"]


def test_subjects_of_mmlu_share_questions_which_are_one_cluster(shared_data: Path) -> None:
    questions = load_questions(asking("mmlu-medical"), str(shared_data))
    assert Counter(question.group for question in questions) == {
        "anatomy": 135, "clinical_knowledge": 265, "college_medicine": 173,
    }  # fmt: skip
    assert len({question.cluster for question in questions}) == 573 - 78


def test_the_sample_benchmark_has_one_malformed_question() -> None:
    questions = load_questions(asking("sample-qa"), "samples")
    assert [question.id for question in questions if question.drop] == ["qa-041"]
    assert len(questions) == 42


# The same questions in every form ------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["config", "folder", "data"])
def test_medmcqa_is_the_same_from_the_hub_which_counts_from_0(place: str, shared_data: Path, tmp_path: Path) -> None:
    rows = records_of(shared_data / "benchmarks" / "medmcqa_validation.jsonl.gz")
    rows = [row | {"cop": row["cop"] - 1} for row in rows][: None if place == "config" else 300]
    copy = tmp_path / ("benchmarks/medmcqa" if place == "data" else "snapshot")
    file = parquet(copy / "data" / "validation-00000-of-00001.parquet", rows)
    files = {"config": [str(file)], "folder": ["snapshot"], "data": []}[place]
    hub = load_questions(asking("medmcqa", files=files), str(tmp_path))
    authors = load_questions(asking("medmcqa"), str(shared_data))
    assert said(hub) == said(authors[: len(rows)])
    assert [question.id for question in hub if not question.drop][:9] == [question.id for question in authors][:9]


def test_a_few_of_medmcqas_questions_with_three_labels_are_refused(shared_data: Path, tmp_path: Path) -> None:
    rows = records_of(shared_data / "benchmarks" / "medmcqa_validation.jsonl.gz")
    jsonl(tmp_path / "few.jsonl", [row for row in rows if row["cop"] < 4][:100])
    with pytest.raises(UserError, match="may have 2 of the forms"):
        load_questions(asking("medmcqa", files=["few.jsonl"]), str(tmp_path))
    jsonl(tmp_path / "test.jsonl", [row | {"cop": -1} for row in rows[:100]])
    with pytest.raises(UserError, match=r"100 of 100 questions are malformed.*'-1' is none of A, B, C, D"):
        load_questions(asking("medmcqa", files=["test.jsonl"]), str(tmp_path))


def test_medqa_is_the_same_in_the_copy_of_the_harness(shared_data: Path, tmp_path: Path) -> None:
    rows = []
    for number, row in enumerate(records_of(shared_data / "benchmarks" / "medqa_4options_test_500.jsonl.gz")):
        endings = {f"ending{place}": row["options"][label] for place, label in enumerate("ABCD")}
        label = "ABCD".index(row["answer_idx"])
        rows.append({"id": f"test-{number:05}", "sent1": row["question"], "sent2": "", **endings, "label": label})
    jsonl(tmp_path / "benchmarks" / "medqa-4" / "test.json", rows)
    hub = load_questions(asking("medqa-4"), str(tmp_path))
    authors = load_questions(asking("medqa-4"), str(shared_data))
    assert [row[:3] for row in said(hub)] == [row[:3] for row in said(authors)]
    assert hub[7].id == "test-00007"


def test_five_options_are_asked_as_medqa_5_and_by_no_other_name(tmp_path: Path) -> None:
    options = {label: f"option {label}" for label in "ABCDE"}
    rows = [
        {"question": f"{n}?", "options": options, "answer_idx": "ABCDE"[n % 5], "meta_info": "step1"} for n in range(9)
    ]
    jsonl(tmp_path / "benchmarks" / "questions" / "US" / "test.jsonl", rows)
    authors = load_questions(asking("medqa-5"), str(tmp_path))
    pairs = [{"key": label, "value": text} for label, text in options.items()]
    parquet(tmp_path / "hub" / "med_qa_en_source" / "test" / "0.parquet", [row | {"options": pairs} for row in rows])
    assert said(load_questions(asking("medqa-5", files=["hub"]), str(tmp_path))) == said(authors)
    assert [question.answer for question in authors[:5]] == list("ABCDE")
    with pytest.raises(UserError, match="5 options instead of 4"):
        load_questions(asking("medqa-4", files=["benchmarks/questions/US/test.jsonl"]), str(tmp_path))


@pytest.mark.parametrize("task", ["pubmedqa", "pubmedqa-closed"])
def test_pubmedqa_is_the_same_from_the_hub(task: str, shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "benchmarks"
    records = json.loads(gzip.decompress((folder / "pubmedqa_ori_pqal.json.gz").read_bytes()))
    rows = [
        {
            "pubid": int(id_),
            "question": row["QUESTION"],
            "context": {"contexts": row["CONTEXTS"], "labels": row["LABELS"]},
            "long_answer": row["LONG_ANSWER"],
            "final_decision": row["final_decision"],
        }
        for id_, row in records.items()
    ]
    parquet(tmp_path / "benchmarks" / task / "pqa_labeled" / "train-00000-of-00001.parquet", rows)
    shutil.copy(folder / "pubmedqa_test_ground_truth.json.gz", tmp_path / "benchmarks")
    hub, authors = (load_questions(asking(task), str(data)) for data in (tmp_path, shared_data))
    assert said(hub) == said(authors)
    assert {question.id for question in hub} == {question.id for question in authors}
    assert len(load_shots(asking(task).benchmarks[0], str(tmp_path))) == 500


def test_mmlu_is_the_same_from_the_hub_with_its_shots(shared_data: Path, tmp_path: Path) -> None:
    for subject in ("anatomy", "clinical_knowledge", "college_medicine"):
        with (shared_data / "benchmarks" / f"mmlu_{subject}_test.csv").open(encoding="utf-8", newline="") as stream:
            rows = [
                {"question": row[0], "subject": subject, "choices": row[1:5], "answer": "ABCD".index(row[5])}
                for row in csv.reader(stream)
            ]
        parquet(tmp_path / "hub" / subject / "test-00000-of-00001.parquet", rows)
        parquet(tmp_path / "hub" / subject / "dev-00000-of-00001.parquet", rows[:5])
    settings = asking("mmlu-medical", files=["hub"])
    authors = load_questions(asking("mmlu-medical"), str(shared_data))
    assert said(load_questions(settings, str(tmp_path))) == said(authors)
    shots = load_shots(settings.benchmarks[0], str(tmp_path))
    assert Counter(shot.group for shot in shots) == {"anatomy": 5, "clinical_knowledge": 5, "college_medicine": 5}


def test_mmlu_general_has_other_subjects(shared_data: Path, tmp_path: Path) -> None:
    file = shared_data / "benchmarks" / "mmlu_anatomy_test.csv"
    shutil.copytree(shared_data / "benchmarks", tmp_path / "benchmarks")
    shutil.copy(file, tmp_path / "benchmarks" / "mmlu_global_facts_test.csv")
    questions = load_questions(asking("mmlu-general"), str(tmp_path))
    assert {question.group for question in questions} == {"global_facts"}


def test_numbers_and_ten_options_are_the_same_from_the_hub(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "benchmarks"
    parquet(tmp_path / "gsm8k" / "main" / "test-0.parquet", records_of(folder / "gsm8k_test_300.jsonl.gz"))
    rows = [
        row | {"options": {pair["letter"]: pair["content"] for pair in row["options"]}, "label": row["label"][0]}
        for row in records_of(folder / "medxpertqa_text_sampled.jsonl.gz")
    ]
    jsonl(tmp_path / "medxpertqa" / "Text" / "test.jsonl", rows)
    for task in ("gsm8k", "medxpertqa"):
        hub = load_questions(asking(task, files=[task]), str(tmp_path))
        authors = load_questions(asking(task), str(shared_data))
        assert said(hub) == said(authors)
        assert not any("Answer Choices" in question.text for question in hub)


@pytest.mark.parametrize("task", ["bc2gm", "bc5chem", "bc5disease", "ncbi-disease"])
def test_names_are_the_same_from_the_hub(task: str, shared_data: Path, tmp_path: Path) -> None:
    name = task.replace("-", "_")
    text = gzip.decompress((shared_data / "benchmarks" / "ner" / f"{name}_test_300.tsv.gz").read_bytes()).decode()
    rows = []
    for number, sentence in enumerate(filter(None, (part.strip("\n") for part in text.split("\n\n")))):
        tokens, tags = zip(*(line.split("\t") for line in sentence.split("\n")), strict=True)
        rows.append({"id": str(number), "tokens": tokens, "ner_tags": ["OBI".index(tag[0]) for tag in tags]})
    hub = load_questions(asking(task, files=[str(parquet(tmp_path / "test.parquet", rows))]), str(tmp_path))
    authors = load_questions(asking(task), str(shared_data))
    assert said(hub) == said(authors)
    assert {question.group for question in usable(hub)} <= {"gene", "chemical", "disease"}


def test_jnlpba_takes_names_of_all_types_and_knows_its_abstracts(tmp_path: Path) -> None:
    lines = ["-DOCSTART-\tO", "", "GR\tB-protein", "in\tO", "T\tB-cell_type", "cells\tI-cell_type", ""]
    lines += ["None\tO", "here\tO", "", "-DOCSTART-\tO", "", "DNA\tB-DNA", "binds\tO", ""]
    (tmp_path / "benchmarks" / "JNLPBA").mkdir(parents=True)
    (tmp_path / "benchmarks" / "JNLPBA" / "test.tsv").write_text("\n".join(lines), encoding="utf-8")
    questions = load_questions(asking("jnlpba"), str(tmp_path))
    assert [(question.answer, question.cluster) for question in questions] == [
        ("GR\nT cells", "test.tsv, document 1"), ("", "test.tsv, document 1"), ("DNA", "test.tsv, document 2"),
    ]  # fmt: skip


def test_truthfulqa_draws_the_same_options_in_both_forms(tmp_path: Path) -> None:
    rows = [
        {
            "type": "Adversarial",
            "category": ["Health", "Law", "Nutrition", "Psychology", "Science"][n % 5],
            "question": f'Is "{n}" good; or bad?',
            "best_answer": "It depends, as ever",
            "incorrect_answers": [f"Yes, {n}", f"No, {n}", "Always", "Never", "Ask me later"][: 2 + n % 4],
        }
        for n in range(40)
    ]
    parquet(tmp_path / "hub" / "generation" / "validation-00000-of-00001.parquet", rows)
    (tmp_path / "benchmarks").mkdir()
    with (tmp_path / "benchmarks" / "TruthfulQA.csv").open("w", encoding="utf-8-sig", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(
            ["Type", "Category", "Question", "Best Answer", "Correct Answers", "Incorrect Answers", "Source"]
        )
        for row in rows:
            wrong = "; ".join(row["incorrect_answers"])
            table.writerow([row["type"], row["category"], row["question"], row["best_answer"], "", wrong, ""])
    authors = load_questions(asking("truthfulqa"), str(tmp_path))
    assert said(authors) == said(load_questions(asking("truthfulqa", files=["hub"]), str(tmp_path)))
    assert Counter(question.group for question in authors) == dict.fromkeys(
        ["Health", "Nutrition", "Psychology", "Science"], 8
    )
    assert {len(question.options) for question in authors} == {3, 4}


def test_medicationqa_is_a_workbook_with_some_answers_that_are_none(tmp_path: Path) -> None:
    cells = [["Question", "Focus (Drug)", "Answer"], *(["how does x work", "x", f"so {n}"] for n in range(2))]
    cells += [[f"what is {n}", "y", "No answers" if n == 7 else f"a drug {n}"] for n in range(40)]
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "MedInfo2019-QA-Medications.xlsx").write_bytes(workbook(cells))
    authors = load_questions(asking("medicationqa"), str(tmp_path))
    reasons = [question.drop.reason for question in authors if question.drop]
    assert reasons == [Reason.EXACT_DUPLICATE, Reason.MALFORMED_QUESTION]
    rows = [dict(zip(cells[0], row, strict=True)) for row in cells[1:]]
    parquet(tmp_path / "hub" / "data" / "train-00000-of-00001.parquet", rows)
    assert said(load_questions(asking("medicationqa", files=["hub"]), str(tmp_path))) == said(authors)
    assert authors[0].answer == "so 0"


def test_mirage_is_one_file_of_five_benchmarks(shared_data: Path, tmp_path: Path) -> None:
    yes = {"A": "yes", "B": "no", "C": "maybe"}
    medqa = records_of(shared_data / "benchmarks" / "medqa_4options_test_500.jsonl.gz")
    benchmark = {
        "medqa": {
            f"{n:04}": {"question": row["question"], "options": row["options"], "answer": row["answer_idx"]}
            for n, row in enumerate(medqa)
        },
        "pubmedqa": {"17": {"question": "Does it?", "options": yes, "answer": "C", "PMID": [17]}},
        "bioasq": {"5c": {"question": "Does it?", "options": {"A": "yes", "B": "no"}, "answer": "B", "PMID": [1, 2]}},
    }
    (tmp_path / "benchmarks" / "mirage").mkdir(parents=True)
    (tmp_path / "benchmarks" / "mirage" / "benchmark.json").write_text(
        json.dumps(benchmark, indent=4), encoding="utf-8"
    )
    questions = load_questions(asking("mirage"), str(tmp_path))
    assert Counter(question.group for question in questions) == {"medqa": 500, "pubmedqa": 1, "bioasq": 1}
    assert (questions[-1].id, questions[-1].answer, questions[-2].options) == ("bioasq/5c", "B", yes)
