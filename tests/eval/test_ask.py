"""Questions become requests: by tokens that continue their prompts, in rounds of shots and rotations."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eval.ask import Ask, Examinee, Way, asks, samples
from eval.prompts import Chat, Encode
from eval.questions import Question
from eval.settings import BenchmarkSettings, EvaluateSettings
from eval.task import load_task
from lake.decision import Drop
from lake.error import UserError
from mixing.tokenizer.build import TokenizerSettings, train

LENGTH = 400
TASK = """
title: Fluids
hub: none
license: CC0-1.0
files: [fluids.jsonl]
fields: {id: id, question: q, answer: a}
options: {A: first, B: second}
"""


def letters(text: str) -> list[int]:
    return list(text.encode())


def pieces(*vocabulary: str) -> Encode:
    """Greedy longest match. A character that begins no entry is an id of its own."""

    def encode(text: str) -> list[int]:
        ids = []
        while text:
            match = max((entry for entry in vocabulary if text.startswith(entry)), key=len, default=text[0])
            ids.append(vocabulary.index(match) if match in vocabulary else 1000 + ord(match))
            text = text[len(match) :]
        return ids

    return encode


def examinee(encode: Encode, chat: Chat | None = None) -> Examinee:
    return Examinee(encode, encode, LENGTH, chat=chat)


def question(**fields: Any) -> Question:
    options = {"A": "water", "B": "saline"}
    made = {"text": "Which is isotonic?", "options": options, "answer": "B"} | fields
    return Question(load_task("sample-qa"), "sample-qa", "q", **made)


def way(encode: Encode, **settings: Any) -> Way:
    return Way(BenchmarkSettings(task="sample-qa", **settings), examinee(encode))


def rounds(encode: Encode, asked: Question, **settings: Any) -> list[Ask] | Drop:
    one = way(encode, **settings)
    return one.rounds(asked, dict.fromkeys(one.benchmark.rounds, ()))


def test_labels_are_what_follows_the_prompt() -> None:
    (ask,) = rounds(letters, question())
    assert ask.request.prompt == tuple(letters(ask.prompt.text))
    assert ask.request.continuations == (tuple(letters(" A")), tuple(letters(" B")))
    assert (ask.score, ask.rotation) == ("sample-qa strict letters 0-shot", 0)


def test_a_cloze_rates_the_texts_of_the_options() -> None:
    (ask,) = rounds(letters, question(), mode="cloze")
    assert ask.request.continuations == (tuple(letters(" water")), tuple(letters(" saline")))


def test_what_stands_before_every_text_stands_there_once() -> None:
    one = Way(BenchmarkSettings(task="sample-qa", mode="cloze"), Examinee(letters, letters, LENGTH, (7,)))
    found = one.rounds(question(), dict.fromkeys(one.benchmark.rounds, ()))
    assert isinstance(found, list)
    assert found[0].request.prompt == (7, *letters(found[0].prompt.text))
    assert found[0].request.continuations == (tuple(letters(" water")), tuple(letters(" saline")))


@pytest.mark.parametrize("vocab_size", [300, 400, 800])
def test_prompt_and_label_are_the_tokens_of_both_together(vocab_size: int) -> None:
    texts = ["Answer: A. The answer is yes, no or maybe. Which of A, B, C and D is right? A dose, a day."] * 9
    backend = train(texts, TokenizerSettings.model_validate({"train": {"vocab_size": vocab_size}})).backend
    (ask,) = rounds(lambda text: backend.encode(text).ids, question())
    for label, tokens in zip(ask.prompt.question.options, ask.request.continuations, strict=True):
        assert [*ask.request.prompt, *tokens] == backend.encode(f"{ask.prompt.text} {label}").ids


@pytest.mark.parametrize(
    ("encode", "message"),
    [
        (pieces(": A"), "merges “A” with the prompt"),
        (lambda text: letters(text.rstrip("AB")), "cannot tell “B” from another option"),
        (lambda text: letters(text.replace("Answer: A", "Answer:")), "cannot tell “A” from another option"),
    ],
)
def test_labels_that_cannot_be_told_apart_are_refused(encode: Callable[[str], list[int]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        rounds(encode, question())


def test_each_rotation_is_a_round() -> None:
    found = rounds(letters, question(), rotate=True)
    assert isinstance(found, list)
    assert [(ask.rotation, ask.prompt.question.answer) for ask in found] == [(0, "B"), (1, "A")]


def test_each_branch_of_each_round_has_a_seed_of_its_own() -> None:
    found = rounds(letters, question(), mode="vote", branches=3, seeds=(5, 6), max_tokens=8)
    assert isinstance(found, list)
    seeds = [ask.request.writing.seeds for ask in found if ask.request.writing]
    assert len({seed for some in seeds for seed in some}) == 6


def test_a_question_that_is_too_long_in_one_round_is_asked_in_none() -> None:
    options = {"A": "water" * 40, "B": "saline"}
    dropped = rounds(letters, question(text="x" * LENGTH, options=options), rotate=True)
    assert isinstance(dropped, Drop)


def test_a_model_without_a_chat_template_is_not_asked_in_it() -> None:
    with pytest.raises(UserError, match="the model has no chat template"):
        way(letters, chat=True)


def fluids(folder: Path, count: int = 9) -> str:
    (folder / "fluids.yaml").write_text(TASK, encoding="utf-8")
    records = [
        {"id": f"f{n}", "q": f"Is {n} isotonic?", "first": "yes", "second": "no", "a": "AB"[n % 2]}
        for n in range(count)
    ]
    (folder / "fluids.jsonl").write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    return str(folder / "fluids.yaml")


def test_every_question_has_its_shots_by_round(tmp_path: Path) -> None:
    settings = EvaluateSettings.model_validate(
        {"benchmarks": [{"task": fluids(tmp_path), "shots": 2, "seeds": [1, 2], "limit": 4}]}
    )
    found = list(asks(samples(settings, str(tmp_path)), examinee(lambda text: letters(text)[:300])))
    assert len(found) == 4
    for _, asked, rounds_ in found:
        assert isinstance(rounds_, list)
        assert [ask.seed for ask in rounds_] == [1, 2]
        assert all(len(ask.prompt.shots) == 2 and asked.id not in ask.prompt.shots for ask in rounds_)
        assert all(ask.request.shared for ask in rounds_)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"shots": 9}, "9 shots"),
        ({"protocol": "lm-eval", "mode": "vote"}, "no way vote"),
    ],
)
def test_what_cannot_be_asked_is_told_before_any_engine(tmp_path: Path, keys: dict[str, Any], message: str) -> None:
    settings = EvaluateSettings.model_validate({"benchmarks": [{"task": fluids(tmp_path)} | keys]})
    with pytest.raises(UserError, match=message):
        samples(settings, str(tmp_path))
