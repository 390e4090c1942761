"""A corpus of made-up documents from which a model learns something, and the job that trains on it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from lake.dataset import Output
from mixing.shards import write
from train.data import Shards, Vocabulary
from train.history import Row
from train.loop import Job
from train.recipe import Recipe

DOCUMENTS, TOKENS, CIRCLE = 50, 5_000, 251
"""So many documents of so many tokens. They come again after the last."""


def job(recipe: Recipe, vocab_size: int, folder: Path, observe: Callable[[Row], None] = lambda _: None) -> Job:
    """A job in `folder`, an existing one. Each document walks round CIRCLE ids by a stride of its own."""
    chance, eod = np.random.default_rng(1), vocab_size - 1
    rows = []
    for split, number in (("train", DOCUMENTS), ("validation", 1)):
        walks = ((chance.integers(CIRCLE) + chance.integers(1, 5) * np.arange(TOKENS)) % CIRCLE for _ in range(number))
        written = write(folder, split, walks, vocab_size, eod)
        rows.append({"split": split, "source": "made", "name": split, "tokens": written.tokens})
    train, validation = (Shards.of(Output(str(folder)), rows, split) for split in ("train", "validation"))
    return Job(recipe, 1, Vocabulary(vocab_size, eod, eod, "made"), train, validation, folder, observe=observe)
