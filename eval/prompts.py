"""From a question to the text the model continues, within the model's context."""

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from eval.questions import Question
from lake.decision import Drop, Reason

Encode = Callable[[str], Sequence[int]]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question as it is asked. `cut`: its context had to be shortened."""

    question: Question
    text: str
    tokens: list[int]
    cut: bool


def fill(template: str, question: Question, context: str) -> str:
    """The zero-shot prompt; it ends without a blank, and the answer follows as a blank and a label."""
    options = "\n".join(f"{label}. {text}" for label, text in question.options.items())
    return template.format(question=question.text, context=context, options=options).rstrip()


def ending(template: str) -> str:
    """The last line of every prompt of a template, which the answer follows."""
    return template.rstrip().rpartition("\n")[2]


def fit(template: str, question: Question, encode: Encode, room: int) -> Prompt | Drop:
    """The prompt in at most `room` tokens.

    Where it is longer, its context loses words from its end, as few as needed; question and options stay whole. What
    is still too long, or would lose all of its context, is dropped.
    """

    def prompt(context: str) -> Prompt:
        text = fill(template, question, context)
        return Prompt(question, text, list(encode(text)), context != question.context)

    whole = prompt(question.context)
    if len(whole.tokens) <= room:
        return whole
    ends = [match.end() for match in re.finditer(r"\S+", question.context)]
    # The count grows with every word but for merges across a cut, so the longest that fits is found by halving.
    kept = bisect_right(ends, room, key=lambda end: len(prompt(question.context[:end]).tokens))
    while kept:
        shorter = prompt(question.context[: ends[kept - 1]])
        if len(shorter.tokens) <= room:
            return shorter
        kept -= 1
    evidence = f"{len(whole.tokens)} tokens, the model takes {room}: {question.text}"
    return Drop(Reason.PROMPT_TOO_LONG, evidence, float(len(whole.tokens)))
