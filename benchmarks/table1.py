"""Table 1 of the MEDITRON paper (arXiv 2311.16079), and a corpus in its proportions, with invented ids and lengths."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lake.document import document_id
from mixing.mixture import MixSettings

SCALE = 1000
"""The corpus is this many times smaller than the table by default."""

SEED = 1234
TRAIN_TOKENS = {"guidelines": 107e6, "abstracts": 5.48e9, "papers": 40.7e9, "replay": 420e6}
SHARES = {source: tokens / sum(TRAIN_TOKENS.values()) for source, tokens in TRAIN_TOKENS.items()}
HELD_OUT = {"guidelines": 0.05, "abstracts": 0.03, "papers": 0.03, "replay": 0.0}
DOCUMENTS = {"guidelines": 43_284, "abstracts": 16_187_000, "papers": 5_042_000, "replay": 494_000}
TOKENS = {"guidelines": 113e6, "abstracts": 5.65e9, "papers": 41.93e9, "replay": 420.2e6}
"""Train and validation together. Replay has a little more than its 0.9 %."""

GAP_REPLAY = MixSettings.model_validate("gap-replay")
BY_RATIO = MixSettings.model_validate(
    {"sources": {source: {"ratio": share, "validation": HELD_OUT[source]} for source, share in SHARES.items()}}
)
"""The same mixture by ratios: the share of each source in the train tokens."""


@dataclass(frozen=True)
class Documents:
    """Ids, and the tokens of each document with its end: from one to nine fifths of the mean."""

    ids: list[str]
    tokens: npt.NDArray[np.int64]


def corpus(scale: int = SCALE) -> dict[str, Documents]:
    """About 21,100,000 / `scale` train documents and 640,000 / `scale` held out, by source."""
    return {source: next(parts(source, scale, DOCUMENTS[source])) for source in DOCUMENTS}


def parts(source: str, scale: int, documents: int) -> Iterator[Documents]:
    """The documents of a source, in chunks of at most `documents`."""
    total = DOCUMENTS[source] // scale
    spread = 0.2 + 1.6 * np.random.default_rng(SEED).random(total)
    tokens = np.round(spread * (TOKENS[source] / scale / spread.sum())).astype(np.int64)
    for start in range(0, total, documents):
        chunk = tokens[start : start + documents]
        yield Documents([document_id(source, str(start + number)) for number in range(chunk.size)], chunk)
