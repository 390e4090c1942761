"""The parts of the dedup benchmark: its corpus, the true pairs, the figures."""

import re
from itertools import combinations
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from benchmarks.dedup import labelled
from benchmarks.noise import CHUNK, corpus, pairs
from dedup.settings import DedupSettings


def shingles(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[at : at + 5]) for at in range(max(1, len(words) - 4))}


def test_pairs_are_those_of_all_comparisons() -> None:
    rows = pa.concat_tables(corpus(300, seed=3))
    sets = {row["id"]: shingles(row["text"]) for row in rows.to_pylist()}
    expected = {
        (a, b): j
        for a, b in combinations(sorted(sets), 2)
        if (j := len(sets[a] & sets[b]) / len(sets[a] | sets[b])) >= 0.4
    }
    actual = {(row["a"], row["b"]): row["j"] for row in pairs(rows).to_pylist()}
    assert actual == pytest.approx(expected)
    assert min(expected.values()) < 0.8 < max(expected.values())


def test_short_documents_are_one_shingle() -> None:
    rows = pa.table({"id": ["a", "b", "c", "d"], "text": ["two words", "TWO, words!", "", "--"]})
    assert pairs(rows).to_pylist() == [{"a": "a", "b": "b", "j": 1.0}, {"a": "c", "b": "d", "j": 1.0}]


def test_the_corpus_is_the_same_every_time() -> None:
    sizes = [table.num_rows for table in corpus(CHUNK + 10)]
    assert sizes == [CHUNK, 10]
    first, second = (pa.concat_tables(corpus(500, seed=4)) for _ in range(2))
    assert first.equals(second)
    assert first != pa.concat_tables(corpus(500, seed=5))
    assert len(set(first["id"].to_pylist())) == 500


@pytest.mark.engine
def test_the_figures_of_a_corpus(tmp_path: Path, spark: SparkSession) -> None:
    rows = pa.concat_tables(corpus(400, seed=6))
    pq.write_table(rows, tmp_path / "corpus.parquet")
    pq.write_table(pairs(rows), tmp_path / "pairs.parquet")
    figures = labelled(tmp_path / "corpus.parquet", tmp_path / "pairs.parquet", DedupSettings(), spark)
    assert figures["f1"] >= 0.99
    assert figures["clusters_without_survivor"] == 0
    assert sum(row["pairs"] for row in figures["curve"]) == pairs(rows).num_rows
    assert all(figures[name] > 0 for name in ("signature_docs_per_core_s", "job_docs_per_core_s", "peak_rss_mb"))
