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
from dedup.decontaminate import DecontaminateSettings
from dedup.settings import DedupSettings
from eval.settings import EvaluateSettings
from gap.config import Config
from gap.plan import plan
from lake.config import load
from lake.document import document_id
from lake.error import UserError
from lake.step import Account, Outcome, Step, needed
from mixing.instructions.settings import InstructionSettings
from mixing.split import TRAIN, VALIDATION
from mixing.tokenizer.build import END, TokenizerSettings, TrainSettings, train
from mixing.tokenizer.chatml import CHAT_TOKENS, Role
from mixing.tokenizer.tokenizer import FOLDER, Tokenizer
from ray_jobs.instruct import DATASETS, INSTRUCT, PACKED, identity
from tests.jobs.outputs import content, has_decisions, rows

pytestmark = pytest.mark.engine

SEED, SEQUENCE = 7, 512
COUNT, ASKED = 100, 20
START, STOP = CHAT_TOKENS


def question(n: int) -> dict[str, Any]:
    said = " ".join(f"{letter}{n}" for letter in "abcdefghijkl")
    return {"q": f"What is the dose for {said}?{STOP}", "a": f"{n * 7} mg [fig] daily, {'word ' * (n % 40)}\n"}


def whole(n: int) -> str:
    return f"{START}system\nBe brief.{STOP}\n{START}question\n{question(n)['q']}{STOP}\n{answer(n)}\n"


def answer(n: int) -> str:
    return f"{START}answer\n{question(n)['a']}{STOP}"


def chat(n: int) -> dict[str, Any]:
    turns = [("user", f"Q{n} of {n} in {n}"), ("assistant", f"A{n}"), ("user", "And?"), ("assistant", "No.")]
    return {"messages": [{"role": role, "content": text} for role, text in turns]}


SETTINGS = InstructionSettings.model_validate(
    {
        "inputs": [
            {"source": "qa", "paths": ["qa/*.jsonl.gz"], "question": "q", "answer": "a", "system": "Be brief."},
            {"source": "chats", "paths": ["chats.jsonl"], "messages": "messages"},
            {"task": "medmcqa", "mode": "thought"},
            {"task": "medmcqa", "mode": "answer"},
        ],
        "sequence": SEQUENCE,
        "overlong": "cut",
        "validation": 0.2,
    }
)
RULES: dict[str, Any] = {
    "asked": EvaluateSettings.model_validate({"benchmarks": [{"task": "medmcqa"}]}),
    "decontaminate": DecontaminateSettings(),
    "dedup": DedupSettings(),
}


def exam(kind: str, n: int) -> dict[str, Any]:
    """A question as MedMCQA's authors publish it. Each third has no explanation."""
    said = " ".join(f"{kind}{n}{word}" for word in "abcdefghijkl")
    record = {"id": f"{kind}{n}", "question": f"Which of {said}?", "cop": 1 + n % 4, "subject_name": "Surgery"}
    options = {f"op{letter}": f"{kind} {n} {letter}" for letter in "abcd"}
    return record | options | {"exp": f"Because of {n}." if n % 3 else None}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "qa").mkdir()
    lines = [json.dumps(question(n)) for n in range(COUNT)]
    (folder / "qa" / "1.jsonl.gz").write_bytes(gzip.compress("\n".join([*lines, "{", '{"q": "Q"}']).encode()))
    # A blank answer, the same as above in another case, nearly the same, what no row has room for, and a test question.
    long = {"q": "word " * SEQUENCE, "a": "A"}
    near = {"q": f"Now: {question(4)['q']}", "a": question(4)["a"]}
    quoting = {"q": exam("test", 3)["question"].upper(), "a": "A"}
    more = [{"q": "Q", "a": ""}, {"q": question(3)["q"].upper(), "a": question(3)["a"]}, near, long, quoting]
    (folder / "qa" / "2.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, more)).encode()))
    (folder / "chats.jsonl").write_text("\n".join(json.dumps(chat(n)) for n in range(9)))
    (folder / "dev.json").write_text("\n".join(json.dumps(exam("test", n)) for n in range(ASKED)))
    asked = [*(exam("train", n) for n in range(ASKED)), exam("test", 5) | {"id": "copy"}]
    (folder / "train.json").write_text("\n".join(map(json.dumps, asked)))
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
    inputs, files = {"tokenizer": tokenizer}, identity(settings, str(data), **RULES)
    extra = {"data": str(data), **RULES}
    return Step("instruct", INSTRUCT, settings, str(root), inputs, seed=SEED, identity=files, extra=extra)


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
    thoughts = sum(n % 3 > 0 for n in range(ASKED))
    assert manifest.accounts == {
        "chats": Account.of(9),
        "medmcqa-answer": Account.of(ASKED, {"contaminated": 1}),
        "medmcqa-thought": Account.of(thoughts, {"contaminated": 1, "missing_field": ASKED - thoughts}),
        "qa": Account.of(
            COUNT,
            {
                "contaminated": 1,
                "empty": 1,
                "exact_duplicate": 1,
                "malformed_json": 1,
                "missing_field": 1,
                "near_duplicate": 1,
                "no_target": 1,
            },
        ),
    }
    figures = manifest.figures
    assert figures["roles"] == {"system": 0, "prompter": 1, "assistant": 2, "end": 3}
    assert (figures["documents"], figures["tokenizer"]) == (COUNT + 9 + ASKED + thoughts, made.fingerprint)
    names = {row["name"] for row in figures["datasets"]}
    assert {"train-chats-00002", "train-qa-00000", "validation-qa-00000", "train-medmcqa-thought-00003"} <= names
    assert not step.output.exists(".staging")


def test_megatron_reads_tokens_and_their_roles(step: Step[InstructionSettings], made: Tokenizer) -> None:
    from megatron.core.datasets.indexed_dataset import IndexedDataset

    texts = []
    for split in PACKED:
        name = f"{split}-qa-00000"
        text, role = (IndexedDataset(str(step.output.local(DATASETS, f"{name}-{kind}"))) for kind in ("text", "role"))
        assert np.array_equal(text.sequence_lengths, role.sequence_lengths)
        assert np.array_equal(text.document_indices, role.document_indices)
        for ids, roles in zip(text[: len(text)], role[: len(role)], strict=True):
            assert (ids[-1], roles[-1]) == (made.eod, Role.END)
            texts.append(made.decode(ids[:-1]))
            system, prompter, assistant = (made.decode(ids[roles == role]) for role in (0, 1, 2))
            assert system + prompter + assistant == texts[-1]
            assert system == f"{START}system\nBe brief.{STOP}\n"
            assert assistant.startswith(f"{START}answer\n")
    assert sorted(texts) == sorted(whole(n) for n in range(COUNT))
    assert texts != [whole(n) for n in range(COUNT)], "they are shuffled"


def talks(step: Step[Any], made: Tokenizer, split: str) -> list[tuple[str, str]]:
    """The text of each packed conversation, and what is learnt of it."""
    found = []
    for row in rows(step, PACKED[split]):
        assert len(row["input_ids"]) == len(row["loss_mask"]) == SEQUENCE
        assert sum(row["loss_mask"]) > 0
        bounds = np.cumsum([0, *row["seq_lengths"]]).tolist()
        for start, end in pairwise(bounds):
            ids, mask = row["input_ids"][start:end], row["loss_mask"][start:end]
            assert made.eod not in ids
            learnt = made.decode([id_ for id_, weight in zip(ids, mask, strict=True) if weight])
            found.append((made.decode(ids), learnt))
    return found


def test_sequences_hold_the_same_conversations_with_loss_on_answers(
    step: Step[InstructionSettings], made: Tokenizer
) -> None:
    figures = step.manifest().figures
    both = [talks(step, made, split) for split in (TRAIN, VALIDATION)]
    assert all(len(found) == len(set(found)) > 0 for found in both)
    found = set(both[0]) | set(both[1])
    assert len(found) == figures["documents"] == len(both[0]) + len(both[1])
    assert {(whole(n), answer(n).removeprefix(f"{START}answer\n")) for n in range(COUNT)} <= found
    tokens = sum(sum(row["seq_lengths"]) for split in PACKED.values() for row in rows(step, split))
    assert tokens == figures["tokens"] - figures["documents"], "but for ends of documents"
    assert figures["rows"] == {split: len(rows(step, table)) for split, table in PACKED.items()}
    assert SEQUENCE * figures["sequences"] == tokens + figures["padding"]
    assert figures["cut"] == 0


def test_questions_are_trained_as_they_are_asked(step: Step[InstructionSettings], made: Tokenizer) -> None:
    found = dict(talks(step, made, TRAIN) + talks(step, made, VALIDATION))
    asked = exam("train", 7)
    options = "\n".join(f"{letter.upper()}. {asked[f'op{letter}']}" for letter in "abcd")
    head = f"{START}system\nEach question has one right option.\n"
    turn = f"{STOP}\n{START}question\nQuestion: {asked['question']}\n{options}{STOP}\n{START}answer\n"
    thought = "Think step by step first. Then end with one line that has “Answer:” and the answer alone."
    said = f"Because of 7.\nAnswer: D{STOP}"
    assert found[f"{head}{thought}{turn}{said}\n"] == said
    alone = f"{head}Give the answer alone, without an explanation.{turn}Answer: D{STOP}\n"
    assert found[alone] == f"Answer: D{STOP}"


def test_a_question_asked_in_two_ways_is_on_one_side_of_the_split(
    step: Step[InstructionSettings], made: Tokenizer
) -> None:
    sides = {split: {text for text, _ in talks(step, made, split) if "Which of train" in text} for split in PACKED}
    asked = {split: {text.split("Which of ")[1].split()[0] for text in found} for split, found in sides.items()}
    assert asked[TRAIN]
    assert asked[VALIDATION]
    assert not asked[TRAIN] & asked[VALIDATION]


def test_a_resumed_run_and_a_fresh_one_give_the_same_bytes(
    step: Step[InstructionSettings], data: Path, tokenizer: Step[Any], tmp_path: Path
) -> None:
    again = instruct_step(data, tokenizer, tmp_path)
    again.run()
    before = content(again)
    assert before == content(step)
    again.output.local("manifest.json").unlink()
    again.output.local("decisions", "source=qa", "part-00000.parquet").unlink()
    again.output.local(DATASETS, "train-qa-00000-role.idx").unlink()
    kept = again.output.local(DATASETS, "train-chats-00002-text.bin")
    untouched = kept.stat().st_mtime_ns
    again.run()
    assert content(again) == before
    assert kept.stat().st_mtime_ns == untouched


def test_a_rejected_record_has_its_place_and_evidence(step: Step[InstructionSettings]) -> None:
    assert has_decisions(step)
    gone = {row["native"]: row for row in rows(step, "decisions") if not row["keep"] and row["source"] == "qa"}
    assert {native: row["reason"] for native, row in gone.items()} == {
        f"qa/1.jsonl.gz:{COUNT + 1}": "malformed_json",
        f"qa/1.jsonl.gz:{COUNT + 2}": "missing_field",
        "qa/2.jsonl.gz:1": "empty",
        "qa/2.jsonl.gz:2": "exact_duplicate",
        "qa/2.jsonl.gz:3": "near_duplicate",
        "qa/2.jsonl.gz:4": "no_target",
        "qa/2.jsonl.gz:5": "contaminated",
    }
    exact, near, long, quoting = (gone[f"qa/2.jsonl.gz:{line}"] for line in (2, 3, 4, 5))
    assert (exact["survivor"], exact["score"]) == (document_id("qa", "qa/1.jsonl.gz:4"), 1.0)
    assert near["evidence"] == "qa/2.jsonl.gz:3 is like qa/1.jsonl.gz:5"
    assert 0.8 <= near["score"] < 1
    assert "the answer begins after" in long["evidence"]
    assert quoting["evidence"].startswith('It quotes question test3 of medmcqa: "')
    assert quoting["rule"] == "run"


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
    unknown = InstructionSettings.model_validate({"inputs": [{"task": "medmcq"}]})
    with pytest.raises(
        UserError, match=r"^instructions\.inputs\.0: medmcq: no such benchmark; .* did you mean medmcqa\?"
    ):
        instruct_step(data, tokenizer, tmp_path, unknown)
    (tmp_path / "dev.json").write_text((data / "dev.json").read_text())
    missing = InstructionSettings.model_validate({"inputs": [{"task": "medmcqa"}]})
    with pytest.raises(UserError, match=r"^instructions\.inputs\.0: medmcqa: no training file "):
        instruct_step(tmp_path, tokenizer, tmp_path, missing)


def test_documents_may_end_as_turns_do(ray_cluster: None, data: Path, tmp_path: Path) -> None:
    """As with SmolLM2, whose turns end with the token that ends documents: the loss is on it all the same."""
    settings = InstructionSettings.model_validate({"inputs": [{"paths": ["chats.jsonl"], "messages": "messages"}]})
    step = instruct_step(data, tokenizer_step(tmp_path, STOP), tmp_path, settings)
    step.run()
    eod = step.manifest().figures["end_of_document"]
    (row,) = rows(step, PACKED[TRAIN])
    ends = [weight for id_, weight in zip(row["input_ids"], row["loss_mask"], strict=True) if id_ == eod]
    assert ends == [0.0, 1.0, 0.0, 1.0] * len(row["seq_lengths"])


def test_the_plan_has_the_step_where_the_config_has_instructions() -> None:
    root = Path(__file__).resolve().parents[2]
    section = "instructions={inputs: [{paths: [guidelines/*.jsonl.gz], question: title, answer: text}]}"
    overrides = [f"data={root / 'samples'}", section]
    steps = plan(load(root / "configs" / "demo.yaml", overrides, Config))
    assert list(needed(steps, ["instruct"])) == ["read", "clean", "tokenizer", "instruct"]
    assert "instruct" not in plan(load(root / "configs" / "demo.yaml", overrides[:1], Config))
