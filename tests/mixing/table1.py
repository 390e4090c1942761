"""The MEDITRON paper's table 1, and a corpus a thousandth of its size: synthetic ids, lengths that vary."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lake.document import document_id
from mixing.mixture import MixSettings
from mixing.split import stable_hash

SCALE = 1000
SEED = 1234
TRAIN_TOKENS = {"guidelines": 107e6, "abstracts": 5.48e9, "papers": 40.7e9, "replay": 420e6}
SHARES = {source: tokens / sum(TRAIN_TOKENS.values()) for source, tokens in TRAIN_TOKENS.items()}
HELD_OUT = {"guidelines": 0.05, "abstracts": 0.03, "papers": 0.03, "replay": 0.0}
DOCUMENTS = {"guidelines": 43_284, "abstracts": 16_187_000, "papers": 5_042_000, "replay": 494_000}
TOKENS = {"guidelines": 113e6, "abstracts": 5.65e9, "papers": 41.93e9, "replay": 420.2e6}
"""Train and validation together; of replay a little more than its 0.9 %."""

GAP_REPLAY = MixSettings.model_validate("gap-replay")
BY_RATIO = MixSettings.model_validate(
    {"sources": {source: {"ratio": share, "validation": HELD_OUT[source]} for source, share in SHARES.items()}}
)
"""Each source's share of the train tokens as its ratio."""


@dataclass(frozen=True)
class Source:
    """Ids, and each document's tokens with its end: the shortest has a fifth of the mean, the longest nine fifths."""

    ids: list[str]
    tokens: npt.NDArray[np.int64]


def corpus() -> dict[str, Source]:
    """About 21,100 documents for training and 640 held out."""
    return {source: _source(source, DOCUMENTS[source] // SCALE) for source in DOCUMENTS}


def _source(source: str, documents: int) -> Source:
    ids = [document_id(source, str(number)) for number in range(documents)]
    spread = 0.2 + 1.6 * stable_hash(ids, "length") / 2.0**63
    return Source(ids, np.round(spread * (TOKENS[source] / SCALE / spread.sum())).astype(np.int64))
