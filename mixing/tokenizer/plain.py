"""How text becomes ids: one rule for documents, evaluation prompts and training conversations.

Text is untrusted, so its strings are plain text. Only FORMAT_TOKENS in it become ids of their own. The string of any
other added token, such as `<|endoftext|>`, `<s>`, `<think>` or `<|fim_prefix|>`, is encoded as the characters that it
is, whether or not the tokenizer calls it special and whether or not the vocabulary has it too. The two exceptions are
plain text themselves: added tokens of blanks, and those that the merges of the vocabulary make, too. Nothing is put
before or after a text: neither BOS nor EOS, whatever the template of an adopted tokenizer says.

Who needs a control id puts it there as an id: the end of a document (mixing/shards), the frame of a message
(mixing/instructions/template).
"""

import json
from typing import Any

import tokenizers

from lake.marks import FORMAT_TOKENS

SPACE = "▁"
"""Every piece of SentencePiece holds this character for a space."""


def plain(content: str) -> str:
    """The JSON of a tokenizer with the same ids, in which no text holds the names of added tokens but FORMAT_TOKENS.

    Encode with `encode_special_tokens`. Hiding names is needed, for that setting knows only tokens that are called
    special, hides format tokens that begin within another token, and stops no Unigram or word model from finding
    `</s>` in its vocabulary.
    """
    tokenizer: dict[str, Any] = json.loads(content)
    model = tokenizer["model"]
    merged = {"".join(pair.split(" ") if isinstance(pair, str) else pair) for pair in model.get("merges") or ()}
    hidden: dict[str, str] = {}
    for token in tokenizer["added_tokens"]:
        name = token["content"]
        if name in FORMAT_TOKENS:
            token |= dict.fromkeys(("special", "normalized", "lstrip", "rstrip", "single_word"), False)
        elif name.replace(SPACE, " ").strip():
            token["special"] = True
            if name not in merged:
                token["content"] = hidden[name] = f"\x00{token['id']}\x00{name}\x00"
    vocabulary = model.get("vocab")
    if isinstance(vocabulary, dict):
        model["vocab"] = {hidden.get(piece, piece): number for piece, number in vocabulary.items()}
    elif vocabulary is not None:
        model["vocab"] = [[hidden.get(piece, piece), score] for piece, score in vocabulary]
    if model.get("unk_token") is not None:
        model["unk_token"] = hidden.get(model["unk_token"], model["unk_token"])
    tokenizer["post_processor"] = None
    return json.dumps(tokenizer, ensure_ascii=False)


def without_template(backend: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """The tokenizer without what its template adds to every text, for those who use the folder elsewhere."""
    if backend.num_special_tokens_to_add(is_pair=False) == 0:
        return backend
    return tokenizers.Tokenizer.from_str(json.dumps(json.loads(backend.to_str()) | {"post_processor": None}))
