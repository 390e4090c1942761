"""Tokenizer and shard on Ray: counts, shards, resuming, checks, and Megatron reading the result."""

import pickle
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

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
from ray_jobs.count import tokenizer
from ray_jobs.tokenize import PlanError, ShardJob, realise, shard
from tests.jobs.sharded import (
    DEFAULT,
    PARTS,
    SEED,
    SETTINGS,
    Before,
    clean_step,
    content,
    content_of,
    documents,
    mix_step,
    plan_of,
    tokenizer_step,
)

pytestmark = pytest.mark.engine


def test_every_clean_document_is_counted(before: Before) -> None:
    made = Tokenizer.load(before.counted.output.local(FOLDER))
    rows = before.counted.output.scan("counts").to_table().to_pylist()
    texts = {row["id"]: row["text"] for rows in documents().values() for row in rows}
    assert {row["id"]: row["tokens"] for row in rows} == {id_: made.encode([one])[0].size for id_, one in texts.items()}
    manifest = before.counted.manifest()
    assert manifest.total.entered == len(texts)
    assert manifest.figures["tokens"] == sum(row["tokens"] for row in rows)
    assert manifest.figures["fingerprint"] == made.fingerprint
    assert before.counted.output.parts("counts") == before.clean.output.parts("documents")


def test_training_on_a_sample_is_bounded_and_repeatable(before: Before, tmp_path: Path) -> None:
    small = TokenizerSettings.model_validate({"train": {"vocab_size": 400, "sample_mb": 0.004}})
    found = []
    for name in ("one", "two"):
        step = Step(name, "ray", 1, {}, str(tmp_path), (before.clean,))
        found.append(tokenizer(step, small).figures["fingerprint"])
    assert found[0] == found[1]
    assert found[0] != before.counted.manifest().figures["fingerprint"]


def test_an_adopted_tokenizer_counts_alike(before: Before, tmp_path: Path) -> None:
    step = Step("adopted", "ray", 1, {}, str(tmp_path), (before.clean,))
    tokenizer(step, TokenizerSettings(path=str(before.counted.output.local(FOLDER))))
    mine = {name: data for name, data in content(step).items() if name.startswith("counts")}
    assert mine == {name: data for name, data in content(before.counted).items() if name.startswith("counts")}


def test_the_index_leads_to_every_copy(shard_step: Step, before: Before) -> None:
    made = Tokenizer.load(before.counted.output.local(FOLDER))
    rows = shard_step.output.scan("index").to_table().to_pylist()
    wanted = {}
    for of_source in documents().values():
        for position, row in enumerate(of_source):
            if plan := plan_of(position, row):
                wanted |= {(row["id"], plan["split"], copy): row["text"] for copy in range(plan["copies"])}
    found = {}
    for row in rows:
        *ids, end = read_tokens(shard_step.output.below("shards"), row["shard"], row["offset"], row["tokens"])
        assert end == made.eod
        assert row["shard"].startswith(f"{row['split']}-{row['source']}-")
        found[row["id"], row["split"], row["copy"]] = made.decode(ids)
    assert found == wanted


def test_accounts_and_figures(shard_step: Step) -> None:
    manifest = shard_step.manifest()
    assert set(manifest.accounts) == {"papers", "replay"}
    assert manifest.total.dropped == {}
    shards = manifest.figures["shards"]
    assert [one["name"] for one in shards] == sorted(one["name"] for one in shards)
    assert {one["name"] for one in shards} == {path.stem for path in shard_step.output.local("shards").glob("*.idx")}
    assert {one["split"] for one in shards if one["source"] == "replay"} == {"train"}
    assert manifest.figures["mixture"] == shard_step.input("mix").read_json("manifest.json")["figures"]["mixture"]
    for split in SPLITS:
        total = sum(one["tokens"] for one in shards if one["split"] == split)
        assert total == manifest.figures["mixture"][-1][f"{split}_tokens"]
    # Three parts of text, and about as many shards as the tokens need.
    assert [one["name"] for one in shards if one["source"] == "papers"] == [
        *(f"train-papers-{number:05d}" for number in range(3)),
        "validation-papers-00003",
    ]


def test_documents_are_shuffled_across_parts_and_shards(shard_step: Step) -> None:
    rows = shard_step.output.scan("index").to_table().to_pylist()
    mine = [row for row in rows if row["split"] == "train" and row["source"] == "papers"]
    mine.sort(key=lambda row: (row["shard"], row["document"]))
    places = order([row["id"] for row in mine], [row["copy"] for row in mine], SEED).tolist()
    assert places == sorted(places)
    for shard_name in {row["shard"] for row in mine}:
        here = [row for row in mine if row["shard"] == shard_name]
        assert {row["part"] for row in here} == set(PARTS)
        assert [row["offset"] for row in here] == [0, *np.cumsum([row["tokens"] for row in here]).tolist()[:-1]]


def test_how_the_corpus_is_cut_into_parts_changes_no_shard(shard_step: Step, tmp_path: Path) -> None:
    clean = clean_step(tmp_path, (0, 5))
    counted = tokenizer_step(tmp_path, clean)
    other = Before(clean, counted, mix_step(tmp_path, counted)).sharded(tmp_path)
    assert content_of(other.output.local("shards")) == content_of(shard_step.output.local("shards"))
    assert other.manifest().figures == shard_step.manifest().figures


def test_killed_anywhere_it_resumes_to_the_same_bytes(shard_step: Step, before: Before, tmp_path: Path) -> None:
    other = Step("shard", "ray", 1, {}, str(tmp_path), shard_step.inputs, follows="mix")
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
    other.complete(lambda: shard(other, DEFAULT, SEED))
    assert content(other) == content(shard_step)
    assert untouched.stat().st_mtime_ns == written_at
    assert other.manifest().figures == shard_step.manifest().figures


def test_a_shard_corrupted_meanwhile_is_named(shard_step: Step, tmp_path: Path) -> None:
    other = Step("shard", "ray", 1, {}, str(tmp_path), shard_step.inputs)
    shutil.copytree(shard_step.output.local(), other.output.local())
    file = other.output.local("shards", "train-replay-00000.bin")
    file.write_bytes(file.read_bytes()[:-2])
    with pytest.raises(UserError, match=r"train-replay-00000\.bin: corrupt"):
        shard(other, DEFAULT, SEED)


WRITER = """
import os, pickle, signal, sys
from pathlib import Path

job, more = pickle.load(sys.stdin.buffer)
root = Path(job.output.root)
before = sum(path.is_file() for path in root.rglob("*"))

def die(frame, event, _):
    # Files are opened, written and named here; after each such step the disk is looked at.
    if event == "return" and frame.f_code.co_filename.endswith(("lake/dataset.py", "mixing/shards.py", "pathlib.py")):
        if sum(path.is_file() for path in root.rglob("*")) >= before + more:
            os.kill(os.getpid(), signal.SIGKILL)

sys.setprofile(die)
for name in job.mix.parts("plan"):
    job.encode(name)
for source, layout in job.layouts.items():
    for number in range(layout.total):
        job.write(source, number)
"""
"""Writes what is not there, but is killed as soon as there are so many files more, half-written ones counted."""


def test_killed_at_random_files_it_resumes_to_the_same_bytes(shard_step: Step, tmp_path: Path) -> None:
    other = Step("shard", "ray", 1, {}, str(tmp_path), shard_step.inputs, follows="mix")
    job = ShardJob.of(other, DEFAULT, SEED)
    whole = content(shard_step).keys()
    left = []
    for more in np.random.default_rng(11).integers(2, 9, 5).tolist():
        writer = subprocess.run([sys.executable, "-c", WRITER], input=pickle.dumps((job, more)))
        assert writer.returncode == -signal.SIGKILL
        left.append(len(content(other).keys() & whole))
    assert any(0 < some < len(whole) for some in left), f"of {len(whole)} files there were {left}"
    other.complete(lambda: shard(other, DEFAULT, SEED))
    assert content(other) == content(shard_step)


@pytest.mark.parametrize("length", [2, 64])
def test_packed_shards_hold_the_same_tokens(shard_step: Step, before: Before, tmp_path: Path, length: int) -> None:
    packed = before.sharded(tmp_path, ShardSettings(tokens=DEFAULT.tokens, pack=length))
    ours, theirs = content(packed), content(shard_step)
    assert ours.keys() == theirs.keys()
    changed = {name for name in ours if ours[name] != theirs[name]}
    assert {name for name in ours if name.endswith(".idx")} <= changed
    assert all(name.endswith(".idx") or name.startswith("written/") for name in changed)
    for one in packed.manifest().figures["shards"]:
        *whole, last = read_index(packed.output.local("shards", one["name"])).lengths.tolist()
        assert set(whole) <= {length}
        assert 0 < last <= length
    assert packed.manifest().figures["mixture"] == shard_step.manifest().figures["mixture"]


def test_an_empty_plan_is_told(before: Before, tmp_path: Path) -> None:
    empty = Step("mix", "spark", 2, {}, str(tmp_path))
    empty.complete(lambda: Outcome(figures={"mixture": mixture_table({}, {"papers": Budget(0, 0, 0)})}))
    with pytest.raises(UserError, match="keeps no document"):
        shard(Step("shard", "ray", 1, {}, str(tmp_path), (before.clean, before.counted, empty)), ShardSettings(), SEED)


def test_a_plan_without_a_token_to_train_on_is_told(before: Before, tmp_path: Path) -> None:
    held_out = Step("mix", "spark", 3, {}, str(tmp_path))
    planned = mixture_table({("papers", VALIDATION): Amount(3, 30)}, {"papers": Budget(0, 0, 0)})
    held_out.complete(lambda: Outcome(figures={"mixture": planned}))
    step = Step("shard", "ray", 1, {}, str(tmp_path), (before.clean, before.counted, held_out))
    with pytest.raises(UserError, match=r"no token to train on: .*; lower validation or raise tokens in mix\.sources"):
        shard(step, ShardSettings(), SEED)


def test_shards_that_were_not_planned_fail_the_step(shard_step: Step) -> None:
    planned = shard_step.input("mix").read_json("manifest.json")["figures"]["mixture"]
    shards = shard_step.manifest().figures["shards"]
    assert realise(planned, shards) == planned
    for name in ("train_tokens", "validation_documents"):
        with pytest.raises(PlanError, match=rf"papers: {name} is \d+ as written and 5 as planned"):
            realise([planned[0] | {name: 5}, *planned[1:]], shards)
    with pytest.raises(PlanError, match=r"replay: train_documents is 0 as written and 8 as planned"):
        realise(planned, [one for one in shards if one["source"] != "replay"])


def test_megatron_trains_on_the_shards(shard_step: Step, before: Before, tmp_path: Path) -> None:
    import torch
    from megatron.core.datasets.blended_megatron_dataset_builder import BlendedMegatronDatasetBuilder
    from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig

    made = Tokenizer.load(before.counted.output.local(FOLDER))
    figures = shard_step.manifest().figures

    class ForMegatron:
        eod, pad, vocab_size = made.eod, made.pad, made.vocab_size
        unique_identifiers = {"class": "ForMegatron", "fingerprint": made.fingerprint}  # noqa: RUF012

    def blend(split: str) -> tuple[list[str], list[float]]:
        mine = [one for one in figures["shards"] if one["split"] == split]
        folder = shard_step.output.local("shards")
        return [str(folder / one["name"]) for one in mine], [float(one["tokens"]) for one in mine]

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


def test_one_two_and_four_tasks_write_the_same_bytes(shard_step: Step, before: Before, tmp_path: Path) -> None:
    import ray

    steps = [shard_step]
    for cpus in (1, 4):
        ray.shutdown()
        start(RaySettings(cpus=cpus))
        counted = Step("tokenizer", "ray", 2, {}, str(tmp_path / str(cpus)), (before.clean,))
        counted.complete(partial(tokenizer, counted, SETTINGS))
        assert content(counted) == content(before.counted)
        steps.append(before.sharded(tmp_path / str(cpus)))
        assert content(steps[-1]) == content(shard_step)
    ray.shutdown()
    start(RaySettings(cpus=2))
    shards = shard_step.manifest().figures["shards"]
    merged = [
        merge([step.output.local("shards", one["name"]) for one in shards], tmp_path, f"whole-{n}")
        for n, step in enumerate(steps)
    ]
    assert len({(one.bin_sha256, one.idx_sha256) for one in merged}) == 1
    assert merged[0].tokens == sum(one["tokens"] for one in shards)
