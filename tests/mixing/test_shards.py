"""Shards are Megatron's, byte for byte, and every corruption is an error."""

import hashlib
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.dataset import Output
from lake.error import UserError
from mixing import shards
from mixing.shards import index_bytes, read_index, read_tokens, verify_shard, write
from mixing.tokenizer.tokenizer import Tokenizer

VOCABULARY, EOD = 1000, 999


def documents(*lengths: int, high: int = EOD) -> list[np.ndarray]:
    random = np.random.default_rng(5)
    return [random.integers(0, high, length) for length in lengths]


@given(st.lists(st.text(min_size=1), min_size=1, max_size=8))
@settings(max_examples=100)
def test_any_text_comes_back_from_a_shard(trained: Tokenizer, texts: list[str]) -> None:
    with TemporaryDirectory() as folder:
        written = write(Path(folder), "s", trained.encode(texts), trained.vocab_size, trained.eod)
        prefix = Path(folder, "s")
        index = verify_shard(prefix, trained.vocab_size, trained.eod)
        assert (written.documents, written.tokens) == (len(texts), index.tokens)
        offset = 0
        for text, length in zip(texts, index.lengths.tolist(), strict=True):
            *ids, end = read_tokens(Output(str(prefix.parent)), prefix.name, offset, length)
            assert trained.decode(ids) == text
            assert end == trained.eod
            offset += length


@pytest.mark.parametrize("vocabulary", [VOCABULARY, 65_499, 65_500, 128_256])
def test_bytes_are_megatrons(tmp_path: Path, vocabulary: int) -> None:
    import torch
    from megatron.core.datasets.indexed_dataset import DType, IndexedDataset, IndexedDatasetBuilder

    eod = vocabulary - 1
    token_ids = documents(1, 7, 300, 2, high=eod)
    write(tmp_path, "ours", token_ids, vocabulary, eod)
    builder = IndexedDatasetBuilder(str(tmp_path / "theirs.bin"), dtype=DType.optimal_dtype(vocabulary))
    for ids in token_ids:
        builder.add_document(torch.tensor([*ids.tolist(), eod]), [len(ids) + 1])
    builder.finalize(str(tmp_path / "theirs.idx"))
    for kind in ("bin", "idx"):
        assert (tmp_path / f"ours.{kind}").read_bytes() == (tmp_path / f"theirs.{kind}").read_bytes()
    theirs = IndexedDataset(str(tmp_path / "ours"))
    assert [ids.tolist() for ids in theirs[0:4]] == [[*ids.tolist(), eod] for ids in token_ids]


def test_the_result_describes_the_files(tmp_path: Path) -> None:
    shard = write(tmp_path, "s", documents(3, 4), VOCABULARY, EOD)
    assert (shard.name, shard.documents, shard.tokens) == ("s", 2, 9)
    assert shard.bin_sha256 == hashlib.sha256((tmp_path / "s.bin").read_bytes()).hexdigest()
    assert shard.idx_sha256 == hashlib.sha256((tmp_path / "s.idx").read_bytes()).hexdigest()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.bin", "s.idx"]


@pytest.mark.parametrize("block", [1, 5, 8, 1 << 18])
@pytest.mark.parametrize("wrong", [[], [5, VOCABULARY], [-1]])
def test_a_wrong_document_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: list[int], block: int
) -> None:
    monkeypatch.setattr(shards, "WRITTEN_AT_ONCE", block)
    token_ids = [np.array([1]), np.array([2, 3]), np.array(wrong, dtype=np.int64), np.array([4])]
    with pytest.raises(ValueError, match="s: document 2 has"):
        write(tmp_path, "s", token_ids, VOCABULARY, EOD)
    assert list(tmp_path.iterdir()) == []


@given(
    st.lists(st.lists(st.integers(0, EOD - 1), min_size=1, max_size=9), max_size=20),
    st.integers(1, 40),
    st.sampled_from([np.uint16, np.int32, np.uint32, np.int64]),
)
@settings(max_examples=100)
def test_blocks_leave_no_trace(token_ids: list[list[int]], block: int, kind: type[np.integer]) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "WRITTEN_AT_ONCE", block)
        shard = write(Path(folder), "s", (np.array(ids, kind) for ids in token_ids), VOCABULARY, EOD)
        expected = np.array([token for ids in token_ids for token in (*ids, EOD)], np.uint16).tobytes()
        assert Path(folder, "s.bin").read_bytes() == expected
        assert Path(folder, "s.idx").read_bytes() == index_bytes([len(ids) + 1 for ids in token_ids], np.uint16)
        assert (shard.documents, shard.tokens) == (len(token_ids), len(expected) // 2)
        assert shard.bin_sha256 == hashlib.sha256(expected).hexdigest()


def test_memory_holds_a_block_and_not_the_shard(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        tracemalloc.start()
        write(tmp_path, "s", (np.full(1000, 7, np.uint16) for _ in range(count)), VOCABULARY, EOD)
        _, size = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return size

    assert peak(8_000) < 1.5 * peak(1_000)


def overwrite(name: str, at: int, data: bytes) -> Callable[[Path], None]:
    def corrupt(folder: Path) -> None:
        raw = bytearray((folder / name).read_bytes())
        raw[at : at + len(data)] = data
        (folder / name).write_bytes(raw)

    return corrupt


def cut(name: str, by: int) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-by]) and None


# Three documents of 4, 5 and 6 tokens with their ends: sizes at byte 34, starts at 46, bounds at 70 to 102.
CORRUPTIONS = {
    "bad magic": (overwrite("s.idx", 0, b"BROKEN"), r"s\.idx: corrupt: it does not begin like"),
    "bad version": (overwrite("s.idx", 9, struct.pack("<Q", 2)), r"s\.idx: corrupt: it does not begin like"),
    "bad type": (overwrite("s.idx", 17, b"\x07"), r"s\.idx: corrupt: token type 7"),
    "other type": (overwrite("s.idx", 17, b"\x04"), r"s\.idx: corrupt: the starts"),
    "count": (overwrite("s.idx", 18, struct.pack("<Q", 2)), r"s\.idx: corrupt: 4 document bounds for 2"),
    "huge count": (overwrite("s.idx", 18, struct.pack("<QQ", 2**60, 2**60 + 1)), r"s\.idx: corrupt: 102 bytes where"),
    "short index": (cut("s.idx", 1), r"s\.idx: corrupt: 101 bytes where 3 documents take 102"),
    "no header": (cut("s.idx", 90), r"s\.idx: corrupt: 12 bytes are less than a header"),
    "length": (overwrite("s.idx", 34, struct.pack("<i", 5)), r"s\.idx: corrupt: the starts of the documents"),
    "negative length": (overwrite("s.idx", 34, struct.pack("<i", -5)), r"s\.idx: corrupt: it holds an empty document"),
    "last length": (
        overwrite("s.idx", 42, struct.pack("<i", 7)),
        r"s\.bin: corrupt: 30 bytes where the index tells of 32",
    ),
    "start": (overwrite("s.idx", 54, struct.pack("<q", 9)), r"s\.idx: corrupt: the starts of the documents"),
    "bound": (overwrite("s.idx", 78, struct.pack("<q", 2)), r"s\.idx: corrupt: a document is not one sequence"),
    "truncated data": (cut("s.bin", 2), r"s\.bin: corrupt: 28 bytes where the index tells of 30"),
    "id out of range": (overwrite("s.bin", 2, struct.pack("<H", 1000)), r"s\.bin: corrupt: token 1 is 1000"),
    "no end": (overwrite("s.bin", 6, struct.pack("<H", 5)), r"s\.bin: corrupt: document 0 does not end"),
    "end inside": (overwrite("s.bin", 2, struct.pack("<H", EOD)), r"s\.bin: corrupt: 4 ends of document in 3"),
    "no data": (lambda folder: (folder / "s.bin").unlink(), r"s\.bin: this half of the shard is missing"),
    "no index": (lambda folder: (folder / "s.idx").unlink(), r"s\.idx: this half of the shard is missing"),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_corruption_is_an_error(tmp_path: Path, name: str) -> None:
    corrupt, message = CORRUPTIONS[name]
    write(tmp_path, "s", documents(3, 4, 5), VOCABULARY, EOD)
    verify_shard(tmp_path / "s", VOCABULARY, EOD)
    corrupt(tmp_path)
    with pytest.raises(UserError, match=message) as raised:
        verify_shard(tmp_path / "s", VOCABULARY, EOD)
    assert "\n" not in str(raised.value)


@given(st.integers(0, 101), st.integers(0, 255))
@settings(max_examples=200)
def test_no_byte_of_an_index_can_change_unseen(at: int, value: int) -> None:
    with TemporaryDirectory() as folder:
        write(Path(folder), "s", documents(3, 4, 5), VOCABULARY, EOD)
        index = Path(folder, "s.idx")
        if index.read_bytes()[at] == value:
            return
        overwrite("s.idx", at, bytes([value]))(Path(folder))
        with pytest.raises(UserError):
            read_index(Path(folder, "s"))


def test_a_shard_of_a_larger_vocabulary_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, "s", documents(3), VOCABULARY, EOD)
    with pytest.raises(UserError, match="uint16 tokens, where a vocabulary of 70000 takes int32"):
        verify_shard(tmp_path / "s", 70_000, EOD)


def test_names_with_dots_stay_whole(tmp_path: Path) -> None:
    write(tmp_path, "train-v1.5-00000", documents(3), VOCABULARY, EOD)
    assert read_index(tmp_path / "train-v1.5-00000").tokens == 4


def test_reading_past_the_end_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, "s", documents(3), VOCABULARY, EOD)
    with pytest.raises(UserError, match="tokens 2 to 5 of 4"):
        read_tokens(Output(str(tmp_path)), "s", 2, 3)
