"""What is trained is what is asked: the same words, and the answer that a solved example shows."""

import json
from pathlib import Path
from typing import Any

import pytest

from eval.prompts import Chat, Messages, fit
from eval.protocol import load_protocol
from eval.questions import Question
from eval.settings import Mode
from eval.training import Training
from lake.decision import Drop, Reason
from lake.error import UserError

WHERE = "instructions.inputs.0"


def record(n: int, **more: Any) -> dict[str, Any]:
    options = {f"op{letter}": f"{letter} {n}" for letter in "abcd"}
    return {"id": f"q{n}", "question": f" Which {n}? ", "cop": 1 + n % 4, "exp": f"Since {n}.", **options, **more}


def training(folder: Path, records: list[Any], mode: Mode, protocol: str = "strict") -> Training:
    (folder / "mine.jsonl").write_text("\n".join(map(json.dumps, records)))
    return Training(WHERE, "medmcqa", ("mine.jsonl",), mode, protocol, str(folder))


def asked(question: Question, way: Training) -> Messages:
    """The messages that evaluation sends, with what the model's turn begins with."""
    seen: list[Messages] = []

    def render(messages: Messages) -> str:
        seen.append([*messages])
        return "<turn>"

    protocol = load_protocol(way.benchmark.protocol)
    prompt = fit(question, [], protocol, way.benchmark, lambda text: [*text.encode()], 10**6, Chat(render))
    assert not isinstance(prompt, Drop)
    return [*seen[0], {"role": "assistant", "content": prompt.text.removeprefix("<turn>")}]


@pytest.mark.parametrize("protocol", ["strict", "meditron"])
@pytest.mark.parametrize("mode", ["letters", "answer", "thought"])
def test_the_prompt_is_that_of_evaluation(tmp_path: Path, mode: Mode, protocol: str) -> None:
    way = training(tmp_path, [record(n) for n in range(8)], mode, protocol)
    for question, chat in way.chats():
        assert not isinstance(chat, Drop)
        *prompt, turn = asked(question, way)
        assert chat[:-1] == prompt
        assert chat[-1]["role"] == "assistant"
        assert chat[-1]["content"].startswith(turn["content"])
        assert question.answer in chat[-1]["content"].removeprefix(turn["content"])


def test_a_thought_needs_an_explanation(tmp_path: Path) -> None:
    records = [*(record(n) for n in range(8)), record(8, exp=" "), record(9, exp=None)]
    found = [chat for _, chat in training(tmp_path, records, "thought").chats()]
    assert [chat.reason for chat in found if isinstance(chat, Drop)] == [Reason.MISSING_FIELD] * 2
    (first, *_) = found
    assert not isinstance(first, Drop)
    assert first[-1]["content"] == "Since 0.\nAnswer: A"
    assert not any(isinstance(chat, Drop) for _, chat in training(tmp_path, records, "letters").chats())


def test_a_malformed_record_is_dropped(tmp_path: Path) -> None:
    records = [*(record(n) for n in range(40)), record(40, cop=9)]
    (*_, (_, drop)) = training(tmp_path, records, "letters").chats()
    assert isinstance(drop, Drop)
    assert drop.reason is Reason.MALFORMED_QUESTION


def test_questions_of_the_test_split_are_not_trained_on(shared_data: Path) -> None:
    file = "benchmarks/pubmedqa_ori_pqal.json.gz"
    if not (shared_data / file).is_file():
        pytest.skip(reason="no PubMedQA in ../shared/data")
    way = Training(WHERE, "pubmedqa", (file,), "thought", "strict", str(shared_data))
    chats = list(way.chats())
    assert len(chats) == 500
    assert len(way.files()) == 4, "the task, the questions, what is asked of them, the protocol"


def test_faults_name_the_section_of_the_config(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^instructions\.inputs\.0: medmcq: no such benchmark; "):
        Training(WHERE, "medmcq", (), "letters", "strict", str(tmp_path))
    with pytest.raises(UserError, match=r"^instructions\.inputs\.0: MedicationQA: it has no options"):
        Training(WHERE, "medicationqa", (), "letters", "strict", str(tmp_path))
    with pytest.raises(
        UserError, match=r"^instructions\.inputs\.0: medmcqa: no training file medmcqa_train\*\.jsonl, "
    ):
        Training(WHERE, "medmcqa", (), "letters", "strict", str(tmp_path)).files()
    with pytest.raises(UserError, match=r"^instructions\.inputs\.0: medmcqa: no file .*/no\.jsonl; set data= "):
        Training(WHERE, "medmcqa", ("no.jsonl",), "letters", "strict", str(tmp_path)).files()
