"""Shingle sets are exact, signatures are fair samples of them."""

import re
import time

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dedup.bands import choose
from dedup.minhash import Shingled, band_keys, jaccard, shingle, signatures

TEXT = st.lists(st.sampled_from(["a", "b", "C", "c", "Δ", "x."]), max_size=14).map(" ".join)


def shingles(text: str, ngram: int) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[at : at + ngram]) for at in range(max(1, len(words) - ngram + 1))}


def values(shingled: Shingled, text: int) -> NDArray[np.uint64]:
    return shingled.values[shingled.offsets[text] : shingled.offsets[text + 1]]


@given(st.lists(TEXT, min_size=2, max_size=6), st.integers(1, 6))
def test_sets_and_their_jaccard_are_pythons(texts: list[str], ngram: int) -> None:
    shingled = shingle(pa.array(texts), ngram)
    sets = [shingles(text, ngram) for text in texts]
    assert np.diff(shingled.offsets).tolist() == list(map(len, sets))
    assert all(np.all(np.diff(values(shingled, at).astype(object)) > 0) for at in range(len(texts)))
    turned = shingle(pa.array(texts[::-1]), ngram)
    expected = [len(a & b) / len(a | b) for a, b in zip(sets, sets[::-1], strict=True)]
    assert jaccard(shingled.offsets, shingled.values, turned.offsets, turned.values).tolist() == expected


@given(TEXT, TEXT)
def test_content_is_the_sequence_of_words(left: str, right: str) -> None:
    content = shingle(pa.array([left, right]), 5).content
    same = re.findall(r"\w+", left.lower()) == re.findall(r"\w+", right.lower())
    assert (content[0].tolist() == content[1].tolist()) == same


def random_pairs(shared: int, union: int, count: int) -> tuple[Shingled, Shingled]:
    """Pairs of sets of random hashes, each with the Jaccard shared / union."""
    random = np.random.default_rng(shared * union)
    half = (union - shared) // 2
    values = random.integers(0, 2**64 - 1, size=(count, union), dtype=np.uint64)
    sides = (values[:, : shared + half], np.concatenate([values[:, :shared], values[:, shared + half :]], axis=1))
    none = np.empty((0, 2), np.uint64)
    left, right = (
        Shingled(np.arange(count + 1) * side.shape[1], np.sort(side, axis=1).ravel(), none) for side in sides
    )
    return left, right


@pytest.mark.parametrize(("shared", "union"), [(1, 3), (4, 5), (8, 10), (40, 50), (400, 500), (50, 100)])
def test_slots_agree_with_the_probability_of_the_jaccard(shared: int, union: int) -> None:
    left, right = random_pairs(shared, union, 2000)
    slots = 128
    agree = (signatures(left.offsets, left.values, slots) == signatures(right.offsets, right.values, slots)).mean(
        axis=1
    )
    truth = shared / union
    spread = np.sqrt(truth * (1 - truth) / slots)
    assert agree.mean() == pytest.approx(truth, abs=4 * spread / np.sqrt(2000))
    assert agree.std() < 1.15 * spread


@pytest.mark.parametrize(("shared", "union"), [(4, 5), (16, 20), (80, 100), (400, 500)])
def test_recall_at_the_threshold_whatever_the_length(shared: int, union: int) -> None:
    cut = choose(0.8, 0.99, 64)
    left, right = random_pairs(shared, union, 4000)
    keys = [band_keys(signatures(side.offsets, side.values, cut.slots), cut)[0] for side in (left, right)]
    assert (keys[0] == keys[1]).any(axis=1).mean() > 0.99 - 0.004
    assert (keys[0][:-1] == keys[1][1:]).sum() == 0


def test_signature_is_of_the_set_alone() -> None:
    values = np.array([5, 9 << 50, 3 << 60], dtype=np.uint64)
    repeated = np.concatenate([values[::-1], values])
    whole = signatures(np.array([0, 3]), values, 100)
    assert np.array_equal(whole, signatures(np.array([0, 6]), repeated, 100))
    assert len(np.unique(signatures(np.array([0, 1]), values, 100))) == 100


def test_odd_pages_are_quick() -> None:
    started = time.process_time()
    pages = ["", "...", "word", "word " * 2_000_000, "one two " * 1_000_000, " ".join(map(str, range(500_000)))]
    shingled = shingle(pa.array(pages), 5)
    assert np.diff(shingled.offsets).tolist() == [1, 1, 1, 1, 2, 499_996]
    assert shingled.values[0] == shingled.values[1]
    assert signatures(shingled.offsets, shingled.values, 128).shape == (6, 128)
    assert time.process_time() - started < 20
    assert shingle(pa.array([], pa.string()), 5).values.size == 0
