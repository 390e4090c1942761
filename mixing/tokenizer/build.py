"""Make the tokenizer: train it on the corpus or adopt a ready one, and add the tokens of the format and of ChatML."""

import json
import re
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Self

import tokenizers
from pydantic import Field, model_validator
from tokenizers import AddedToken

from lake.config import Settings
from lake.error import UserError
from lake.marks import FORMAT_TOKENS
from lake.paths import HomePath
from lake.values import Count, Megabytes, Text
from mixing.tokenizer.chatml import CHAT_TOKENS
from mixing.tokenizer.plain import without_template
from mixing.tokenizer.tokenizer import CONFIG, JSON, Tokenizer

END, PAD = "<|endoftext|>", "<|pad|>"
MODEL, SPECIAL, GGUF = "tokenizer.model", "special_tokens_map.json", ".gguf"
SMALLEST_VOCABULARY = 256 + len(FORMAT_TOKENS) + len(CHAT_TOKENS) + 2
LARGEST_VOCABULARY = 2**20
"""Models have up to 262,144 ids. Training reserves memory for all of them before it begins."""


class TrainSettings(Settings):
    """A byte-level BPE trained on the clean corpus. `vocab_size` counts every id, added tokens included."""

    vocab_size: Annotated[Count, Field(ge=SMALLEST_VOCABULARY, le=LARGEST_VOCABULARY)]
    sample_mb: Megabytes = 256


class TokenizerSettings(Settings):
    """Where the tokenizer comes from: exactly one of `train`, `path` and `package`.

    `path` is a folder with a tokenizer.json or a SentencePiece tokenizer.model, or the file of such a model. `package`
    is a GGUF or SentencePiece file in an installed Python package, written package/file. `eos_token` ends a document.
    Its default is the adopted tokenizer's, or <|endoftext|> where that has none.
    """

    train: TrainSettings | None = None
    path: HomePath | None = None
    package: Text | None = None
    eos_token: Text | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if sum(origin is not None for origin in (self.train, self.path, self.package)) != 1:
            raise ValueError("give exactly one of train, path and package")
        return self


def base_files(settings: TokenizerSettings) -> list[Path]:
    """The files of the tokenizer to adopt; none where it is to be trained.

    Raises:
        UserError: they do not exist.
    """
    if settings.path is not None:
        folder = Path(settings.path)
        for model in (folder, folder / MODEL):
            if model.is_file() and not (folder / JSON).is_file():
                return [model]
        if not (folder / JSON).is_file():
            raise UserError(
                f"tokenizer.path: {folder} has neither {JSON} nor {MODEL}; give the folder of a Hugging Face fast "
                "tokenizer or of a SentencePiece model"
            )
        return [file for name in (JSON, CONFIG, SPECIAL) if (file := folder / name).is_file()]
    if settings.package is not None:
        file = package_file(settings.package, "tokenizer.package")
        if not (file.suffix == GGUF or ".model" in file.suffixes) or not file.is_file():
            raise UserError(
                f"tokenizer.package: {settings.package} is no GGUF or SentencePiece file; write package/file.gguf or "
                "package/file.model"
            )
        return [file]
    return []


def package_file(place: str, key: str) -> Path:
    """The file that `place` names as package/file, whether it exists or not. Messages name the config key `key`.

    Raises:
        UserError: no such package is installed.
    """
    package, _, name = place.partition("/")
    spec = find_spec(package) if package.isidentifier() else None
    if spec is None or spec.origin is None:
        raise UserError(f"{key}: {place} is not package/file of an installed package; pip install it, or use path")
    return Path(spec.origin).parent / name


def train(texts: Iterable[str], settings: TokenizerSettings) -> Tokenizer:
    """Train a byte-level BPE with single digits. Any Unicode text survives encoding and decoding with it.

    The same texts in the same order give the same bytes.
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
    """The tokenizer of a folder, a GGUF file or a SentencePiece model. Its ids stay, added tokens follow them.

    Raises:
        UserError: the files do not exist, or they hold no fast tokenizer.
    """
    backend, base_end, padding = _read(settings)
    backend.no_padding()
    backend.no_truncation()
    end = settings.eos_token or base_end or END
    # The loss ignores padding. A pad token that also ends documents or messages would never teach a model to stop.
    return complete(backend, end, PAD if padding is None or padding in {end, *CHAT_TOKENS} else padding)


def of_model(folder: Path) -> tuple[Tokenizer, list[int]]:
    """The tokenizer of any model's folder, and the ids that its template puts before every text.

    These are none for a folder that this project wrote, and BOS for Llama's own.

    Raises:
        UserError: the folder has no fast tokenizer, or it names no end of text.
    """
    backend, end, padding = _read_folder(folder)
    backend.no_padding()
    backend.no_truncation()
    if end is None:
        raise UserError(f"{folder}: its {CONFIG} names no eos_token")
    alone, whole = backend.encode("a", add_special_tokens=False).ids, backend.encode("a").ids
    start = next((place for place in range(len(whole)) if whole[place : place + len(alone)] == alone), 0)
    return Tokenizer(backend, end, padding or end), whole[:start]


Base = tuple[tokenizers.Tokenizer, str | None, str | None]
"""A tokenizer to adopt, with its end of document and its padding where it names them."""


def adopted_size(settings: TokenizerSettings) -> int:
    """One more than the largest id of the tokenizer to adopt, before tokens are added to it.

    Raises:
        UserError: as `adopt`.
    """
    return max(_read(settings)[0].get_vocab(with_added_tokens=True).values()) + 1


def _read(settings: TokenizerSettings) -> Base:
    (file, *_) = base_files(settings)
    if file.name == JSON:
        return _read_folder(file.parent)
    if file.suffix == GGUF:
        return _read_gguf(file)
    from mixing.tokenizer.sentencepiece_model import read_model

    return *read_model(file), None


def _read_folder(folder: Path) -> Base:
    """Read tokenizer.json as it is. AutoTokenizer would rebuild it by the class that tokenizer_config.json names."""
    special: dict[str, str] = {}
    try:
        backend = tokenizers.Tokenizer.from_file(str(folder / JSON))
        for file in (folder / SPECIAL, folder / CONFIG):
            for name, token in json.loads(file.read_bytes()).items() if file.is_file() else ():
                if name in {"eos_token", "pad_token"} and token is not None:
                    special[name] = str(token["content"] if isinstance(token, dict) else token)
    except Exception as error:  # noqa: BLE001 - tokenizers raises a bare Exception at a broken file
        fault = " ".join(f"{type(error).__name__} {error}".split())
        raise UserError(f"{folder}: not a Hugging Face fast tokenizer: {fault}") from None
    return backend, special.get("eos_token"), special.get("pad_token")


def _read_gguf(file: Path) -> Base:
    import transformers

    try:
        base = transformers.AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name, local_files_only=True)
        backend = tokenizers.Tokenizer.from_str(base.backend_tokenizer.to_str())
    except Exception as error:  # noqa: BLE001 - transformers may raise anything at a broken file
        raise UserError(f"{file}: transformers cannot read its tokenizer: {' '.join(str(error).split())}") from None
    return backend, base.eos_token, base.pad_token


def complete(backend: tokenizers.Tokenizer, end: str, padding: str) -> Tokenizer:
    """Add missing tokens after the base vocabulary, in this order: format, chat, end of document, padding.

    A template that puts BOS or EOS around every text goes (mixing/tokenizer/plain.py).

    Raises:
        UserError: `end` already has another meaning, so it could not mark the end of a document alone.
    """
    special = {token.content for token in backend.get_added_tokens_decoder().values()}
    if end in {*FORMAT_TOKENS, padding} or (backend.token_to_id(end) is not None and end not in special):
        raise UserError(
            f"tokenizer.eos_token: {end} is padding, a mark of the format or a piece of ordinary text, and would be "
            f"taken out of documents; give a token that is none of these, for instance {END}"
        )
    backend = without_template(backend)
    backend.add_tokens([AddedToken(token, special=False, normalized=False) for token in FORMAT_TOKENS])
    controls = (*CHAT_TOKENS, end, padding)
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in controls])
    return Tokenizer(backend, end, padding)
