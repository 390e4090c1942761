"""Documents that quote evaluation questions, by the words they share.

A document is contaminated by a question where it has a run of `run` of its words, or all of a shorter question (the
13-grams of Brown et al. 2020); or where at least `share` of the question's distinct `gram`-grams occur in it, in any
order (MEDITRON's rule: 80 % of the 8-grams). Both sides are taken in NFKC, and words are those of dedup.words, so case,
punctuation, layout, ligatures, wide letters, raised and lowered digits do not count: `CO₂` is `co2`.
"""

from collections.abc import Iterable, Iterator
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from lake.config import Settings

HIT = pa.schema(
    [
        pa.field("benchmark", pa.string()),
        pa.field("question", pa.string()),
        pa.field("id", pa.string()),
        pa.field("source", pa.string()),
        pa.field("rule", pa.string()),
        pa.field("share", pa.float64()),
        pa.field("span", pa.string()),
    ]
)
"""A document that quotes a question: the rule, the share of the question's n-grams in it, the longest run in both as it
stands in the document's NFKC."""

RUN, SHARE = "run", "share"
COLUMNS = ("id", "source", "text")
"""The columns of a document that `find` reads."""

SPAN_BYTES = 240

INVISIBLE = "[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff]"
"""What cleaning took out of the documents, but nothing out of the questions: soft hyphens, directions and the like."""


class DecontaminateSettings(Settings):
    """How much of a question makes a document contaminated.

    Attributes:
        run: Words in a row that suffice; all of a question of fewer words.
        gram: Words of the n-grams whose share is counted.
        share: Share of a question's n-grams that suffices.
        shortest: Questions of fewer words are not searched for, as their words may stand anywhere by chance (Brown et
            al. 2020 use 8 as well). The figures count them.
    """

    run: int = Field(default=13, ge=1)
    gram: int = Field(default=8, ge=1)
    share: float = Field(default=0.8, gt=0, le=1)
    shortest: int = Field(default=8, ge=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.gram > self.run:
            raise ValueError(f"gram ({self.gram}) may not exceed run ({self.run})")
        return self


def searched(questions: pa.Table, settings: DecontaminateSettings) -> pa.Table:
    """The questions (benchmark, question, text) that are long enough, normalised, with the number of their `words`."""
    from dedup.words import word_hashes

    texts = pc.utf8_normalize(pc.replace_substring_regex(questions["text"], INVISIBLE, ""), "NFKC")
    words = pa.array([len(word_hashes(text)) for text in texts.to_pylist()], pa.int64())
    normal = questions.set_column(questions.schema.get_field_index("text"), "text", texts)
    counted = normal.append_column("words", words)
    return counted.filter(pc.greater_equal(counted["words"], settings.shortest))


def find(
    batches: Iterable[pa.RecordBatch], questions: pa.Table, settings: DecontaminateSettings
) -> Iterator[pa.RecordBatch]:
    """Rows of HIT for batches with the columns COLUMNS and questions (benchmark, question, text)."""
    from dedup.overlap import index, overlaps
    from dedup.words import text_buffers, unicode_tables, word_hashes

    asked = searched(questions, settings).to_pylist()
    words = [word_hashes(row["text"]) for row in asked]
    # A question of fewer words than an n-gram is one n-gram itself.
    lengths = sorted({min(settings.gram, len(one)) for one in words})
    indexes = [
        index([one if min(settings.gram, len(one)) == length else one[:0] for one in words], length)
        for length in lengths
    ]
    for batch in batches:
        data, places = text_buffers(pc.utf8_normalize(batch["text"], "NFKC"))
        rows = []
        for known in indexes:
            for text, question, shared, run, begin, end in zip(
                *overlaps(data, places, unicode_tables(), known), strict=True
            ):
                share = shared / known.totals[question]
                whole = run >= min(settings.run, len(words[question]))
                if whole or share >= settings.share:
                    row = {name: batch[name][text].as_py() for name in ("id", "source")}
                    row |= {name: asked[question][name] for name in ("benchmark", "question")}
                    row["span"] = data[begin : min(end, begin + SPAN_BYTES)].tobytes().decode("utf-8", "ignore")
                    rows.append(row | {"rule": RUN if whole else SHARE, "share": float(share)})
        yield pa.RecordBatch.from_pylist(rows, schema=HIT)
