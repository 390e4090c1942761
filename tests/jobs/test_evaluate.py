"""Evaluate: each question is accounted for, the answers are those of transformers, and a killed step resumes."""

import json
import math
import shutil
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from benchmarks.steps import stand_in
from dedup.decontaminate import HIT
from eval.generate import label_tokens
from eval.questions import EvaluateSettings
from eval.score import wilson
from lake.error import UserError
from lake.step import Manifest, Step
from mixing.tokenizer.build import TokenizerSettings, train
from mixing.tokenizer.tokenizer import Tokenizer
from ray_jobs.evaluate import ANSWER, EVALUATE, PART
from tests.jobs.outputs import has_decisions, rows
from tests.jobs.processes import ray_workers

pytestmark = pytest.mark.engine

ROOT = Path(__file__).resolve().parents[2]
LENGTH = 512
GENERATED = 110
LONG = 7
SENTENCES = [
    "A patient with fever is given fluids. Which of the four is right? The answer is yes, no or maybe.",
    "Question: which dose of the drug was given daily? A. one B. two C. three D. four. Answer: B.",
    "Abstract: pressure fell in the group that walked every day, and the trial was stopped for benefit.",
]
TASK = """
title: Generated
hub: none
license: Apache-2.0
files: [generated.jsonl]
format: jsonl
fields: {id: id, question: q, context: c, answer: a}
options: ["yes", "no", "perhaps"]
prompt: "Abstract: {context}\\n\\nQuestion: {question}\\nAnswer:"
"""


def export_step(root: Path) -> Step[Any]:
    """A random Llama with heavy weights, so that its answers differ, and a small tokenizer, as export leaves them."""
    import torch
    import transformers

    step = stand_in("export", root)
    folder = step.output.local("model")
    tokenizer = train(SENTENCES * 5, TokenizerSettings.model_validate({"train": {"vocab_size": 400}}))
    torch.manual_seed(5)
    config = transformers.LlamaConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=128,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=LENGTH,
        initializer_range=0.2,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eod,
        pad_token_id=tokenizer.pad,
        dtype="float32",
    )
    transformers.LlamaForCausalLM(config).to(torch.float32).save_pretrained(folder)
    tokenizer.save(folder)
    return step


def decontaminate_step(root: Path) -> Step[Any]:
    step = stand_in("decontaminate", root)
    hit = {"source": "web", "rule": "run", "share": 1.0, "span": "…"}
    rows = [
        {"benchmark": "sample-qa", "question": "qa-001", "id": "x"} | hit,
        {"benchmark": "sample-qa", "question": "qa-001", "id": "y"} | hit,
        {"benchmark": "generated", "question": "qa-002", "id": "x"} | hit,
    ]
    step.output.write_part("hits", 0, pa.Table.from_pylist(rows, HIT))
    return step


def data_folder(root: Path) -> Path:
    """The sample questions, and generated ones of which one in LONG has an abstract that must be cut."""
    folder = root / "data"
    (folder / "benchmarks").mkdir(parents=True)
    shutil.copy(ROOT / "samples" / "benchmarks" / "sample-qa.jsonl", folder / "benchmarks")
    with (folder / "generated.jsonl").open("w", encoding="utf-8") as stream:
        for n in range(GENERATED):
            length = 900 if n % LONG == 3 else 1 + n % 40
            words = [SENTENCES[(n + word) % 3].split()[word % 9] for word in range(length)]
            record = {"id": f"g-{n}", "q": f"Did {n} of {n + 7} walk?", "c": " ".join(words), "a": ("yes", "no")[n % 2]}
            stream.write(json.dumps(record) + "\n")
    (folder / "generated.yaml").write_text(TASK, encoding="utf-8")
    return folder


class Room:
    """A lake with a model, and the questions to ask it."""

    def __init__(self, root: Path) -> None:
        data = data_folder(root)
        tasks = {"benchmarks": [{"task": "sample-qa"}, {"task": str(data / "generated.yaml")}], "dtype": "float32"}
        inputs = {"model": export_step(root), "hits": decontaminate_step(root)}
        settings = EvaluateSettings.model_validate(tasks)
        self.step = Step("evaluate", EVALUATE, settings, str(root), inputs, extra={"data": str(data)})
        self.model = self.step.input("model").output.local("model")

    def run(self) -> Manifest:
        """Evaluate as if it had not been done."""
        self.step.output.local("manifest.json").unlink(missing_ok=True)
        return self.step.run()

    def bytes(self) -> dict[str, bytes]:
        return {part: self.step.output.read_bytes("answers", part) for part in self.step.output.parts("answers")}


@pytest.fixture(scope="module")
def room(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Room:
    room = Room(tmp_path_factory.mktemp("evaluate"))
    room.run()
    return room


def live_engines() -> int:
    return len(ray_workers("ray::Engine"))


def test_every_question_is_accounted_for(room: Room) -> None:
    manifest = room.step.manifest()
    assert manifest.unit == "questions"
    sample, generated = manifest.accounts["sample-qa"], manifest.accounts["generated"]
    assert (sample.entered, sample.kept) == (42, 40)
    assert sample.dropped == {"malformed_question": 1, "prompt_too_long": 1}
    assert (generated.entered, generated.kept) == (GENERATED, GENERATED)
    assert has_decisions(room.step)
    decisions = rows(room.step, "decisions")
    assert [row["id"] for row in decisions if row["source"] == "generated"] == [f"g-{n}" for n in range(GENERATED)]
    dropped = {row["id"]: row for row in decisions if not row["keep"]}
    assert {id_: row["reason"] for id_, row in dropped.items()} == {
        "qa-041": "malformed_question",
        "qa-042": "prompt_too_long",
    }
    assert "is none of A, B, C" in dropped["qa-041"]["evidence"]
    assert dropped["qa-042"]["score"] > LENGTH
    assert {row["step"] for row in decisions} == {"evaluate"}
    kept = [(row["source"], row["id"]) for row in decisions if row["keep"]]
    assert [(row["benchmark"], row["id"]) for row in rows(room.step, "answers")] == kept


def test_answers_hold_the_prompt_and_the_output(room: Room) -> None:
    tokenizer = Tokenizer.load(room.model)
    answers = rows(room.step, "answers")
    first = room.step.output.read_part("answers", room.step.output.parts("answers")[0])
    assert first.select(ANSWER.names).schema == ANSWER
    for row in answers:
        logprobs, options = dict(row["logprobs"]), dict(row["options"])
        assert logprobs.keys() == options.keys()
        assert all(-200 < value < 0 for value in logprobs.values())
        assert row["prediction"] == max(logprobs, key=logprobs.__getitem__)
        assert row["correct"] == (row["prediction"] == row["answer"])
        assert row["prompt"].endswith("\nAnswer:")
        assert len(tokenizer.encode([row["prompt"]])[0]) == row["prompt_tokens"] < LENGTH
        assert row["dtype"] == "float32"
    cut = {row["id"] for row in answers if row["cut"]}
    assert cut == {f"g-{n}" for n in range(GENERATED) if n % LONG == 3}


def test_scores_are_those_of_the_answers(room: Room) -> None:
    figures = room.step.manifest().figures
    sample, generated = figures["benchmarks"]
    assert (sample["benchmark"], sample["title"]) == ("sample-qa", "Sample QA")
    assert (sample["questions"], sample["clean_questions"]) == (40, 39)
    assert (generated["questions"], generated["clean_questions"], generated["majority"]) == (GENERATED, GENERATED, 0.5)
    assert generated["cut"] == len(range(3, GENERATED, LONG))
    for row in (sample, generated):
        right = sum(
            answer["correct"] for answer in rows(room.step, "answers") if answer["benchmark"] == row["benchmark"]
        )
        assert row["correct"] == right
        assert row["accuracy"] == right / row["questions"]
        assert (row["low"], row["high"]) == wilson(right, row["questions"])
    assert figures["max_length"] == LENGTH
    assert figures["dtypes"] == ["float32"]
    assert len(sample["predicted"]) > 1, "a model that always says the same would prove nothing below"


def test_vllm_and_transformers_agree(room: Room) -> None:
    import torch
    import transformers

    folder = room.model
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)

    @cache
    def following(tokens: tuple[int, ...]) -> Any:
        with torch.inference_mode():
            return torch.log_softmax(model(torch.tensor([tokens])).logits[0, -1], dim=-1)

    def encode(text: str) -> list[int]:
        return tokenizer(text)["input_ids"]

    same: Counter[bool] = Counter()
    several = 0
    for row in rows(room.step, "answers"):
        prompt, logprobs = tuple(encode(row["prompt"])), dict(row["logprobs"])
        labels = label_tokens(encode, "Answer:", list(logprobs))
        several += any(len(tokens) > 1 for tokens in labels.values())
        expected = {
            label: math.fsum(float(following(prompt + tokens[:at])[token]) for at, token in enumerate(tokens))
            for label, tokens in labels.items()
        }
        assert logprobs == pytest.approx(expected, abs=1e-3)
        same[max(expected, key=expected.__getitem__) == row["prediction"]] += 1
        assert row["output"] in (tokenizer.decode([int(following(prompt).argmax())]), "", "\ufffd")
    assert same.total() >= 100
    assert same[True] >= 0.99 * same.total()
    assert several >= 100, "labels of several tokens are asked in branches"


def test_only_what_is_missing_is_asked_again(room: Room) -> None:
    before, manifest = room.bytes(), room.step.manifest()
    assert len(before) == math.ceil((40 + GENERATED) / PART) > 1
    weights = room.model / "model.safetensors"
    away = weights.rename(weights.with_suffix(".away"))
    try:
        again = room.run()
    finally:
        away.rename(weights)
    assert (again.accounts, again.figures) == (manifest.accounts, manifest.figures), "no engine, as it had no weights"

    room.step.output.local("answers", room.step.output.part_name(1)).unlink()
    kept = room.step.output.local("answers", room.step.output.part_name(0))
    written = kept.stat().st_mtime_ns
    with ThreadPoolExecutor() as pool:
        running = pool.submit(room.run)
        seen = 0
        while not running.done():
            seen = max(seen, live_engines())
            time.sleep(0.2)
    assert running.result().figures == manifest.figures
    assert seen == 1
    assert room.bytes() == before
    assert kept.stat().st_mtime_ns == written


def test_no_engine_outlives_the_step(room: Room) -> None:
    deadline = time.monotonic() + 20
    while live_engines() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert live_engines() == 0


def test_more_tokens_than_the_model_takes_are_refused(room: Room) -> None:
    longer = room.step.settings.model_copy(update={"max_length": LENGTH + 1})
    with pytest.raises(UserError, match=f"evaluate.max_length: {LENGTH + 1} tokens, the model takes {LENGTH}"):
        replace(room.step, settings=longer).run()


def test_a_model_without_its_config_is_an_error(room: Room, tmp_path: Path) -> None:
    inputs = {**room.step.inputs, "model": stand_in("export", tmp_path)}
    with pytest.raises(UserError, match=r"config\.json: not there; .*run export again"):
        replace(room.step, lake=str(tmp_path), inputs=inputs).run()
