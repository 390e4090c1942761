"""Shards merged, cut and packed hold the same tokens, and the index table still leads to every document."""

import hashlib
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mixing.reshard
from lake.dataset import Output
from lake.error import UserError
from mixing.reshard import cut, cut_places, merge, merge_places, pack, packed_lengths
from mixing.shards import Shard, read_index, read_tokens, verify_shard, write

VOCABULARY, EOD = 1000, 999
LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=8)


def documents(lengths: list[int], seed: int = 5) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.integers(0, EOD, length) for length in lengths]


def places(shard: str, documents: list[np.ndarray], first: int = 0) -> pa.Table:
    """The index table of a shard of these documents, its rows out of order."""
    offsets = np.cumsum([0, *(ids.size + 1 for ids in documents)])
    rows: list[dict[str, Any]] = [
        {"id": str(first + n), "shard": shard, "document": n, "offset": int(offsets[n]), "tokens": ids.size + 1}
        for n, ids in enumerate(documents)
    ]
    return pa.Table.from_pylist(rows[::-1])


def content(folder: Path, name: str) -> tuple[bytes, bytes]:
    return (folder / f"{name}.bin").read_bytes(), (folder / f"{name}.idx").read_bytes()


def documents_at(folder: Path, table: pa.Table) -> dict[str, list[int]]:
    return {
        row["id"]: read_tokens(Output(str(folder)), row["shard"], row["offset"], row["tokens"])[:-1].tolist()
        for row in table.to_pylist()
    }


@given(st.lists(LENGTHS, min_size=1, max_size=4), st.sampled_from([VOCABULARY, 70_000]), st.integers(1, 64))
@settings(max_examples=60)
def test_merged_shards_are_all_documents_written_at_once(shards: list[list[int]], vocabulary: int, block: int) -> None:
    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(mixing.reshard, "COPY_BYTES", block)
        folder = Path(name)
        parts = [documents(lengths, seed) for seed, lengths in enumerate(shards)]
        for n, part in enumerate(parts):
            write(folder, f"part-{n}", part, vocabulary, EOD)
        whole = write(folder, "whole", [ids for part in parts for ids in part], vocabulary, EOD)
        merged = merge([folder / f"part-{n}" for n in range(len(parts))], folder, "merged")
        assert content(folder, "merged") == content(folder, "whole")
        assert asdict(merged) == asdict(whole) | {"name": "merged"}


@given(LENGTHS, st.integers(1, 80))
@settings(max_examples=60)
def test_a_shard_is_cut_between_documents_and_merged_again(lengths: list[int], most: int) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, "s", documents(lengths), VOCABULARY, EOD)
        pieces = cut(folder / "s", folder / "pieces", most)
        assert [piece.name for piece in pieces] == [f"s-{n:05d}" for n in range(len(pieces))]
        assert all(piece.tokens <= most or piece.documents == 1 for piece in pieces)
        # No piece could have taken the first document of the next.
        firsts = np.cumsum([piece.documents for piece in pieces])[:-1]
        assert all(piece.tokens + lengths[at] + 1 > most for piece, at in zip(pieces, firsts, strict=False))
        for piece in pieces:
            verify_shard(folder / "pieces" / piece.name, VOCABULARY, EOD)
            assert hashlib.sha256(content(folder / "pieces", piece.name)[0]).hexdigest() == piece.bin_sha256
        merge([folder / "pieces" / piece.name for piece in pieces], folder, "again")
        assert content(folder, "again") == content(folder, "s")


def test_places_follow_their_documents(tmp_path: Path) -> None:
    first, second = documents([3, 9, 4], 1), documents([7, 2], 2)
    for name, part in (("a", first), ("b", second)):
        write(tmp_path, name, part, VOCABULARY, EOD)
    merge([tmp_path / "a", tmp_path / "b"], tmp_path, "ab")
    table = merge_places([places("a", first), places("b", second, 3)], "ab")
    expected = {str(n): ids.tolist() for n, ids in enumerate([*first, *second])}
    assert documents_at(tmp_path, table) == expected
    assert table["document"].to_pylist() == [0, 1, 2, 3, 4]
    pieces = cut(tmp_path / "ab", tmp_path, 15)
    tables = cut_places(table, pieces)
    assert len(pieces) > 1
    assert [places.num_rows for places in tables] == [piece.documents for piece in pieces]
    assert all(places["document"].to_pylist() == list(range(places.num_rows)) for places in tables)
    cut_documents = {id_: ids for places in tables for id_, ids in documents_at(tmp_path, places).items()}
    assert cut_documents == expected
    assert merge_places(tables, "ab").equals(table)


def test_pieces_do_not_mix_with_files_of_their_names(tmp_path: Path) -> None:
    write(tmp_path, "s", documents([9, 9, 9]), VOCABULARY, EOD)
    assert len(cut(tmp_path / "s", tmp_path, 10)) == 3
    before = content(tmp_path, "s-00000")
    with pytest.raises(UserError, match=r"s-00000\.bin: this name is for a piece of s;"):
        cut(tmp_path / "s", tmp_path, 20)
    assert content(tmp_path, "s-00000") == before
    assert [piece.documents for piece in cut(tmp_path / "s", tmp_path / "other", 20)] == [2, 1]


def test_shards_of_two_tokenizers_are_not_merged(tmp_path: Path) -> None:
    write(tmp_path, "small", documents([3]), VOCABULARY, EOD)
    write(tmp_path, "large", documents([3]), 70_000, EOD)
    with pytest.raises(UserError, match=r"large: int32 tokens, .*small has uint16"):
        merge([tmp_path / "small", tmp_path / "large"], tmp_path, "both")
    with pytest.raises(UserError, match="no shard to merge"):
        merge([], tmp_path, "both")
    assert not list(tmp_path.glob("*both*"))


def test_a_corrupt_shard_is_not_merged(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path, name, documents([3]), VOCABULARY, EOD)
    (tmp_path / "b.bin").write_bytes(b"\x00")
    with pytest.raises(UserError, match=r"b\.bin: corrupt"):
        merge([tmp_path / "a", tmp_path / "b"], tmp_path, "both")
    assert not list(tmp_path.glob("*both*"))


@given(st.integers(1, 300), st.integers(2, 50))
def test_packed_lengths_hold_every_token(tokens: int, length: int) -> None:
    lengths = packed_lengths(tokens, length)
    assert lengths.sum() == tokens
    assert set(lengths[:-1].tolist()) <= {length}
    assert 0 < lengths[-1] <= length


def packed(folder: Path, length: int) -> tuple[Shard, str]:
    written = write(folder, "s", documents([3, 9, 4, 7]), VOCABULARY, EOD)
    return written, pack(folder / "s", length)


def test_packing_moves_bounds_and_no_token(tmp_path: Path) -> None:
    from megatron.core.datasets.indexed_dataset import IndexedDataset

    written, sha256 = packed(tmp_path, 8)
    data, index = content(tmp_path, "s")
    assert hashlib.sha256(data).hexdigest() == written.bin_sha256
    assert hashlib.sha256(index).hexdigest() == sha256 != written.idx_sha256
    assert read_index(tmp_path / "s").lengths.tolist() == [8, 8, 8, 3]
    theirs = IndexedDataset(str(tmp_path / "s"))
    joined = [token for ids in documents([3, 9, 4, 7]) for token in (*ids.tolist(), EOD)]
    assert np.concatenate([theirs[n] for n in range(len(theirs))]).tolist() == joined
    assert pack(tmp_path / "s", 8) == sha256
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.bin", "s.idx"]


def test_a_packed_shard_is_verified_by_its_documents(tmp_path: Path) -> None:
    packed(tmp_path, 8)
    lengths = np.array([4, 10, 5, 8])
    verify_shard(tmp_path / "s", VOCABULARY, EOD, lengths)
    verify_shard(tmp_path / "s", VOCABULARY, None)
    with pytest.raises(UserError, match=r"s\.bin: corrupt: 27 tokens, where its documents have 28"):
        verify_shard(tmp_path / "s", VOCABULARY, EOD, np.array([4, 10, 5, 9]))
    with pytest.raises(UserError, match=r"s\.bin: corrupt: document 0 does not end"):
        verify_shard(tmp_path / "s", VOCABULARY, EOD, lengths[::-1])
    with pytest.raises(UserError, match="document 0 does not end"):
        verify_shard(tmp_path / "s", VOCABULARY, EOD)
