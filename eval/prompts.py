"""Prompts: a question as the text that a model continues, within its context."""

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from eval.questions import Question
from lake.decision import Drop, Reason

Encode = Callable[[str], Sequence[int]]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question as it is asked. With `cut`, its context was shortened."""

    question: Question
    text: str
    tokens: list[int]
    cut: bool


def fill(template: str, question: Question, context: str) -> str:
    """The zero-shot prompt. It ends without a blank; the answer is a blank and a label."""
    options = "\n".join(f"{label}. {text}" for label, text in question.options.items())
    return template.format(question=question.text, context=context, options=options).rstrip()


def ending(template: str) -> str:
    """The last line of every prompt of a template. The answer follows it."""
    return template.rstrip().rpartition("\n")[2]


def fit(template: str, question: Question, encode: Encode, room: int) -> Prompt | Drop:
    """The prompt in `room` tokens or fewer.

    A longer prompt loses as few words as needed from the end of its context. Question and options stay whole. A prompt
    that is too long even so, or would lose all of its context, is dropped.
    """

    def prompt(context: str) -> Prompt:
        text = fill(template, question, context)
        return Prompt(question, text, list(encode(text)), context != question.context)

    whole = prompt(question.context)
    if len(whole.tokens) <= room:
        return whole
    ends = [match.end() for match in re.finditer(r"\S+", question.context)]
    # The count grows with every word, except for merges across the cut, so bisection finds the longest that fits.
    kept = bisect_right(ends, room, key=lambda end: len(prompt(question.context[:end]).tokens))
    while kept:
        shorter = prompt(question.context[: ends[kept - 1]])
        if len(shorter.tokens) <= room:
            return shorter
        kept -= 1
    evidence = f"{len(whole.tokens)} tokens, the model takes {room}: {question.text}"
    return Drop(Reason.PROMPT_TOO_LONG, evidence, float(len(whole.tokens)))
