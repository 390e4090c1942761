"""The shard benchmark reads every text once, and both sides write the same files."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from benchmarks.shards import BATCH, BLOCK, RUNS, batches, compare, main, ours
from mixing.tokenizer.build import TokenizerSettings, train
from mixing.tokenizer.tokenizer import Tokenizer

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
    read = list(batches(written(tmp_path, kind)))
    assert [text for batch in read for text in batch] == [text for text in TEXTS if text]
    assert max(map(len, read)) <= BATCH


def test_both_sides_write_the_same_files(tmp_path: Path, tokenizer: TokenizerSettings) -> None:
    figures = compare(written(tmp_path, "jsonl.gz"), tokenizer)
    assert figures["ids_equal"] is True
    assert figures["encoder"].startswith("fastokens ")
    assert figures["mb"] == pytest.approx(sum(len(text.encode()) for text in TEXTS) / 1e6, abs=0.01)
    assert all(figures[name] > 0 for name in ("tokens", "mb_per_core_s", "tokens_per_core_s", "ratio_to_hf"))


def test_no_run_has_an_encoder_that_has_seen_the_file(
    tmp_path: Path, tokenizer: TokenizerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    twins = []

    def watched(file: Path, adopted: Tokenizer, folder: Path) -> int:
        twins.append(adopted.encoder._fast)
        return ours(file, adopted, folder)

    monkeypatch.setattr("benchmarks.shards.ours", watched)
    (tmp_path / "a.jsonl").write_text('{"text": "a dose"}\n', encoding="utf-8")
    compare(tmp_path / "a.jsonl", tokenizer)
    assert len(twins) == len({id(twin) for twin in twins}) == RUNS


def ints(file: Path) -> None:
    pq.write_table(pa.table({"text": [1, 2]}), file)


def other_column(file: Path) -> None:
    pq.write_table(pa.table({"words": ["a", "b"]}), file)


def no_row(file: Path) -> None:
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), file)


def not_utf8(file: Path) -> None:
    pq.write_table(pa.table({"text": pa.array([b"\xff"]).view(pa.string())}), file)


def cut(file: Path) -> None:
    file.write_bytes(gzip.compress(json.dumps({"text": "".join(map(chr, range(5000)))}).encode())[:-2000])


NOT_TEXTS = "not JSON lines or Parquet with texts: "
NO_TEXT = "no text in the field or column text"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b"no json\n", NOT_TEXTS),
        ("a.jsonl", b'{"text":1}', NOT_TEXTS),
        ("a.jsonl", b'{"words":"a"}\n{"text":null}\n{"text":""}\n', NO_TEXT),
        ("a.jsonl", b"", NOT_TEXTS),
        ("a.jsonl.gz", cut, NOT_TEXTS),
        ("a.jsonl.gz", b'{"text":"no gzip"}', NOT_TEXTS),
        ("a.parquet", b"PAR", NOT_TEXTS),
        ("a.parquet", ints, NOT_TEXTS + "text is int64"),
        ("a.parquet", other_column, NOT_TEXTS),
        ("a.parquet", no_row, NO_TEXT),
        ("a.parquet", not_utf8, NOT_TEXTS),
    ],
)
def test_a_file_without_texts_is_one_line(
    tmp_path: Path, tokenizer: TokenizerSettings, name: str, content: bytes | Callable[[Path], None], message: str
) -> None:
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    else:
        content(tmp_path / name)
    done = CliRunner().invoke(main, ["--input", str(tmp_path / name), "--tokenizer", str(tokenizer.path), "--json"])
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"gap: {tmp_path / name}: {message}")
    assert done.stderr.count("\n") == 1


def test_a_tokenizer_that_is_not_there_is_named(tmp_path: Path) -> None:
    file, folder = written(tmp_path, "jsonl"), tmp_path / "mistyped"
    done = CliRunner().invoke(main, ["--input", str(file), "--tokenizer", str(folder)])
    assert done.exit_code == 2
    assert done.stderr.startswith(f"gap: tokenizer.package: {folder} is not package/file of an installed package")
