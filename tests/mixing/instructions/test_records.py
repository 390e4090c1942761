"""Records become conversations, or are told why not."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from lake.decision import Reason
from mixing.chat import Message, Role
from mixing.instructions import Conversation, InstructionInput, Rejected, read_conversations

SYSTEM, PROMPTER, ASSISTANT = Role.SYSTEM, Role.PROMPTER, Role.ASSISTANT


def settings(**keys: Any) -> InstructionInput:
    return InstructionInput(paths=("*.jsonl",), **keys)


def read(folder: Path, lines: list[Any], **keys: Any) -> list[Conversation | Rejected]:
    raw = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    path = folder / "a.jsonl"
    path.write_bytes(b"\n".join(raw))
    return list(read_conversations(path, "in/a.jsonl", settings(**keys)))


def told(found: list[Conversation | Rejected]) -> list[Any]:
    return [one.drop.reason if isinstance(one, Rejected) else one.messages for one in found]


def test_a_question_and_its_answer(tmp_path: Path) -> None:
    found = read(tmp_path, [{"question": " Q? ", "answer": "A\n", "more": 1}])
    assert found == [Conversation("in/a.jsonl:1", (Message(PROMPTER, " Q? "), Message(ASSISTANT, "A\n")))]


def test_keys_are_the_configs_and_may_be_nested(tmp_path: Path) -> None:
    line = {"input": {"text": "Q"}, "a.b": "A", "instruction": "Be brief."}
    found = read(tmp_path, [line], question="input.text", answer="a.b", system_key="instruction")
    assert told(found) == [((SYSTEM, "Be brief."), (PROMPTER, "Q"), (ASSISTANT, "A"))]


def test_a_constant_system_message_gives_way_to_the_records_own(tmp_path: Path) -> None:
    lines = [{"question": "Q", "answer": "A", "s": own} for own in ("own", "", None)]
    found = read(tmp_path, [*lines, {"question": "Q", "answer": "A"}], system="always", system_key="s")
    assert [messages[0] for messages in told(found)] == [(SYSTEM, "own"), *[(SYSTEM, "always")] * 3]
    assert all(len(messages) == 3 for messages in told(found))


def test_lists_of_messages_under_either_names(tmp_path: Path) -> None:
    spoken = [("user", "1"), ("assistant", "2"), ("question", "3"), ("answer", "4")]
    lines = [
        {"chat": [{"role": role, "content": text} for role, text in said]}
        for said in (spoken, [("system", "own"), *spoken])
    ]
    turns = ((PROMPTER, "1"), (ASSISTANT, "2"), (PROMPTER, "3"), (ASSISTANT, "4"))
    found = read(tmp_path, lines, messages="chat", system="always")
    assert told(found) == [((SYSTEM, "always"), *turns), ((SYSTEM, "own"), *turns)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"question": "Q", ', Reason.MALFORMED_JSON),
        (b"[" * 100_000, Reason.MALFORMED_JSON),
        (b'{"question": "\xff", "answer": "A"}', Reason.UNDECODABLE),
        ([1], Reason.WRONG_TYPE),
        ({"question": "Q"}, Reason.MISSING_FIELD),
        ({"question": None, "answer": "A"}, Reason.MISSING_FIELD),
        ({"question": ["Q"], "answer": "A"}, Reason.WRONG_TYPE),
        ({"question": "Q", "answer": " \n"}, Reason.EMPTY),
    ],
)
def test_a_record_without_its_form_is_told_and_the_next_is_read(tmp_path: Path, line: Any, reason: Reason) -> None:
    good = {"question": "Q", "answer": "A"}
    found = read(tmp_path, [line, b" ", good])
    assert told(found) == [reason, ((PROMPTER, "Q"), (ASSISTANT, "A"))]
    assert found[0][0] == "in/a.jsonl:1"
    assert found[0][1].evidence.startswith("in/a.jsonl:1: ")
    assert found[1][0] == "in/a.jsonl:3"


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
def test_a_list_without_its_form_is_told(tmp_path: Path, chat: Any, reason: Reason) -> None:
    assert told(read(tmp_path, [{"chat": chat}], messages="chat")) == [reason]


def test_halves_of_surrogate_pairs_become_replacement_characters(tmp_path: Path) -> None:
    found = read(tmp_path, [rb'{"question": "\ud83e", "answer": "\ud83e\uddec"}'])
    assert told(found) == [((PROMPTER, "\ufffd"), (ASSISTANT, "🧬"))]


def test_a_line_that_is_too_long_is_dropped_whole(tmp_path: Path) -> None:
    good = {"question": "Q", "answer": "A"}
    found = read(tmp_path, [{"question": "Q" * 300, "answer": "A"}, good], max_bytes=100)
    assert told(found) == [Reason.TOO_LARGE, ((PROMPTER, "Q"), (ASSISTANT, "A"))]
    assert found[1][0] == "in/a.jsonl:2"


def test_gzip_is_read_and_one_that_ends_early_is_told(tmp_path: Path) -> None:
    lines = [json.dumps({"question": f"Q{n}", "answer": f"{n * n}"}).encode() for n in range(2000)]
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(packed := gzip.compress(b"\n".join(lines)))
    assert len([one for one in read_conversations(path, "a", settings()) if isinstance(one, Conversation)]) == 2000
    path.write_bytes(packed[: len(packed) // 2])
    *whole, last = read_conversations(path, "a", settings())
    assert 0 < len(whole) < 2000
    assert isinstance(last, Rejected)
    assert last.drop.reason is Reason.TRUNCATED_FILE


@pytest.mark.parametrize("keys", [{"question": "q"}, {"answer": "a"}, {"system_key": "s"}])
def test_a_list_of_messages_takes_no_other_keys(keys: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="they name who speaks"):
        settings(messages="chat", **keys)


def test_real_questions_are_read(shared_data: Path) -> None:
    path = shared_data / "benchmarks" / "medmcqa_validation.jsonl.gz"
    if not path.is_file():
        pytest.skip(reason="no MedMCQA in ../shared/data")
    found = list(read_conversations(path, path.name, settings(answer="exp")))
    kept = [one for one in found if isinstance(one, Conversation)]
    reasons = {one.drop.reason for one in found if isinstance(one, Rejected)}
    assert len(found) == 4183
    assert len(kept) > 2000
    assert reasons <= {Reason.MISSING_FIELD, Reason.EMPTY}, "MedMCQA has questions without an explanation"
