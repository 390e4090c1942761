"""The bytes of the ids of a text are the bytes of the text."""

import re
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lake.marks import FORMAT_TOKENS
from mixing.tokenizer.build import adopt
from mixing.tokenizer.chatml import CHAT_TOKENS
from mixing.tokenizer.encoder import hard_texts
from mixing.tokenizer.token_bytes import token_bytes
from mixing.tokenizer.tokenizer import Tokenizer
from tests.mixing.tokenizers import LLAMA, SMOLLM2, packaged, trained

MADE: dict[str, Callable[[], Tokenizer]] = {
    "trained": trained,
    "smollm2": lambda: adopt(packaged(SMOLLM2)),
    "llama": lambda: adopt(packaged(LLAMA)),
}

TEXTS = st.lists(
    st.one_of(st.text(max_size=40), st.sampled_from([*FORMAT_TOKENS, *CHAT_TOKENS, "<s>", "<0x0A>", "▁", " ", "\n"]))
).map("".join)


@pytest.fixture(scope="module", params=MADE)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return MADE[request.param]()


def parts(text: str) -> int:
    """The parts of a text between format tokens, before each of which SentencePiece puts a space."""
    return sum(part != "" for part in re.split("|".join(map(re.escape, FORMAT_TOKENS)), text))


def agrees(tokenizer: Tokenizer, sizes: np.ndarray, text: str) -> bool:
    """Whether the text survives its tokenizer; then its ids must have its bytes.

    SmolLM2 has no id for some control characters, and SentencePiece takes its own sign for a space.
    """
    (ids,) = tokenizer.encode([text])
    survives = tokenizer.decode(ids) == text
    if survives:
        before = parts(text) if tokenizer.backend.normalizer else 0
        assert sizes[ids].sum() - before == len(text.encode()), text[:80]
    return survives


def test_they_add_up_to_the_bytes_of_hard_texts(tokenizer: Tokenizer) -> None:
    sizes = token_bytes(tokenizer)
    texts = hard_texts([*FORMAT_TOKENS, *CHAT_TOKENS, "</s>"], ["Größe", "ab"])
    assert sum(agrees(tokenizer, sizes, text) for text in texts) > 0.7 * len(texts)


def test_they_add_up_to_the_bytes_of_any_text(tokenizer: Tokenizer) -> None:
    sizes = token_bytes(tokenizer)

    @settings(max_examples=150)
    @given(TEXTS)
    @example("[bib_ref] Größe 😀 [/bib_ref]<|im_end|>\x00")
    def holds(text: str) -> None:
        agrees(tokenizer, sizes, text)

    holds()


def test_control_tokens_stand_for_no_text_and_marks_for_their_characters(tokenizer: Tokenizer) -> None:
    sizes = token_bytes(tokenizer)
    assert sizes.shape == (tokenizer.vocab_size,)
    assert sizes[tokenizer.eod] == sizes[tokenizer.pad] == 0
    for token in CHAT_TOKENS:
        assert sizes[tokenizer.backend.token_to_id(token)] == 0
    for token in FORMAT_TOKENS:
        assert sizes[tokenizer.backend.token_to_id(token)] == len(token)
