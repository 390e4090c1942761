"""Prompts are never longer than their room and never without the question and its options."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.prompts import Prompt, ending, fill, fit
from eval.questions import Question
from eval.task import load_task
from lake.decision import Drop, Reason

TEMPLATE = "Abstract: {context}\n\nQuestion: {question}\n{options}\nAnswer:\n"
WORD = st.text(st.sampled_from("abcé{}%$1.漢"), min_size=1, max_size=6)
SENTENCE = st.lists(WORD, min_size=1, max_size=12).map(" ".join)
CONTEXT = st.lists(st.tuples(WORD, st.sampled_from([" ", "\n", "  ", "\t"])), max_size=60).map(
    lambda pairs: "".join(word + blank for word, blank in pairs).strip()
)


def by_bytes(text: str) -> list[int]:
    """A token per byte, which gives the longest prompts."""
    return list(text.encode())


def by_words(text: str) -> list[int]:
    """A token per word."""
    return [len(word) for word in text.split()]


def by_odd_pieces(text: str) -> list[int]:
    """A number of tokens that sometimes shrinks when text is added, as with tokenizers that merge."""
    return [0] * (len(text) // 3 + (7 if len(text) % 5 == 0 else 0))


QUESTIONS = st.builds(
    lambda text, options, context: Question("new", "1", text, dict(zip("ABCD", options, strict=False)), "A", context),
    SENTENCE,
    st.lists(SENTENCE, min_size=2, max_size=4),
    CONTEXT,
)


@given(QUESTIONS, st.integers(0, 500), st.sampled_from([by_bytes, by_words, by_odd_pieces]))
def test_a_prompt_never_exceeds_its_room_and_keeps_question_and_options(question, room, encode) -> None:  # type: ignore[no-untyped-def]
    prompt = fit(TEMPLATE, question, encode, room)
    whole = fill(TEMPLATE, question, question.context)
    if isinstance(prompt, Drop):
        assert prompt.reason is Reason.PROMPT_TOO_LONG
        assert prompt.score == len(encode(whole)) > room
        return
    assert len(prompt.tokens) <= room
    assert prompt.tokens == encode(prompt.text)
    assert prompt.cut == (prompt.text != whole)
    assert prompt.cut == (len(encode(whole)) > room)
    options = "\n".join(f"{label}. {text}" for label, text in question.options.items())
    tail = f"\n\nQuestion: {question.text}\n{options}\nAnswer:"
    assert prompt.text.startswith("Abstract: ")
    assert prompt.text.endswith(tail)
    kept = prompt.text.removeprefix("Abstract: ").removesuffix(tail)
    assert question.context.startswith(kept)
    assert bool(kept) == bool(question.context)
    assert kept.split() == question.context.split()[: len(kept.split())], "whole words are left"


@given(QUESTIONS, st.integers(0, 500), st.sampled_from([by_bytes, by_words]))
def test_no_more_words_are_cut_than_needed(question: Question, room: int, encode) -> None:  # type: ignore[no-untyped-def]
    words = question.context.split()
    question = Question("new", "1", question.text, question.options, "A", " ".join(words))
    longest = max(
        (n for n in range(1, len(words) + 1) if len(encode(fill(TEMPLATE, question, " ".join(words[:n])))) <= room),
        default=0,
    )
    prompt = fit(TEMPLATE, question, encode, room)
    if words:
        assert isinstance(prompt, Prompt) == bool(longest)
    if isinstance(prompt, Prompt):
        assert prompt.text == fill(TEMPLATE, question, " ".join(words[:longest]))


def test_a_question_without_context_is_not_cut_but_dropped() -> None:
    question = Question("new", "1", "Why so long?", {"A": "because", "B": "so"}, "A")
    template = "{question}\n{options}\nAnswer:"
    text = "Why so long?\nA. because\nB. so\nAnswer:"
    assert fit(template, question, by_bytes, len(text)) == Prompt(question, text, by_bytes(text), False)
    drop = fit(template, question, by_bytes, len(text) - 1)
    assert drop == Drop(Reason.PROMPT_TOO_LONG, "37 tokens, the model takes 36: Why so long?", 37.0)


def test_braces_in_a_question_are_text() -> None:
    question = Question("new", "1", "What is {context} of {x}?", {"A": "{0}", "B": "{"}, "A", "{question}")
    assert fill(TEMPLATE, question, question.context) == (
        "Abstract: {question}\n\nQuestion: What is {context} of {x}?\nA. {0}\nB. {\nAnswer:"
    )


@pytest.mark.parametrize("task", ["pubmedqa", "medmcqa", "mmlu-medical"])
def test_the_prompts_of_real_tasks_end_as_their_labels_expect(task: str) -> None:
    template = load_task(task).prompt
    question = Question(task, "1", "Why?", {"A": "x", "B": "y"}, "A", "Because.")
    assert fill(template, question, question.context).endswith(f"\n{ending(template)}")
