"""How many bytes of text each id stands for, so that losses per byte compare models with different tokenizers."""

import json
import re
from typing import Any

import numpy as np
import numpy.typing as npt

from mixing.tokenizer.plain import SPACE, plain
from mixing.tokenizer.tokenizer import Tokenizer

HIDDEN = "\x00"
"""`plain` puts it before the names of tokens that no text becomes."""

RAW_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


def token_bytes(tokenizer: Tokenizer) -> npt.NDArray[np.int64]:
    """The UTF-8 bytes that each id stands for: [vocab_size].

    Their sum over the ids of a text is its length in bytes, less characters that the tokenizer has no id for. A space
    that SentencePiece puts before a text counts. Ids that no text becomes, such as the end of a document, stand for
    none, and so does an unknown token.
    """
    parts: dict[str, Any] = json.loads(plain(tokenizer.backend.to_str()))
    model, vocabulary = parts["model"], parts["model"]["vocab"]
    # A Unigram model has rows of piece and score, in the order of their ids.
    rows = vocabulary.items() if isinstance(vocabulary, dict) else ((row[0], id_) for id_, row in enumerate(vocabulary))
    # In a byte-level vocabulary each character is one byte, whichever it shows.
    byte_level = '"ByteLevel"' in json.dumps([parts["pre_tokenizer"], parts["decoder"]])
    fallback = bool(model.get("byte_fallback"))
    sizes = np.zeros(tokenizer.vocab_size, np.int64)
    for piece, id_ in rows:
        sizes[id_] = len(piece) if byte_level else _size(piece, fallback)
    for token in parts["added_tokens"]:
        name = token["content"]
        sizes[token["id"]] = 0 if name.startswith(HIDDEN) or name == model.get("unk_token") else _size(name, False)
    return sizes


def _size(piece: str, fallback: bool) -> int:
    if fallback and RAW_BYTE.fullmatch(piece):
        return 1
    return len(piece.replace(SPACE, " ").encode())
