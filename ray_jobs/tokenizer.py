"""Tokenizer: train or adopt a tokenizer, then count the tokens of every clean document."""

import os
from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc

from lake.dataset import Output
from lake.schema import schema
from lake.step import Account, Body, Cost, Kind, Outcome, Step
from mixing.split import stable_hash, within
from mixing.tokenizer.build import TokenizerSettings, adopt, train
from mixing.tokenizer.tokenizer import FOLDER, JSON, Tokenizer
from ray_jobs.cluster import each

COUNTS = schema("id string, source string, tokens int32")
"""`tokens` leaves out the end of document. A part holds the documents of the clean part with the same number."""

BATCH = 128


def tokenizer(step: Step[TokenizerSettings]) -> Outcome:
    """Write the tokenizer's folder, then the table `counts`. Each part of the clean documents is a task.

    Raises:
        UserError: the tokenizer to adopt is missing or is not a fast tokenizer.
    """
    clean, output = step.input("documents").output, step.output
    if not output.exists(FOLDER, JSON):
        for name, data in _make(clean, step.settings).items():
            output.write_bytes(data, FOLDER, name)
    made = Tokenizer.of(output)
    entered: Counter[str] = Counter()
    counted: Counter[str] = Counter()
    tokens: Counter[str] = Counter()
    for source, documents, rows, total in each(
        lambda name: count_part(clean, output, name), clean.parts("documents"), step.name, "parts"
    ):
        entered[source] += documents
        counted[source] += rows
        tokens[source] += total
    return Outcome(
        accounts={source: Account.of(counted[source], entered=entered[source]) for source in sorted(entered)},
        figures={
            "vocab_size": made.vocab_size,
            "fingerprint": made.fingerprint,
            "encoder": made.encoder.name,
            "end_of_document": made.end,
            "tokens": tokens.total(),
            "tokens_by_source": dict(sorted(tokens.items())),
        },
    )


def check(step: Step[TokenizerSettings]) -> None:
    """Raises UserError if the tokenizer to adopt is missing or is not a fast tokenizer."""
    if step.settings.train is None:
        adopt(step.settings)


# From `python -m benchmarks.shards` on web pages with a tokenizer like Llama 2's: counting takes as long as encoding.
TOKENIZER = Body[TokenizerSettings](
    tokenizer, Kind.TOKENIZER, "ray", 5, Cost(start=4, megabytes=34, row_bytes=20), check
)


def _make(clean: Output, settings: TokenizerSettings) -> dict[str, bytes]:
    if settings.train is None:
        return adopt(settings).files()
    sample = _sample(clean, settings.train.sample_mb * 1e6)

    def make(rows: pa.Table) -> dict[str, bytes]:
        return train((text.as_py() for text in rows["text"]), settings).files()

    return next(each(make, [sample], "tokenizer: train", "corpus"))


def _sample(clean: Output, size: float) -> pa.Table:
    """Documents sorted by id: all, or a random part of about `size` bytes, which depends on the ids alone."""
    parts = clean.parts("documents")
    share = size / max(1, _text_bytes(clean))

    def draw(name: str) -> pa.Table:
        rows = clean.read_part("documents", name, ["id", "text"])
        return rows.filter(pa.array(within(stable_hash(rows["id"].to_pylist(), "tokenizer"), share)))

    return pa.concat_tables(each(draw, parts, "tokenizer: sample", "parts")).sort_by("id")


def _text_bytes(clean: Output) -> int:
    """Bytes of all texts before compression, read from the footers of the parts."""
    total = 0
    for fragment in clean.scan("documents").get_fragments():
        groups = [fragment.metadata.row_group(position) for position in range(fragment.metadata.num_row_groups)]
        columns = [group.column(position) for group in groups for position in range(group.num_columns)]
        total += sum(column.total_uncompressed_size for column in columns if column.path_in_schema == "text")
    return total


def count_part(clean: Output, output: Output, name: str) -> tuple[str, int, int, int]:
    """Write a part's counts unless they are there. Returns its source, documents, rows counted and tokens."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    part, source = Output.part_place(name)
    assert source is not None
    rows = clean.read_part("documents", name, ["id", "text"])
    if not output.has_part("counts", part, source):
        output.write_part("counts", part, _count(rows, source, Tokenizer.of(output)), source)
    counts = output.read_part("counts", name, ["tokens"])
    return source, len(rows), len(counts), pc.sum(counts["tokens"]).as_py() or 0


def _count(rows: pa.Table, source: str, made: Tokenizer) -> pa.Table:
    tokens: list[int] = []
    for batch in rows.to_batches(max_chunksize=BATCH):
        tokens += [ids.size for ids in made.encode(batch["text"].to_pylist())]
    columns = {"id": rows["id"], "source": pa.array([source] * len(rows), pa.string()), "tokens": pa.array(tokens)}
    return pa.table(columns).cast(COUNTS)
