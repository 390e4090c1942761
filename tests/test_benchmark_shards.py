"""The shard benchmark's own parts: its reading, and both sides' files."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.shards import BATCH, BLOCK, batches, compare
from lake.error import UserError
from mixing.tokenizer import TokenizerSettings, train

TEXTS = [
    *(
        f"Patient {number} took {number * 7} mg [fig] a\u2028b\x85\n “dose” {'é' * (number % 9)}."
        for number in range(600)
    ),
    "",
    "long " * (BLOCK // 20),
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> TokenizerSettings:
    folder = tmp_path_factory.mktemp("tokenizer")
    train(TEXTS[:100], TokenizerSettings.model_validate({"train": {"vocab_size": 400}})).save(folder)
    return TokenizerSettings(path=str(folder))


def written(folder: Path, kind: str) -> Path:
    file = folder / f"texts.{kind}"
    if kind == "parquet":
        pq.write_table(pa.table({"id": list(range(len(TEXTS))), "text": TEXTS}), file)
    else:
        lines = (json.dumps({"id": number, "text": text, "meta": {"text": 1}}) for number, text in enumerate(TEXTS))
        data = "".join(f"{line}\n" for line in lines).encode()
        file.write_bytes(gzip.compress(data) if kind.endswith("gz") else data)
    return file


@pytest.mark.parametrize("kind", ["jsonl.gz", "jsonl", "parquet"])
def test_every_text_is_read_once_in_its_order(tmp_path: Path, kind: str) -> None:
    found = list(batches(written(tmp_path, kind)))
    assert [text for batch in found for text in batch] == [text for text in TEXTS if text]
    assert max(map(len, found)) <= BATCH


def test_both_sides_write_the_same_files(tmp_path: Path, tokenizer: TokenizerSettings) -> None:
    figures = compare(written(tmp_path, "jsonl.gz"), tokenizer)
    assert figures["ids_equal"] is True
    assert figures["encoder"].startswith("fastokens ")
    assert figures["mb"] == pytest.approx(sum(len(text.encode()) for text in TEXTS) / 1e6, abs=0.01)
    assert all(figures[name] > 0 for name in ("tokens", "mb_per_core_s", "tokens_per_core_s", "ratio_to_hf"))


@pytest.mark.parametrize(
    ("name", "data"), [("a.jsonl", b"no json\n"), ("a.parquet", b"PAR"), ("b.jsonl", b'{"text":1}')]
)
def test_a_file_of_another_kind_is_told(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match="not JSON lines or Parquet with texts"):
        list(batches(tmp_path / name))
