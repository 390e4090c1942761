"""Conversations as tokens, by the tokenizer's own chat template, with the role and the loss of each token.

A conversation is rendered once and its text is tokenized once. What a token belongs to follows from its characters.
Turns that are tokenized apart, or a mask found by searching the text for answers, would be wrong where a template trims
or a text repeats.

Which characters a message has is read from a shadow: the same template renders each message as a text of the same
length, in which a private character stands for each character that is no blank, and BLANK for each that is. So a
template trims both alike, and what is a control token in the shadow was written by the template, never by a text.
"""

import datetime
import json
import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Self

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox
import numpy as np
import numpy.typing as npt

from lake.decision import Reason, RecordError
from lake.error import UserError
from lake.marks import FORMAT_TOKENS
from mixing.tokenizer.chatml import Message, Messages, Role
from mixing.tokenizer.kept import TEMPLATE
from mixing.tokenizer.tokenizer import Tokenizer, Tokens

NAMES = {Role.SYSTEM: "system", Role.PROMPTER: "user", Role.ASSISTANT: "assistant"}
"""What every template calls the roles."""

DAY = datetime.datetime(2024, 7, 26)
"""The day that a template writes, for equal bytes on all days. Llama 3.1's takes this one where it has no clock."""

STAND_IN = FORMAT_TOKENS[0]
"""Stands for the control token before a text and is cut off after: some tokenizers encode a beginning otherwise."""

BLANK = "\u2003"
FIRST_MARK, MARKS = 0xF0000, 0xFFFE
"""The private characters of plane 15, one for each message."""

MESSAGE = re.compile(f"{BLANK}*([{chr(FIRST_MARK)}-{chr(FIRST_MARK + MARKS - 1)}])(?:\\1|{BLANK})*")
BLANKS = re.compile(r"\s*")

PROBE = (Message(Role.PROMPTER, "question"), Message(Role.ASSISTANT, "answer"))


@dataclass(frozen=True)
class ChatTokens:
    """A conversation in tokens, without end of document: three arrays of shape [tokens].

    `roles` are numbers of Role. What a template writes after a text, up to its first control token and the blanks after
    that, has the role of that message; what follows has that of the next. `loss` is true where a model learns: in the
    text of an answer, and in what ends its turn. A token that joins the characters before an answer with its first ones
    counts as part of it.
    """

    ids: Tokens
    roles: npt.NDArray[np.uint8]
    loss: npt.NDArray[np.bool_]

    def __getitem__(self, tokens: slice) -> "ChatTokens":
        return ChatTokens(self.ids[tokens], self.roles[tokens], self.loss[tokens])


class Span(NamedTuple):
    """The characters of a message in the rendered text, and whether it is to be learned."""

    role: Role
    start: int
    end: int
    learned: bool


class Piece(NamedTuple):
    """A stretch of the rendered text, `start` to `end`. A control token has an id, and its `own` characters are fewer
    where it swallows the blanks beside it."""

    start: int
    end: int
    control: int | None = None
    own: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class ChatTemplate:
    """A chat template in Jinja, with the tokenizer for its text. `variables` are those of transformers: bos_token, ….

    Raises:
        UserError: it is not Jinja, refuses a question with its answer, or writes no control token after an answer, so
            that a model would never learn to end its turn.
    """

    tokenizer: Tokenizer
    source: str
    variables: Mapping[str, str]

    def __post_init__(self) -> None:
        try:
            self.encode(PROBE)
        except jinja2.TemplateSyntaxError as error:
            raise UserError(f"chat_template: not Jinja: line {error.lineno}: {error.message}; mend it") from None
        except RecordError as error:
            raise UserError(f"chat_template: it fails at a question with its answer: {error}; give another") from None

    @classmethod
    def of(cls, tokenizer: Tokenizer, settings: Mapping[str, Any]) -> Self:
        """The template in the settings of a tokenizer's folder (mixing/tokenizer/kept.py, `settings_of`).

        Raises:
            UserError: as the class, or there is no template.
        """
        found = settings.get(TEMPLATE)
        if isinstance(found, list):
            found = {named["name"]: named["template"] for named in found}.get("default")
        if not isinstance(found, str):
            raise UserError("chat_template: the tokenizer's folder has none; add a chat_template.jinja")
        tokens = {name: settings[name] for name in ("bos_token", "unk_token") if settings.get(name) is not None}
        strings = {name: token["content"] if isinstance(token, dict) else token for name, token in tokens.items()}
        return cls(tokenizer, found, strings | {"eos_token": tokenizer.end, "pad_token": tokenizer.padding})

    def encode(self, messages: Messages) -> ChatTokens:
        """The tokens of a conversation.

        The ids are those of `transformers.apply_chat_template` but for one thing: the string of a control token within
        a text stays plain text (mixing/tokenizer/plain.py), so that no question can end its turn and begin another.

        Raises:
            RecordError: the template refuses the conversation, or changes its texts.
            UserError: the template writes no control token after an answer.
        """
        text, shadow = self.render(messages), self.render(_shadows(messages))
        spans = _spans(messages, text, shadow)
        pieces = list(self._pieces(shadow))
        ids, places = self._tokens(text, pieces)
        starts, ends = places[:, 0], np.maximum(places[:, 1], places[:, 0] + 1)
        controls = [piece.own for piece in pieces if piece.control is not None]
        openings = [start for start, _ in controls]
        learnt = np.zeros(ids.size, np.bool_)
        turns = []
        for span, following in zip(spans, [*(span.start for span in spans[1:]), len(text)], strict=True):
            place = bisect_left(openings, span.end)
            closing = controls[place][1] if place < len(controls) and openings[place] < following else None
            if span.role is Role.ASSISTANT:
                if closing is None:
                    raise UserError(
                        "chat_template: it writes no control token after an answer, so a model would never learn to "
                        "stop; end the assistant's turn with eos_token or another added token of the tokenizer"
                    )
                learnt[np.searchsorted(ends, span.start, side="right") : np.searchsorted(starts, closing)] = (
                    span.learned
                )
            turns.append(following if closing is None else min(following, _after_blanks(shadow, closing)))
        speaker = np.searchsorted(turns[:-1], starts, side="right")
        return ChatTokens(ids, np.array([span.role for span in spans], np.uint8)[speaker], learnt)

    @cached_property
    def turn_end(self) -> int:
        """The id of the control token that ends an answer."""
        chat = self.encode(PROBE)
        return int(chat.ids[chat.loss][-1])

    def render(self, messages: Messages) -> str:
        """The text of a conversation.

        Raises:
            RecordError: the template refuses it.
        """
        listed = [{"role": NAMES[role], "content": text} for role, text, _ in messages]
        given = {"tools": None, "documents": None, "add_generation_prompt": False, **self.variables}
        try:
            return self._compiled.render(messages=listed, **given)
        except jinja2.TemplateSyntaxError:
            raise
        except Exception as error:  # noqa: BLE001 - the code of a template may raise anything
            raise RecordError(Reason.REFUSED_BY_TEMPLATE, f"the chat template says: {error}") from None

    @cached_property
    def _compiled(self) -> jinja2.Template:
        """As transformers compiles it, but for the day."""
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"]
        )
        environment.filters["tojson"] = _json
        environment.globals |= {"raise_exception": _refuse, "strftime_now": DAY.strftime}
        return environment.from_string(self.source)

    @cached_property
    def _controls(self) -> tuple[re.Pattern[str], dict[str, tuple[int, bool, bool]]]:
        """What finds the longest control token at a place, and each one's id and whether it swallows blanks before and
        after it. Marks of the format and blanks are plain text."""
        found = {}
        words = []
        added = self.tokenizer.backend.get_added_tokens_decoder()
        for number, token in sorted(added.items(), key=lambda item: -len(item[1].content)):
            if token.content not in FORMAT_TOKENS and token.content.strip():
                found[token.content] = number, token.lstrip, token.rstrip
                word = re.escape(token.content)
                words.append(rf"(?<!\w){word}(?!\w)" if token.single_word else word)
        return re.compile("|".join(words)), found

    def _pieces(self, shadow: str) -> Iterator[Piece]:
        pattern, controls = self._controls
        done = 0
        for match in pattern.finditer(shadow):
            (start, end), (number, left, right) = match.span(), controls[match[0]]
            while left and start > done and shadow[start - 1].isspace():
                start -= 1
            if done < start:
                yield Piece(done, start)
            done = _after_blanks(shadow, end) if right else end
            yield Piece(start, done, number, match.span())
        if done < len(shadow):
            yield Piece(done, len(shadow))

    def _tokens(self, text: str, pieces: Sequence[Piece]) -> tuple[Tokens, npt.NDArray[np.int64]]:
        """The ids, and the characters of each in the text: [tokens] and [tokens, 2]."""
        plain = [piece for piece in pieces if piece.control is None]
        texts = [STAND_IN * (piece.start > 0) + text[piece.start : piece.end] for piece in plain]
        encoded = iter(self.tokenizer.encode_with_places(texts))
        ids, places = [], []
        for piece in pieces:
            if piece.control is not None:
                ids.append(np.array([piece.control], np.int64))
                places.append(np.array([piece.own], np.int64))
                continue
            own, where = next(encoded)
            cut = int(piece.start > 0)
            ids.append(own[cut:].astype(np.int64))
            places.append(where[cut:] - cut * len(STAND_IN) + piece.start)
        return np.concatenate(ids), np.concatenate(places)


class Generation(jinja2.ext.Extension):
    """Takes the tags by which a template may mark answers for transformers; they write nothing."""

    tags: set[str] = {"generation"}  # noqa: RUF012 - Jinja wants a set

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _json(value: Any, ensure_ascii: bool = False, **layout: Any) -> str:
    """Without Jinja's escapes of HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, **layout)


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)


def _after_blanks(text: str, place: int) -> int:
    match = BLANKS.match(text, place)
    assert match is not None
    return match.end()


def _shadows(messages: Messages) -> list[Message]:
    """Raises RecordError where there are more messages than MARKS."""
    if len(messages) > MARKS:
        raise RecordError(Reason.TOO_LARGE, f"{len(messages):,} messages, {MARKS:,} are the most")
    return [
        Message(role, re.sub(f"[^{BLANK}]", chr(FIRST_MARK + number), re.sub(r"\s", BLANK, text)))
        for number, (role, text, _) in enumerate(messages)
    ]


def _spans(messages: Messages, text: str, shadow: str) -> list[Span]:
    """The characters of each message, in the template's order.

    Raises:
        RecordError: the template leaves out a message, repeats or changes one, or looks into the texts.
    """
    found = [(ord(match[1]) - FIRST_MARK, *match.span()) for match in MESSAGE.finditer(shadow)]
    whole = MESSAGE.sub(lambda match: text[slice(*match.span())], shadow) == text
    if sorted(number for number, *_ in found) != list(range(len(messages))) or not whole:
        raise RecordError(Reason.CHANGED_BY_TEMPLATE, "the chat template leaves out, repeats or changes a message")
    for number, start, end in found:
        if text[start:end].strip() != messages[number].text.strip():
            changed = f"{messages[number].text!r:.80} to {text[start:end]!r:.80}"
            raise RecordError(Reason.CHANGED_BY_TEMPLATE, f"the chat template changes {changed}")
    return [Span(messages[number].role, start, end, messages[number].learned) for number, start, end in found]
