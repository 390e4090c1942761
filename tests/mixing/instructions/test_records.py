"""Records become conversations, or are dropped with a reason."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from lake.decision import Drop, Reason
from mixing.instructions.records import Conversation, InstructionInput, read_conversations
from mixing.tokenizer.chatml import Message, Role

SYSTEM, PROMPTER, ASSISTANT = Role.SYSTEM, Role.PROMPTER, Role.ASSISTANT


def settings(**keys: Any) -> InstructionInput:
    return InstructionInput(paths=("*.jsonl",), **keys)


def read(folder: Path, lines: list[Any], **keys: Any) -> list[Conversation]:
    raw = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    path = folder / "a.jsonl"
    path.write_bytes(b"\n".join(raw))
    return list(read_conversations(path, "in/a.jsonl", settings(**keys)))


def results(records: list[Conversation]) -> list[Any]:
    return [record.messages.reason if isinstance(record.messages, Drop) else record.messages for record in records]


def test_a_question_and_its_answer(tmp_path: Path) -> None:
    records = read(tmp_path, [{"question": " Q? ", "answer": "A\n", "more": 1}])
    assert records == [Conversation("in/a.jsonl:1", (Message(PROMPTER, " Q? "), Message(ASSISTANT, "A\n")))]


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
        ([], Reason.MISSING_FIELD),
        ([{"role": "user", "content": "Q"}], Reason.MISSING_FIELD),
        ([{"role": "assistant"}], Reason.MISSING_FIELD),
        ("Q", Reason.WRONG_TYPE),
        (["Q"], Reason.WRONG_TYPE),
        ([{"role": "tool", "content": "Q"}], Reason.WRONG_TYPE),
        ([{"role": "assistant", "content": ""}], Reason.EMPTY),
    ],
)
def test_a_malformed_list_of_messages_is_dropped(tmp_path: Path, chat: Any, reason: Reason) -> None:
    assert results(read(tmp_path, [{"chat": chat}], messages="chat")) == [reason]


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


@pytest.mark.parametrize("keys", [{"question": "q"}, {"answer": "a"}, {"system_key": "s"}])
def test_a_list_of_messages_takes_no_other_keys(keys: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="each message names its role"):
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
