"""The scheme `datasketch` gives the default signatures of datasketch, bit for bit."""

import re
import time
from pathlib import Path
from typing import Any

import datasketch
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasketch import MinHash, sha1_hash32
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dedup.bands import choose
from dedup.minhash import band_keys
from dedup.permutations import PINNED, datasketch_signatures, permutations
from dedup.settings import DedupSettings
from dedup.sign import COLUMNS, sign
from lake.document import META
from lake.error import UserError

TRICKY = st.text(st.sampled_from("aZ9_ -.'ßİıſKΣσςΑά\u0301\u00ad\u0345Ⅷ中ａȺ𐐀\U0001d400\n"))
SENTENCE = st.lists(st.sampled_from(["a", "B", "İ", "ΟΔΟΣ", "Δ", "x.", "long" * 40]), max_size=14).map(" ".join)


def peer(texts: list[str], ngram: int, slots: int) -> NDArray[np.uint32]:
    sets = []
    for text in texts:
        words = re.findall(r"\w+", text.lower())
        sets.append([" ".join(words[at : at + ngram]).encode() for at in range(max(1, len(words) - ngram + 1))])
    return np.array([minhash.hashvalues for minhash in MinHash.bulk(sets, num_perm=slots)])


def check(texts: list[str], ngram: int, slots: int) -> None:
    signatures = datasketch_signatures(pa.array(texts, pa.string()), ngram, slots)
    assert signatures.dtype == np.uint32
    assert np.array_equal(signatures, peer(texts, ngram, slots))


@given(
    st.lists(st.one_of(st.text(), TRICKY, SENTENCE), min_size=1, max_size=4),
    st.integers(1, 6),
    st.sampled_from([1, 2, 31, 90, 128]),
)
@example(["", "...", "one", "one two three four", "ONE two three four five"], 5, 90)
@example(["ΟΔΥΣΣΕΥΣ Σ ΑΣ. ΑΣΑ Α.Σ. Α.Σ.Α", "İSTANBUL İİ aİ", "ȺȺ Ⱥ"], 2, 128)
def test_signatures_are_datasketchs(texts: list[str], ngram: int, slots: int) -> None:
    check(texts, ngram, slots)


@pytest.mark.parametrize(("ngram", "slots"), [(5, 90), (5, 256), (1, 128), (13, 64)])
def test_signatures_of_real_documents_are_datasketchs(shared_data: Path, ngram: int, slots: int) -> None:
    check(pq.read_table(shared_data / "dedup" / "corpus.parquet")["text"][:200].to_pylist(), ngram, slots)


@pytest.mark.parametrize(
    "changed", [{"scheme": "legacy"}, {"hashfunc": lambda data: sha1_hash32(data) ^ (len(data) == 64)}]
)
def test_a_library_that_signs_in_another_way_is_refused(
    monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any]
) -> None:
    class Changed(MinHash):
        def __init__(self, **arguments: Any) -> None:
            super().__init__(**arguments | changed)

    permutations.cache_clear()
    monkeypatch.setattr(datasketch, "MinHash", Changed)
    with pytest.raises(UserError, match=f"install datasketch=={PINNED}$"):
        datasketch_signatures(pa.array(["text"]), 5, 16)
    monkeypatch.undo()
    assert datasketch_signatures(pa.array(["text"]), 5, 16).shape == (1, 16)


def test_the_permutations_do_not_change() -> None:
    """Signatures are kept and compared across versions."""
    assert np.array(permutations(5, 2)).tolist() == [[3582191691, 4270784983], [3093770124, 4005303368]]


def test_the_remedy_is_the_version_in_the_lock_file() -> None:
    lock = Path(__file__).parents[2] / "requirements.lock"
    assert f"datasketch=={PINNED}" in lock.read_text(encoding="utf-8").splitlines()


def test_all_shapes_of_text_arrays() -> None:
    texts = pa.array(["x", "one", None, "two three"])
    expected = peer(["one", "", "two three"], 1, 16)
    for array in (texts[1:], texts.cast(pa.large_string())[1:], pa.chunked_array([texts[1:2], texts[2:]])):
        assert np.array_equal(datasketch_signatures(array, 1, 16), expected)
    assert datasketch_signatures(pa.array([], pa.string()), 5, 16).shape == (0, 16)


def test_the_config_chooses_the_scheme_that_signs() -> None:
    texts = ["one two three four five six", "other words", ""]
    columns = [["a", "b", "c"], ["web"] * 3, texts, [True] * 3, pa.nulls(3, META)]
    batch = pa.RecordBatch.from_arrays([pa.array(column) for column in columns], names=COLUMNS)
    chosen = DedupSettings(scheme="datasketch", ngram=2)
    (signed,) = sign([batch], chosen)
    bands, sketches = band_keys(peer(texts, 2, chosen.bands.slots), chosen.bands)
    assert signed["bands"].to_pylist() == bands.view(np.int64).tolist()
    assert signed["sketches"].to_pylist() == sketches.view(np.int64).tolist()
    (default,) = sign([batch], DedupSettings(ngram=2))
    assert default["bands"] != signed["bands"]
    assert default["shingles"] == signed["shingles"]


@pytest.mark.parametrize(("shared", "union"), [(4, 5), (16, 20), (80, 100)])
def test_recall_at_the_threshold_whatever_the_length(shared: int, union: int) -> None:
    cut = choose(0.8, 0.99, 64)
    count, half = 4000, (union - shared) // 2
    words = np.arange(count * union).reshape(count, union).astype(str)
    sides = (words[:, : shared + half], np.concatenate([words[:, :shared], words[:, shared + half :]], axis=1))
    left, right = (
        band_keys(datasketch_signatures(pa.array(list(map(" ".join, side))), 1, cut.slots), cut)[0] for side in sides
    )
    assert (left == right).any(axis=1).mean() > 0.99 - 0.004
    assert (left[:-1] == right[1:]).sum() == 0


def test_odd_pages_are_quick() -> None:
    permutations(64, 128)
    started = time.process_time()
    pages = ["word " * 2_000_000, "one two " * 1_000_000, " ".join(map(str, range(500_000))), "ΑΣ" * 1_000_000]
    signatures = datasketch_signatures(pa.array(pages), 64, 128)
    assert np.array_equal(signatures[:1], peer(["word " * 64], 64, 128))
    assert np.array_equal(signatures[1:2], peer(["one two " * 64], 64, 128))
    assert time.process_time() - started < 20
