"""Questions from a benchmark's files: what is counted, what is refused, and which form a file has."""

import gzip
import json
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from eval.questions import Question, load_questions, load_shots, question_table, raw_files, sample
from eval.settings import EvaluateSettings
from eval.task import Task, load_task
from lake.config import load
from lake.decision import Reason
from lake.error import UserError

TASK: dict[str, Any] = {
    "title": "New",
    "hub": "none",
    "license": "MIT",
    "files": ["new.jsonl", "more.jsonl"],
    "shots": ["solved.jsonl"],
    "fields": {"id": "id", "question": "q", "answer": "a"},
    "options": "o",
}


def good(n: int, **changes: Any) -> dict[str, Any]:
    return {"id": str(n), "q": f"Which of {n}?", "o": {"A": "this", "B": "that"}, "a": "B"} | changes


def asking(*tasks: str, **more: Any) -> EvaluateSettings:
    return EvaluateSettings.model_validate({"benchmarks": [{"task": task, **more} for task in tasks]})


def lines(*records: Any) -> bytes:
    return b"\n".join(record if isinstance(record, bytes) else json.dumps(record).encode() for record in records)


def write_task(folder: Path, **changes: Any) -> EvaluateSettings:
    keys = {key: value for key, value in (TASK | changes).items() if value is not None}
    (folder / "new.yaml").write_text(yaml.safe_dump(keys), encoding="utf-8")
    return asking(str(folder / "new.yaml"))


def questions_of(folder: Path, *records: Any, **changes: Any) -> list[Question]:
    (folder / "new.jsonl").write_bytes(lines(*records))
    return load_questions(write_task(folder, **changes), str(folder))


def evidence(questions: Sequence[Question]) -> list[str]:
    return [question.drop.evidence for question in questions if question.drop]


def test_a_question_carries_its_task(tmp_path: Path) -> None:
    (question,) = questions_of(tmp_path, good(1))
    task = load_task(str(tmp_path / "new.yaml"))
    assert question == Question(task, "new", "1", "Which of 1?", {"A": "this", "B": "that"}, "B", cluster="1")


# Odd records ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (b'{"id": "1"', "not JSON"),
        (b"\xff\xfe{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"id": ' + b"9" * 5000 + b"}", "not JSON"),
        ([good(1)], "not an object"),
        (7, "not an object"),
        (good(1, id=None), "no id"),
        (good(1, id=" "), "no id"),
        (good(1, id={"a": 1}), "no id"),
        (good(1, a="E"), "the answer 'E' is none of A, B"),
        (good(1, o={"1": "x", "10": "y"}, a="1"), "the label 10 begins with another"),
        (b'{"id": "1", "q": "Which?", "o": {"A": "this", "A": "or", "B": "that"}, "a": "B"}', "A occurs twice"),
    ],
)
def test_an_odd_record_is_dropped_with_its_place_and_the_rest_is_asked(
    record: Any, message: str, tmp_path: Path
) -> None:
    first, second = questions_of(tmp_path, record, good(2))
    assert second.drop is None
    assert first.drop is not None
    assert first.drop.reason is Reason.MALFORMED_QUESTION
    assert message in first.drop.evidence
    assert "new.jsonl:1: " in first.drop.evidence


def test_a_repeated_id_is_malformed_and_identified_by_its_line(tmp_path: Path) -> None:
    first, second = questions_of(tmp_path, good(1), b"", good(1, q="Another?"))
    assert (first.drop, second.id) == (None, "new.jsonl:3")
    assert evidence([second]) == ["new.jsonl:3: the id 1 occurs before"]


def test_a_question_is_asked_once_whatever_its_blanks_and_the_order_of_its_options(tmp_path: Path) -> None:
    again = good(2, q=" Which of 1? ", o={"A": "that", "B": "this"}, a="A")
    other = good(3, q="Which of 1?", o={"A": "this", "B": "those"})
    first, second, third = questions_of(tmp_path, good(1), again, other)
    assert (first.drop, third.drop) == (None, None)
    assert second.drop is not None
    assert second.drop.reason is Reason.EXACT_DUPLICATE
    assert second.drop.evidence == "2: asked before:  Which of 1? "


def test_many_repeated_questions_are_no_sign_of_another_form(tmp_path: Path) -> None:
    questions = questions_of(tmp_path, *(good(n, q="Which?") for n in range(50)))
    assert len(evidence(questions)) == 49


def test_a_question_of_two_subjects_is_asked_in_both_and_is_one_cluster(tmp_path: Path) -> None:
    fields = TASK["fields"] | {"group": "s"}
    records = [good(n, q="Which?" if n < 2 else f"{n}?", s="xy"[n % 2]) for n in range(4)]
    questions = questions_of(tmp_path, *records, fields=fields)
    assert [(question.group, question.cluster) for question in questions] == [
        ("x", "0"), ("y", "0"), ("x", "2"), ("y", "3"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("malformed", "of", "refused"), [(1, 2, False), (3, 100, False), (4, 100, True), (2, 50, True)]
)
def test_a_file_of_which_more_than_a_few_are_malformed_is_refused(
    malformed: int, of: int, refused: bool, tmp_path: Path
) -> None:
    records = [good(n, a="E" if n < malformed else "B") for n in range(of)]
    if not refused:
        assert len(evidence(questions_of(tmp_path, *records))) == malformed
        return
    with pytest.raises(UserError, match=rf"new: .*new.jsonl: {malformed} of {of} questions are malformed.*'E' is none"):
        questions_of(tmp_path, *records)


@pytest.mark.parametrize("records", [[], [good(1, a="E")]])
def test_a_file_without_a_question_is_refused(records: list[Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="it has no question" if not records else "1 of 1 questions are malformed"):
        questions_of(tmp_path, *records)


# Answers in a file of their own, and groups --------------------------------------------------------------------------

TRUTH: dict[str, Any] = {"files": ["new.json"], "shots": ["new.json"], "options": ["yes", "no"], "truth": "truth.json"}
TRUTH |= {"fields": {"question": "q", "answer": "a"}}


def test_only_the_ids_of_the_truth_are_asked_and_the_others_are_shots(tmp_path: Path) -> None:
    records: dict[str, Any] = {str(n): {"q": f"{n}?", "a": "yes"} for n in range(100)} | {"3": 3}
    (tmp_path / "new.json").write_text(json.dumps(records), encoding="utf-8")
    (tmp_path / "truth.json").write_text(json.dumps({str(n): "yes" for n in range(70)} | {"x": "no"}), encoding="utf-8")
    settings = write_task(tmp_path, **TRUTH)
    questions = load_questions(settings, str(tmp_path))
    assert [question.id for question in questions] == [*(str(n) for n in range(70)), "x"]
    assert evidence(questions) == ["3: not an object", "truth.json has x, the questions do not"]
    assert [shot.id for shot in load_shots(settings.benchmarks[0], str(tmp_path))] == [str(n) for n in range(70, 100)]
    (tmp_path / "truth.json").unlink()
    with pytest.raises(UserError, match=r"no file truth\.json, which has the answers"):
        load_questions(settings, str(tmp_path))


def test_only_the_named_groups_are_asked_and_a_record_without_one_is_malformed(tmp_path: Path) -> None:
    groups: dict[str, Any] = {"groups": ["x", "y"], "fields": TASK["fields"] | {"group": "s"}}
    records = [good(n, s="xyz"[n % 3]) for n in range(9)] + [good(9), b"{"]
    questions = questions_of(tmp_path, *records, *(good(n, s="x") for n in range(20, 80)), **groups)
    assert len(questions) == 68
    assert evidence(questions) == ["new.jsonl:10: no s", f"new.jsonl:11: {evidence(questions)[1][14:]}"]


# Forms ---------------------------------------------------------------------------------------------------------------

FORMS: dict[str, Any] = {
    "forms": [{"answers": {"1": "A", "2": "B", "3": "C"}}, {"answers": {"0": "A", "1": "B", "2": "C"}}],
}


def counted(*answers: int) -> list[dict[str, Any]]:
    return [good(n, o={"A": "x", "B": "y", "C": "z"}, a=answer) for n, answer in enumerate(answers)]


@pytest.mark.parametrize(
    ("answers", "right"),
    [
        ([1, 2, 3] * 10, "ABC"),
        ([0, 1, 2] * 10, "ABC"),
        ([0, 2, 1] * 40 + [3], "ACB"),
        ([3, 2, 1] * 40 + [0], "CBA"),
    ],
)
def test_whether_answers_count_from_0_or_1_is_seen_from_the_whole_file(
    answers: list[int], right: str, tmp_path: Path
) -> None:
    questions = questions_of(tmp_path, *counted(*answers), **FORMS)
    assert "".join(question.answer for question in questions[:3]) == right
    assert len(evidence(questions)) == len(answers) % 3


@pytest.mark.parametrize("answers", [[1, 2] * 20, [1], [1, 2] * 30 + [3], [0, 3] * 20])
def test_a_file_that_cannot_tell_is_refused(answers: list[int], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"new\.jsonl: it may have 2 of the forms|malformed") as error:
        questions_of(tmp_path, *counted(*answers), **FORMS)
    assert "\n" not in str(error.value)


def test_the_form_with_the_right_fields_is_taken(tmp_path: Path) -> None:
    forms = [{"fields": {"question": "Question"}}, {"fields": {"question": "text"}}, {"files": ["other.jsonl"]}]
    records = [{"text" if key == "q" else key: value for key, value in good(n).items()} for n in range(9)]
    assert questions_of(tmp_path, *records, forms=forms)[3].text == "Which of 3?"
    assert questions_of(tmp_path, *(good(n) for n in range(9)), forms=forms)[3].text == "Which of 3?"


# Files ---------------------------------------------------------------------------------------------------------------


def test_files_lie_in_the_benchmarks_folder_or_in_one_of_their_own(tmp_path: Path) -> None:
    settings = write_task(tmp_path, files=["new.jsonl", "data/part-*.jsonl"])
    for name, folder in enumerate(["", "benchmarks", "benchmarks/new", "benchmarks/new/data"]):
        (tmp_path / folder).mkdir(exist_ok=True)
        for part in ("new.jsonl", "part-0.jsonl.gz"):
            data = lines(good(name, q=f"{part} in {folder}?"), good(name + 10, q=f"{part} of {folder}?"))
            (tmp_path / folder / part).write_bytes(gzip.compress(data) if part.endswith(".gz") else data)
    questions = load_questions(settings, str(tmp_path))
    assert [question.id for question in questions] == ["2", "12", "3", "13"]
    names = [path.relative_to(tmp_path).as_posix() for path in raw_files(settings, str(tmp_path))]
    assert names == ["new.yaml", "benchmarks/new/new.jsonl", "benchmarks/new/data/part-0.jsonl.gz"]


def test_a_config_may_name_files_or_a_folder(tmp_path: Path) -> None:
    write_task(tmp_path)
    (tmp_path / "copy[1]").mkdir()
    (tmp_path / "copy[1]" / "more.jsonl").write_bytes(lines(good(1)))
    (tmp_path / "o*her.jsonl").write_bytes(lines(good(2)))
    for name, id_ in (("copy[1]", "1"), ("o*her.jsonl", "2")):
        settings = asking(str(tmp_path / "new.yaml"), files=[name])
        assert [question.id for question in load_questions(settings, str(tmp_path))] == [id_]
    with pytest.raises(UserError, match=r"evaluate\.benchmarks: new: no file .*absent\.jsonl; set data="):
        raw_files(asking(str(tmp_path / "new.yaml"), files=["copy[1]", "absent.jsonl"]), str(tmp_path))


def test_a_missing_benchmark_is_reported_in_one_line(tmp_path: Path) -> None:
    forms = [{"files": ["a.jsonl"]}, {"files": ["{group}/b.jsonl"], "groups": ["x"]}]
    for use in (raw_files, load_questions):
        with pytest.raises(UserError, match=r"no file a\.jsonl, \*/b\.jsonl in .*benchmarks/new; set data=") as error:
            use(write_task(tmp_path, forms=forms), str(tmp_path))
        assert "\n" not in str(error.value)


def test_a_group_stands_in_the_names_of_files(tmp_path: Path) -> None:
    groups = {"files": ["{group}_test.jsonl"], "shots": ["{group}_dev.jsonl"], "groups": ["x", "y[1]", "absent", "[z]"]}
    settings = write_task(tmp_path, fields={"question": "q", "answer": "a"}, **groups)
    for n, name in enumerate(["x_test", "y[1]_test", "z_test", "x_dev"]):
        (tmp_path / f"{name}.jsonl").write_bytes(lines(good(n)))
    questions = load_questions(settings, str(tmp_path))
    assert [(question.group, question.id) for question in questions] == [
        ("x", "x_test.jsonl:1"), ("y[1]", "y[1]_test.jsonl:1"),
    ]  # fmt: skip
    assert [shot.group for shot in load_shots(settings.benchmarks[0], str(tmp_path))] == ["x"]
    named = asking(str(tmp_path / "new.yaml"), files=["x_test.jsonl"], shots=3)
    assert [question.group for question in load_questions(named, str(tmp_path))] == ["x"]
    assert "x_dev.jsonl" in [path.name for path in raw_files(named, str(tmp_path))]


def test_a_benchmark_is_read_once_however_many_ways_it_is_asked(tmp_path: Path) -> None:
    questions_of(tmp_path, *(good(n) for n in range(9)))
    name = str(tmp_path / "new.yaml")
    ways: list[dict[str, Any]] = [
        {"task": name, "limit": 3},
        {"task": name, "mode": "cloze"},
        {"task": name, "shots": 3, "limit": 5},
    ]
    settings = EvaluateSettings.model_validate({"benchmarks": ways})
    questions = load_questions(settings, str(tmp_path))
    assert len(questions) == 9
    samples = sample(settings, questions)
    assert [len(chosen) for chosen in samples.values()] == [3, 9, 5]
    assert list(samples) == [benchmark.score for benchmark in settings.benchmarks]
    few, _, more = ({question.id for question in chosen} for chosen in samples.values())
    assert few < more
    clash = EvaluateSettings.model_validate({"benchmarks": [ways[0], ways[1] | {"files": ["new.jsonl"]}]})
    with pytest.raises(UserError, match="new: two sets of questions have this name"):
        load_questions(clash, str(tmp_path))


def test_a_config_with_an_unknown_or_repeated_benchmark_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "evaluate.yaml"
    config.write_text("benchmarks: [{task: medqa}]", encoding="utf-8")
    with pytest.raises(UserError, match=r"benchmarks\.0\.task: medqa: no such benchmark.*did you mean medqa-"):
        load(config, [], EvaluateSettings)
    with pytest.raises(UserError, match=r"pubmedqa .* is named twice"):
        load(config, ["benchmarks=[{task: pubmedqa}, {task: pubmedqa, limit: 3}]"], EvaluateSettings)


# Any bytes -----------------------------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
RECORDS = st.dictionaries(st.sampled_from(["id", "q", "o", "a", "s"]), VALUES) | st.fixed_dictionaries(
    {"id": st.integers(0, 3)},
    optional={
        "q": st.text(max_size=4) | st.lists(st.text(max_size=2), max_size=3),
        "o": st.dictionaries(st.sampled_from("AB\ud800 "), st.text(max_size=3), max_size=3) | st.lists(st.text()),
        "a": st.sampled_from(["A", "B", 1, None, ["A"], "#### 1", ["B", "I-x", "O"]]),
    },
)
KINDS: list[dict[str, Any]] = [
    {},
    {"kind": "number", "options": None, "answer_after": "####"},
    {"kind": "text", "options": None},
    {"kind": "entities", "options": None},
    {"options": None, "wrong": "o"},
    {"fields": TASK["fields"] | {"group": "s"}, "groups": ["x"]},
]


@given(st.lists(RECORDS, max_size=4), st.sampled_from(KINDS))
def test_any_records_are_all_accounted_for(records: list[Any], kind: dict[str, Any]) -> None:
    """Every record is a question that can be asked and written, or is dropped with its evidence."""
    fill = [good(n, q=f"{n}?") for n in range(100, 240)] if kind == {} else []
    with tempfile.TemporaryDirectory() as folder, suppress(UserError):
        questions = questions_of(Path(folder), *records, *fill, **kind)
        assert len(questions) == len(records) + len(fill) or "groups" in kind
        for question in questions:
            question.id.encode()
            if question.drop is not None:
                assert question.drop.evidence
                continue
            assert question.text.strip()
            assert question.task.kind != "choice" or question.answer in question.options
            assert question.cluster
            "".join((question.text, question.answer, *question.options, *question.options.values())).encode()
        question_table(questions)


# Samples -------------------------------------------------------------------------------------------------------------


def test_a_sample_grows_with_its_limit_and_keeps_the_order() -> None:
    task = Task.model_validate(TASK)
    questions = [Question(task, "pubmedqa", str(n), "Q?", {"A": "x", "B": "y"}, "A") for n in range(200)]
    taken: list[str] = []
    for limit in (1, 10, 50, 199, 200, 500):
        (chosen,) = sample(asking("pubmedqa", limit=limit), questions).values()
        ids = [question.id for question in chosen]
        assert len(ids) == min(limit, 200)
        assert ids == sorted(ids, key=int)
        assert set(taken) <= set(ids)
        taken = ids
    assert sample(asking("pubmedqa"), questions) == {"pubmedqa strict letters 0-shot": questions}
    (few,) = sample(asking("pubmedqa", limit=20), questions).values()
    (turned,) = sample(asking("pubmedqa", limit=20), reversed(questions)).values()
    assert {question.id for question in few} == {question.id for question in turned}


def test_the_table_for_decontamination_has_usable_questions_only() -> None:
    questions = load_questions(asking("sample-qa"), "samples")
    table = question_table(questions)
    assert table.column_names == ["benchmark", "question", "text"]
    assert table.num_rows == 41
    assert table.to_pylist()[0] == {"benchmark": "sample-qa", "question": "qa-001", "text": questions[0].text}
