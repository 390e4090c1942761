"""What is settled before an engine starts: which steps a key reruns, and what a run would meet too late."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession

from gap import run as application
from gap.config import Config
from gap.fits import check_memory
from gap.plan import plan
from gap.run import check_attention, run_steps, select
from lake.config import load
from lake.error import UserError
from lake.step import Outcome
from mixing.shards import FOLDER_OF_SHARDS, write
from ray_jobs import cluster
from tests.gap.command import called

ROOT = Path(__file__).resolve().parents[2]
NO_VLLM_ON_CPU = "pretrain.model.heads=8"
"""Of the demo's 128: heads of 16."""


def demo(lake: Path, *overrides: str) -> Config:
    return load("configs/demo.yaml", [f"lake={lake}", *overrides], Config)


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for name in ("RAY_JOB_ID", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails the test where a run comes as far as its engines."""

    def refuse(_: Any) -> None:
        raise AssertionError("engines are about to start")

    monkeypatch.setattr(application, "Engines", refuse)


def gpu(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)


def start(config: Config, *names: str) -> None:
    run_steps(config, select(plan(config), names), lambda *_: None)


# Fingerprints --------------------------------------------------------------------------------------------------------


def changed(lake: Path, *overrides: str) -> list[str]:
    """The steps that the overrides rerun."""
    before, after = plan(demo(lake)), plan(demo(lake, *overrides))
    return [name for name, step in after.items() if step.fingerprint != before[name].fingerprint]


def test_how_many_questions_are_asked_changes_evaluation_alone(tmp_path: Path) -> None:
    assert changed(tmp_path, "evaluate.benchmarks.0.limit=5") == ["evaluate", "report"]


def test_other_questions_are_decontaminated_anew(tmp_path: Path) -> None:
    questions = (ROOT / "samples" / "benchmarks" / "sample-qa.jsonl").read_bytes()
    (tmp_path / "sample-qa.jsonl").write_bytes(questions[: questions.index(b"\n") + 1])
    rerun = changed(tmp_path, f"evaluate.benchmarks.0.files=['{tmp_path}/sample-qa.jsonl']")
    assert rerun[:2] == ["decontaminate", "mix"]


def test_a_step_runs_with_what_it_needs_and_nothing_else(tmp_path: Path) -> None:
    steps = plan(demo(tmp_path))
    assert list(select(steps, ["dedup"])) == ["read", "clean", "dedup"]
    assert list(select(steps, ["tokenizer", "dedup"])) == ["read", "clean", "tokenizer", "dedup"]
    assert "dedup" in select(steps, ["mix"])
    assert select(steps, []) == steps


# What a run would meet too late --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pretrain", "export"])
def test_a_broken_shard_is_told_wherever_one_is_still_read(tmp_path: Path, name: str) -> None:
    steps = plan(demo(tmp_path))
    shard = steps["shard"]
    folder = shard.output.local(FOLDER_OF_SHARDS)
    folder.mkdir(parents=True)
    write(folder, "train-papers-00000", [np.arange(9)], 400, 399)
    steps[name].check()
    replace(shard, follows=None).complete(lambda: Outcome(figures={"shards": [{"name": "train-papers-00000"}]}))
    steps[name].check()
    index = folder / "train-papers-00000.idx"
    index.write_bytes(b"BROKEN" + index.read_bytes()[6:])
    with pytest.raises(UserError, match=r"train-papers-00000\.idx: corrupt: "):
        steps[name].check()


@pytest.mark.usefixtures("engines")
def test_a_model_that_could_not_be_evaluated_here_is_not_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = demo(tmp_path, NO_VLLM_ON_CPU)
    gpu(monkeypatch, there=False)
    with pytest.raises(UserError, match=r"^pretrain\.model: heads of 16 .*; change heads$"):
        start(config)
    with pytest.raises(AssertionError, match="engines"):
        start(config, "pretrain")
    with pytest.raises(AssertionError, match="engines"):
        start(demo(tmp_path))
    gpu(monkeypatch, there=True)
    with pytest.raises(AssertionError, match="engines"):
        start(config)


def test_gpus_of_a_running_cluster_are_not_looked_for_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu(monkeypatch, there=False)
    config = demo(tmp_path, NO_VLLM_ON_CPU, "ray.address=auto")
    check_attention(config, plan(config))
    monkeypatch.setenv("RAY_JOB_ID", "raysubmit_1")
    check_attention(demo(tmp_path, NO_VLLM_ON_CPU), plan(config))


def test_prompts_longer_than_the_model_takes_are_refused(tmp_path: Path) -> None:
    assert demo(tmp_path, "evaluate.max_length=256").evaluate.max_length == 256
    with pytest.raises(UserError, match=r"evaluate\.max_length: 257 tokens, .* pretrain\.sequence, 256; set it to 256"):
        demo(tmp_path, "evaluate.max_length=257")


@pytest.mark.parametrize(("key", "size"), [("heads", 10), ("ffn", 1022), ("kv_heads", 6)])
def test_what_the_gpus_of_an_engine_cannot_share_is_refused(tmp_path: Path, key: str, size: int) -> None:
    model = {"layers": 4, "hidden": 480, "heads": 12, "kv_heads": 2, "ffn": 1024} | {key: size}
    keys = "{" + ", ".join(f"{name}: {value}" for name, value in model.items()) + "}"
    with pytest.raises(UserError, match=rf"evaluate\.tensor: 4 must divide pretrain\.model\.{key}, {size}"):
        demo(tmp_path, f"pretrain.model={keys}", "evaluate.tensor=4")
    demo(tmp_path, f"pretrain.model={keys}", "evaluate.tensor=2")


def test_what_cannot_fit_its_gpus_is_refused_with_what_helps(tmp_path: Path) -> None:
    large = "pretrain.model={layers: 32, hidden: 4096, heads: 32, kv_heads: 32, ffn: 11008}"
    said = r"^pretrain: .* most of it for optimizer \(77\.\d GB\); A100-80GB has 81 GB; set "
    config = demo(tmp_path, large, "pretrain.precision=bfloat16")
    with pytest.raises(UserError, match=said) as told:
        check_memory(config, plan(config))
    overrides = [word for word in str(told.value).partition("; set ")[2].split() if word != "or"]
    helped = demo(tmp_path, large, "pretrain.precision=bfloat16", *overrides)
    check_memory(helped, plan(helped))
    variants = f"variants={{slow: {{{large.removeprefix('pretrain.').replace('=', ': ')}}}}}"
    slow = demo(tmp_path, "pretrain.precision=bfloat16", variants)
    with pytest.raises(UserError, match=r"^pretrain-slow: .*; set .*variants\.slow\."):
        check_memory(slow, plan(slow))
    # Adapters take less; what they take is known before a row of instructions is.
    answers = "instructions={inputs: [{paths: [instructions/*.jsonl], messages: messages}]}"
    adapters = ("finetune={lora: {rank: 8}, precision: bfloat16}", "tuned={whole: {lora: null}}")
    # Nobody here knows the memory of a cluster's machines, on whose CPUs it is pretrained.
    tuned = demo(tmp_path, large, "ray.address=auto", answers, *adapters)
    with pytest.raises(UserError, match=r"^finetune-whole: .*; set .*tuned\.whole\."):
        check_memory(tuned, plan(tuned))


@pytest.mark.usefixtures("engines")
def test_a_run_checks_the_memory_before_its_engines(tmp_path: Path) -> None:
    wide = ("pretrain.model.hidden=65_536", "pretrain.model.heads=512", "pretrain.model.ffn=262_144")
    with pytest.raises(UserError, match=r"^pretrain: it takes .* on the fullest GPU"):
        start(demo(tmp_path, "pretrain.precision=bfloat16", *wide))
    with pytest.raises(UserError, match=r"^pretrain: weights, gradients and optimizer take .* TB, and this machine "):
        start(demo(tmp_path, *wide))
    with pytest.raises(UserError, match=r"fewer workers, or set ray\.address to a cluster$"):
        start(demo(tmp_path, *wide, "pretrain.parallel.tensor=4"))


@pytest.mark.usefixtures("engines")
def test_a_lake_or_disk_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"^lake: .*/file/lake cannot be written: Not a directory"):
        start(demo(tmp_path / "file" / "lake"), "read")
    config = demo(tmp_path / "lake", f"disk={tmp_path}/file/disk")
    with pytest.raises(UserError, match=r"^disk: .*/file/disk cannot be written: Not a directory"):
        start(config)
    with pytest.raises(AssertionError, match="engines"):
        start(config, "shard")


@pytest.mark.parametrize("key", ["lake", "disk"])
def test_a_lake_that_no_file_system_opens_is_told(tmp_path: Path, key: str) -> None:
    with pytest.raises(UserError, match=rf"{key}: s3x://foo cannot be opened: Unrecognized filesystem"):
        demo(tmp_path, f"{key}=s3x://foo")


@pytest.mark.usefixtures("engines")
@pytest.mark.parametrize(
    "override",
    [
        *("ray.cpus=0", "ray.cpus=-1", "ray.object_store_mb=10", "ray.address=foo", "spark.memory=foo"),
        *("spark.memory=10m", "spark.master=lokal", "spark.shuffle_partitions=0", "seed=4294967296", "seed=yes"),
        *("pretrain.optimizer.betas=[2,0.9]", "pretrain.optimizer.lr=.inf", "evaluate.tensor=3"),
    ],
)
def test_a_setting_that_only_an_engine_would_look_at_is_told_by_the_command(tmp_path: Path, override: str) -> None:
    done = called("run", "configs/demo.yaml", f"lake={tmp_path}/lake", override)
    assert done.returncode == 2
    assert done.stderr.startswith(f"gap: configs/demo.yaml: {override.partition('=')[0]}")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "lake").exists()


@pytest.mark.usefixtures("engines")
@pytest.mark.parametrize(
    ("name", "value"), [("RAY_ADDRESS", "127.0.0.1:1"), ("TMPDIR", f"/tmp/{'x' * 99}"), ("JAVA_HOME", "/nowhere")]
)
def test_an_environment_that_an_engine_cannot_use_is_told_by_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setattr(cluster.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(SparkSession, "getActiveSession", lambda: None)
    monkeypatch.setenv(name, value)
    done = called("run", "configs/demo.yaml", f"lake={tmp_path}/lake")
    assert done.returncode == 2
    assert done.stderr.startswith(f"gap: {name}: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_spark_that_does_not_start_is_told_before_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: Any) -> None:
        raise UserError("spark: it does not start: no such log; look at the section spark")

    monkeypatch.setattr(application.spark_session, "start", fails)
    with pytest.raises(UserError, match=r"^spark: it does not start: no such log; "):
        application.Engines(demo(tmp_path)).prepare({"spark"})
