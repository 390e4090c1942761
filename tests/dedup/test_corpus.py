"""On a labelled corpus, all near-duplicates are found and nothing else."""

from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from dedup.buckets import ENTRY, candidates
from dedup.cluster import components
from dedup.minhash import jaccard
from dedup.settings import DedupSettings
from dedup.sign import COLUMNS, SIGNED, sets, sign
from lake.document import META
from tests.dedup.reference import Entry, settle


def near_pairs(signed: pa.Table, settings: DedupSettings) -> list[tuple[str, str, float]]:
    """The joins of the Spark job, in memory."""
    every = np.repeat(np.arange(signed.num_rows), settings.bands.bands)
    columns = {name: signed[name].take(every) for name in ("order", "number", "size")}
    columns |= {"band": pc.list_flatten(signed["bands"]), "sketch": pc.list_flatten(signed["sketches"])}
    entries = (
        pa.table(columns).select(ENTRY.names).sort_by([(name, "ascending") for name in ("band", "order", "number")])
    )
    proposed = pa.Table.from_batches(candidates(entries.to_batches(), settings.threshold, settings.bucket_limit))
    pairs = proposed.filter(pc.is_valid(proposed["a"])).group_by(["a", "b"]).aggregate([]).combine_chunks()
    rows = [pc.index_in(pairs[name].combine_chunks(), signed["number"].combine_chunks()) for name in ("a", "b")]
    shingles = signed["shingles"].combine_chunks()
    scores = jaccard(*sets(shingles.take(rows[0])), *sets(shingles.take(rows[1]))).tolist()
    ids = [signed["id"].take(side).to_pylist() for side in rows]
    return list(zip(*ids, scores, strict=True))


@pytest.mark.parametrize("scheme", ["one_permutation", "datasketch"])
def test_the_labelled_corpus(shared_data: Path, scheme: Literal["one_permutation", "datasketch"]) -> None:
    corpus = pq.read_table(shared_data / "dedup" / "corpus.parquet")
    labels = pq.read_table(shared_data / "dedup" / "pairs.parquet").to_pylist()
    count = corpus.num_rows
    documents = pa.table(
        {
            "id": corpus["id"].cast(pa.string()),
            "source": pa.array(["web"] * count),
            "text": corpus["text"],
            "redistributable": pa.array([True] * count),
            "meta": pa.nulls(count, META),
        }
    ).select(COLUMNS)
    settings = DedupSettings(policy="transitive", scheme=scheme)
    signed = pa.Table.from_batches(sign(documents.combine_chunks().to_batches(), settings), SIGNED)
    pairs = near_pairs(signed, settings)

    labelled = {(str(row["a"]), str(row["b"])): row["j"] for row in labels}
    for a, b, score in pairs:
        truth = labelled.get((a, b), labelled.get((b, a)))
        assert abs(score - truth) < 1e-6 if truth is not None else score < 0.4

    similar = {pair for pair, j in labelled.items() if j >= settings.threshold}
    missed = similar - {(a, b) for a, b, _ in pairs} - {(b, a) for a, b, _ in pairs}
    assert len(missed) <= (1 - settings.recall) * len(similar)

    near = [pair for pair in pairs if pair[2] >= settings.threshold]
    rows = zip(*(signed[name].to_pylist() for name in ("id", "order", "content")), strict=True)
    dropped, clusters = settle({identity: Entry(*entry) for identity, *entry in rows}, near, transitive=True)
    truth = components(pair for pair, j in labelled.items() if j >= np.float32(0.8))
    expected = {identity for identity, cluster in truth.items() if identity != cluster}
    actual = {identity for identity, cluster in clusters.items() if identity != cluster}
    assert 2 * len(actual & expected) / (len(actual) + len(expected)) >= 0.999
    assert len(dropped) == len(actual)
