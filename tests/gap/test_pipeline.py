"""The demo, end to end, once; every other question is asked of that run."""

import json
import shutil
import signal
import time
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from eval.answers import ASKED
from gap.config import Config
from gap.plan import plan
from lake.config import load
from lake.dataset import MANIFEST
from lake.decision import Reason
from lake.document import document_id
from lake.step import Manifest
from tests.gap.command import ROOT, ended, gap
from tests.gap.files import files, has_begun
from train.history import CHECKPOINTS, PROGRESS, checkpoints, step_of

PIPELINE = "tests/gap/pipeline.yaml"

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake in which the whole demo has run."""
    folder = tmp_path_factory.mktemp("lake")
    done = gap("run", PIPELINE, f"lake={folder}")
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@pytest.fixture(scope="module")
def manifests(lake: Path) -> dict[str, Manifest]:
    done = gap("status", PIPELINE, f"lake={lake}", "--json")
    assert done.returncode == 0, done.stderr
    return {name: Manifest.model_validate(one) for name, one in json.loads(done.stdout).items()}


def folder(lake: Path, step: str) -> Path:
    (found,) = lake.glob(f"{step}-{'[0-9a-f]' * 12}")
    return found


def test_every_step_accounts_for_every_document(manifests: dict[str, Manifest]) -> None:
    assert list(manifests) == list(plan(load(PIPELINE, [], Config)))
    chain = ["read", "clean", "dedup", "decontaminate", "mix", "shard"]
    for before, after in pairwise(chain):
        assert manifests[before].total.kept == manifests[after].total.entered
    for one in manifests.values():
        assert all(account.lost == 0 for account in one.accounts.values())
    assert manifests["read"].total.entered >= 200
    assert set(manifests["read"].figures["unsampled"]) == {"papers", "replay"}
    assert manifests["clean"].figures["masked"] == {"replay": {"email": 2, "phone": 2, "record": 2}}
    assert set(manifests["clean"].figures["sites"]["guidelines"]) > {
        "example-agency",
        "example-clinic",
        "example-institute",
        "example-society",
    }


def test_every_source_is_audited_and_loses_nothing(manifests: dict[str, Manifest]) -> None:
    for step in ("read", "clean"):
        audits = manifests[step].figures["audits"]
        assert audits.keys() == {"abstracts", "guidelines", "papers", "replay"}
        assert all(audit["documents"] for audit in audits.values())
        assert {source: (audit["lost"], audit["invented"]) for source, audit in audits.items()} == dict.fromkeys(
            audits, (0, 0)
        )


def test_a_document_is_shown_beside_its_raw_record(lake: Path) -> None:
    import pyarrow.dataset as ds

    for source in ("guidelines", "papers", "abstracts"):
        documents = folder(lake, "clean") / "documents" / f"source={source}"
        done = gap("trace", PIPELINE, ds.dataset(documents).head(1)["id"][0].as_py(), "--fidelity", f"lake={lake}")
        assert done.returncode == 0, done.stderr
        assert "critical tokens" in done.stdout
        assert "0 lost, 0 invented" in done.stdout


def test_every_reason_occurs(manifests: dict[str, Manifest]) -> None:
    found = {reason for one in manifests.values() for reason in one.total.dropped}
    # The demo's chat template takes every talk as it is.
    assert found == set(Reason) - {Reason.CHANGED_BY_TEMPLATE, Reason.REFUSED_BY_TEMPLATE}


def test_planted_documents_meet_their_reason(lake: Path) -> None:
    import pyarrow.dataset as ds

    decisions: dict[str, str] = {}
    for step in ("read", "clean", "dedup", "decontaminate", "mix", "instruct", "evaluate"):
        for row in ds.dataset(folder(lake, step) / "decisions").to_table().to_pylist():
            if not row["keep"]:
                decisions[row["id"]] = row["reason"]
    expected = json.loads((ROOT / "samples" / "expected.json").read_text(encoding="utf-8"))
    # A question is known by its own id.
    ids = {native: native for native in expected["sample-qa"]}
    ids |= {n: document_id(source, n) for source, planted in expected.items() if source != "sample-qa" for n in planted}
    found = {native: decisions.get(ids[native]) for planted in expected.values() for native in planted}
    assert found == {native: reason for planted in expected.values() for native, reason in planted.items()}


def test_each_checkpoint_is_asked_what_the_model_is_asked(lake: Path, manifests: dict[str, Manifest]) -> None:
    asked = folder(lake, "evaluate-checkpoints")
    scores = {path.parent.name: json.loads(path.read_text()) for path in sorted(asked.glob("*/scores.json"))}
    assert list(scores) == ["step-00000040", "step-00000060", "step-00000080"]
    assert scores["step-00000080"] == manifests["evaluate"].figures["benchmarks"], "the last is the model itself"
    assert not list(asked.glob("*/model")), "the exported models are gone"
    (curve,) = manifests["evaluate-checkpoints"].figures["curves"]
    assert [point["tokens"] for point in curve["points"]] == [steps * 16 * 256 for steps in (40, 60, 80)]
    assert [point["value"] for point in curve["points"]] == [rows[0]["accuracy"] for rows in scores.values()]
    assert gap("score", str(asked / "step-00000040")).returncode == 0
    done = gap("compare", f"{folder(lake, 'evaluate')}", *map(str, sorted(asked.glob("step-*"))))
    assert done.returncode == 0, done.stderr
    assert curve["trend"]["sentence"] in done.stdout


def test_a_tuned_model_ends_its_answers_and_is_inspected(lake: Path, manifests: dict[str, Manifest]) -> None:
    tokens = json.loads((folder(lake, "export-finetune") / "model" / "tokenizer.json").read_text())["added_tokens"]
    ids = {token["content"]: token["id"] for token in tokens}
    for step in ("export-finetune", "export-finetune-lora"):
        config = json.loads((folder(lake, step) / "model" / "generation_config.json").read_text())
        assert ids["<|im_end|>"] in config["eos_token_id"]
    assert (folder(lake, "export-finetune-lora") / "adapters" / "adapter_model.safetensors").is_file()
    losses = {name: manifests[name].figures["validation"] for name in ("finetune", "finetune-lora")}
    for validation in losses.values():
        assert validation[-1]["sources"]["instructions"]["loss"] < validation[0]["sources"]["instructions"]["loss"]
    assert losses["finetune"][0] == losses["finetune-lora"][0], "both start from the continued model"
    done = gap("inspect", PIPELINE, f"lake={lake}", "--number", "2")
    assert done.returncode == 0, done.stderr
    assert "<|im_end|>»" in done.stdout
    assert "conversation 1, instructions: " in done.stdout


def test_running_again_does_nothing(lake: Path, manifests: dict[str, Manifest]) -> None:
    before = {path: path.stat().st_mtime_ns for path in lake.rglob("*") if path.is_file()}
    started = time.monotonic()
    done = gap("run", PIPELINE, f"lake={lake}")
    assert done.returncode == 0
    assert done.stdout.count("(done before)") == len(manifests)
    assert time.monotonic() - started < 60
    assert before == {path: path.stat().st_mtime_ns for path in lake.rglob("*") if path.is_file()}


def test_a_changed_threshold_reruns_dedup_and_what_follows(lake: Path, manifests: dict[str, Manifest]) -> None:
    done = gap("plan", PIPELINE, f"lake={lake}", "dedup.threshold=0.7")
    lines = [line for line in done.stdout.splitlines() if line.split(" ")[0] in manifests]
    assert [line.split()[0] for line in lines] == list(manifests)
    states = {line.split()[0]: "to do" in line for line in lines}
    assert [step for step, to_do in states.items() if not to_do] == ["read", "clean", "tokenizer"]


def test_trace_of_a_kept_document(lake: Path) -> None:
    import pyarrow.dataset as ds

    kept = ds.dataset(folder(lake, "shard") / "index").head(1)["id"][0].as_py()
    done = gap("trace", PIPELINE, kept, f"lake={lake}")
    assert done.returncode == 0, done.stderr
    assert "decoded, they are the document's text" in done.stdout
    url = next(line.split()[1] for line in done.stdout.splitlines() if line.startswith("url"))
    assert gap("trace", PIPELINE, url, f"lake={lake}").stdout == done.stdout


@pytest.mark.parametrize(
    "reason", ["malformed_json", "no_content", "too_short", "symbols", "near_duplicate", "same_title", "contaminated"]
)
def test_trace_of_a_dropped_document(lake: Path, reason: str) -> None:
    expected = json.loads((ROOT / "samples" / "expected.json").read_text(encoding="utf-8"))
    source, native = next((s, n) for s, planted in expected.items() for n, r in planted.items() if r == reason)
    done = gap("trace", PIPELINE, document_id(source, native), f"lake={lake}")
    assert f"dropped: {reason}" in done.stdout
    assert "evidence: " in done.stdout


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("guidelines/hospital-cut.jsonl.gz:4", "truncated_file"),
        ("https://example-clinic.example.org/guidance/under-construction", "no_content"),
    ],
)
def test_trace_of_a_record_that_never_became_a_document(lake: Path, place: str, reason: str) -> None:
    done = gap("trace", PIPELINE, place, f"lake={lake}")
    assert done.returncode == 0, done.stderr
    assert f"dropped: {reason}" in done.stdout
    assert f"evidence: {place}: " in done.stdout


def test_ended_and_resumed_with_one_worker_it_gives_the_same_bytes(lake: Path, tmp_path: Path) -> None:
    words = ("run", PIPELINE, "shard", f"lake={tmp_path}", "ray.cpus=1", "spark.master=local[1]")
    for step, number, code in (
        ("read", signal.SIGINT, 130),
        ("clean", signal.SIGTERM, 143),
        ("dedup", signal.SIGKILL, -signal.SIGKILL),
        ("shard", signal.SIGKILL, -signal.SIGKILL),
    ):
        done = ended(words, number, partial(has_begun, tmp_path, step))
        assert done.returncode == code, done.stderr[-4000:]
        if code > 0:
            # A short step may come to its end while Spark is ended in order.
            told = "steps done; what is written is kept, and the same command goes on"
            assert told in done.stderr.splitlines()[-1]
            assert "Traceback" not in done.stderr
        else:
            assert not any(tmp_path.glob(f"{step}-*/manifest.json"))
    done = gap(*words)
    assert done.returncode == 0, done.stderr[-4000:]
    steps = [path.name for path in sorted(tmp_path.iterdir())]
    assert len(steps) == len(("read", "clean", "tokenizer", "dedup", "decontaminate", "mix", "shard"))
    for step in steps:
        assert files(tmp_path / step) == files(lake / step)


@pytest.mark.parametrize(
    ("step", "begun", "number", "last"),
    [
        ("pretrain", PROGRESS, signal.SIGINT, "ended with 7 of 8 steps done; "),
        ("evaluate", ASKED, signal.SIGTERM, "ended with 9 of 10 steps done; "),
    ],
)
def test_training_and_evaluation_end_as_asked(
    lake: Path, tmp_path: Path, step: str, begun: str, number: signal.Signals, last: str
) -> None:
    whole = folder(lake, step)
    shutil.copytree(lake, tmp_path, dirs_exist_ok=True, ignore=lambda _, names: {whole.name} & set(names))
    begins = (tmp_path / whole.name / begun).is_file
    done = ended(("run", PIPELINE, step, f"lake={tmp_path}"), number, begins)
    assert done.returncode == 128 + number, done.stderr[-4000:]
    assert done.stderr.splitlines()[-1].startswith(f"gap: {last}")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / whole.name / MANIFEST).exists()
    if step == "pretrain":
        (saved,) = checkpoints(tmp_path / whole.name / CHECKPOINTS)
        assert f"stopped as asked after step {step_of(saved.name)}; a new run goes on from there" in done.stderr


def test_a_corrupt_shard_is_told_before_training(lake: Path, tmp_path: Path) -> None:
    (index, *_) = sorted(folder(lake, "shard").glob("shards/*.idx"))
    whole = index.read_bytes()
    index.write_bytes(b"BROKEN" + whole[6:])
    try:
        done = gap("run", PIPELINE, "pretrain", f"lake={lake}", "pretrain.steps=79")
    finally:
        index.write_bytes(whole)
    assert done.returncode == 2, done.stderr[-4000:]
    assert index.stem in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_report_and_cards_are_whole(lake: Path, manifests: dict[str, Manifest]) -> None:
    report = (folder(lake, "report") / "report.html").read_text(encoding="utf-8")
    for reason in manifests["dedup"].total.dropped:
        assert reason in report
    assert "<svg" in report
    assert "http-equiv" not in report
    card: Any = (folder(lake, "report") / "model_card.md").read_text(encoding="utf-8")
    assert "randomised controlled trials" in card
