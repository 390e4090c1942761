"""The tokenizer as a Hugging Face folder: load and save it, encode and decode text with it."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import tokenizers

from lake.dataset import Output
from lake.error import UserError
from lake.marks import FORMAT_TOKENS
from mixing.shards import token_type
from mixing.tokenizer.chatml import CHAT_TEMPLATE
from mixing.tokenizer.encoder import Encoder

JSON, CONFIG = "tokenizer.json", "tokenizer_config.json"
FOLDER = "tokenizer"
"""The folder's name within the output of the tokenizer step."""

Tokens = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Tokenizer:
    """A Rust tokenizer with the ids that Megatron needs. `end` and `padding` are the strings of those two tokens.

    Documents are untrusted text, so `encode` parses only FORMAT_TOKENS in it. The string of any other added token in a
    text, such as `<|endoftext|>` or `<think>`, is encoded as plain characters and decodes to them again
    (mixing/tokenizer/plain.py has the rule).
    """

    backend: tokenizers.Tokenizer = field(repr=False)
    end: str
    padding: str

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the folder that `save` wrote.

        Raises:
            UserError: a file is missing or broken.
        """
        try:
            config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
            backend = tokenizers.Tokenizer.from_str((folder / JSON).read_text(encoding="utf-8"))
            return cls(backend, config["eos_token"], config["pad_token"])
        except FileNotFoundError as error:
            raise UserError(f"{folder}: no {Path(error.filename).name}; run the tokenizer step again") from None
        except Exception as error:  # noqa: BLE001 - tokenizers raises a bare Exception at a broken file
            fault = " ".join(f"{type(error).__name__} {error}".split())
            raise UserError(f"{folder}: not a tokenizer that the tokenizer step wrote: {fault}") from None

    @classmethod
    def of(cls, step: Output) -> Self:
        """Read the tokenizer from the output of the tokenizer step, which may be on object storage.

        Raises:
            UserError: as `load`.
        """
        with step.local_copy(FOLDER) as folder:
            return cls.load(folder)

    def files(self) -> dict[str, bytes]:
        """The folder's files by name, for AutoTokenizer and vLLM. JSON comes last and marks the folder as whole."""
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": self.end,
            "pad_token": self.padding,
            "clean_up_tokenization_spaces": False,
            "chat_template": CHAT_TEMPLATE,
        }
        return {CONFIG: json.dumps(config, indent=1, ensure_ascii=False).encode() + b"\n", JSON: self._json}

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in self.files().items():
            (folder / name).write_bytes(data)

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """The ids of each text, without begin or end of document: uint16 for a vocabulary below 65,500, else int32.

        The end-of-document id never occurs: where a tokenizer maps unknown characters to it, they are dropped.
        """
        flat, bounds = self.encoder.encode(texts)
        tokens: Tokens = flat.astype(token_type(self.vocab_size))
        encoded: list[Tokens] = [tokens[start:stop] for start, stop in pairwise(bounds.tolist())]
        if not (tokens == self.eod).any():
            return encoded
        return [ids[ids != self.eod] for ids in encoded]

    def encode_with_places(self, texts: Sequence[str]) -> list[tuple[Tokens, npt.NDArray[np.int64]]]:
        """As `encode`, and the first character of each id in its text and the one after its last: [tokens, 2].

        Several ids of one character all have its place. The space that SentencePiece puts before a text may have an
        empty one.
        """
        kind = token_type(self.vocab_size)
        return [
            (ids[ids != self.eod].astype(kind), places[ids != self.eod])
            for ids, places in self.encoder.encode_with_places(texts)
        ]

    def decode(self, ids: npt.NDArray[Any] | Sequence[int]) -> str:
        """The text of `ids`, special tokens included. Inverse of `encode` for a tokenizer that has all 256 bytes.

        Some SentencePiece models put a space before every text between format tokens, others only before the first.
        Where the model does the former, the texts are decoded one by one, so that each loses its space.
        """
        tokens = np.asarray(ids, dtype=np.int64)
        marks = np.flatnonzero(np.isin(tokens, self._format_ids)).tolist() if self._restarts_after_marks else []
        bounds = sorted({0, tokens.size, *marks, *(mark + 1 for mark in marks)})
        sections = (tokens[start:stop].tolist() for start, stop in pairwise(bounds))
        return "".join(self.backend.decode(section, skip_special_tokens=False) for section in sections)

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder of the backend as it is at the first use."""
        return Encoder(self.backend)

    @cached_property
    def _restarts_after_marks(self) -> bool:
        """Whether a text after a format token has the same ids as at the beginning of a document."""
        alone, after_mark = (
            self.backend.encode(text, add_special_tokens=False).ids for text in ("a", f"{FORMAT_TOKENS[0]}a")
        )
        return alone == after_mark[1:]

    @cached_property
    def _format_ids(self) -> list[int]:
        return [self._id(token) for token in FORMAT_TOKENS]

    @cached_property
    def eod(self) -> int:
        return self._id(self.end)

    @cached_property
    def pad(self) -> int:
        return self._id(self.padding)

    def _id(self, token: str) -> int:
        number = self.backend.token_to_id(token)
        assert number is not None, f"complete() adds {token}"
        return number

    @cached_property
    def vocab_size(self) -> int:
        """One more than the largest id."""
        return max(self.backend.get_vocab(with_added_tokens=True).values()) + 1

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of tokenizer.json."""
        return hashlib.sha256(self._json).hexdigest()

    @cached_property
    def _json(self) -> bytes:
        return self.backend.to_str(pretty=True).encode() + b"\n"
