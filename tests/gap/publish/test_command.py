"""`gap publish` as a user starts it: dry runs, wrong use, a kill in the middle, and what readers then load."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner

from gap.cli import main
from gap.publish import command as publishing
from gap.publish.upload import Hub
from lake.step import Kind, of_kind
from tests.gap.command import ROOT, called, command
from tests.gap.publish.played_hub import TOKEN, PlayedHub
from tests.gap.publish.small_lake import CONFIG, SmallLake, documents
from tests.gap.publish.test_rows import REASON

SLOW = 600


@pytest.fixture
def full(tmp_path: Path, models: Path) -> SmallLake:
    return SmallLake(tmp_path / "lake").with_models(models)


def environment(played: PlayedHub, folder: Path) -> dict[str, str]:
    """Of a process that knows the played Hub and no other."""
    kept = {name: value for name, value in os.environ.items() if name not in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")}
    home = {"HF_HOME": str(folder / "home"), "HF_TOKEN": TOKEN}
    return kept | home | {"HF_ENDPOINT": played.url, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


def test_a_dry_run_shows_every_file_and_what_stays(full: SmallLake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("a dry run asks nobody"))
    done = called("publish", *full.words, "--dry-run")
    assert done.returncode == 0, done.stderr
    for said in (
        "dataset: dataset repository OWNER/demo",
        "pretrain: model repository OWNER/demo-pretrain",
        "finetune-lora: model repository OWNER/demo-finetune-lora",
        "21 documents leave, 9 stay behind:",
        "adapters/adapter_model.safetensors",
        ".eval_results/medmcqa.yaml",
    ):
        assert said in done.stdout
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["no_license", "papers", "unknown", "4"] in lines
    for place in (full.folder / "publish").rglob("*.parquet"):
        assert [f"data/{place.parent.name}/{place.name}", f"{place.stat().st_size:,}"] in lines
    preview = full.folder / "publish" / "demo" / "README.md"
    assert str(preview.parent) in done.stdout
    assert preview.read_text(encoding="utf-8").startswith("---\n")
    assert "publish.override" not in done.stdout
    keys = ("publish.override.repository=OWNER/demo", f"publish.override.reason={REASON}")
    lifted = called("publish", *full.words, "dataset", "--dry-run", *keys)
    assert "30 documents leave, 0 stay behind.\npublish.override lets documents leave that may not" in lifted.stdout
    one = called("publish", *full.words, "pretrain", "--dry-run", "--to", "someone/else")
    assert "pretrain: model repository someone/else" in one.stdout
    assert "dataset repository" not in one.stdout


def test_a_dry_run_tells_why_nothing_may_leave(tmp_path: Path) -> None:
    rows = {"papers": [row | {"redistributable": False} for row in SmallLake(tmp_path / "a").rows["papers"]]}
    small = SmallLake(tmp_path / "b", rows)
    done = called("publish", *small.words, "dataset", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "0 documents leave, 14 stay behind:" in done.stdout
    done = called("publish", *small.words, "dataset", "--to", "me")
    assert done.returncode == 2
    assert "no document may leave; gap publish" in done.stderr


def test_a_run_without_a_model_is_published_as_a_data_set(tmp_path: Path) -> None:
    small = SmallLake(tmp_path)
    for step in of_kind(small.steps, Kind.EXPORT):
        step.output.local("manifest.json").unlink()
    done = called("publish", *small.words, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "dataset repository OWNER/demo" in done.stdout
    assert "model repository" not in done.stdout
    named = called("publish", *small.words, "pretrain", "--dry-run")
    assert named.returncode == 2
    assert "pretrain: the model has not been exported yet; gap run CONFIG export" in named.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("dataset",), "publish.owner: name who publishes: gap publish CONFIG --to YOUR-NAME"),
        (("datasets", "--dry-run"), "datasets: nothing of this name to publish; did you mean dataset?"),
        (("--to", "me/../x", "--dry-run"), "--to: 'me/../x' is no name on the Hub; write OWNER or OWNER/NAME"),
        (
            ("--to", "me/x", "dataset", "pretrain", "--dry-run"),
            "--to: me/x is one repository, but dataset, pretrain go",
        ),
        (("--to", "_me", "--dry-run"), "--to: '_me' is no name on the Hub; write OWNER or OWNER/NAME"),
        (
            ("pretrain", "--to", "me/x", "--dry-run", "publish.models={finetune: me/x}"),
            "--to: me/x is the repository of finetune; name another one for pretrain",
        ),
        (
            ("--dry-run", "publish.models={fintune: me/x}"),
            "publish.models.fintune: no training has this name; did you mean finetune?",
        ),
        (("dataset", "--dry-run", "publish.dataset=me/a--b"), "publish.dataset: the Hub does not take this name"),
        (("dataset", "--dry-run", "publish.owner=no/slash"), "publish.owner: String should match pattern"),
        (("dataset", "--dry-run", "publish.withheld=[x]"), "publish.withheld.0: String should match pattern"),
        (("dataset", "--dry-run", "publish.override.repository=me/x"), "publish.override.reason: this key is required"),
        (("dataset", "--to", "me"), "me/demo: the Hub's client is offline; unset HF_HUB_OFFLINE"),
    ],
)
def test_wrong_use_is_one_line(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    done = called("publish", *SmallLake(tmp_path).words, *words)
    assert done.returncode == 2, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert said in last
    assert "Traceback" not in done.stderr


def test_nothing_to_publish_says_what_to_run(tmp_path: Path) -> None:
    done = called("publish", CONFIG, f"lake={tmp_path}", "--dry-run")
    assert done.returncode == 2
    assert "the mixture has not been made yet; gap run CONFIG mix" in done.stderr


@pytest.mark.parametrize("gone", ["read", "clean", "pretrain", "evaluate-finetune"])
def test_a_step_whose_folder_was_deleted_is_one_line(full: SmallLake, gone: str) -> None:
    shutil.rmtree(full.steps[gone].output.local())
    for which in ("dataset", "pretrain", "finetune"):
        done = called("publish", *full.words, which, "--dry-run")
        assert "Traceback" not in done.stderr
        told = f"the card tells of {gone}, which is not there; gap run CONFIG {gone}" in done.stderr
        assert told == (done.returncode == 2)
        # A model is shown without an evaluation that was not made, and the data set without a model.
        assert told == (gone in ("read", "clean") or (gone == "pretrain" and which != "dataset"))


def test_help_has_examples() -> None:
    told = CliRunner().invoke(main, ["publish", "--help"]).stdout
    for said in ("gap publish configs/demo.yaml --dry-run", "--private", "HF_TOKEN", "--note"):
        assert said in told


def test_all_of_a_run_is_published_and_then_nothing(
    full: SmallLake, hub: Hub, played: PlayedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "Hub", lambda: hub)
    done = called("publish", *full.words, "--to", "me", "--private")
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "me/demo",
        "me/demo-pretrain",
        "me/demo-finetune",
        "me/demo-finetune-lora",
    ]
    card = played["me/demo-finetune-lora"].files["README.md"].decode()
    assert played["me/demo"].tags["v1.0.0"] in card
    assert played["me/demo-pretrain"].tags["v1.0.0"] in card
    again = called("publish", *full.words, "--to", "me", "--private")
    assert again.stdout.count("is there already; nothing to do") == 4
    assert TOKEN not in done.stdout + done.stderr + again.stdout + again.stderr
    for place in full.folder.rglob("*"):
        assert not place.is_file() or TOKEN.encode() not in place.read_bytes()
    for made in played.repositories.values():
        assert all(TOKEN.encode() not in data for data in made.files.values())


def test_killed_in_a_large_upload_and_published_again(models: Path, played: PlayedHub, tmp_path: Path) -> None:
    """The process dies while a large file is on its way; the second one finishes, and readers load all of it."""
    rows = documents()
    rows["papers"][0]["text"] = Random(0).randbytes(1_500_000).hex()
    full = SmallLake(tmp_path / "lake", rows).with_models(models)
    words = command("publish", *full.words, "--to", "me")
    around = {"cwd": ROOT, "env": environment(played, tmp_path), "text": True}
    played.go_on.clear()
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **around) as process:
        assert played.put_began.wait(SLOW), "no file was sent"
        os.kill(process.pid, signal.SIGKILL)
        killed = process.communicate()[0]
    played.go_on.set()
    assert played["me/demo"].messages == ["initial commit"], "readers never see a half"
    arrived = len(played.stored)
    assert arrived, "the small files before it are there"
    played.asked.clear()
    done = subprocess.run(words, capture_output=True, timeout=SLOW, check=False, **around)
    assert done.returncode == 0, done.stderr
    assert TOKEN not in killed + done.stdout + done.stderr
    assert "secretSignature" not in killed + done.stdout + done.stderr
    assert done.stdout.count("published,") == 4
    assert len({path[:70] for method, path in played.asked if method == "PUT"}) == len(played.stored) - arrived
    loaded = subprocess.run([sys.executable, "-c", READER], capture_output=True, timeout=SLOW, check=False, **around)
    assert loaded.returncode == 0, loaded.stderr[-4000:]
    assert loaded.stdout.splitlines()[-1] == "all loaded"


READER = """
import datasets, pandas, pyarrow.parquet, torch
from huggingface_hub import snapshot_download
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

everything = datasets.load_dataset("me/demo")
assert {name: rows.num_rows for name, rows in everything.items()} == {"train": 16, "validation": 5}, everything
assert all(everything["train"]["redistributable"]) and all(everything["train"]["license"])
papers = datasets.load_dataset("me/demo", "papers", split="train", revision="v1.0.0")
assert set(papers["source"]) == {"papers"}
folder = snapshot_download("me/demo", repo_type="dataset", allow_patterns="data/papers/*")
table = pyarrow.parquet.read_table(f"{folder}/data/papers/train-00000.parquet")
assert set(table["id"].to_pylist()) <= set(papers["id"])
frame = pandas.read_parquet("hf://datasets/me/demo/data/papers", columns=["id", "license", "text"])
assert len(frame) == papers.num_rows + datasets.load_dataset("me/demo", "papers", split="validation").num_rows

tokenizer = AutoTokenizer.from_pretrained("me/demo-finetune-lora")
ids = tokenizer.apply_chat_template([{"role": "user", "content": "fever"}], return_tensors="pt", return_dict=True)
model = AutoModelForCausalLM.from_pretrained("me/demo-pretrain", revision="v1.0.0")
assert model.generate(**ids, max_new_tokens=2).shape[0] == 1
adapted = PeftModel.from_pretrained(model, "me/demo-finetune-lora", subfolder="adapters")
assert adapted.active_peft_config.base_model_name_or_path == "me/demo-pretrain"
assert torch.isfinite(adapted(**ids).logits).all()
print("all loaded")
"""
