"""Instruct on Ray: aligned datasets, packed sequences, resuming, and Megatron reading both datasets."""

import gzip
import json
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lake.config import load
from lake.error import UserError
from lake.step import Account, Manifest, Outcome, Step
from mixing.instructions.records import InstructionSettings
from mixing.tokenizer.build import END, TokenizerSettings, TrainSettings, train
from mixing.tokenizer.chatml import CHAT_TOKENS, Role
from mixing.tokenizer.tokenizer import FOLDER, Tokenizer
from ray_jobs.instruct import DATASETS, instruct, instruct_step
from ray_jobs.pipeline import Pipeline, plan

pytestmark = pytest.mark.engine

SEED, SEQUENCE = 7, 64
COUNT = 300
START, STOP = CHAT_TOKENS


def question(n: int) -> dict[str, Any]:
    return {"q": f"What is the dose for patient {n}?{STOP}", "a": f"{n * 7} mg [fig] daily, {'word ' * (n % 40)}\n"}


def asked(n: int) -> str:
    return f"{START}system\nBe brief.{STOP}\n{START}question\n{question(n)['q']}{STOP}\n{answered(n)}\n"


def answered(n: int) -> str:
    return f"{START}answer\n{question(n)['a']}{STOP}"


def chat(n: int) -> dict[str, Any]:
    said = [("user", f"Q{n}"), ("assistant", f"A{n}"), ("user", "And?"), ("assistant", "No.")]
    return {"messages": [{"role": role, "content": text} for role, text in said]}


SETTINGS = InstructionSettings.model_validate(
    {
        "inputs": [
            {"source": "qa", "paths": ["qa/*.jsonl.gz"], "question": "q", "answer": "a", "system": "Be brief."},
            {"source": "chats", "paths": ["chats.jsonl"], "messages": "messages"},
        ],
        "sequence": SEQUENCE,
    }
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "qa").mkdir()
    lines = [json.dumps(question(n)) for n in range(COUNT)]
    (folder / "qa" / "1.jsonl.gz").write_bytes(gzip.compress("\n".join([*lines, "{", '{"q": "Q"}']).encode()))
    (folder / "qa" / "2.jsonl.gz").write_bytes(gzip.compress(b'{"q": "Q", "a": ""}\n'))
    (folder / "chats.jsonl").write_text("\n".join(json.dumps(chat(n)) for n in range(9)))
    return folder


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Step:
    return tokenizer_step(tmp_path_factory.mktemp("tokenizer"), END)


def tokenizer_step(root: Path, end: str) -> Step:
    step = Step("tokenizer", "ray", 1, {"end": end}, str(root))
    made = train([asked(n) for n in range(50)], TokenizerSettings(train=TrainSettings(vocab_size=500), eos_token=end))
    made.save(step.output.local(FOLDER))
    step.complete(lambda: Outcome({"qa": Account.of(50)}))
    return step


def made_step(data: Path, tokenizer: Step, root: Path, settings: InstructionSettings = SETTINGS) -> Step:
    step = instruct_step(settings, str(data), tokenizer, str(root), SEED)
    step.complete(lambda: instruct(step, settings, str(data), SEED))
    return step


@pytest.fixture(scope="module")
def step(ray_cluster: None, data: Path, tokenizer: Step, tmp_path_factory: pytest.TempPathFactory) -> Step:
    return made_step(data, tokenizer, tmp_path_factory.mktemp("instruct"))


@pytest.fixture(scope="module")
def made(tokenizer: Step) -> Tokenizer:
    return Tokenizer.load(tokenizer.output.local(FOLDER))


def content(step: Step) -> dict[str, bytes]:
    root = step.output.local()
    names = sorted(path for path in root.rglob("*") if path.is_file() and path.name != "manifest.json")
    return {str(path.relative_to(root)): path.read_bytes() for path in names}


def test_every_record_is_accounted_for(step: Step, made: Tokenizer) -> None:
    manifest: Manifest = step.manifest()
    assert manifest.accounts == {
        "chats": Account.of(9),
        "qa": Account.of(COUNT, {"empty": 1, "malformed_json": 1, "missing_field": 1}),
    }
    figures = manifest.figures
    assert [row["name"] for row in figures["datasets"]] == ["chats-00002", "qa-00000"]
    assert figures["roles"] == {"system": 0, "prompter": 1, "assistant": 2, "end": 3}
    assert (figures["documents"], figures["tokenizer"]) == (COUNT + 9, made.fingerprint)


def test_megatron_reads_tokens_and_their_roles(step: Step, made: Tokenizer) -> None:
    from megatron.core.datasets.indexed_dataset import IndexedDataset

    text, role = (IndexedDataset(str(step.output.local(DATASETS, f"qa-00000-{kind}"))) for kind in ("text", "role"))
    assert np.array_equal(text.sequence_lengths, role.sequence_lengths)
    assert np.array_equal(text.document_indices, role.document_indices)
    found = []
    for ids, roles in zip(text[: len(text)], role[: len(role)], strict=True):
        assert (ids[-1], roles[-1]) == (made.eod, Role.END)
        found.append(made.decode(ids[:-1]))
        system, prompter, assistant = (made.decode(ids[roles == one]) for one in (0, 1, 2))
        assert system + prompter + assistant == found[-1]
        assert system == f"{START}system\nBe brief.{STOP}\n"
        assert assistant.startswith(f"{START}answer\n")
    assert sorted(found) == sorted(asked(n) for n in range(COUNT))
    assert found != [asked(n) for n in range(COUNT)], "they are shuffled"


def test_sequences_hold_the_same_conversations_with_loss_on_answers(step: Step, made: Tokenizer) -> None:
    rows = step.output.read_part("packed", "part-00000.parquet").to_pylist()
    figures = next(row for row in step.manifest().figures["datasets"] if row["name"] == "qa-00000")
    assert figures["sequences"] == len(rows)
    assert all(len(row["input_ids"]) == len(row["loss_mask"]) == SEQUENCE for row in rows)
    assert sum(sum(row["seq_lengths"]) for row in rows) == figures["tokens"]
    assert SEQUENCE * len(rows) == figures["tokens"] + figures["padding"]
    whole = []
    cut = 0
    for row in rows:
        bounds = np.cumsum([0, *row["seq_lengths"]]).tolist()
        for start, end in pairwise(bounds):
            ids, mask = row["input_ids"][start:end], row["loss_mask"][start:end]
            text = made.decode(ids)
            if text.startswith(f"{START}system") and ids[-1] == made.eod:
                learnt = made.decode([one for one, weight in zip(ids, mask, strict=True) if weight])
                whole.append((text.removesuffix(END), learnt))
            else:
                cut += len(ids) == SEQUENCE and text.startswith(f"{START}system")
    assert figures["cut"] == cut
    assert len(whole) + cut == COUNT
    expected = [(asked(n), answered(n).removeprefix(f"{START}answer\n")) for n in range(COUNT)]
    assert set(whole) <= set(expected)
    assert len(set(whole)) == len(whole) > 0


def test_a_resumed_run_and_a_fresh_one_give_the_same_bytes(
    step: Step, data: Path, tokenizer: Step, tmp_path: Path
) -> None:
    again = made_step(data, tokenizer, tmp_path)
    before = content(again)
    assert before == content(step)
    again.output.local("manifest.json").unlink()
    again.output.local("decisions", "source=qa", "part-00000.parquet").unlink()
    again.output.local(DATASETS, "qa-00000-role.idx").unlink()
    kept = again.output.local(DATASETS, "chats-00002-text.bin")
    untouched = kept.stat().st_mtime_ns
    again.complete(lambda: instruct(again, SETTINGS, str(data), SEED))
    assert content(again) == before
    assert kept.stat().st_mtime_ns == untouched


def test_a_changed_file_is_another_output(step: Step, data: Path, tokenizer: Step, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(data, tmp_path / "data"))
    assert instruct_step(SETTINGS, str(copy), tokenizer, "lake", SEED).fingerprint == step.fingerprint
    with (copy / "chats.jsonl").open("a") as stream:
        stream.write("\n")
    assert instruct_step(SETTINGS, str(copy), tokenizer, "lake", SEED).fingerprint != step.fingerprint


def test_what_cannot_be_made_is_told(ray_cluster: None, data: Path, tokenizer: Step, tmp_path: Path) -> None:
    wrong = InstructionSettings.model_validate({"inputs": [{"paths": ["chats.jsonl"]}]})
    with pytest.raises(UserError, match="no record is a conversation: instructions: missing_field 9; are the keys"):
        made_step(data, tokenizer, tmp_path, wrong)
    nowhere = InstructionSettings.model_validate({"inputs": [{"paths": ["no.jsonl"]}]})
    with pytest.raises(UserError, match=r"instructions\.inputs\.0\.paths: no file matches"):
        instruct_step(nowhere, str(data), tokenizer, str(tmp_path), SEED)
    with pytest.raises(UserError, match="gap run CONFIG tokenizer"):
        instruct_step(SETTINGS, str(data), Step("tokenizer", "ray", 1, {}, str(tmp_path)), str(tmp_path), SEED)
    with pytest.raises(UserError, match=r"tokenizer\.eos_token"):
        made_step(data, tokenizer_step(tmp_path, STOP), tmp_path)


ROOT = Path(__file__).resolve().parents[2]
SECTION = "instructions={inputs: [{paths: [guidelines/*.jsonl.gz], question: title, answer: text}]}"


def gap(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ray_jobs.cli", "instruct", str(ROOT / "configs" / "demo.yaml"), *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_command_needs_a_section_and_a_tokenizer(tmp_path: Path) -> None:
    for words, said in (((), "no section instructions"), ((SECTION,), "needs the tokenizer; gap run CONFIG tokenizer")):
        done = gap(f"lake={tmp_path}", *words)
        assert done.returncode == 2
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_the_command_tells_what_it_made(tokenizer: Step, tmp_path: Path) -> None:
    config = load(ROOT / "configs" / "demo.yaml", [f"lake={tmp_path}"], Pipeline)
    steps = plan(config)
    for name in ("read", "clean", "tokenizer"):
        steps[name].complete(lambda: Outcome({"qa": Account.of(1)}))
    shutil.copytree(tokenizer.output.local(FOLDER), steps["tokenizer"].output.local(FOLDER))
    first, second = gap(f"lake={tmp_path}", SECTION), gap(f"lake={tmp_path}", SECTION)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    said, folder = first.stdout.splitlines()
    assert said.startswith("instruct      records in ")
    assert "(done before)" in second.stdout
    assert len(list(Path(folder, DATASETS).glob("instructions-00000-*"))) == 4
