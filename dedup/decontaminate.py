"""Documents that quote evaluation questions, found by the words they share.

A question contaminates a document that has `run` of its words in a row (Brown et al. 2020 use 13), or all words of a
shorter question, or at least the `share` of its distinct `gram`-grams in any order (MEDITRON's rule: 80 % of 8-grams).
Both texts are compared in NFKC by the words of dedup.words, so case, punctuation, layout, ligatures, wide letters,
superscripts and subscripts do not count: `CO₂` is `co2`.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import model_validator

from lake.characters import INVISIBLE
from lake.config import Settings
from lake.decision import Drop, Reason
from lake.schema import schema
from lake.values import Count, SomeShare

HIT = schema(
    "benchmark string?, question string?, id string?, source string?, rule string?, share float64?, span string?"
)
"""A document that quotes a question: the rule, the share of the question's n-grams in the document, and the longest
common run of words as the document's NFKC has it."""

RUN, SHARE = "run", "share"
COLUMNS = ("id", "source", "text")
"""The columns of a document that `find` reads."""

SPAN_BYTES = 240
EVIDENCE = 'It quotes question %s of %s: "%s"'


class DecontaminateSettings(Settings):
    """How much of a question contaminates a document.

    Attributes:
        run: Words in a row that suffice. A question of fewer words must be there whole.
        gram: Words in the n-grams whose share is counted.
        share: Share of a question's n-grams that suffices.
        shortest: Least number of words in a question that is searched for. Shorter ones may occur anywhere by chance
            (Brown et al. 2020 use 8 as well); the figures count them.
    """

    run: Count = 13
    gram: Count = 8
    share: SomeShare = 0.8
    shortest: Count = 8

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.gram > self.run:
            raise ValueError(f"gram ({self.gram}) may not exceed run ({self.run})")
        return self


def searched(questions: pa.Table, settings: DecontaminateSettings) -> pa.Table:
    """The questions (benchmark, question, text) that are long enough, normalised and with their number of `words`."""
    from dedup.words import word_hashes

    texts = pc.utf8_normalize(pc.replace_substring_regex(questions["text"], f"[{INVISIBLE}]", ""), "NFKC")
    words = pa.array([len(word_hashes(text)) for text in texts.to_pylist()], pa.int64())
    normal = questions.set_column(questions.schema.get_field_index("text"), "text", texts)
    counted = normal.append_column("words", words)
    return counted.filter(pc.greater_equal(counted["words"], settings.shortest))


def find(
    batches: Iterable[pa.RecordBatch], questions: pa.Table, settings: DecontaminateSettings
) -> Iterator[pa.RecordBatch]:
    """Rows of HIT for batches with the columns COLUMNS, and questions (benchmark, question, text)."""
    return map(search(questions, settings), batches)


def search(questions: pa.Table, settings: DecontaminateSettings) -> Callable[[pa.RecordBatch], pa.RecordBatch]:
    """What finds the rows of HIT for one batch, as `find` does for many."""
    from dedup.overlap import index, overlaps
    from dedup.words import text_buffers, unicode_tables, word_hashes

    rows = searched(questions, settings).to_pylist()
    words = [word_hashes(row["text"]) for row in rows]
    # A question of fewer words than an n-gram is one n-gram itself.
    grams = [min(settings.gram, len(sequence)) for sequence in words]
    indexes = [
        index(
            [sequence if gram == length else sequence[:0] for sequence, gram in zip(words, grams, strict=True)], length
        )
        for length in sorted(set(grams))
    ]

    def hits(batch: pa.RecordBatch) -> pa.RecordBatch:
        data, places = text_buffers(pc.utf8_normalize(batch["text"], "NFKC"))
        found = []
        for indexed in indexes:
            for text, question, shared, run, begin, end in zip(
                *overlaps(data, places, unicode_tables(), indexed), strict=True
            ):
                share = shared / indexed.totals[question]
                whole = run >= min(settings.run, len(words[question]))
                if whole or share >= settings.share:
                    hit = {name: batch[name][text].as_py() for name in ("id", "source")}
                    hit |= {name: rows[question][name] for name in ("benchmark", "question")}
                    hit["span"] = data[begin : min(end, begin + SPAN_BYTES)].tobytes().decode("utf-8", "ignore")
                    found.append(hit | {"rule": RUN if whole else SHARE, "share": float(share)})
        return pa.RecordBatch.from_pylist(found, schema=HIT)

    return hits


def drops(hits: pa.RecordBatch) -> dict[str, Drop]:
    """By id, the verdict against each text: of several questions, the one that is covered most."""
    rows = hits.to_pylist()
    rows.sort(key=lambda row: (-row["share"], row["rule"], row["benchmark"], row["question"]))
    return {
        row["id"]: Drop(
            Reason.CONTAMINATED,
            EVIDENCE % (row["question"], row["benchmark"], row["span"]),
            row["share"],
            row["rule"],
        )
        for row in reversed(rows)
    }
