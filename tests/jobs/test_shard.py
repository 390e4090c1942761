"""Tokenizer and shard on Ray: counts, shards, resuming, checks, and Megatron reading the result."""

import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.steps import stand_in
from lake.error import UserError
from lake.step import Outcome, Step
from mixing.mixture import Amount, Budget, mixture_table
from mixing.reshard import merge
from mixing.shards import ShardSettings, read_index, read_tokens
from mixing.shuffle import order
from mixing.split import SPLITS, VALIDATION
from mixing.tokenizer.build import TokenizerSettings
from mixing.tokenizer.tokenizer import FOLDER, Tokenizer
from ray_jobs.cluster import RaySettings, start
from ray_jobs.shard import SelectionError, ShardJob, planned_of, realise
from tests.jobs.outputs import content, content_of, rows
from tests.jobs.sharded import (
    DEFAULT,
    PARTS,
    SEED,
    Before,
    clean_step,
    documents,
    mix_step,
    selected,
    tokenizer_step,
)

pytestmark = pytest.mark.engine


def test_every_clean_document_is_counted(before: Before) -> None:
    tokenizer = Tokenizer.load(before.counted.output.local(FOLDER))
    counts = rows(before.counted, "counts")
    texts = {row["id"]: row["text"] for of_source in documents().values() for row in of_source}
    lengths = {id_: tokenizer.encode([text])[0].size for id_, text in texts.items()}
    assert {row["id"]: row["tokens"] for row in counts} == lengths
    manifest = before.counted.manifest()
    assert manifest.total.entered == len(texts)
    assert manifest.figures["tokens"] == sum(row["tokens"] for row in counts)
    assert manifest.figures["fingerprint"] == tokenizer.fingerprint
    assert before.counted.output.parts("counts") == before.clean.output.parts("documents")


def test_training_on_a_sample_is_bounded_and_repeatable(before: Before, tmp_path: Path) -> None:
    small = TokenizerSettings.model_validate({"train": {"vocab_size": 400, "sample_mb": 0.004}})
    steps = [tokenizer_step(tmp_path / name, before.clean, small) for name in ("first", "second")]
    first, second = (step.manifest().figures["fingerprint"] for step in steps)
    assert first == second
    assert first != before.counted.manifest().figures["fingerprint"]


def test_an_adopted_tokenizer_counts_alike(before: Before, tmp_path: Path) -> None:
    adopted = TokenizerSettings(path=str(before.counted.output.local(FOLDER)))
    step = tokenizer_step(tmp_path, before.clean, adopted)
    assert rows(step, "counts") == rows(before.counted, "counts")


def test_the_index_leads_to_every_copy(shard_step: Step[ShardSettings], before: Before) -> None:
    tokenizer = Tokenizer.load(before.counted.output.local(FOLDER))
    expected = {}
    for of_source in documents().values():
        for position, row in enumerate(of_source):
            if how := selected(position, row):
                expected |= {(row["id"], how["split"], copy): row["text"] for copy in range(how["copies"])}
    texts = {}
    for row in rows(shard_step, "index"):
        *ids, end = read_tokens(shard_step.output.below("shards"), row["shard"], row["offset"], row["tokens"])
        assert end == tokenizer.eod
        assert row["shard"].startswith(f"{row['split']}-{row['source']}-")
        texts[row["id"], row["split"], row["copy"]] = tokenizer.decode(ids)
    assert texts == expected


def test_accounts_and_figures(shard_step: Step[ShardSettings]) -> None:
    manifest = shard_step.manifest()
    assert set(manifest.accounts) == {"papers", "replay"}
    assert manifest.total.dropped == {}
    shards = manifest.figures["shards"]
    assert [shard["name"] for shard in shards] == sorted(shard["name"] for shard in shards)
    assert {shard["name"] for shard in shards} == {
        path.stem for path in shard_step.output.local("shards").glob("*.idx")
    }
    assert {shard["split"] for shard in shards if shard["source"] == "replay"} == {"train"}
    assert manifest.figures["mixture"] == planned_of(shard_step)
    for split in SPLITS:
        total = sum(shard["tokens"] for shard in shards if shard["split"] == split)
        assert total == manifest.figures["mixture"][-1][f"{split}_tokens"]
    # Three parts of text, and about as many shards as the tokens need.
    assert [shard["name"] for shard in shards if shard["source"] == "papers"] == [
        *(f"train-papers-{number:05d}" for number in range(3)),
        "validation-papers-00003",
    ]


def test_documents_are_shuffled_across_parts_and_shards(shard_step: Step[ShardSettings]) -> None:
    index = [row for row in rows(shard_step, "index") if row["split"] == "train" and row["source"] == "papers"]
    index.sort(key=lambda row: (row["shard"], row["document"]))
    places = order([row["id"] for row in index], [row["copy"] for row in index], SEED).tolist()
    assert places == sorted(places)
    for name in {row["shard"] for row in index}:
        in_shard = [row for row in index if row["shard"] == name]
        assert {row["part"] for row in in_shard} == set(PARTS)
        assert [row["offset"] for row in in_shard] == [0, *np.cumsum([row["tokens"] for row in in_shard]).tolist()[:-1]]


def test_how_the_corpus_is_cut_into_parts_changes_no_shard(shard_step: Step[ShardSettings], tmp_path: Path) -> None:
    clean = clean_step(tmp_path, (0, 5))
    counted = tokenizer_step(tmp_path, clean)
    other = Before(clean, counted, mix_step(tmp_path, counted)).sharded(tmp_path)
    assert content_of(other.output.local("shards")) == content_of(shard_step.output.local("shards"))
    assert other.manifest().figures == shard_step.manifest().figures


def test_killed_anywhere_it_resumes_to_the_same_bytes(
    shard_step: Step[ShardSettings], before: Before, tmp_path: Path
) -> None:
    other = before.shard(tmp_path)
    root = other.output.local()
    shutil.copytree(shard_step.output.local(), root)
    (root / "manifest.json").unlink()
    untouched = root / "shards" / "train-papers-00000.bin"
    written_at = untouched.stat().st_mtime_ns
    # The worker of shard 1 died before its index was written, of shard 2 between .bin and .idx.
    (root / "index" / "source=papers" / "part-00001.parquet").unlink()
    for gone in ("index/source=papers/part-00002.parquet", "written/source=papers/part-00002.parquet"):
        (root / gone).unlink()
    (root / "shards" / "train-papers-00002.idx").unlink()
    (root / "shards" / ".train-papers-00002.bin.0123abcd").write_bytes(b"half")
    (root / "shards" / "train-papers-00002.bin").write_bytes(b"other")
    (root / "pieces" / "source=papers").mkdir(parents=True)
    (root / "pieces" / "source=papers" / ".part-00000.arrow.0123abcd").write_bytes(b"half")
    other.run()
    assert content(other) == content(shard_step)
    assert untouched.stat().st_mtime_ns == written_at
    assert other.manifest().figures == shard_step.manifest().figures


def test_a_shard_corrupted_meanwhile_is_named(shard_step: Step[ShardSettings], before: Before, tmp_path: Path) -> None:
    other = before.shard(tmp_path)
    shutil.copytree(shard_step.output.local(), other.output.local())
    other.output.local("manifest.json").unlink()
    file = other.output.local("shards", "train-replay-00000.bin")
    file.write_bytes(file.read_bytes()[:-2])
    with pytest.raises(UserError, match=r"train-replay-00000\.bin: corrupt"):
        other.run()


WRITER = """
import os, pickle, signal, sys
from pathlib import Path
from typing import Any

job, more = pickle.load(sys.stdin.buffer)
root = Path(job.output.root)
before = sum(path.is_file() for path in root.rglob("*"))

def die(frame, event, _):
    # These modules open, write and rename files. Look at the disk after each of their functions.
    if event == "return" and frame.f_code.co_filename.endswith(("lake/dataset.py", "mixing/shards.py", "pathlib.py")):
        if sum(path.is_file() for path in root.rglob("*")) >= before + more:
            os.kill(os.getpid(), signal.SIGKILL)

sys.setprofile(die)
for name in job.mix.parts("selection"):
    job.encode(name)
for source, layout in job.layouts.items():
    for number in range(layout.total):
        job.write(source, number)
"""
"""Writes the missing parts, and kills itself once `more` files have appeared, half-written ones included."""


def test_killed_at_random_files_it_resumes_to_the_same_bytes(
    shard_step: Step[ShardSettings], before: Before, tmp_path: Path
) -> None:
    other = before.shard(tmp_path)
    job = ShardJob.of(other)
    whole = content(shard_step).keys()
    left = []
    for more in np.random.default_rng(11).integers(2, 9, 5).tolist():
        writer = subprocess.run([sys.executable, "-c", WRITER], input=pickle.dumps((job, more)))
        assert writer.returncode == -signal.SIGKILL
        left.append(len(content(other).keys() & whole))
    assert any(0 < count < len(whole) for count in left), f"of {len(whole)} files there were {left}"
    other.run()
    assert content(other) == content(shard_step)


@pytest.mark.parametrize("length", [2, 64])
def test_packed_shards_hold_the_same_tokens(
    shard_step: Step[ShardSettings], before: Before, tmp_path: Path, length: int
) -> None:
    packed = before.sharded(tmp_path, ShardSettings(tokens=DEFAULT.tokens, pack=length))
    ours, theirs = content(packed), content(shard_step)
    assert ours.keys() == theirs.keys()
    changed = {name for name in ours if ours[name] != theirs[name]}
    assert {name for name in ours if name.endswith(".idx")} <= changed
    assert all(name.endswith(".idx") or name.startswith("written/") for name in changed)
    for shard in packed.manifest().figures["shards"]:
        *whole, last = read_index(packed.output.local("shards", shard["name"])).lengths.tolist()
        assert set(whole) <= {length}
        assert 0 < last <= length
    assert packed.manifest().figures["mixture"] == shard_step.manifest().figures["mixture"]


def mixed(root: Path, mixture: list[dict[str, Any]]) -> Step[Any]:
    """A mix step without a selection."""
    step = stand_in("mix", root)
    step.complete(lambda: Outcome(figures={"mixture": mixture}))
    return step


def test_an_empty_selection_is_an_error(before: Before, tmp_path: Path) -> None:
    empty = mixed(tmp_path, mixture_table({}, {"papers": Budget(0, 0, 0)}))
    with pytest.raises(UserError, match="no document is selected; gap status"):
        before.shard(tmp_path, mix=empty).run()


def test_a_selection_without_a_token_to_train_on_is_an_error(before: Before, tmp_path: Path) -> None:
    held_out = mixed(tmp_path, mixture_table({("papers", VALIDATION): Amount(3, 30)}, {"papers": Budget(0, 0, 0)}))
    with pytest.raises(UserError, match=r"no token to train on: .*; lower validation or raise tokens in mix\.sources"):
        before.shard(tmp_path, mix=held_out).run()


def test_shards_other_than_the_selection_fail_the_step(shard_step: Step[ShardSettings]) -> None:
    planned = planned_of(shard_step)
    shards = shard_step.manifest().figures["shards"]
    assert realise(planned, shards) == planned
    for name in ("train_tokens", "validation_documents"):
        with pytest.raises(SelectionError, match=rf"papers: {name} is \d+ as written and 5 as planned"):
            realise([planned[0] | {name: 5}, *planned[1:]], shards)
    with pytest.raises(SelectionError, match=r"replay: train_documents is 0 as written and 8 as planned"):
        realise(planned, [shard for shard in shards if shard["source"] != "replay"])


def test_megatron_trains_on_the_shards(shard_step: Step[ShardSettings], before: Before, tmp_path: Path) -> None:
    import torch
    from megatron.core.datasets.blended_megatron_dataset_builder import BlendedMegatronDatasetBuilder
    from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig

    made = Tokenizer.load(before.counted.output.local(FOLDER))
    shards = shard_step.manifest().figures["shards"]

    class ForMegatron:
        eod, pad, vocab_size = made.eod, made.pad, made.vocab_size
        unique_identifiers = {"class": "ForMegatron", "fingerprint": made.fingerprint}  # noqa: RUF012

    def blend(split: str) -> tuple[list[str], list[float]]:
        of_split = [shard for shard in shards if shard["split"] == split]
        folder = shard_step.output.local("shards")
        return [str(folder / shard["name"]) for shard in of_split], [float(shard["tokens"]) for shard in of_split]

    config = GPTDatasetConfig(
        random_seed=1,
        sequence_length=64,
        blend_per_split=[blend("train"), blend("validation"), None],
        path_to_cache=str(tmp_path),
        tokenizer=ForMegatron(),
        reset_position_ids=False,
        reset_attention_mask=False,
        eod_mask_loss=False,
        mid_level_dataset_surplus=0.005,
    )
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        train, validation, test = BlendedMegatronDatasetBuilder(GPTDataset, [20, 4, 0], lambda: True, config).build()
    finally:
        torch.distributed.destroy_process_group()
    assert test is None
    assert len(train) >= 20
    assert len(validation) >= 4
    tokens = np.concatenate([train[n]["tokens"].numpy() for n in range(20)])
    assert tokens.max() < made.vocab_size
    assert made.eod in tokens
    assert "patient" in made.decode(tokens)


def test_one_two_and_four_tasks_write_the_same_bytes(
    shard_step: Step[ShardSettings], before: Before, tmp_path: Path
) -> None:
    import ray

    steps = [shard_step]
    for cpus in (1, 4):
        ray.shutdown()
        start(RaySettings(cpus=cpus))
        counted = tokenizer_step(tmp_path / str(cpus), before.clean)
        assert content(counted) == content(before.counted)
        steps.append(before.sharded(tmp_path / str(cpus)))
        assert content(steps[-1]) == content(shard_step)
    ray.shutdown()
    start(RaySettings(cpus=2))
    shards = shard_step.manifest().figures["shards"]
    merged = [
        merge([step.output.local("shards", shard["name"]) for shard in shards], tmp_path, f"whole-{n}")
        for n, step in enumerate(steps)
    ]
    assert len({(shard.bin_sha256, shard.idx_sha256) for shard in merged}) == 1
    assert merged[0].tokens == sum(shard["tokens"] for shard in shards)
