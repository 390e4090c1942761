"""Records become conversations, or are dropped with a reason."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from lake.decision import Drop, Reason
from mixing.instructions.records import ROWS, Conversation, read_conversations
from mixing.instructions.settings import InstructionSettings, QuestionInput, RecordInput
from mixing.tokenizer.chatml import Message, Role

SYSTEM, PROMPTER, ASSISTANT = Role.SYSTEM, Role.PROMPTER, Role.ASSISTANT


def settings(**keys: Any) -> RecordInput:
    return RecordInput(paths=("*.jsonl",), **keys)


def read(folder: Path, lines: list[Any], **keys: Any) -> list[Conversation]:
    raw = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    path = folder / "a.jsonl"
    path.write_bytes(b"\n".join(raw))
    return list(read_conversations(path, "in/a.jsonl", settings(**keys)))


def results(records: list[Conversation]) -> list[Any]:
    return [
        record.messages.reason if isinstance(record.messages, Drop) else tuple(one[:2] for one in record.messages)
        for record in records
    ]


def test_a_question_and_its_answer(tmp_path: Path) -> None:
    records = read(tmp_path, [{"question": " Q? ", "answer": "A\n", "more": 1}])
    place = "in/a.jsonl:1"
    assert records == [Conversation(place, (Message(PROMPTER, " Q? "), Message(ASSISTANT, "A\n")), place)]


def test_keys_are_the_configs_and_may_be_nested(tmp_path: Path) -> None:
    line = {"input": {"text": "Q"}, "a.b": "A", "instruction": "Be brief."}
    records = read(tmp_path, [line], question="input.text", answer="a.b", system_key="instruction")
    assert results(records) == [((SYSTEM, "Be brief."), (PROMPTER, "Q"), (ASSISTANT, "A"))]


def test_the_records_system_message_wins_over_the_constant_one(tmp_path: Path) -> None:
    lines = [{"question": "Q", "answer": "A", "s": system} for system in ("own", "", None)]
    records = read(tmp_path, [*lines, {"question": "Q", "answer": "A"}], system="always", system_key="s")
    assert [messages[0] for messages in results(records)] == [(SYSTEM, "own"), *[(SYSTEM, "always")] * 3]
    assert all(len(messages) == 3 for messages in results(records))


def test_lists_of_messages_under_either_names(tmp_path: Path) -> None:
    turns = [("user", "1"), ("assistant", "2"), ("question", "3"), ("answer", "4")]
    lines = [
        {"chat": [{"role": role, "content": text} for role, text in messages]}
        for messages in (turns, [("system", "own"), *turns])
    ]
    expected = ((PROMPTER, "1"), (ASSISTANT, "2"), (PROMPTER, "3"), (ASSISTANT, "4"))
    records = read(tmp_path, lines, messages="chat", system="always")
    assert results(records) == [((SYSTEM, "always"), *expected), ((SYSTEM, "own"), *expected)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"question": "Q", ', Reason.MALFORMED_JSON),
        (b"[" * 100_000, Reason.MALFORMED_JSON),
        (b'{"question": "\x81\x8d\x8f", "answer": "A"}', Reason.UNDECODABLE),
        ([1], Reason.WRONG_TYPE),
        ({"question": "Q"}, Reason.MISSING_FIELD),
        ({"question": None, "answer": "A"}, Reason.MISSING_FIELD),
        ({"question": ["Q"], "answer": "A"}, Reason.WRONG_TYPE),
        ({"question": "Q", "answer": " \n"}, Reason.EMPTY),
    ],
)
def test_a_malformed_record_is_dropped_and_the_next_is_read(tmp_path: Path, line: Any, reason: Reason) -> None:
    good = {"question": "Q", "answer": "A"}
    records = read(tmp_path, [line, b" ", good])
    assert results(records) == [reason, ((PROMPTER, "Q"), (ASSISTANT, "A"))]
    assert records[0][0] == "in/a.jsonl:1"
    assert records[0][1].evidence.startswith("in/a.jsonl:1: ")
    assert records[1][0] == "in/a.jsonl:3"


@pytest.mark.parametrize(
    ("chat", "reason"),
    [
        (None, Reason.MISSING_FIELD),
        ([], Reason.NO_ANSWER),
        ([{"role": "user", "content": "Q"}], Reason.NO_ANSWER),
        ([{"role": "system", "content": "Be brief."}], Reason.NO_ANSWER),
        ([{"role": "user", "content": " \u2003"}, {"role": "assistant", "content": "A"}], Reason.EMPTY),
        ([{"role": "assistant"}], Reason.MISSING_FIELD),
        ("Q", Reason.WRONG_TYPE),
        (["Q"], Reason.WRONG_TYPE),
        ([{"role": "tool", "content": "Q"}], Reason.UNKNOWN_ROLE),
        ([{"role": "user", "content": None}], Reason.MISSING_FIELD),
        ([{"role": "user", "content": [{"type": "text", "text": "Q"}]}], Reason.WRONG_TYPE),
        ([{"role": "assistant", "content": ""}], Reason.EMPTY),
        ([{"role": "assistant", "content": "A", "weight": 0.5}], Reason.WRONG_TYPE),
    ],
)
def test_a_malformed_list_of_messages_is_dropped(tmp_path: Path, chat: Any, reason: Reason) -> None:
    assert results(read(tmp_path, [{"chat": chat}], messages="chat")) == [reason]


@pytest.mark.parametrize(
    ("roles", "where"),
    [
        ("a", "message 1 is of the role assistant, where prompter is due"),
        ("sa", "message 2 is of the role assistant, where prompter is due"),
        ("uua", "message 2 is of the role prompter, where assistant is due"),
        ("uaa", "message 3 is of the role assistant, where prompter is due"),
        ("uas", "message 3 is of the role system, where prompter is due"),
        ("ssua", "message 2 is of the role system, where prompter is due"),
    ],
)
def test_roles_out_of_order_are_told(tmp_path: Path, roles: str, where: str) -> None:
    (record,) = read(tmp_path, [{"chat": turns(roles)}], messages="chat")
    assert record.messages == Drop(Reason.ROLE_ORDER, f"in/a.jsonl:1: chat: {where}")


@pytest.mark.parametrize("roles", ["ua", "sua", "uaua", "suauau"])
def test_a_talk_may_have_a_system_message_first_and_a_question_last(tmp_path: Path, roles: str) -> None:
    (messages,) = results(read(tmp_path, [{"chat": turns(roles)}], messages="chat"))
    assert [role for role, _ in messages] == [{"s": SYSTEM, "u": PROMPTER, "a": ASSISTANT}[role] for role in roles]


def turns(roles: str) -> list[dict[str, str]]:
    names = {"s": "system", "u": "user", "a": "assistant"}
    return [{"role": names[role], "content": f"{place}"} for place, role in enumerate(roles)]


def test_an_explanation_goes_before_its_answer(tmp_path: Path) -> None:
    lines = [
        {"question": "Q", "answer": " B\n", "why": " {answer} is {b}.\n"},
        {"question": "Q", "answer": "B", "why": " "},
    ]
    lines += [{"question": "Q", "answer": "B"}]
    first, *others = results(read(tmp_path, lines, explanation="why", ending="So: {answer}!"))
    assert first == ((PROMPTER, "Q"), (ASSISTANT, "{answer} is {b}.\nSo: B!"))
    assert others == [Reason.EMPTY, Reason.MISSING_FIELD]
    with pytest.raises(ValidationError, match=r"write \{answer\} where the answer stands"):
        settings(ending="So.")


def test_parquet_is_read_as_lines_are(tmp_path: Path) -> None:
    talk = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
    rows = [{"chat": talk, "n": n} for n in range(ROWS + 3)] + [{"chat": None, "n": 0}, {"chat": talk[:1], "n": 0}]
    pq.write_table(pa.Table.from_pylist(rows), path := tmp_path / "a.parquet", row_group_size=50)
    records = list(read_conversations(path, "a.parquet", settings(messages="chat", system="S")))
    expected = ((SYSTEM, "S"), (PROMPTER, "Q"), (ASSISTANT, "A"))
    assert results(records) == [*[expected] * (ROWS + 3), Reason.MISSING_FIELD, Reason.NO_ANSWER]
    assert records[-1].native == f"a.parquet:{ROWS + 5}"
    (large, *_) = read_conversations(path, "a.parquet", settings(messages="chat", max_bytes=1))
    assert results([large]) == [Reason.TOO_LARGE]
    path.write_bytes(path.read_bytes()[:200])
    assert results(list(read_conversations(path, "a.parquet", settings(messages="chat")))) == [Reason.TRUNCATED_FILE]


def test_a_row_that_is_no_utf_8_is_dropped_and_the_next_is_read(tmp_path: Path) -> None:
    texts = pa.array([b"Q", b"caf\xe9", b"Q"]).view(pa.string())
    pq.write_table(pa.table({"question": texts, "answer": ["A"] * 3}), path := tmp_path / "a.parquet")
    records = list(read_conversations(path, "a.parquet", settings()))
    whole = ((PROMPTER, "Q"), (ASSISTANT, "A"))
    assert results(records) == [whole, Reason.UNDECODABLE, whole]
    assert isinstance(drop := records[1].messages, Drop)
    assert drop.evidence == "a.parquet:2: unexpected end of data at byte 3 of a text"


def test_an_answer_of_no_weight_is_not_to_be_learned(tmp_path: Path) -> None:
    turns = [("user", None), ("assistant", 0), ("user", None), ("assistant", 1), ("user", None), ("assistant", None)]
    talk = [{"role": role, "content": "text", "weight": weight} for role, weight in turns]
    (record,) = read(tmp_path, [{"chat": talk}], messages="chat")
    assert not isinstance(record.messages, Drop)
    assert [one.learned for one in record.messages if one.role is ASSISTANT] == [False, True, True]


def test_an_input_with_a_task_is_one_of_questions() -> None:
    found = InstructionSettings.model_validate({"inputs": [{"task": "medmcqa", "mode": "thought"}, {"paths": ["a"]}]})
    assert found.inputs[0] == QuestionInput(task="medmcqa", mode="thought", source="medmcqa-thought")
    assert InstructionSettings.model_validate(found.model_dump()) == found
    with pytest.raises(ValidationError, match="medmcqa-letters is named twice"):
        InstructionSettings.model_validate({"inputs": [{"task": "medmcqa"}, {"task": "medmcqa"}]})
    with pytest.raises(ValidationError, match=r"inputs\.0\.records\.paths"):
        InstructionSettings.model_validate({"inputs": [{"question": "q"}]})


def test_lone_surrogates_become_replacement_characters(tmp_path: Path) -> None:
    records = read(tmp_path, [rb'{"question": "\ud83e", "answer": "\ud83e\uddec"}'])
    assert results(records) == [((PROMPTER, "\ufffd"), (ASSISTANT, "🧬"))]


def test_a_line_that_is_too_long_is_dropped_whole(tmp_path: Path) -> None:
    good = {"question": "Q", "answer": "A"}
    records = read(tmp_path, [{"question": "Q" * 300, "answer": "A"}, good], max_bytes=100)
    assert results(records) == [Reason.TOO_LARGE, ((PROMPTER, "Q"), (ASSISTANT, "A"))]
    assert records[1][0] == "in/a.jsonl:2"


def test_gzip_is_read_until_it_ends_early(tmp_path: Path) -> None:
    lines = [json.dumps({"question": f"Q{n}", "answer": f"{n * n}"}).encode() for n in range(2000)]
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(compressed := gzip.compress(b"\n".join(lines)))
    records = list(read_conversations(path, "a", settings()))
    assert len(records) == 2000
    assert not any(isinstance(record.messages, Drop) for record in records)
    path.write_bytes(compressed[: len(compressed) // 2])
    *whole, last = read_conversations(path, "a", settings())
    assert 0 < len(whole) < 2000
    assert results([last]) == [Reason.TRUNCATED_FILE]


@pytest.mark.parametrize("keys", [{"question": "q"}, {"answer": "a"}, {"system_key": "s"}, {"explanation": "e"}])
def test_a_list_of_messages_takes_no_other_keys(keys: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="each names its role"):
        settings(messages="chat", **keys)


def test_real_questions_are_read(shared_data: Path) -> None:
    path = shared_data / "benchmarks" / "medmcqa_validation.jsonl.gz"
    if not path.is_file():
        pytest.skip(reason="no MedMCQA in ../shared/data")
    records = list(read_conversations(path, path.name, settings(answer="exp")))
    reasons = [record.messages.reason for record in records if isinstance(record.messages, Drop)]
    assert len(records) == 4183
    assert len(reasons) < 2183
    assert set(reasons) <= {Reason.MISSING_FIELD, Reason.EMPTY}, "MedMCQA has questions without an explanation"
