"""`gap verify`: every kind of corruption is one line that names the shard, and a well shard gives none."""

import re
import shutil
import struct
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tokenizers
from click.testing import CliRunner
from tokenizers import normalizers, pre_tokenizers

from gap.cli import main
from lake.dataset import Output
from lake.error import UserError
from lake.step import Step
from mixing.shards import HEAD, ShardSettings, index_bytes, read_index, write
from mixing.tokenizer.build import TokenizerSettings
from mixing.tokenizer.tokenizer import FOLDER, Tokenizer
from ray_jobs.shard_check import Checked, ShardCheck, check_step, lossy
from tests.jobs.sharded import DEFAULT, Before, mix_step, tokenizer_step

pytestmark = pytest.mark.engine

SHARD = "train-papers-00000"


@pytest.fixture(scope="module")
def packed_step(before: Before, tmp_path_factory: pytest.TempPathFactory) -> Step[Any]:
    return before.sharded(tmp_path_factory.mktemp("packed"), ShardSettings(tokens=DEFAULT.tokens, pack=64))


def copied(step: Step[Any], root: Path) -> Step[Any]:
    """The step with a folder of its own, which a test may break."""
    other = replace(step, lake=str(root))
    shutil.copytree(step.output.local(), other.output.local())
    return other


def written(step: Step[Any], name: str = SHARD) -> dict[str, Any]:
    return next(one for one in step.manifest().figures["shards"] if one["name"] == name)


def faults(step: Step[Any]) -> list[str]:
    return list(ShardCheck.of(step).check(written(step)).faults)


def edit(kind: str, at: int, data: bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / "shards" / f"{SHARD}.{kind}"
        raw = bytearray(file.read_bytes())
        at_ = at if at >= 0 else len(raw) + at
        raw[at_ : at_ + len(data)] = data
        file.write_bytes(raw)

    return change


def truncate(kind: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / "shards" / f"{SHARD}.{kind}"
        file.write_bytes(file.read_bytes()[:-2])

    return change


def flip(folder: Path) -> None:
    """The lowest bit of the second token, which stays an id of the vocabulary."""
    file = folder / "shards" / f"{SHARD}.bin"
    raw = bytearray(file.read_bytes())
    raw[2] ^= 1
    file.write_bytes(raw)


def other_lengths(folder: Path) -> None:
    """The first two documents' lengths changed places: header, starts and size are as they should be."""
    prefix = folder / "shards" / SHARD
    found = read_index(prefix)
    lengths = found.lengths.tolist()
    at = next(n for n in range(len(lengths)) if lengths[n] != lengths[0])
    lengths[0], lengths[at] = lengths[at], lengths[0]
    prefix.with_suffix(".idx").write_bytes(index_bytes(lengths, found.dtype))


def other_order(folder: Path) -> None:
    """The first two documents changed places and their lengths with them: a shard that is well in itself."""
    prefix = folder / "shards" / SHARD
    found = read_index(prefix)
    tokens = np.fromfile(prefix.with_suffix(".bin"), found.dtype)
    ids = [one[:-1] for one in np.split(tokens, np.cumsum(found.lengths)[:-1])]
    ids[0], ids[1] = ids[1], ids[0]
    write(folder / "shards", SHARD, ids, 400, int(tokens[-1]))


def places(change: Callable[[list[dict[str, Any]]], None]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        output = Output(str(folder))
        rows = output.read_part("index", "source=papers/part-00000.parquet")
        listed = rows.to_pylist()
        change(listed)
        output.write_part("index", 0, pa.Table.from_pylist(listed, rows.schema), "papers")

    return apply


def lost_place(rows: list[dict[str, Any]]) -> None:
    rows.remove(next(row for row in rows if row["shard"] == SHARD))


def moved_place(rows: list[dict[str, Any]]) -> None:
    next(row for row in rows if row["shard"] == SHARD)["offset"] += 1


def swapped_places(rows: list[dict[str, Any]]) -> None:
    """Two documents of equal length under each other's ids."""
    mine = [row for row in rows if row["shard"] == SHARD]
    pairs = ((a, b) for a in mine for b in mine if a["tokens"] == b["tokens"] and a["id"] < b["id"])
    one, other = next(pairs)
    one["id"], other["id"] = other["id"], one["id"]


def overwrite(part: Path) -> None:
    """Pages of a Parquet file are garbage, its footer is well."""
    raw = part.read_bytes()
    part.write_bytes(raw[:4] + b"\xff" * (len(raw) // 4) + raw[4 + len(raw) // 4 :])


TRUNCATED = r"\.bin: corrupt: \d+ bytes where the index tells of"
SHA = r"\.(bin|idx): its SHA-256"
CORRUPTIONS: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "truncated data": (truncate("bin"), (TRUNCATED, SHA)),
    "truncated index": (truncate("idx"), (r"\.idx: corrupt: \d+ bytes where", SHA)),
    "header": (edit("idx", 0, b"X"), (r"\.idx: corrupt: it does not begin like", SHA)),
    "one length": (edit("idx", HEAD.size, struct.pack("<i", 1)), (r"\.idx: corrupt: the starts", SHA)),
    "all lengths": (other_lengths, (r"\.bin: corrupt: document 0 does not end", SHA)),
    "id too large": (edit("bin", 2, struct.pack("<H", 400)), (r"\.bin: corrupt: token 1 is 400", SHA)),
    "no end": (edit("bin", -2, struct.pack("<H", 5)), (r"\.bin: corrupt: document \d+ does not end", SHA)),
    "flipped bit": (flip, (r"\.bin: document 0 is not the text of [0-9a-f]{32}$", SHA)),
    "other order": (other_order, (r"not the shard that was written: lengths differ", SHA, SHA)),
    "no data": (lambda folder: (folder / f"shards/{SHARD}.bin").unlink(), (r"\.bin: this half .* missing",)),
    "no place": (places(lost_place), (r"documents or tokens differ from the manifest's",)),
    "wrong place": (places(moved_place), (r"the index table does not lead to its documents",)),
    "wrong text": (places(swapped_places), (r"is not the text of [0-9a-f]{32} \(and 1 more of \d+ checked\)",)),
    "no index table": (lambda folder: shutil.rmtree(folder / "index"), (r"its part of the index table is missing",)),
    "corrupt table": (
        lambda folder: (folder / "index/source=papers/part-00000.parquet").write_bytes(b"PAR1"),
        (r"part-00000\.parquet: missing or corrupt",),
    ),
    "corrupt page of the table": (
        lambda folder: overwrite(folder / "index/source=papers/part-00000.parquet"),
        (r"part-00000\.parquet: missing or corrupt",),
    ),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_corruption_is_one_line_that_names_the_shard(shard_step: Step[Any], tmp_path: Path, name: str) -> None:
    corrupt, wanted = CORRUPTIONS[name]
    step = copied(shard_step, tmp_path)
    assert faults(step) == []
    corrupt(step.output.local())
    found = faults(step)
    assert len(found) == len(wanted), found
    for line, pattern in zip(found, wanted, strict=True):
        assert re.search(pattern, line), line
        assert SHARD in line
        assert "\n" not in line


@pytest.mark.parametrize("change", [overwrite, Path.unlink])
def test_clean_text_that_cannot_be_read_is_a_fault_of_the_shard(
    shard_step: Step[Any], tmp_path: Path, change: Callable[[Path], None]
) -> None:
    job = ShardCheck.of(shard_step)
    shutil.copytree(job.clean.local(), tmp_path / "clean")
    job = replace(job, clean=Output(str(tmp_path / "clean")))
    assert job.check(written(shard_step)).faults == ()
    change(tmp_path / "clean/documents/source=papers/part-00001.parquet")
    (found,) = job.check(written(shard_step)).faults
    assert re.match(rf"{SHARD}: .*part-00001\.parquet: missing or corrupt", found)


def test_a_well_lake_has_no_fault_and_every_document_is_decoded(shard_step: Step[Any], packed_step: Step[Any]) -> None:
    for step in (shard_step, packed_step):
        found = check_step(step)
        assert [one.shard for one in found] == [one["name"] for one in step.manifest().figures["shards"]]
        assert [fault for one in found for fault in one.faults] == []
        assert all(one.sampled == one.exact == one.documents > 0 for one in found)
        total = step.manifest().figures["mixture"][-1]
        assert sum(one.tokens for one in found) == total["train_tokens"] + total["validation_tokens"]


def test_a_sample_is_the_same_every_time_and_no_larger(shard_step: Step[Any]) -> None:
    (few, again) = (ShardCheck.of(shard_step, 5).check(written(shard_step)) for _ in range(2))
    assert few == again
    assert few.sampled == 5 < few.documents


def test_of_a_packed_shard_bounds_ends_and_texts_are_checked(packed_step: Step[Any], tmp_path: Path) -> None:
    assert faults(packed_step) == []
    (cut, *rest) = replace(ShardCheck.of(packed_step), pack=32).check(written(packed_step)).faults
    assert cut.endswith("its sequences are not 32 tokens each")
    assert rest == []
    step = copied(packed_step, tmp_path)
    flip(step.output.local())
    assert "document 0 is not the text of" in faults(step)[0]
    edit("bin", -2, struct.pack("<H", 5))(step.output.local())
    assert "does not end with the end-of-document id" in faults(step)[0]


class Decomposed(Tokenizer):
    def decode(self, ids: Any) -> str:
        return unicodedata.normalize("NFD", super().decode(ids))


class Lowered(Tokenizer):
    def decode(self, ids: Any) -> str:
        return super().decode(ids).lower()


@pytest.mark.parametrize(("kind", "lost"), [(Decomposed, False), (Lowered, True)])
def test_a_tokenizer_that_changes_the_text_is_held_against_its_ids(
    shard_step: Step[Any], tmp_path: Path, kind: type[Tokenizer], lost: bool
) -> None:
    made = Tokenizer.load(shard_step.input("tokenizer").output.local(FOLDER))
    job = ShardCheck.of(shard_step)
    vars(job)["tokenizer"] = kind(made.backend, made.end, made.padding)
    found = job.check(written(shard_step))
    assert found.faults == ()
    assert found.sampled > 0 == found.exact
    assert found.lost == (found.sampled if lost else 0)
    broken = ShardCheck.of(copied(shard_step, tmp_path))
    vars(broken)["tokenizer"] = kind(made.backend, made.end, made.padding)
    flip(broken.output.local())
    assert "document 0 is not the text of" in broken.check(written(shard_step)).faults[0]


def test_more_than_half_of_all_documents_lost_is_a_fault_of_the_tokenizer() -> None:
    def shard(sampled: int, lost: int) -> Checked:
        return Checked("a", (), 100, 1000, sampled, sampled - lost, lost)

    assert lossy([]) is lossy([shard(0, 0)]) is None
    assert lossy([shard(1, 1), shard(9, 4)]) is None, "one shard is a sample too small"
    assert "6 of 10 decoded documents differ from their text" in (lossy([shard(1, 1), shard(9, 5)]) or "")


def another(before: Before, root: Path, change: Callable[[tokenizers.Tokenizer], None]) -> Before:
    """The lake counted and planned anew, with a tokenizer that is changed."""
    made = Tokenizer.load(before.counted.output.local(FOLDER))
    change(made.backend)
    made.save(root / "changed")
    counted = tokenizer_step(root, before.clean, TokenizerSettings(path=str(root / "changed")))
    return Before(before.clean, counted, mix_step(root, counted))


@pytest.mark.filterwarnings("ignore:.*fastokens")
def test_the_step_is_not_committed_with_a_tokenizer_that_loses_blanks(before: Before, tmp_path: Path) -> None:
    def without_blanks(backend: tokenizers.Tokenizer) -> None:
        backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), backend.pre_tokenizer])

    lake = another(before, tmp_path, without_blanks)
    with pytest.raises(UserError, match=r"^tokenizer: (\d+) of \1 decoded documents differ from their text"):
        lake.sharded(tmp_path)
    (folder,) = tmp_path.glob("shard-*")
    assert not (folder / "manifest.json").exists()


def test_a_tokenizer_that_normalises_passes_and_is_told_of(before: Before, tmp_path: Path) -> None:
    def decomposed(backend: tokenizers.Tokenizer) -> None:
        backend.normalizer = normalizers.NFD()

    lake = another(before, tmp_path, decomposed)
    with pytest.warns(UserWarning, match=r"^(\d+) of \1 decoded documents differ from their text: the tokenizer norm"):
        step = lake.sharded(tmp_path)
    figures = step.manifest().figures
    assert figures["exact"] == 0 < figures["sampled"]
    found = check_step(step)
    assert sum(one.sampled for one in found) == figures["sampled"]
    assert not any(one.faults for one in found)


def test_a_tokenizer_that_loses_text_is_a_fault_of_a_step_made_earlier(
    shard_step: Step[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray_jobs.shard_check.MOST_LOST", -1)
    (fault,) = (fault for one in check_step(shard_step) for fault in one.faults)
    assert fault.startswith(f"{shard_step.output.root}: 0 of ")


def test_the_step_tells_how_many_documents_it_decoded(shard_step: Step[Any]) -> None:
    figures = shard_step.manifest().figures
    assert figures["sampled"] == figures["exact"] == sum(one["documents"] for one in figures["shards"])


def test_a_shard_that_nobody_wrote_is_told(shard_step: Step[Any], tmp_path: Path) -> None:
    step = copied(shard_step, tmp_path)
    folder = step.output.local("shards")
    shutil.copy(folder / f"{SHARD}.bin", folder / "train-papers-00077.bin")
    found = [fault for one in check_step(step) for fault in one.faults]
    assert len(found) == 1
    assert "train-papers-00077: the step wrote no such shard" in found[0]


def gap(*words: str | Path) -> tuple[int, str, list[str]]:
    done = CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)
    return done.exit_code, done.stdout, [line for line in done.stderr.splitlines() if line.startswith("gap: ")]


UNCHECKED = "SHA-256 and text were not checked: the parent folder has no manifest of a shard step\n"


def test_a_folder_of_shards_is_verified_without_its_lake(shard_step: Step[Any], tmp_path: Path) -> None:
    step = copied(shard_step, tmp_path)
    folder, tokenizer = step.output.local("shards"), step.input("tokenizer").output.local(FOLDER)
    for other in ("{}", step.output.local("manifest.json").read_text().replace('"kind": "shards"', '"kind": "sharp"')):
        step.output.local("manifest.json").write_text(other)
        assert gap("verify", folder, "--tokenizer", tokenizer)[1].endswith(UNCHECKED)
    step.output.local("manifest.json").unlink()
    made = Tokenizer.load(tokenizer)
    ids = "--vocab-size", str(made.vocab_size), "--eod", str(made.eod)
    assert gap("verify", folder, "--tokenizer", tokenizer)[::2] == (0, [])
    code, said, errors = gap("verify", folder, *ids)
    assert (code, errors) == (0, [])
    assert re.fullmatch(rf"5 shards, \d+ documents, [\d,]+ tokens: all well\n{UNCHECKED}", said)
    code, _, errors = gap("verify", folder / f"{SHARD}.idx")
    assert code == 0
    assert errors == ["gap: ids and ends are not checked without --tokenizer, or --vocab-size and --eod"]
    edit("bin", -2, struct.pack("<H", 5))(step.output.local())
    (folder / "train-replay-00000.idx").unlink()
    code, said, errors = gap("verify", folder, *ids)
    assert (code, said) == (1, "")
    assert re.fullmatch(rf"gap: .*{SHARD}\.bin: corrupt: document \d+ does not end with .* {made.eod}", errors[0])
    assert re.fullmatch(r"gap: .*train-replay-00000\.idx: this half of the shard is missing", errors[1])
    assert errors[2] == "gap: 2 of 5 shards at fault"


WELL = r"{} shards, \d+ documents, [\d,]+ tokens: all well\ntext was not checked; gap verify CONFIG checks it\n"


def test_shards_below_their_steps_folder_are_held_against_its_manifest(shard_step: Step[Any], tmp_path: Path) -> None:
    step = copied(shard_step, tmp_path)
    folder, tokenizer = step.output.local("shards"), step.input("tokenizer").output.local(FOLDER)
    for words in ((folder,), (folder, "--tokenizer", tokenizer)):
        code, said, errors = gap("verify", *words)
        assert (code, errors) == (0, [])
        assert re.fullmatch(WELL.format(5), said)
    flip(step.output.local())
    changed = f"gap: {folder / SHARD}.bin: its SHA-256 differs from the manifest's"
    assert gap("verify", folder, "--tokenizer", tokenizer) == (1, "", [changed, "gap: 1 of 5 shards at fault"])
    assert gap("verify", folder / f"{SHARD}.bin") == (1, "", [changed, "gap: 1 of 1 shards at fault"])
    code, said, errors = gap("verify", folder / "train-papers-00001")
    assert (code, errors) == (0, [])
    assert re.fullmatch(WELL.format(1), said)


def test_a_steps_folder_with_other_shards_or_places_is_at_fault(shard_step: Step[Any], tmp_path: Path) -> None:
    step = copied(shard_step, tmp_path)
    folder = step.output.local("shards")
    for kind in ("bin", "idx"):
        (folder / f"train-papers-00001.{kind}").rename(folder / f"more.{kind}")
    places(moved_place)(step.output.local())
    assert [line.removeprefix(f"gap: {folder}/") for line in gap("verify", folder)[2]] == [
        "more: the step wrote no such shard",
        f"{SHARD}: the index table does not lead to its documents",
        "train-papers-00001.idx: this half of the shard is missing",
        "gap: 3 of 6 shards at fault",
    ]


def test_a_packed_steps_folder_is_verified_by_its_setting(packed_step: Step[Any], tmp_path: Path) -> None:
    step = copied(packed_step, tmp_path)
    manifest = step.output.read_json("manifest.json")
    step.output.write_json(manifest | {"config": {"pack": 64}}, "manifest.json")
    code, said, errors = gap("verify", step.output.local("shards"))
    assert (code, errors) == (0, [])
    assert re.fullmatch(WELL.format(5), said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("verify", "nowhere.yaml"), "nowhere.yaml: no such config file"),
        (("verify", "."), "no shard in this folder"),
        (("verify", "nowhere.bin"), "nowhere: no such shard"),
        (("verify", ".", "--eod", "4"), "--eod needs --vocab-size"),
        (("verify", ".", "--eod", "4", "--vocab-size", "9", "--tokenizer", "."), "not both"),
        (("verify", ".", "seed=4"), "seed=4: KEY=VALUE changes a CONFIG"),
        (("verify", "configs/demo.yaml", "--eod", "4"), "the lake's tokenizer is used"),
        (("verify", "configs/demo.yaml", "lake=/nowhere"), "the shards have not been written yet; gap run"),
        (("merge", "both", "nowhere.bin"), "nowhere.idx: this half of the shard is missing"),
        (("split", "nowhere.bin", "pieces", "--tokens", "7"), "nowhere.idx: this half of the shard is missing"),
        (("dump", "configs/demo.yaml", "out", "lake=/nowhere"), "the mixture has not been made yet; gap run"),
    ],
)
def test_wrong_use_is_one_line(words: tuple[str, ...], said: str) -> None:
    code, _, errors = gap(*words)
    assert code == 2
    assert said in errors[0]
    assert len(errors) == 1


def test_merge_and_split_know_where_a_lakes_documents_lie(shard_step: Step[Any], tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    folder, made = shard_step.output.local("shards"), Tokenizer.load(shard_step.input("tokenizer").output.local(FOLDER))
    texts = shard_step.input("documents").output.scan("documents").to_table(columns=["id", "text"]).to_pylist()
    text_of = {row["id"]: row["text"] for row in texts}
    parts = [f"train-papers-{number:05d}" for number in range(3)]
    assert gap("merge", tmp_path / "papers", *(folder / f"{name}.bin" for name in parts))[::2] == (0, [])
    code, said, _ = gap("split", tmp_path / "papers.bin", tmp_path, "--tokens", "900")
    assert code == 0
    pieces = re.findall(r"papers-\d{5}", said)
    assert len(pieces) > 2
    documents = 0
    for name in ("papers", *pieces):
        prefix = tmp_path / name
        lengths = read_index(prefix).lengths
        ids = [one[:-1] for one in np.split(np.fromfile(f"{prefix}.bin", np.uint16), np.cumsum(lengths)[:-1])]
        rows = pq.read_table(f"{prefix}.places.parquet").to_pylist()
        assert [made.decode(one) for one in ids] == [text_of[row["id"]] for row in rows]
        documents += len(rows)
    assert documents == 2 * sum(written(shard_step, name)["documents"] for name in parts)
    write(tmp_path / "bare", "one", [np.arange(3)], 400, 399)
    assert gap("merge", tmp_path / "papers", tmp_path / "bare" / "one")[::2] == (0, [])
    assert not (tmp_path / "papers.places.parquet").exists(), "those of the shard before"


def test_merge_takes_each_shard_once(shard_step: Step[Any], tmp_path: Path) -> None:
    folder = shard_step.output.local("shards")
    files = sorted(folder.glob("train-papers-*"))
    assert len(files) == 6
    assert gap("merge", tmp_path / "all", *files)[::2] == (0, [])
    assert gap("merge", tmp_path / "each", *files[::2])[::2] == (0, [])
    assert (tmp_path / "all.bin").read_bytes() == (tmp_path / "each.bin").read_bytes()
    prefix = files[0].with_suffix("")
    for one, again in ((prefix, prefix), (files[0], folder / ".." / "shards" / files[0].name)):
        code, said, (line,) = gap("merge", tmp_path / "twice", one, again)
        assert (code, said, line) == (2, "", f"gap: {one}: named twice; a merge takes each shard once")
    assert not (tmp_path / "twice.bin").exists()


def test_merge_and_split_of_no_shard_are_told_without_a_lakes_remedy(tmp_path: Path) -> None:
    for words in (("merge", tmp_path / "x", tmp_path / "no"), ("split", tmp_path / "no", tmp_path, "--tokens", "9")):
        code, _, (line,) = gap(*words)
        assert code == 2
        assert line.endswith("no.idx: this half of the shard is missing")
