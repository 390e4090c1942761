"""Prompts: a question as the text that a model continues, with solved questions before it, within the model's room."""

import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from eval.protocol import OF_OPTIONS, Protocol, Way
from eval.questions import Question
from eval.settings import BenchmarkSettings
from eval.wording import fill, split
from lake import bundled
from lake.decision import Drop, Reason

Encode = Callable[[str], Sequence[int]]
"""The ids of a text, by the model's tokenizer and its rule for the beginning of a sequence."""

Messages = list[dict[str, str]]
"""Of a chat: `role` (system, user, assistant) and `content`."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question as it is asked.

    `shots` has the ids of the solved questions in their order, and `shots_cut` counts those for which there was no
    room. With `context_cut` the context lost its end. `continuations` has by label the text whose log-probability is
    asked for; it is empty where the model writes.
    """

    question: Question
    text: str
    tokens: list[int]
    shots: tuple[str, ...]
    shots_cut: int
    context_cut: bool
    continuations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Chat:
    """How a model is talked to.

    `render` writes messages and the beginning of the model's turn. `control` has the strings that the encoder of chats
    takes for control tokens, also where they stand in a question.
    """

    render: Callable[[Messages], str]
    control: frozenset[str] = frozenset()


def rotated(question: Question, places: int) -> Question:
    """The question with its options moved up by `places`; the first follow the last. Labels keep their order.

    Labels that are themselves the options, as yes and no are, change their order.
    """
    labels, texts = list(question.options), list(question.options.values())
    if not labels:
        return question
    places %= len(labels)
    moved = [*texts[places:], *texts[:places]]
    if _is_words(question.options):
        return replace(question, options=dict(zip(moved, moved, strict=True)))
    answer = labels[(labels.index(question.answer) - places) % len(labels)]
    return replace(question, options=dict(zip(labels, moved, strict=True)), answer=answer)


def _is_words(options: Mapping[str, str]) -> bool:
    """Whether labels are themselves the options. Letters are not: a question about a figure has the option “A. A”."""
    return all(label == text and len(label) > 1 for label, text in options.items())


def fit(
    question: Question,
    shots: Sequence[Question],
    protocol: Protocol,
    settings: BenchmarkSettings,
    encode: Encode,
    room: int,
    chat: Chat | None = None,
) -> Prompt | Drop:
    """The prompt in `room` tokens or fewer, which leave enough for the answer.

    A longer prompt loses whole shots, the first ones first, and then as few words as needed from the end of its
    context. Instruction, question and options stay whole. A prompt that is too long even so, or would lose all of its
    context, is dropped; so is one whose text a chat would take for a control token.

    Raises:
        UserError: the protocol has no way to ask this.
    """
    form = Form.of(protocol, settings, question)
    if chat and protocol.control_tokens == "text" and (token := form.control_token((*shots, question), chat)):
        return Drop(Reason.MALFORMED_QUESTION, f"a chat takes {token} in it for a control token: {question.text}")

    def prompt(cut: int, context: str) -> Prompt:
        text, continuations = form.prompt(replace(question, context=context), shots[cut:], chat)
        ids = tuple(shot.id for shot in shots[cut:])
        tokens = list(encode(text))
        return Prompt(question, text, tokens, ids, cut, context != question.context, continuations)

    whole = prompt(0, question.context)
    for cut in range(len(shots) + 1):
        shorter = prompt(cut, question.context) if cut else whole
        if len(shorter.tokens) <= room:
            return shorter
    ends = [match.end() for match in re.finditer(r"\S+", question.context)]
    # The count grows with every word, except for merges across the cut, so bisection finds the longest that fits.
    kept = bisect_right(ends, room, key=lambda end: len(prompt(len(shots), question.context[:end]).tokens))
    while kept:
        shorter = prompt(len(shots), question.context[: ends[kept - 1]])
        if len(shorter.tokens) <= room:
            return shorter
        kept -= 1
    least = len(prompt(len(shots), question.context).tokens)
    evidence = f"{least} tokens, the model takes {room}: {question.text}"
    return Drop(Reason.PROMPT_TOO_LONG, evidence, float(least))


@dataclass(frozen=True, slots=True)
class Form:
    """The template and the way for a question's task: `head` is said once, `body` is the form of each question."""

    protocol: Protocol
    way: Way
    mode: str
    head: str
    body: str

    @classmethod
    def of(cls, protocol: Protocol, settings: BenchmarkSettings, question: Question) -> "Form":
        """Raises UserError if the protocol has no way to ask this."""
        name, task = bundled.tag(settings.protocol), question.task
        head, _, body = split(protocol.template(name, task, settings.mode))
        return cls(protocol, protocol.way(task, settings.mode), settings.mode, head, body)

    def prompt(self, question: Question, shots: Sequence[Question], chat: Chat | None) -> tuple[str, dict[str, str]]:
        """The text, and by label the text that may follow it."""
        text, before = self._talk(question, shots, chat) if chat else self._text(question, shots)
        if self.mode not in OF_OPTIONS:
            return text, {}
        end = len(text.rstrip()) if self.protocol.blanks == "moved" else len(text)
        following = {label: text[end:] + before + self._said(label, question) for label in question.options}
        return text[:end], following

    def control_token(self, questions: Sequence[Question], chat: Chat) -> str | None:
        """A control token of a chat in what the questions say."""
        said = "\n".join(f"{self._asked(one)}\n{self._solution(one)}" for one in questions)
        return next((token for token in sorted(chat.control) if token in said), None)

    def _text(self, question: Question, shots: Sequence[Question]) -> tuple[str, str]:
        """The prompt as plain text, and what stands between it and an answer."""
        protocol = self.protocol
        solved = (f"{self._led(shot)}{protocol.delimiter}{self._solution(shot)}{protocol.separator}" for shot in shots)
        return f"{self._head(question)}{''.join(solved)}{self._led(question)}", protocol.delimiter

    def _talk(self, question: Question, shots: Sequence[Question], chat: Chat) -> tuple[str, str]:
        """The prompt as a chat, in which each shot is a turn, and what stands between it and an answer."""
        messages = self._opening(question)
        for shot in shots:
            messages += self._turn(shot)
        messages += self._turn(question)[:1]
        return chat.render(messages) + (self.way.reply or ""), self.protocol.delimiter if self.way.reply else ""

    def solved(self, question: Question) -> Messages:
        """A question with its answer, as a chat shows a shot: what to train on, to be asked it in a chat."""
        return [*self._opening(question), *self._turn(question)]

    def _opening(self, question: Question) -> Messages:
        head = self._head(question)
        head = head.strip() if self.protocol.strip else head
        return [{"role": "system", "content": head}] if head else []

    def _turn(self, shot: Question) -> Messages:
        """A question and its answer, which begins as the model's turn does."""
        reply, ask = self.way.reply, self._led if self.way.reply is None else self._asked
        before = f"{reply}{self.protocol.delimiter}" if reply else ""
        return [
            {"role": "user", "content": ask(shot)},
            {"role": "assistant", "content": before + self._solution(shot)},
        ]

    def _head(self, question: Question) -> str:
        return fill(self.head, self._values(question))

    def _led(self, question: Question) -> str:
        """A question with the stem that leads to its answer."""
        return "\n".join(filter(None, (self._asked(question), self.way.stem)))

    def _asked(self, question: Question) -> str:
        return fill(self.body, self._values(question))

    def _values(self, question: Question) -> dict[str, str]:
        option = "{label}" if _is_words(question.options) else self.protocol.option
        options = [option.format(label=label, text=self._one_line(text)) for label, text in question.options.items()]
        group = question.group.replace("_", " ")
        fields = {"question": question.text, "context": question.context, "group": group}
        if self.protocol.strip:
            fields = {name: text.strip() for name, text in fields.items()}
        return fields | {"options": "\n".join(options), "ask": self.way.ask}

    def _solution(self, question: Question) -> str:
        """How a solved question is answered."""
        answer = self._said(question.answer, question) or "none"
        return self.way.shot.format(answer=answer, explanation=question.explanation.strip())

    def _said(self, label: str, question: Question) -> str:
        """An answer as it is said: the option's text in a cloze, else the label."""
        if self.mode != "cloze":
            return label
        return self._one_line(question.options[label])

    def _one_line(self, option: str) -> str:
        return " ".join(option.split()) if self.protocol.strip else option
