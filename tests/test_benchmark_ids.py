"""The fast encoder gives Hugging Face's ids on real data, and its benchmark reads all texts."""

import gzip
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from benchmarks.ids import differing, main, texts_of
from mixing.tokenizer.build import TokenizerSettings, adopt, train
from mixing.tokenizer.tokenizer import Tokenizer
from tests.mixing.tokenizers import LLAMA, SMOLLM2, packaged

EVERY, LONGEST = 50, 4_000
"""The test takes the beginning of every 50th text of a file; `python -m benchmarks.ids ../shared/data` takes all."""


@pytest.mark.parametrize("package", [SMOLLM2, LLAMA])
def test_texts_of_all_real_files_have_hugging_faces_ids(shared_data: Path, package: str) -> None:
    tokenizer = adopt(packaged(package))
    assert tokenizer.encoder.name.startswith("fastokens ")
    texts = [text[:LONGEST] for file in files_below(shared_data) for text in islice(texts_of(file), 0, None, EVERY)]
    assert len(texts) > 500
    assert differing(tokenizer, texts) == []


def files_below(folder: Path) -> Iterator[Path]:
    return (file for file in sorted(folder.rglob("*")) if file.is_file())


@pytest.fixture(scope="module")
def small() -> Tokenizer:
    return train(["a dose"] * 20, TokenizerSettings.model_validate({"train": {"vocab_size": 400}}))


def test_all_strings_of_a_file_are_its_texts(tmp_path: Path) -> None:
    record = {"id": 1, "a": ["x", {"b": "é"}, ""], "c": None}
    lines = "".join(f"{json.dumps(line)}\n" for line in (record, "y"))
    (tmp_path / "a.jsonl").write_text(lines, encoding="utf-8")
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "c.json").write_text(json.dumps([record, "y"]), encoding="utf-8")
    pq.write_table(pa.table({"n": [1, 2], "text": ["x", None], "other": ["é", "y"]}), tmp_path / "d.parquet")
    (tmp_path / "e.xml").write_text("<a>é\n</a>", encoding="utf-8")
    texts = {file.name[0]: list(texts_of(file)) for file in files_below(tmp_path)}
    assert texts.pop("e") == ["<a>é\n</a>"]
    assert list(texts) == [*"abcd"]
    assert all(strings == ["x", "é", "y"] for strings in texts.values())


def test_a_text_with_other_ids_is_shown_and_the_exit_code_says_so(
    small: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.save(tmp_path / "tokenizer")
    (tmp_path / "a.txt").write_text("a dose of two", encoding="utf-8")
    words = [str(tmp_path / "a.txt"), "--tokenizer", str(tmp_path / "tokenizer")]
    done = CliRunner().invoke(main, words)
    assert (done.exit_code, done.stdout.splitlines()[1:]) == (0, [])
    assert "1 texts, 0.0 MB, 0 with other ids" in done.stdout
    other = small.encoder.encode(["other"])
    monkeypatch.setattr("mixing.tokenizer.encoder.Encoder.encode", lambda *_: other)
    done = CliRunner().invoke(main, words)
    assert (done.exit_code, done.stdout.splitlines()[1:]) == (1, ["  'a dose of two'"])


@pytest.mark.parametrize(("name", "data"), [("a.jsonl.gz", b"no gzip"), ("a.json", b"{"), ("a.xml", b"\xff")])
def test_a_file_that_cannot_be_read_is_one_line(small: Tokenizer, tmp_path: Path, name: str, data: bytes) -> None:
    small.save(tmp_path / "tokenizer")
    (tmp_path / name).write_bytes(data)
    done = CliRunner().invoke(main, [str(tmp_path / name), "--tokenizer", str(tmp_path / "tokenizer")])
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"gap: {tmp_path / name}: cannot be read: ")
