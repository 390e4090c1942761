"""Questions: the authors' files as they are published, and every kind of record that is none."""

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
title: Own
hub: none
license: MIT
files: [own.jsonl, more.jsonl.gz]
format: jsonl
fields: {id: id, question: q, context: c, answer: a}
options: o
prompt: "{context}\\n{question}\\n{options}\\nAnswer:"
"""
CSV_TASK = """
title: Own
hub: none
license: MIT
files: [own.csv]
format: csv
columns: [q, x, y, a]
fields: {question: q, answer: a}
options: {A: x, B: y}
prompt: "{question}\\n{options}\\nAnswer:"
"""
TRUTH_TASK = """
title: Own
hub: none
license: MIT
files: [own.json]
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
def own(tmp_path: Path) -> Path:
    """A data folder; `load_own` reads the task `own.yaml` in it."""
    return tmp_path


def load_own(folder: Path, task: str, **files: bytes) -> list[Question]:
    (folder / "own.yaml").write_text(task, encoding="utf-8")
    for name, data in files.items():
        (folder / name.replace("_", ".")).write_bytes(data)
    return load_questions(asking(str(folder / "own.yaml")), str(folder))


def lines(*records: Any) -> bytes:
    return b"\n".join(one if isinstance(one, bytes) else json.dumps(one).encode() for one in records)


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
    assert Counter(one.drop for one in questions) == {None: sum(answers.values())}
    assert Counter(one.answer for one in questions) == answers
    assert len({one.id for one in questions}) == len(questions)
    assert all(one.answer in one.options and len(one.options) == len(answers) for one in questions)
    assert all(bool(one.context) == (task == "pubmedqa") for one in questions)


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
    """Explanations often begin with the right letter, which tells whether `cop` counts from 0 or from 1."""
    records = {one["id"]: one for one in records_of(shared_data / "benchmarks" / "medmcqa_validation.jsonl.gz")}
    told: Counter[bool] = Counter()
    for question in load_questions(asking("medmcqa"), str(shared_data)):
        record = records[question.id]
        assert question.options[question.answer] == str(record["op" + "abcd"[record["cop"] - 1]]).strip()
        said = (record["exp"] or "").lower().removeprefix("ans").lstrip(" .:-('")
        if said[:2] in {f"{letter}." for letter in "abcd"} | {f"{letter} " for letter in "bcd"}:
            told[said[0].upper() == question.answer] += 1
    assert told.total() > 300
    assert told[True] > 0.9 * told.total()


def test_medqa_answers_are_the_texts_that_the_authors_give(shared_data: Path) -> None:
    records = records_of(shared_data / "benchmarks" / "medqa_4options_test_500.jsonl.gz")
    for question, record in zip(load_questions(asking("medqa-4"), str(shared_data)), records, strict=True):
        assert question.options[question.answer] == record["answer"].strip()


def test_the_sample_benchmark_has_one_malformed_question() -> None:
    questions = load_questions(asking("sample-qa"), "samples")
    assert [one.id for one in questions if one.drop] == ["qa-041"]
    assert len(questions) == 42


# Records that are none -----------------------------------------------------------------------------------------------


def test_a_good_record_is_a_question(own: Path) -> None:
    (question,) = load_own(own, JSON_TASK, own_jsonl=lines(GOOD))
    assert question == Question("own", "1", "Which?", {"A": "this", "B": "that"}, "B", "One.\nTwo.")


@pytest.mark.parametrize(
    ("record", "said"),
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
def test_a_malformed_record_is_told_and_the_rest_is_asked(record: Any, said: str, own: Path) -> None:
    last = {**GOOD, "id": "2"}
    first, second = load_own(own, JSON_TASK, own_jsonl=lines(record, last))
    assert second.drop is None
    assert first.drop is not None
    assert first.drop.reason is Reason.MALFORMED_QUESTION
    assert said in first.drop.evidence
    assert "own.jsonl:1: " in first.drop.evidence


def test_numbers_are_read_as_text(own: Path) -> None:
    record = {**GOOD, "id": 5, "q": 1.5, "o": {"1": 2, "2": 3}, "a": 1}
    (question,) = load_own(own, JSON_TASK, own_jsonl=lines(record))
    assert (question.id, question.text, question.options, question.answer) == ("5", "1.5", {"1": "2", "2": "3"}, "1")


def test_a_repeated_id_is_malformed_and_known_by_its_line(own: Path) -> None:
    first, second = load_own(own, JSON_TASK, own_jsonl=lines(GOOD, b"", GOOD))
    assert first.drop is None
    assert second.id == "own.jsonl:3"
    assert second.drop is not None
    assert "the id 1 occurs before" in second.drop.evidence


def test_half_of_a_surrogate_pair_becomes_a_question_mark(own: Path) -> None:
    record = {**GOOD, "id": "a\ud800", "q": "Which\udfff one?", "o": {"A": "\ud834", "B": "that"}}
    (question,) = load_own(own, JSON_TASK, own_jsonl=lines(record))
    assert (question.id, question.text, question.options["A"]) == ("a?", "Which? one?", "?")
    question_table([question])


def test_files_of_a_task_are_read_together(own: Path) -> None:
    more = gzip.compress(lines({**GOOD, "id": "2"}))
    questions = load_own(own, JSON_TASK, own_jsonl=lines(GOOD), more_jsonl_gz=more)
    assert [one.id for one in questions] == ["1", "2"]
    settings = asking(str(own / "own.yaml"))
    assert [path.name for path in raw_files(settings, str(own))] == ["own.yaml", "own.jsonl", "more.jsonl.gz"]


def test_only_the_ids_of_the_truth_are_asked(own: Path) -> None:
    records = {"1": {"q": "One?"}, "2": {"q": "Two?"}, "3": 3, "4": {"q": "Four?"}, "6": {"q": "Six?"}}
    truth = {"1": "yes", "3": "no", "4": "perhaps", "5": "no", "6": {"a": 1}}
    files = {"own_json": json.dumps(records).encode(), "truth_json": json.dumps(truth).encode()}
    questions = {one.id: one for one in load_own(own, TRUTH_TASK, **files)}
    assert questions.keys() == truth.keys()
    assert questions["1"].answer == "yes"
    told = {key: one.drop.evidence for key, one in questions.items() if one.drop}
    assert told == {
        "3": "3: not an object",
        "4": "4: the answer 'perhaps' is none of yes, no",
        "5": "truth.json has 5, the questions do not",
        "6": "6: the answer {'a': 1} is none of yes, no",
    }


def test_csv_rows_may_hold_line_ends_and_blank_lines(own: Path) -> None:
    text = 'Which\n\none?,this,that,B\r\n"a ""b"", c?",this,that,A\n\nshort,row\nWho?,x,y,C\n'
    text = text.replace("Which\n\none?", '"Which\n\none?"')
    questions = load_own(own, CSV_TASK, own_csv=text.encode())
    assert [one.text for one in questions if not one.drop] == ["Which\n\none?", 'a "b", c?']
    told = {one.id: one.drop.evidence for one in questions if one.drop}
    assert told == {
        "own.csv:6": "own.csv:6: 2 columns instead of 4",
        "own.csv:7": "own.csv:7: the answer 'C' is none of A, B",
    }


# Files that are none -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "files", "said"),
    [
        (JSON_TASK, {}, "own: no file .*own.jsonl; set data="),
        (JSON_TASK, {"more_jsonl_gz": gzip.compress(lines(GOOD))[:-9]}, "not a whole gzip file"),
        (JSON_TASK, {"more_jsonl_gz": b"PK\x03\x04 no gzip"}, "not a whole gzip file"),
        (CSV_TASK, {"own_csv": b'"Which?,this,that,B\nWho?,x,y,A\n'}, "own.csv: line 2: not CSV"),
        (TRUTH_TASK, {"own_json": b"{}"}, "no file .*truth.json"),
        (TRUTH_TASK, {"own_json": b"[1]", "truth_json": b"{}"}, "own.json: a JSON object"),
        (TRUTH_TASK, {"own_json": b"{}", "truth_json": b"{"}, "truth.json: not JSON"),
        (TRUTH_TASK, {"own_json": b"\xff", "truth_json": b"{}"}, "own.json: not JSON"),
    ],
)
def test_a_broken_benchmark_is_told_in_one_line(task: str, files: dict[str, bytes], said: str, own: Path) -> None:
    with pytest.raises(UserError, match=said) as told:
        load_own(own, task, **files)
    assert "\n" not in str(told.value)


def test_files_that_the_config_names_must_be_there(own: Path) -> None:
    load_own(own, JSON_TASK, own_jsonl=lines(GOOD))
    settings = asking(str(own / "own.yaml"), files=["other.jsonl"])
    with pytest.raises(UserError, match=r"no file .*other\.jsonl"):
        raw_files(settings, str(own))
    (own / "other.jsonl").write_bytes(lines({**GOOD, "id": "9"}))
    assert [one.id for one in load_questions(settings, str(own))] == ["9"]


def test_a_config_tells_unknown_and_repeated_benchmarks(tmp_path: Path) -> None:
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
    """Whatever was read, it is a question that can be asked and written, or it is dropped with its evidence."""
    for one in questions:
        one.id.encode()
        if one.drop is not None:
            assert one.drop.reason is Reason.MALFORMED_QUESTION
            assert one.drop.evidence
            continue
        assert one.text.strip()
        assert one.answer in one.options
        "".join((one.text, one.context, *one.options, *one.options.values())).encode()
    question_table(questions)


@given(st.lists(RECORDS, max_size=6))
def test_any_json_records_are_all_accounted_for(records: list[Any]) -> None:
    with_task(JSON_TASK, "own.jsonl", lines(*records), len(records))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_as_jsonl(data: bytes) -> None:
    with_task(JSON_TASK, "own.jsonl", data, sum(bool(line.strip()) for line in data.split(b"\n")))


@given(st.text(st.sampled_from('ABab,\n\r"?'), max_size=40))
def test_any_text_is_read_as_csv_or_the_whole_file_is_refused(text: str) -> None:
    with suppress(UserError):
        with_task(CSV_TASK, "own.csv", text.encode(), None)


def with_task(task: str, name: str, data: bytes, count: int | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, name).write_bytes(data)
        questions = load_own(Path(folder), task)
    assert count is None or len(questions) == count
    check_all(questions)


# Samples -------------------------------------------------------------------------------------------------------------


def test_a_sample_grows_with_its_limit_and_keeps_the_order() -> None:
    questions = [Question("pubmedqa", str(n), "Q?", {"A": "x", "B": "y"}, "A") for n in range(200)]
    taken: list[str] = []
    for limit in (1, 10, 50, 199, 200, 500):
        chosen = sample(asking("pubmedqa", limit=limit), questions)["pubmedqa"]
        ids = [one.id for one in chosen]
        assert len(ids) == min(limit, 200)
        assert ids == sorted(ids, key=int)
        assert set(taken) <= set(ids)
        taken = ids
    assert sample(asking("pubmedqa"), questions)["pubmedqa"] == questions
    (few,) = sample(asking("pubmedqa", limit=20), reversed(questions)).values()
    assert {one.id for one in few} == {one.id for one in sample(asking("pubmedqa", limit=20), questions)["pubmedqa"]}, (
        "which questions are taken does not hang on their order"
    )


def test_the_table_for_decontamination_has_usable_questions_only() -> None:
    questions = load_questions(asking("sample-qa"), "samples")
    table = question_table(questions)
    assert table.column_names == ["benchmark", "question", "text"]
    assert table.num_rows == 41
    assert table.to_pylist()[0] == {"benchmark": "sample-qa", "question": "qa-001", "text": questions[0].text}
