"""Questions from the authors' files as they are published, and every kind of malformed record and file."""

import gzip
import json
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.questions import (
    LONGEST_LABEL,
    MOST_OPTIONS,
    EvaluateSettings,
    Question,
    load_questions,
    question_table,
    raw_files,
    sample,
)
from lake.config import load
from lake.decision import Reason
from lake.error import UserError

JSON_TASK = """
title: New
hub: none
license: MIT
files: [new.jsonl, more.jsonl.gz]
format: jsonl
fields: {id: id, question: q, context: c, answer: a}
options: o
prompt: "{context}\\n{question}\\n{options}\\nAnswer:"
"""
CSV_TASK = """
title: New
hub: none
license: MIT
files: [new.csv]
format: csv
columns: [q, x, y, a]
fields: {question: q, answer: a}
options: {A: x, B: y}
prompt: "{question}\\n{options}\\nAnswer:"
"""
TRUTH_TASK = """
title: New
hub: none
license: MIT
files: [new.json]
format: json
fields: {question: q}
options: ["yes", "no"]
truth: truth.json
prompt: "{question}\\nAnswer:"
"""
GOOD = {"id": "1", "q": "Which?", "c": ["One.", "Two."], "o": {"A": "this", "B": "that"}, "a": "B"}


def asking(*tasks: str, **more: Any) -> EvaluateSettings:
    return EvaluateSettings.model_validate({"benchmarks": [{"task": task, **more} for task in tasks]})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder, in which `load_new` writes and reads the task `new.yaml`."""
    return tmp_path


def load_new(folder: Path, task: str, **files: bytes) -> list[Question]:
    (folder / "new.yaml").write_text(task, encoding="utf-8")
    for name, data in files.items():
        (folder / name.replace("_", ".")).write_bytes(data)
    return load_questions(asking(str(folder / "new.yaml")), str(folder))


def lines(*records: Any) -> bytes:
    return b"\n".join(record if isinstance(record, bytes) else json.dumps(record).encode() for record in records)


# The authors' files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "answers"),
    [
        ("pubmedqa", {"yes": 276, "no": 169, "maybe": 55}),
        ("medmcqa", {"A": 1348, "B": 1085, "C": 925, "D": 825}),
        ("medqa-4", {"A": 145, "B": 113, "C": 141, "D": 101}),
        ("mmlu-medical", {"A": 118, "B": 141, "C": 146, "D": 168}),
    ],
)
def test_every_record_of_the_real_benchmarks_loads(task: str, answers: dict[str, int], shared_data: Path) -> None:
    questions = load_questions(asking(task), str(shared_data))
    assert Counter(question.drop for question in questions) == {None: sum(answers.values())}
    assert Counter(question.answer for question in questions) == answers
    assert len({question.id for question in questions}) == len(questions)
    assert all(question.answer in question.options and len(question.options) == len(answers) for question in questions)
    assert all(bool(question.context) == (task == "pubmedqa") for question in questions)


def json_of(path: Path) -> Any:
    return json.loads(gzip.decompress(path.read_bytes()))


def records_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def test_pubmedqa_asks_its_test_ids_and_its_abstracts_lack_the_conclusion(shared_data: Path) -> None:
    folder = shared_data / "benchmarks"
    truth = json_of(folder / "pubmedqa_test_ground_truth.json.gz")
    records = json_of(folder / "pubmedqa_ori_pqal.json.gz")
    assert (len(records), len(truth)) == (1000, 500)
    for question in load_questions(asking("pubmedqa"), str(shared_data)):
        record = records[question.id]
        assert question.answer == truth[question.id] == record["final_decision"]
        assert record["LONG_ANSWER"].strip() not in question.context
        assert all(part.strip() in question.context for part in record["CONTEXTS"])


def test_medmcqa_counts_its_right_option_from_one(shared_data: Path) -> None:
    """Explanations often begin with the right letter, which shows whether `cop` counts from 0 or from 1."""
    records = {
        record["id"]: record for record in records_of(shared_data / "benchmarks" / "medmcqa_validation.jsonl.gz")
    }
    agrees: Counter[bool] = Counter()
    for question in load_questions(asking("medmcqa"), str(shared_data)):
        record = records[question.id]
        assert question.options[question.answer] == str(record["op" + "abcd"[record["cop"] - 1]]).strip()
        explanation = (record["exp"] or "").lower().removeprefix("ans").lstrip(" .:-('")
        if explanation[:2] in {f"{letter}." for letter in "abcd"} | {f"{letter} " for letter in "bcd"}:
            agrees[explanation[0].upper() == question.answer] += 1
    assert agrees.total() > 300
    assert agrees[True] > 0.9 * agrees.total()


def test_medqa_answers_are_the_texts_that_the_authors_give(shared_data: Path) -> None:
    records = records_of(shared_data / "benchmarks" / "medqa_4options_test_500.jsonl.gz")
    for question, record in zip(load_questions(asking("medqa-4"), str(shared_data)), records, strict=True):
        assert question.options[question.answer] == record["answer"].strip()


def test_the_sample_benchmark_has_one_malformed_question() -> None:
    questions = load_questions(asking("sample-qa"), "samples")
    assert [question.id for question in questions if question.drop] == ["qa-041"]
    assert len(questions) == 42


# Malformed records ---------------------------------------------------------------------------------------------------


def test_a_good_record_is_a_question(folder: Path) -> None:
    (question,) = load_new(folder, JSON_TASK, new_jsonl=lines(GOOD))
    assert question == Question("new", "1", "Which?", {"A": "this", "B": "that"}, "B", "One.\nTwo.")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (b'{"id": "1"', "not JSON"),
        (b"\xff\xfe{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"id": ' + b"9" * 5000 + b"}", "not JSON"),
        ([GOOD], "not an object"),
        (7, "not an object"),
        ({**GOOD, "id": None}, "no id"),
        ({**GOOD, "id": " "}, "no id"),
        ({**GOOD, "id": {"a": 1}}, "no id"),
        ({**GOOD, "q": ""}, "q is missing"),
        ({**GOOD, "q": ["Which?"]}, "q is missing"),
        ({**GOOD, "q": True}, "q is missing"),
        ({**GOOD, "c": []}, "c is missing"),
        ({**GOOD, "c": [None]}, "c is missing"),
        ({**GOOD, "c": None}, "c is missing"),
        ({**GOOD, "o": {"A": "this"}}, "not a map of 2 to"),
        ({**GOOD, "o": ["this", "that"]}, "not a map of 2 to"),
        ({**GOOD, "o": {f"L{n}": "x" for n in range(MOST_OPTIONS + 1)}}, "not a map of 2 to"),
        ({**GOOD, "o": {"": "this", "B": "that"}}, "not a map of 2 to"),
        ({**GOOD, "o": {"A ": "this", "B": "that"}}, "not a map of 2 to"),
        ({**GOOD, "o": {"\ud800": "this", "B": "that"}}, "not a map of 2 to"),
        ({**GOOD, "o": {"A" * (LONGEST_LABEL + 1): "this", "B": "that"}}, "not a map of 2 to"),
        ({**GOOD, "o": {"A": "this", "B": None}}, "B is missing"),
        ({**GOOD, "a": "E"}, "the answer 'E' is none of A, B"),
        ({**GOOD, "a": None}, "the answer None is none of A, B"),
        ({**GOOD, "a": ["A"]}, "is none of A, B"),
    ],
)
def test_a_malformed_record_is_reported_and_the_rest_is_asked(record: Any, message: str, folder: Path) -> None:
    last = {**GOOD, "id": "2"}
    first, second = load_new(folder, JSON_TASK, new_jsonl=lines(record, last))
    assert second.drop is None
    assert first.drop is not None
    assert first.drop.reason is Reason.MALFORMED_QUESTION
    assert message in first.drop.evidence
    assert "new.jsonl:1: " in first.drop.evidence


def test_numbers_are_read_as_text(folder: Path) -> None:
    record = {**GOOD, "id": 5, "q": 1.5, "o": {"1": 2, "2": 3}, "a": 1}
    (question,) = load_new(folder, JSON_TASK, new_jsonl=lines(record))
    assert (question.id, question.text, question.options, question.answer) == ("5", "1.5", {"1": "2", "2": "3"}, "1")


def test_a_repeated_id_is_malformed_and_identified_by_its_line(folder: Path) -> None:
    first, second = load_new(folder, JSON_TASK, new_jsonl=lines(GOOD, b"", GOOD))
    assert first.drop is None
    assert second.id == "new.jsonl:3"
    assert second.drop is not None
    assert "the id 1 occurs before" in second.drop.evidence


def test_half_of_a_surrogate_pair_becomes_a_question_mark(folder: Path) -> None:
    record = {**GOOD, "id": "a\ud800", "q": "Which\udfff one?", "o": {"A": "\ud834", "B": "that"}}
    (question,) = load_new(folder, JSON_TASK, new_jsonl=lines(record))
    assert (question.id, question.text, question.options["A"]) == ("a?", "Which? one?", "?")
    question_table([question])


def test_files_of_a_task_are_read_together(folder: Path) -> None:
    more = gzip.compress(lines({**GOOD, "id": "2"}))
    questions = load_new(folder, JSON_TASK, new_jsonl=lines(GOOD), more_jsonl_gz=more)
    assert [question.id for question in questions] == ["1", "2"]
    settings = asking(str(folder / "new.yaml"))
    assert [path.name for path in raw_files(settings, str(folder))] == ["new.yaml", "new.jsonl", "more.jsonl.gz"]


def test_only_the_ids_of_the_truth_are_asked(folder: Path) -> None:
    records = {"1": {"q": "One?"}, "2": {"q": "Two?"}, "3": 3, "4": {"q": "Four?"}, "6": {"q": "Six?"}}
    truth = {"1": "yes", "3": "no", "4": "perhaps", "5": "no", "6": {"a": 1}}
    files = {"new_json": json.dumps(records).encode(), "truth_json": json.dumps(truth).encode()}
    questions = {question.id: question for question in load_new(folder, TRUTH_TASK, **files)}
    assert questions.keys() == truth.keys()
    assert questions["1"].answer == "yes"
    evidence = {key: question.drop.evidence for key, question in questions.items() if question.drop}
    assert evidence == {
        "3": "3: not an object",
        "4": "4: the answer 'perhaps' is none of yes, no",
        "5": "truth.json has 5, the questions do not",
        "6": "6: the answer {'a': 1} is none of yes, no",
    }


def test_csv_rows_may_hold_line_ends_and_blank_lines(folder: Path) -> None:
    text = 'Which\n\none?,this,that,B\r\n"a ""b"", c?",this,that,A\n\nshort,row\nWho?,x,y,C\n'
    text = text.replace("Which\n\none?", '"Which\n\none?"')
    questions = load_new(folder, CSV_TASK, new_csv=text.encode())
    assert [question.text for question in questions if not question.drop] == ["Which\n\none?", 'a "b", c?']
    evidence = {question.id: question.drop.evidence for question in questions if question.drop}
    assert evidence == {
        "new.csv:6": "new.csv:6: 2 columns instead of 4",
        "new.csv:7": "new.csv:7: the answer 'C' is none of A, B",
    }


# Malformed files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "files", "message"),
    [
        (JSON_TASK, {}, "new: no file .*new.jsonl; set data="),
        (JSON_TASK, {"more_jsonl_gz": gzip.compress(lines(GOOD))[:-9]}, "not a whole gzip file"),
        (JSON_TASK, {"more_jsonl_gz": b"PK\x03\x04 no gzip"}, "not a whole gzip file"),
        (CSV_TASK, {"new_csv": b'"Which?,this,that,B\nWho?,x,y,A\n'}, "new.csv: line 2: not CSV"),
        (TRUTH_TASK, {"new_json": b"{}"}, "no file .*truth.json"),
        (TRUTH_TASK, {"new_json": b"[1]", "truth_json": b"{}"}, "new.json: not a JSON object"),
        (TRUTH_TASK, {"new_json": b"{}", "truth_json": b"{"}, "truth.json: not JSON"),
        (TRUTH_TASK, {"new_json": b"\xff", "truth_json": b"{}"}, "new.json: not JSON"),
    ],
)
def test_a_broken_benchmark_is_reported_in_one_line(
    task: str, files: dict[str, bytes], message: str, folder: Path
) -> None:
    with pytest.raises(UserError, match=message) as error:
        load_new(folder, task, **files)
    assert "\n" not in str(error.value)


def test_files_that_the_config_names_must_be_there(folder: Path) -> None:
    load_new(folder, JSON_TASK, new_jsonl=lines(GOOD))
    settings = asking(str(folder / "new.yaml"), files=["other.jsonl"])
    with pytest.raises(UserError, match=r"no file .*other\.jsonl"):
        raw_files(settings, str(folder))
    (folder / "other.jsonl").write_bytes(lines({**GOOD, "id": "9"}))
    assert [question.id for question in load_questions(settings, str(folder))] == ["9"]


def test_a_config_with_an_unknown_or_repeated_benchmark_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "evaluate.yaml"
    config.write_text("benchmarks: [{task: medqa}]", encoding="utf-8")
    with pytest.raises(UserError, match=r"benchmarks\.0\.task: medqa: no such benchmark.*did you mean medqa-4"):
        load(config, [], EvaluateSettings)
    with pytest.raises(UserError, match="pubmedqa is named twice"):
        load(config, ["benchmarks=[{task: pubmedqa}, {task: pubmedqa, limit: 3}]"], EvaluateSettings)
    for wrong in ("benchmarks=[]", "dtype=float8", "max_length=0", "benchmarks=[{task: pubmedqa, limit: 0}]"):
        with pytest.raises(UserError):
            load(config, [wrong], EvaluateSettings)


# Any bytes -----------------------------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
RECORDS = st.dictionaries(st.sampled_from(["id", "q", "c", "o", "a"]), VALUES) | st.fixed_dictionaries(
    {"id": st.integers(0, 3)},
    optional={
        "q": st.text(max_size=4),
        "c": st.text(max_size=4) | st.lists(st.text(max_size=4), max_size=2),
        "o": st.dictionaries(st.sampled_from("AB\ud800 "), st.text(max_size=3), max_size=3),
        "a": st.sampled_from(["A", "B", 1, None]),
    },
)


def check_all(questions: list[Question]) -> None:
    """Every record is a question that can be asked and written, or is dropped with its evidence."""
    for question in questions:
        question.id.encode()
        if question.drop is not None:
            assert question.drop.reason is Reason.MALFORMED_QUESTION
            assert question.drop.evidence
            continue
        assert question.text.strip()
        assert question.answer in question.options
        "".join((question.text, question.context, *question.options, *question.options.values())).encode()
    question_table(questions)


@given(st.lists(RECORDS, max_size=6))
def test_any_json_records_are_all_accounted_for(records: list[Any]) -> None:
    with_task(JSON_TASK, "new.jsonl", lines(*records), len(records))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_as_jsonl(data: bytes) -> None:
    with_task(JSON_TASK, "new.jsonl", data, sum(bool(line.strip()) for line in data.split(b"\n")))


@given(st.text(st.sampled_from('ABab,\n\r"?'), max_size=40))
def test_any_text_is_read_as_csv_or_the_whole_file_is_refused(text: str) -> None:
    with suppress(UserError):
        with_task(CSV_TASK, "new.csv", text.encode(), None)


def with_task(task: str, name: str, data: bytes, count: int | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, name).write_bytes(data)
        questions = load_new(Path(folder), task)
    assert count is None or len(questions) == count
    check_all(questions)


# Samples -------------------------------------------------------------------------------------------------------------


def test_a_sample_grows_with_its_limit_and_keeps_the_order() -> None:
    questions = [Question("pubmedqa", str(n), "Q?", {"A": "x", "B": "y"}, "A") for n in range(200)]
    taken: list[str] = []
    for limit in (1, 10, 50, 199, 200, 500):
        chosen = sample(asking("pubmedqa", limit=limit), questions)["pubmedqa"]
        ids = [question.id for question in chosen]
        assert len(ids) == min(limit, 200)
        assert ids == sorted(ids, key=int)
        assert set(taken) <= set(ids)
        taken = ids
    assert sample(asking("pubmedqa"), questions)["pubmedqa"] == questions
    (few,) = sample(asking("pubmedqa", limit=20), reversed(questions)).values()
    assert {question.id for question in few} == {
        question.id for question in sample(asking("pubmedqa", limit=20), questions)["pubmedqa"]
    }, "the choice does not depend on the order"


def test_the_table_for_decontamination_has_usable_questions_only() -> None:
    questions = load_questions(asking("sample-qa"), "samples")
    table = question_table(questions)
    assert table.column_names == ["benchmark", "question", "text"]
    assert table.num_rows == 41
    assert table.to_pylist()[0] == {"benchmark": "sample-qa", "question": "qa-001", "text": questions[0].text}
