"""Instruct on Ray: aligned datasets, packed sequences, resuming, and Megatron reading both datasets."""

import gzip
import json
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.steps import stand_in
from gap.config import Config
from gap.plan import plan
from lake.config import load
from lake.error import UserError
from lake.step import Account, Outcome, Step, needed
from mixing.instructions.records import InstructionSettings
from mixing.tokenizer.build import END, TokenizerSettings, TrainSettings, train
from mixing.tokenizer.chatml import CHAT_TOKENS, Role
from mixing.tokenizer.tokenizer import FOLDER, Tokenizer
from ray_jobs.instruct import DATASETS, INSTRUCT, instruction_files
from tests.jobs.outputs import content, has_decisions, rows

pytestmark = pytest.mark.engine

SEED, SEQUENCE = 7, 64
COUNT = 300
START, STOP = CHAT_TOKENS


def question(n: int) -> dict[str, Any]:
    return {"q": f"What is the dose for patient {n}?{STOP}", "a": f"{n * 7} mg [fig] daily, {'word ' * (n % 40)}\n"}


def whole(n: int) -> str:
    return f"{START}system\nBe brief.{STOP}\n{START}question\n{question(n)['q']}{STOP}\n{answer(n)}\n"


def answer(n: int) -> str:
    return f"{START}answer\n{question(n)['a']}{STOP}"


def chat(n: int) -> dict[str, Any]:
    turns = [("user", f"Q{n}"), ("assistant", f"A{n}"), ("user", "And?"), ("assistant", "No.")]
    return {"messages": [{"role": role, "content": text} for role, text in turns]}


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
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Step[Any]:
    return tokenizer_step(tmp_path_factory.mktemp("tokenizer"), END)


def tokenizer_step(root: Path, end: str) -> Step[Any]:
    step = stand_in("tokenizer", root, identity=end)
    made = train([whole(n) for n in range(50)], TokenizerSettings(train=TrainSettings(vocab_size=500), eos_token=end))
    made.save(step.output.local(FOLDER))
    step.complete(lambda: Outcome({"qa": Account.of(50)}))
    return step


def instruct_step(
    data: Path, tokenizer: Step[Any], root: Path, settings: InstructionSettings = SETTINGS
) -> Step[InstructionSettings]:
    inputs, files = {"tokenizer": tokenizer}, instruction_files(settings, str(data))
    return Step("instruct", INSTRUCT, settings, str(root), inputs, seed=SEED, identity=files, extra={"data": str(data)})


@pytest.fixture(scope="module")
def step(
    ray_cluster: None, data: Path, tokenizer: Step[Any], tmp_path_factory: pytest.TempPathFactory
) -> Step[InstructionSettings]:
    step = instruct_step(data, tokenizer, tmp_path_factory.mktemp("instruct"))
    step.run()
    return step


@pytest.fixture(scope="module")
def made(tokenizer: Step[Any]) -> Tokenizer:
    return Tokenizer.load(tokenizer.output.local(FOLDER))


def test_every_record_is_accounted_for(step: Step[InstructionSettings], made: Tokenizer) -> None:
    manifest = step.manifest()
    assert manifest.accounts == {
        "chats": Account.of(9),
        "qa": Account.of(COUNT, {"empty": 1, "malformed_json": 1, "missing_field": 1}),
    }
    figures = manifest.figures
    assert [row["name"] for row in figures["datasets"]] == ["chats-00002", "qa-00000"]
    assert figures["roles"] == {"system": 0, "prompter": 1, "assistant": 2, "end": 3}
    assert (figures["documents"], figures["tokenizer"]) == (COUNT + 9, made.fingerprint)


def test_megatron_reads_tokens_and_their_roles(step: Step[InstructionSettings], made: Tokenizer) -> None:
    from megatron.core.datasets.indexed_dataset import IndexedDataset

    text, role = (IndexedDataset(str(step.output.local(DATASETS, f"qa-00000-{kind}"))) for kind in ("text", "role"))
    assert np.array_equal(text.sequence_lengths, role.sequence_lengths)
    assert np.array_equal(text.document_indices, role.document_indices)
    texts = []
    for ids, roles in zip(text[: len(text)], role[: len(role)], strict=True):
        assert (ids[-1], roles[-1]) == (made.eod, Role.END)
        texts.append(made.decode(ids[:-1]))
        system, prompter, assistant = (made.decode(ids[roles == role]) for role in (0, 1, 2))
        assert system + prompter + assistant == texts[-1]
        assert system == f"{START}system\nBe brief.{STOP}\n"
        assert assistant.startswith(f"{START}answer\n")
    assert sorted(texts) == sorted(whole(n) for n in range(COUNT))
    assert texts != [whole(n) for n in range(COUNT)], "they are shuffled"


def test_sequences_hold_the_same_conversations_with_loss_on_answers(
    step: Step[InstructionSettings], made: Tokenizer
) -> None:
    sequences = step.output.read_part("packed", "part-00000.parquet").to_pylist()
    figures = next(row for row in step.manifest().figures["datasets"] if row["name"] == "qa-00000")
    assert figures["sequences"] == len(sequences)
    assert all(len(row["input_ids"]) == len(row["loss_mask"]) == SEQUENCE for row in sequences)
    assert sum(sum(row["seq_lengths"]) for row in sequences) == figures["tokens"]
    assert SEQUENCE * len(sequences) == figures["tokens"] + figures["padding"]
    uncut = []
    cut = 0
    for row in sequences:
        bounds = np.cumsum([0, *row["seq_lengths"]]).tolist()
        for start, end in pairwise(bounds):
            ids, mask = row["input_ids"][start:end], row["loss_mask"][start:end]
            text = made.decode(ids)
            if text.startswith(f"{START}system") and ids[-1] == made.eod:
                learnt = made.decode([id_ for id_, weight in zip(ids, mask, strict=True) if weight])
                uncut.append((text.removesuffix(END), learnt))
            else:
                cut += len(ids) == SEQUENCE and text.startswith(f"{START}system")
    assert figures["cut"] == cut
    assert len(uncut) + cut == COUNT
    expected = [(whole(n), answer(n).removeprefix(f"{START}answer\n")) for n in range(COUNT)]
    assert set(uncut) <= set(expected)
    assert len(set(uncut)) == len(uncut) > 0


def test_a_resumed_run_and_a_fresh_one_give_the_same_bytes(
    step: Step[InstructionSettings], data: Path, tokenizer: Step[Any], tmp_path: Path
) -> None:
    again = instruct_step(data, tokenizer, tmp_path)
    again.run()
    before = content(again)
    assert before == content(step)
    again.output.local("manifest.json").unlink()
    again.output.local("decisions", "source=qa", "part-00000.parquet").unlink()
    again.output.local(DATASETS, "qa-00000-role.idx").unlink()
    kept = again.output.local(DATASETS, "chats-00002-text.bin")
    untouched = kept.stat().st_mtime_ns
    again.run()
    assert content(again) == before
    assert kept.stat().st_mtime_ns == untouched


def test_a_rejected_record_has_its_place(step: Step[InstructionSettings]) -> None:
    assert has_decisions(step)
    places = {row["native"]: row["reason"] for row in rows(step, "decisions") if not row["keep"]}
    assert places == {
        f"qa/1.jsonl.gz:{COUNT + 1}": "malformed_json",
        f"qa/1.jsonl.gz:{COUNT + 2}": "missing_field",
        "qa/2.jsonl.gz:1": "empty",
    }


def test_a_changed_file_is_another_output(
    step: Step[InstructionSettings], data: Path, tokenizer: Step[Any], tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(data, tmp_path / "data"))
    assert instruct_step(copy, tokenizer, tmp_path).fingerprint == step.fingerprint
    with (copy / "chats.jsonl").open("a") as stream:
        stream.write("\n")
    assert instruct_step(copy, tokenizer, tmp_path).fingerprint != step.fingerprint


def test_faults_are_errors(ray_cluster: None, data: Path, tokenizer: Step[Any], tmp_path: Path) -> None:
    wrong = InstructionSettings.model_validate({"inputs": [{"paths": ["chats.jsonl"]}]})
    with pytest.raises(UserError, match="no record is a conversation: instructions: missing_field 9; are the keys"):
        instruct_step(data, tokenizer, tmp_path, wrong).run()
    nowhere = InstructionSettings.model_validate({"inputs": [{"paths": ["no.jsonl"]}]})
    with pytest.raises(UserError, match=r"instructions\.inputs\.0\.paths: no file matches"):
        instruct_step(data, tokenizer, tmp_path, nowhere)
    with pytest.raises(UserError, match=r"tokenizer\.eos_token"):
        instruct_step(data, tokenizer_step(tmp_path, STOP), tmp_path).run()


def test_the_plan_has_the_step_where_the_config_has_instructions() -> None:
    root = Path(__file__).resolve().parents[2]
    section = "instructions={inputs: [{paths: [guidelines/*.jsonl.gz], question: title, answer: text}]}"
    overrides = [f"data={root / 'samples'}", section]
    steps = plan(load(root / "configs" / "demo.yaml", overrides, Config))
    assert list(needed(steps, ["instruct"])) == ["read", "clean", "tokenizer", "instruct"]
    assert "instruct" not in plan(load(root / "configs" / "demo.yaml", overrides[:1], Config))
