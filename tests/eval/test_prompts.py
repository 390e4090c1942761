"""Prompts are never longer than their room, and never without instruction, question and options."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.prompts import Chat, Messages, Prompt, fit, rotated
from eval.protocol import Protocol, load_protocol
from eval.questions import Question
from eval.settings import BenchmarkSettings
from eval.task import load_task
from lake.decision import Drop, Reason
from lake.error import UserError

TASK = load_task("pubmedqa").model_copy(update={"prompts": {}})
WORD = st.text(st.sampled_from("abcé{}%$1.漢"), min_size=1, max_size=6)
SENTENCE = st.lists(WORD, min_size=1, max_size=12).map(" ".join)
CONTEXT = st.lists(st.tuples(WORD, st.sampled_from([" ", "\n", "  ", "\t"])), max_size=60).map(
    lambda pairs: "".join(word + blank for word, blank in pairs).strip()
)
HEAD = "Each question has one right option.\n\n"


def by_bytes(text: str) -> list[int]:
    """A token per byte, which gives the longest prompts."""
    return list(text.encode())


def by_words(text: str) -> list[int]:
    """A token per word."""
    return [len(word) for word in text.split()]


def by_odd_pieces(text: str) -> list[int]:
    """A number of tokens that sometimes shrinks when text is added, as with tokenizers that merge."""
    return [0] * (len(text) // 3 + (7 if len(text) % 5 == 0 else 0))


def asked(number: int, text: str, options: list[str], context: str = "", explanation: str = "") -> Question:
    labelled = dict(zip("ABCD", options, strict=False))
    return Question(TASK, "new", str(number), text, labelled, "A", context, explanation, cluster=str(number))


QUESTIONS = st.builds(asked, st.just(0), SENTENCE, st.lists(SENTENCE, min_size=2, max_size=4), CONTEXT)
SHOTS = st.lists(st.builds(asked, st.integers(1, 99), SENTENCE, st.lists(SENTENCE, min_size=2, max_size=4)), max_size=4)


def chosen(protocol: str = "strict", **keys: Any) -> BenchmarkSettings:
    return BenchmarkSettings(task="pubmedqa", protocol=protocol, **keys)


def prompted(question: Question, *shots: Question, chat: Chat | None = None, **keys: Any) -> Prompt:
    way = chosen(**keys)
    prompt = fit(question, shots, load_protocol(way.protocol), way, by_bytes, 10**6, chat)
    assert isinstance(prompt, Prompt)
    return prompt


STRICT = load_protocol("strict")


@given(QUESTIONS, SHOTS, st.integers(0, 700), st.sampled_from([by_bytes, by_words, by_odd_pieces]))
def test_a_prompt_never_exceeds_its_room_and_keeps_question_and_options(question, shots, room, encode) -> None:  # type: ignore[no-untyped-def]
    prompt = fit(question, shots, STRICT, chosen(), encode, room)
    whole, bare = prompted(question, *shots), prompted(question)
    if isinstance(prompt, Drop):
        assert prompt.reason is Reason.PROMPT_TOO_LONG
        assert prompt.score == len(encode(bare.text)) > room
        return
    assert len(prompt.tokens) <= room
    assert prompt.tokens == encode(prompt.text)
    assert prompt.shots == tuple(shot.id for shot in shots)[prompt.shots_cut :], "the first shots go first"
    assert bool(prompt.shots_cut or prompt.context_cut) == (prompt.text != whole.text)
    assert not prompt.context_cut or not prompt.shots, "a context is cut only once all shots are gone"
    options = "\n".join(f"{label}. {text}" for label, text in question.options.items())
    tail = f"Question: {question.text}\n{options}\nAnswer:"
    assert prompt.text.startswith(HEAD)
    assert prompt.text.endswith(tail)
    kept = prompt.text.removesuffix(tail).rpartition("Context: ")[2] if question.context else ""
    assert kept.split() == question.context.split()[: len(kept.split())], "whole words are left"
    assert bool(kept.strip()) == bool(question.context)


@settings(max_examples=30)
@given(QUESTIONS, SHOTS, st.integers(0, 700), st.sampled_from([by_bytes, by_words]))
def test_no_more_is_cut_than_needed(question, shots, room, encode) -> None:  # type: ignore[no-untyped-def]
    words = question.context.split()
    question = replace(question, context=" ".join(words))

    def tokens(cut: int, count: int) -> int:
        return len(encode(prompted(replace(question, context=" ".join(words[:count])), *shots[cut:]).text))

    fitting = [(cut, len(words)) for cut in range(len(shots) + 1) if tokens(cut, len(words)) <= room]
    fitting += [(len(shots), count) for count in range(len(words), 0, -1) if tokens(len(shots), count) <= room]
    prompt = fit(question, shots, STRICT, chosen(), encode, room)
    assert isinstance(prompt, Prompt) == bool(fitting)
    if isinstance(prompt, Prompt):
        cut, count = fitting[0]
        assert prompt.text == prompted(replace(question, context=" ".join(words[:count])), *shots[cut:]).text


def test_a_question_without_context_is_not_cut_but_dropped() -> None:
    question = asked(1, "Why so long?", ["because", "so"])
    text = f"{HEAD}Question: Why so long?\nA. because\nB. so\nAnswer:"
    prompt = fit(question, [], STRICT, chosen(), by_bytes, len(text))
    assert prompt == Prompt(question, text, by_bytes(text), (), 0, False, {"A": " A", "B": " B"})
    drop = fit(question, [question], STRICT, chosen(), by_bytes, len(text) - 1)
    length = len(text)
    evidence = f"{length} tokens, the model takes {length - 1}: Why so long?"
    assert drop == Drop(Reason.PROMPT_TOO_LONG, evidence, float(length))


def test_braces_in_a_question_are_text() -> None:
    question = asked(1, "What is {context} of {x}?", ["{0}", "{"], "{question}", "{answer}")
    prompt = prompted(question, replace(question, id="2"), mode="thought")
    assert "Context: {question}\nQuestion: What is {context} of {x}?\nA. {0}\nB. {\n" in prompt.text
    assert "Thought: {answer}\nAnswer: A\n\nContext" in prompt.text


def test_a_cloze_shows_no_options_and_asks_for_their_texts() -> None:
    prompt = prompted(asked(0, "Why?", [" x\ny ", "z"]), asked(1, "How?", ["so", "z"]), mode="cloze")
    assert prompt.text == "Question: How?\nAnswer: so\n\nQuestion: Why?\nAnswer:"
    assert prompt.continuations == {"A": " x y", "B": " z"}


def test_lm_eval_keeps_blanks_and_strict_strips_them() -> None:
    question = asked(0, " Why? ", ["x ", "\ny"])
    assert prompted(question, protocol="lm-eval").text == "Question:  Why? \nA. x \nB. \ny\nAnswer:"
    assert prompted(question).text == f"{HEAD}Question: Why?\nA. x\nB. y\nAnswer:"


@pytest.mark.parametrize(
    ("task", "mode", "text"),
    [
        ("medqa-4", "letters", "Question: How?\nA. A\nB. y\nAnswer: A\n\nQuestion: Why?\nA. A\nB. y\nAnswer:"),
        (
            "medmcqa",
            "letters",
            "Question: How?\nChoices:\nA. A\nB. y\nAnswer: A\n\nQuestion: Why?\nChoices:\nA. A\nB. y\nAnswer:",
        ),
        ("pubmedqa", "letters", "Abstract: x\ny\nQuestion: How?\nAnswer: A\n\nAbstract: x\ny\nQuestion: Why?\nAnswer:"),
        (
            "mmlu-medical",
            "letters",
            "The following are multiple choice questions (with answers) about college biology.\n\n"
            "How?\nA. A\nB. y\nAnswer: A\n\nWhy?\nA. A\nB. y\nAnswer:",
        ),
        (
            "mmlu-medical",
            "cloze",
            "The following are questions (with answers) about college biology.\n\n"
            "Question: How?\nAnswer: A\n\nQuestion: Why?\nAnswer:",
        ),
        ("gsm8k", "answer", "Question: How?\nAnswer: It is so.\n#### A\n\nQuestion: Why?\nAnswer:"),
    ],
)
def test_the_prompts_of_lm_eval(task: str, mode: str, text: str) -> None:
    """As its own code writes them, at 4e7e0d47."""
    loaded = load_task(task)
    context = "x\ny" if task == "pubmedqa" else ""
    question, shot = (
        Question(loaded, task, said, said, {"A": "A", "B": "y"}, "A", context, "It is so.\n", "college_biology")
        for said in ("Why?", "How?")
    )
    way = BenchmarkSettings(task=task, protocol="lm-eval", mode=mode, shots=1)
    prompt = fit(question, [shot], load_protocol("lm-eval"), way, by_bytes, 10**6)
    assert isinstance(prompt, Prompt)
    assert prompt.text == text
    assert list(prompt.continuations.values()) == {"letters": [" A", " B"], "cloze": [" A", " y"], "answer": []}[mode]


def tagged(messages: Messages) -> str:
    return "".join(f"<{message['role']}>{message['content']}" for message in messages) + "<assistant>\n"


CHAT = Chat(tagged, frozenset({"<user>", "<assistant>"}))


def test_shots_become_turns_and_the_stem_begins_the_reply() -> None:
    prompt = prompted(asked(0, "Why?", ["x", "y"]), asked(1, "How?", ["x", "y"]), chat=CHAT)
    assert prompt.text == (
        "<system>Each question has one right option."
        "<user>Question: How?\nA. x\nB. y<assistant>Answer: A"
        "<user>Question: Why?\nA. x\nB. y<assistant>\nAnswer:"
    )
    assert prompt.continuations == {"A": " A", "B": " B"}


def test_a_chat_of_lm_eval_has_no_delimiter_and_gives_its_last_blanks_to_the_answer() -> None:
    prompt = prompted(asked(0, "Why?", ["x", "y"]), asked(1, "How?", ["x", "y"]), protocol="lm-eval", chat=CHAT)
    assert prompt.text == (
        "<user>Question: How?\nA. x\nB. y\nAnswer:<assistant>A<user>Question: Why?\nA. x\nB. y\nAnswer:<assistant>"
    )
    assert prompt.continuations == {"A": "\nA", "B": "\nB"}


def test_a_chat_does_not_ask_what_it_would_take_for_a_control_token() -> None:
    hostile, plain = asked(0, "Why <user> ?", ["x", "y"]), asked(1, "Why?", ["x", "y"])
    for question, shot in ((hostile, plain), (plain, hostile)):
        drop = fit(question, [shot], STRICT, chosen(shots=1), by_bytes, 10**6, CHAT)
        assert isinstance(drop, Drop)
        assert drop.reason is Reason.MALFORMED_QUESTION
    assert isinstance(fit(hostile, [], STRICT, chosen(), by_bytes, 10**6), Prompt), "it is text in a plain prompt"
    assert prompted(hostile, protocol="lm-eval", chat=CHAT).text.count("<user>") == 2, "lm-eval parses it"


def test_a_mode_that_cannot_ask_a_task_says_what_to_do() -> None:
    question = Question(load_task("gsm8k"), "gsm8k", "1", "How many?", answer="3")
    way = BenchmarkSettings(task="gsm8k")
    with pytest.raises(UserError, match="GSM8K: it has no options, as the mode letters needs; choose answer"):
        fit(question, [], STRICT, way, by_bytes, 99)


@given(QUESTIONS, st.integers(-9, 9))
def test_rotation_moves_texts_below_the_labels_and_the_answer_with_its_text(question: Question, places: int) -> None:
    moved = rotated(question, places)
    assert list(moved.options) == list(question.options)
    assert sorted(moved.options.values()) == sorted(question.options.values())
    assert moved.options[moved.answer] == question.options[question.answer]
    assert rotated(moved, -places) == question
    assert rotated(question, len(question.options)) == question


def test_rotation_changes_the_order_of_words() -> None:
    question = Question(TASK, "new", "1", "Why?", {"yes": "yes", "no": "no", "maybe": "maybe"}, "no")
    moved = rotated(question, 1)
    assert (list(moved.options.items()), moved.answer) == ([("no", "no"), ("maybe", "maybe"), ("yes", "yes")], "no")


def test_a_vote_asks_as_a_thought_does() -> None:
    protocol: Protocol = STRICT
    assert protocol.way(TASK, "vote") == protocol.way(TASK, "thought")
    assert prompted(asked(0, "Why?", ["x", "y"]), mode="vote").text.endswith("A. x\nB. y\nThought:")
