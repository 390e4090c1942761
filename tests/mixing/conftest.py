"""Tokenizers that tests share and do not change."""

import pytest

from mixing.tokenizer.build import adopt
from mixing.tokenizer.tokenizer import Tokenizer
from tests.mixing import tokenizers


@pytest.fixture(scope="session")
def trained() -> Tokenizer:
    return tokenizers.trained()


@pytest.fixture(scope="session")
def smollm2() -> Tokenizer:
    return adopt(tokenizers.packaged(tokenizers.SMOLLM2))


@pytest.fixture(scope="session")
def llama() -> Tokenizer:
    return adopt(tokenizers.packaged(tokenizers.LLAMA))
