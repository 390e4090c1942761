"""Conversations as tokens, with the role and the loss of each token."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lake.error import UserError
from lake.marks import FORMAT_TOKENS
from mixing.tokenizer.chatml import CHAT_TOKENS, NAMES, Messages, Role
from mixing.tokenizer.tokenizer import Tokenizer, Tokens

# Some tokenizers encode the beginning of their input in another way. A message never is the beginning: `<|im_start|>`
# stands before it. `Tokenizer.encode` takes control tokens for text, so a format token stands in and is cut off after.
STAND_IN = FORMAT_TOKENS[0]


@dataclass(frozen=True)
class Chat:
    """A conversation in tokens, without end of document: three arrays of shape [tokens].

    `roles` are numbers of Role; `<|im_start|>`, `<|im_end|>` and line ends have the role of their message. `loss` is
    true where a model learns: in the text of an answer and at the `<|im_end|>` after it. A token that joins the line
    end before a text with its first characters counts as part of the text.
    """

    ids: Tokens
    roles: npt.NDArray[np.uint8]
    loss: npt.NDArray[np.bool_]


def check_end(tokenizer: Tokenizer) -> None:
    """Refuse a tokenizer that ends documents with a chat token.

    Raises:
        UserError: it does.
    """
    if tokenizer.end in CHAT_TOKENS:
        raise UserError(
            f"tokenizer.eos_token: {tokenizer.end} ends documents and frames messages, so no conversation fits in a "
            "document; set tokenizer.eos_token to another token, for instance <|endoftext|>"
        )


def encode(tokenizer: Tokenizer, conversations: Sequence[Messages]) -> list[Chat]:
    """The tokens of conversations as `render` writes them, with `<|im_start|>` and `<|im_end|>` as control tokens.

    The ids are those of the tokenizer's `chat_template`, with one exception. The string of a control token within a
    text stays plain text here, so that no question can end its message and begin another. The ids decode to what
    `render` gives; with SentencePiece, a space follows each control token.
    """
    heads = [f"{STAND_IN}{name}\n" for name in NAMES.values()]
    bodies = [f"{STAND_IN}{NAMES[role]}\n{text}" for messages in conversations for role, text in messages]
    line_end, *encoded = (ids[1:] for ids in tokenizer.encode([f"{STAND_IN}\n", *heads, *bodies]))
    head_of = dict(zip(NAMES, encoded, strict=False))
    texts = iter(encoded[len(heads) :])
    start, end = (np.array([tokenizer.backend.token_to_id(token)], line_end.dtype) for token in CHAT_TOKENS)
    chats = []
    for messages in conversations:
        ids: list[npt.NDArray[Any]] = []
        roles: list[npt.NDArray[np.uint8]] = []
        loss: list[npt.NDArray[np.bool_]] = []
        for role, _ in messages:
            body = next(texts)
            framed = np.concatenate([start, body, end, line_end])
            learnt = np.zeros(framed.size, np.bool_)
            if role is Role.ASSISTANT:
                learnt[1 + _common_prefix(head_of[role], body) : 1 + body.size + 1] = True
            ids.append(framed)
            roles.append(np.full(framed.size, role, np.uint8))
            loss.append(learnt)
        chats.append(Chat(np.concatenate(ids), np.concatenate(roles), np.concatenate(loss)))
    return chats


def _common_prefix(head: npt.NDArray[Any], body: npt.NDArray[Any]) -> int:
    """How many tokens the two have in common at their beginning."""
    size = min(head.size, body.size)
    differ = np.flatnonzero(head[:size] != body[:size])
    return int(differ[0]) if differ.size else size
