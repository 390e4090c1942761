"""Each document gives a row, whatever its text: long, odd or not UTF-8."""

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dedup.sign
from dedup.minhash import shingle
from dedup.settings import DedupSettings
from dedup.sign import COLUMNS, SIGNED, sets, sign
from lake.document import DOCUMENT, new_document

PIECES = [b"word", b" ", b"\xce", b"\xa3", b"\xed\xa0\x80", b"\xf4", b"\x90", b"\xe0\x81", b"\xff", b"a", b"\xc4\xb0"]
"""Words, halves of letters, a surrogate, and bytes that never begin a letter."""


def documents(texts: list[str]) -> pa.Table:
    rows = [new_document("web", str(at), text) for at, text in enumerate(texts)]
    return pa.Table.from_pylist(rows, schema=DOCUMENT).select(COLUMNS).combine_chunks()


def signed(table: pa.Table, **chosen: Any) -> pa.Table:
    return pa.Table.from_batches(sign(table.to_batches(), DedupSettings(**chosen)), SIGNED)


@pytest.mark.parametrize("scheme", ["one_permutation", "datasketch"])
def test_slices_of_the_text_make_no_difference(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """A long text is a slice of its own, and short texts share a slice."""
    texts = ["", "a b c d", "long " * 50, "x", "", "y z", "ü" * 8, "", "long word " * 40, "end"]
    table = documents(texts)
    whole = signed(table, scheme=scheme)
    assert len(list(sign(table.to_batches(), DedupSettings()))) == 1
    monkeypatch.setattr(dedup.sign, "SLICE_BYTES", 16)
    slices = list(sign(table.to_batches(), DedupSettings(scheme=scheme)))
    assert [batch.num_rows for batch in slices] == [2, 1, 3, 2, 1, 1]
    assert pa.Table.from_batches(slices).equals(whole)
    # These batches are slices themselves.
    cut = [batch for begin in (0, 3, 7) for batch in table.slice(begin, 3 if begin == 7 else 4).to_batches()]
    assert sum(batch.num_rows for batch in sign(cut, DedupSettings())) == 11


def test_numbers_are_unique() -> None:
    ids = [hashlib.sha256(str(at).encode()).hexdigest()[:32] for at in range(50_000)]
    ids += [str(at) for at in range(10_000)] + [f"{at:032}" for at in range(1_000)] + ["", "a", "a\0", "\0a", "é" * 16]
    table = documents([""] * len(ids)).set_column(0, "id", pa.array(ids))
    numbers = signed(table)["number"].to_pylist()
    assert len(set(numbers)) == len(ids)
    assert np.argsort(numbers[:50_000]).tolist() == sorted(range(50_000), key=ids.__getitem__)
    assert signed(table.slice(49_990, 20))["number"].to_pylist() == numbers[49_990:50_010]


def test_pages_without_words_are_alike_and_unlike_all_others() -> None:
    table = signed(documents(["", " ", "— …", "\ufffd", "word", "Word!", "word word", "word " * 5, "word " * 900]))
    assert table["size"].to_pylist() == [1] * 9
    content, shingles = table["content"].to_pylist(), table["shingles"].to_pylist()
    assert list(map(content.index, content)) == [0, 0, 0, 0, 4, 4, 6, 7, 8]
    assert list(map(shingles.index, shingles)) == [0, 0, 0, 0, 4, 4, 6, 7, 7]


def test_a_lone_surrogate_never_enters_a_table_of_documents() -> None:
    for text in ("a \ud800 b", "\udfff"):
        with pytest.raises((UnicodeEncodeError, pa.ArrowInvalid)):
            documents([text])


@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=6).map(b"".join), min_size=1, max_size=6))
def test_bytes_that_are_not_utf8_are_signed_as_replacement_characters(texts: list[bytes]) -> None:
    """A Parquet file may hold such bytes unchecked. The bytes after a text in memory do not count."""
    raw = pa.array(texts, pa.large_binary()).view(pa.large_string()).cast(pa.string(), safe=False)
    replaced = [text.decode("utf-8", "replace") for text in texts]
    actual, expected = shingle(raw, 2), shingle(pa.array(replaced), 2)
    assert all(map(np.array_equal, actual, expected))
    table = documents(replaced)
    odd = signed(table.set_column(2, "text", raw), ngram=2)
    assert odd.drop_columns(["order"]).equals(signed(table, ngram=2).drop_columns(["order"]))
    offsets, values = sets(odd["shingles"].combine_chunks())
    assert np.array_equal(offsets, expected.offsets)
    assert np.array_equal(values, expected.values)
