"""gap inspect shows conversations with what is learned marked."""

from typing import Any

import pytest

from gap.inspect import shown
from mixing.tokenizer.build import TokenizerSettings, train
from mixing.tokenizer.tokenizer import Tokenizer

TEXTS = ["Does aspirin help? yes no maybe, it does for pain.", "Fieber wird mit Wasser behandelt."] * 5


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train(TEXTS, TokenizerSettings.model_validate({"train": {"vocab_size": 400}}))


@pytest.mark.parametrize(("weight", "marked"), [(1.0, "«yes»"), (0.1, "‹yes›"), (0.0, "yes")])
def test_runs_of_one_weight_are_marked(tokenizer: Tokenizer, weight: float, marked: str) -> None:
    parts = [tokenizer.encode([text])[0].tolist() for text in ("Does it help? ", "yes", "\x07 no")]
    weights = [0.0] * len(parts[0]) + [weight] * len(parts[1]) + [0.0] * len(parts[2])
    one: dict[str, Any] = {"ids": [*parts[0], *parts[1], *parts[2]], "weights": weights}
    assert shown(tokenizer, one, coloured=False) == f"Does it help? {marked}\ufffd no"


def test_colour_takes_the_place_of_marks(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(["yes"])[0].tolist()
    text = shown(tokenizer, {"ids": ids, "weights": [1.0] * len(ids)}, coloured=True)
    assert text == "\x1b[32myes\x1b[0m"
