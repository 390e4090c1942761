"""A corpus of made-up words with planted near-duplicates, and all its similar pairs by exact counting.

    python -m benchmarks.noise DIR [--documents 20000] [--seed 1]

writes `corpus.parquet` (id, text) and `pairs.parquet` (a, b, j: every pair whose Jaccard of word 5-grams is at least
0.4) for benchmarks.dedup. The pairs come from a sparse matrix product over the words that `re` finds, without a hash, a
sketch or any code of this project.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.sparse import csr_array

Words = NDArray[np.int32]
"""A document as numbers of words. A number plus VOCABULARY stands for the same word misspelt."""

CHUNK = 20_000
VOCABULARY = 40_000
TYPICAL, SPREAD = 190, 0.6
"""Median length of a document in words, that of an abstract, and the standard deviation of the logarithm."""

COPIED = 0.3
"""Share of documents made from another document of their chunk."""

TEMPLATES, FILLED = 20, 0.01
"""Form letters that recur in the whole corpus with a few words filled in: their number, and the share of documents."""

LEAST = 0.4
NGRAM = 5
SYLLABLES = [first + vowel for first in "bdfgklmnprstvz" for vowel in "aeiou"]
PUNCTUATION = np.array([" ", " ", " ", " ", " ", " ", ", ", ". ", "\n", " – "])


def corpus(documents: int, seed: int = 1) -> Iterator[pa.Table]:
    """Tables (id, text) of at most CHUNK documents, the same for the same arguments."""
    spelt = _vocabulary()
    templates = [_fresh(np.random.default_rng((seed, 0, number)), 1)[0][:160] for number in range(TEMPLATES)]
    for start in range(0, documents, CHUNK):
        chance = np.random.default_rng((seed, 1, start))
        texts = _chunk(chance, min(CHUNK, documents - start), templates, spelt)
        ids = pa.array([f"{start + number:09d}" for number in range(len(texts))])
        yield pa.table({"id": ids, "text": texts})


def _vocabulary() -> pa.Array:
    """Words of two to four syllables, and after them the same words with two letters exchanged."""
    chance = np.random.default_rng(7)
    seen: dict[str, None] = {}
    while len(seen) < VOCABULARY:
        seen["".join(chance.choice(SYLLABLES, size=chance.integers(2, 5)))] = None
    words = list(seen)
    return pa.array([*words, *(word[:1] + word[2] + word[1] + word[3:] + "h" for word in words)])


def _fresh(chance: Generator, count: int) -> list[Words]:
    """New documents, in which the k-th word of the vocabulary has a frequency of about 1 / k."""
    lengths = np.exp(chance.normal(np.log(TYPICAL), SPREAD, count)).astype(np.int64).clip(3, 4000)
    drawn = np.exp(chance.random(int(lengths.sum())) * np.log(VOCABULARY)).astype(np.int32) - 1
    return np.split(drawn, np.cumsum(lengths)[:-1])


def _chunk(chance: Generator, count: int, templates: list[Words], spelt: pa.Array) -> pa.Array:
    filled = int(count * FILLED)
    copied = int(count * COPIED)
    rows = _fresh(chance, count - filled - copied)
    rows += [_fill(templates[chance.integers(TEMPLATES)], chance) for _ in range(filled)]
    # A copy may be made of a copy, so that versions drift away from the first.
    for _ in range(copied):
        kind = KINDS[chance.integers(len(KINDS))]
        rows.append(kind(rows[chance.integers(len(rows))], chance))
    order = chance.permutation(len(rows))
    return _spell([rows[at] for at in order], chance, spelt)


def _spell(rows: list[Words], chance: Generator, spelt: pa.Array) -> pa.Array:
    """Texts whose case and punctuation differ even between documents of the same words."""
    flat = np.concatenate(rows)
    marks = PUNCTUATION[chance.integers(0, len(PUNCTUATION), flat.size)]
    words = pc.binary_join_element_wise(spelt.take(pa.array(flat)), pa.array(marks), "")
    offsets = np.concatenate([[0], np.cumsum([row.size for row in rows])]).astype(np.int32)
    texts = pc.binary_join(pa.ListArray.from_arrays(offsets, words), "")
    shouted = pa.array(chance.random(len(rows)) < 0.1)
    return pc.if_else(shouted, pc.utf8_upper(texts), texts)


def _fill(template: Words, chance: Generator) -> Words:
    filled = template.copy()
    places = chance.integers(0, template.size, chance.integers(1, 6))
    filled[places] = chance.integers(0, VOCABULARY, places.size)
    return filled


def _same(row: Words, chance: Generator) -> Words:
    """The same words, whose case and punctuation will differ."""
    return row


def _misread(row: Words, chance: Generator) -> Words:
    """Some words misspelt as by a scanner, each of which breaks five shingles."""
    return np.where(chance.random(row.size) < chance.uniform(0, 0.05), row % VOCABULARY + VOCABULARY, row)


def _respelt(row: Words, chance: Generator) -> Words:
    """Some words spelt in another way throughout, as in another country."""
    return np.where(row % 97 == chance.integers(97), row % VOCABULARY + VOCABULARY, row)


def _twice(row: Words, chance: Generator) -> Words:
    """The text with a part of it repeated, like a summary."""
    return np.concatenate([row, row[: chance.integers(1, row.size + 1)]])


def _joined(row: Words, chance: Generator) -> Words:
    """The text with another one appended."""
    return np.concatenate([row, _fresh(chance, 1)[0][: chance.integers(1, max(2, row.size // 2))]])


def _excerpt(row: Words, chance: Generator) -> Words:
    """A window of the text."""
    size = int(np.ceil(row.size * chance.uniform(0.6, 1)))
    start = int(chance.integers(0, row.size - size + 1))
    return row[start : start + size]


def _reordered(row: Words, chance: Generator) -> Words:
    """Paragraphs in another order."""
    parts = np.array_split(row, max(1, min(row.size, int(chance.integers(2, 6)))))
    return np.concatenate([parts[at] for at in chance.permutation(len(parts))])


KINDS: tuple[Callable[[Words, Generator], Words], ...] = (
    _same,
    _misread,
    _respelt,
    _twice,
    _joined,
    _excerpt,
    _reordered,
)


def pairs(table: pa.Table) -> pa.Table:
    """Every pair (a, b, j) of the documents (id, text) whose Jaccard of word 5-grams is at least LEAST, a < b.

    A document of fewer words is one shingle of all its words.
    """
    numbers: dict[tuple[str, ...], int] = {}
    indices: list[int] = []
    starts = [0]
    for text in table["text"].to_pylist():
        words = re.findall(r"\w+", text.lower())
        length = min(NGRAM, len(words))
        grams = {tuple(words[at : at + length]) for at in range(len(words) - length + 1)}
        indices += [numbers.setdefault(gram, len(numbers)) for gram in grams]
        starts.append(len(indices))
    shape = (table.num_rows, len(numbers))
    matrix = csr_array((np.ones(len(indices), dtype=np.int32), indices, starts), shape=shape)
    shared = (matrix @ matrix.T).tocoo()
    sizes = np.diff(starts)
    a, b = shared.coords
    jaccard = shared.data / (sizes[a] + sizes[b] - shared.data)
    similar = (a < b) & (jaccard >= LEAST)
    ids = table["id"].combine_chunks()
    return pa.table({"a": ids.take(pa.array(a[similar])), "b": ids.take(pa.array(b[similar])), "j": jaccard[similar]})


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--documents", type=click.IntRange(1), default=20_000, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
def main(folder: Path, documents: int, seed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.concat_tables(corpus(documents, seed))
    pq.write_table(table, folder / "corpus.parquet")
    similar = pairs(table)
    pq.write_table(similar, folder / "pairs.parquet")
    click.echo(f"{folder}: {documents:,} documents, {similar.num_rows:,} pairs")


if __name__ == "__main__":
    main()
