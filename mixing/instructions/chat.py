"""ChatML: messages as one string, as tokens, and as the role and the loss of each token."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lake.error import UserError
from mixing.tokenizer import CHAT_TOKENS, FORMAT_TOKENS, Tokenizer, Tokens


class Role(IntEnum):
    """Who speaks, as a role dataset numbers it. The first three are the reference's; END is the end of a document."""

    SYSTEM = 0
    PROMPTER = 1
    ASSISTANT = 2
    END = 3


NAMES = {Role.SYSTEM: "system", Role.PROMPTER: "question", Role.ASSISTANT: "answer"}
"""What stands behind `<|im_start|>`."""

# Some tokenizers treat the beginning of their input apart. A message never is the beginning: a control token comes
# before it, which cannot be in what `Tokenizer.encode` is given. Another token stands in for it and is taken off again.
FIRST = FORMAT_TOKENS[0]


class Message(NamedTuple):
    role: Role
    text: str


Messages = Sequence[Message]


@dataclass(frozen=True)
class Chat:
    """A conversation in tokens, without end of document: arrays of one shape, [tokens].

    `roles` are numbers of Role: all tokens of a message, its frame included, have the message's. `loss` is true where
    a model learns: in the text of an answer and at the `<|im_end|>` after it. A token that joins the line end before
    the text with its first characters is of the text.
    """

    ids: Tokens
    roles: npt.NDArray[np.uint8]
    loss: npt.NDArray[np.bool_]


def render(messages: Messages) -> str:
    """The string that a model is shown, with the end of the last message and its line."""
    start, end = CHAT_TOKENS
    return "".join(f"{start}{NAMES[role]}\n{text}{end}\n" for role, text in messages)


def check_end(tokenizer: Tokenizer) -> None:
    """Refuse a tokenizer with which an end of message would end the document.

    Raises:
        UserError: the two are one token.
    """
    if tokenizer.end in CHAT_TOKENS:
        raise UserError(
            f"tokenizer.eos_token: {tokenizer.end} ends documents and frames messages, so no conversation fits in a "
            "document; set tokenizer.eos_token to another token, for instance <|endoftext|>"
        )


def encode(tokenizer: Tokenizer, chats: Sequence[Messages]) -> list[Chat]:
    """The tokens of conversations: those of `render`, with the frames as control tokens.

    They are the ids that the tokenizer's `chat_template` gives, but where a text holds the string of a control token:
    here it is plain text, so that no question can end its message and begin another.
    They decode to `render`; with SentencePiece's ▁ before every piece of text, to that with a space after each token of
    a frame.
    """
    heads = [f"{FIRST}{name}\n" for name in NAMES.values()]
    bodies = [f"{FIRST}{NAMES[role]}\n{text}" for messages in chats for role, text in messages]
    line_end, *encoded = (ids[1:] for ids in tokenizer.encode([f"{FIRST}\n", *heads, *bodies]))
    head_of = dict(zip(NAMES, encoded, strict=False))
    texts = iter(encoded[len(heads) :])
    start, end = (np.array([tokenizer.backend.token_to_id(token)], line_end.dtype) for token in CHAT_TOKENS)
    found = []
    for messages in chats:
        ids: list[npt.NDArray[Any]] = []
        roles: list[npt.NDArray[np.uint8]] = []
        loss: list[npt.NDArray[np.bool_]] = []
        for role, _ in messages:
            body = next(texts)
            framed = np.concatenate([start, body, end, line_end])
            learnt = np.zeros(framed.size, np.bool_)
            if role is Role.ASSISTANT:
                learnt[1 + _shared(head_of[role], body) : 1 + body.size + 1] = True
            ids.append(framed)
            roles.append(np.full(framed.size, role, np.uint8))
            loss.append(learnt)
        found.append(Chat(np.concatenate(ids), np.concatenate(roles), np.concatenate(loss)))
    return found


def _shared(head: npt.NDArray[Any], body: npt.NDArray[Any]) -> int:
    """How many tokens at the beginning of the two are equal."""
    size = min(head.size, body.size)
    differ = np.flatnonzero(head[:size] != body[:size])
    return int(differ[0]) if differ.size else size
