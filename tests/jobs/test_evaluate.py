"""Evaluate: each question is accounted for, the answers are those of transformers, and a killed step resumes."""

import json
import math
import os
import shutil
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import ray

from benchmarks.steps import stand_in
from dedup.decontaminate import HIT
from eval.answers import ANSWERS, DIGESTS
from eval.generate import Reply, Request, Writing
from eval.settings import EvaluateSettings
from eval.statistics import wilson
from eval.verdict import likeliest, sums
from lake.error import UserError
from lake.step import Manifest, Step
from mixing.tokenizer.build import TokenizerSettings, train
from mixing.tokenizer.tokenizer import Tokenizer
from ray_jobs.engines import Engines, Model
from ray_jobs.evaluate import EVALUATE
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
fields: {id: id, question: q, context: c, answer: a}
options: ["yes", "no", "perhaps"]
"""
WAYS = [
    {"task": "sample-qa"},
    {"task": "generated"},
    {"task": "sample-qa", "mode": "cloze", "shots": 2, "seeds": [1, 2]},
    {"task": "sample-qa", "shots": 1, "seeds": [1], "rotate": True, "limit": 9},
    {"task": "sample-qa", "mode": "vote", "branches": 2, "max_tokens": 8, "seeds": [3], "limit": 9},
    {"task": "sample-qa", "mode": "answer", "max_tokens": 8, "chat": True, "limit": 9},
]
"""Every way in which an engine is asked."""

LETTERS = "sample-qa strict letters 0-shot"


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
        ways = [way | {"task": str(data / "generated.yaml")} if way["task"] == "generated" else way for way in WAYS]
        tasks = {"benchmarks": ways, "dtype": "float32"}
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
    sample, generated = manifest.accounts[LETTERS], manifest.accounts["generated strict letters 0-shot"]
    assert (sample.entered, sample.kept) == (42, 40)
    assert sample.dropped == {"malformed_question": 1, "prompt_too_long": 1}
    assert (generated.entered, generated.kept) == (GENERATED, GENERATED)
    assert has_decisions(room.step)
    decisions = rows(room.step, "decisions")
    dropped = {row["id"]: row for row in decisions if row["source"] == LETTERS and not row["keep"]}
    assert {id_: row["reason"] for id_, row in dropped.items()} == {
        "qa-041": "malformed_question",
        "qa-042": "prompt_too_long",
    }
    assert dropped["qa-042"]["score"] > LENGTH
    assert {row["step"] for row in decisions} == {"evaluate"}
    kept = [(row["source"], row["id"]) for row in decisions if row["keep"]]
    assert list(dict.fromkeys((row["score"], row["id"]) for row in rows(room.step, "answers"))) == kept


def test_answers_hold_the_prompt_and_what_came_back(room: Room) -> None:
    tokenizer = Tokenizer.load(room.model)
    answers = rows(room.step, "answers")
    first = room.step.output.read_part("answers", room.step.output.parts("answers")[0])
    assert first.select(ANSWERS.names).schema == ANSWERS
    for row in answers:
        assert row["dtype"] == "float32"
        assert row["error"] is None
        assert len(row["prompt_tokens"]) < LENGTH
        if not row["score"].endswith("chat"):
            assert tokenizer.encode([row["prompt"]])[0].tolist() == row["prompt_tokens"]
        options = dict(row["options"])
        if row["continuations"]:
            assert [rated["label"] for rated in row["continuations"]] == list(options)
        if "vote" in row["score"]:
            assert len(row["outputs"]) == 2
    cut = {row["id"] for row in answers if row["context_cut"]}
    assert cut == {f"g-{n}" for n in range(GENERATED) if n % LONG == 3}
    rotated = [row for row in answers if row["score"].endswith("rotated")]
    assert Counter(row["rotation"] for row in rotated) == dict.fromkeys(range(4), 8)
    cloze = [row for row in answers if "cloze" in row["score"]]
    assert {row["seed"] for row in cloze} == {1, 2}
    assert all(len(row["shots"]) == 2 and row["id"] not in row["shots"] for row in cloze if not row["shots_cut"])


def test_scores_are_those_of_the_answers(room: Room) -> None:
    figures = room.step.manifest().figures
    sample, generated = figures["benchmarks"][:2]
    assert (sample["benchmark"], sample["title"]) == ("sample-qa", "Sample QA")
    assert (sample["questions"], sample["clean_questions"]) == (40, 39)
    assert (generated["questions"], generated["clean_questions"], generated["majority"]) == (GENERATED, GENERATED, 0.5)
    assert generated["context_cut"] == len(range(3, GENERATED, LONG))
    for row in (sample, generated):
        asked = [answer for answer in rows(room.step, "answers") if answer["score"] == row["score"]]
        right = sum(likeliest(sums(answer)) == answer["gold"] for answer in asked)
        assert row["accuracy"] == right / row["questions"]
        assert (row["low"], row["high"]) == wilson(right, row["questions"])
    assert figures["max_length"] == LENGTH
    assert len(sample["predicted"]) > 1, "a model that always says the same would prove nothing below"


def test_vllm_and_transformers_agree(room: Room) -> None:
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(room.model, dtype=torch.float32).eval()

    @cache
    def following(tokens: tuple[int, ...]) -> Any:
        with torch.inference_mode():
            return torch.log_softmax(model(torch.tensor([tokens])).logits[0, -1], dim=-1)

    seen: Counter[str] = Counter()
    several = same = 0
    for row in rows(room.step, "answers"):
        prompt, expected = tuple(row["prompt_tokens"]), {}
        for rated in row["continuations"]:
            tokens = tuple(rated["tokens"])
            several += len(tokens) > 1
            logprobs = [float(following(prompt + tokens[:at])[token]) for at, token in enumerate(tokens)]
            assert rated["logprobs"] == pytest.approx(logprobs, abs=1e-3)
            expected[rated["label"]] = math.fsum(logprobs)
        if expected:
            seen[row["score"]] += 1
            same += likeliest(expected) == likeliest(sums(row))
        if " answer " in row["score"]:
            (output,) = row["outputs"]
            for at, token in enumerate(output["tokens"]):
                assert int(following((*prompt, *output["tokens"][:at])).argmax()) == token
    assert len(seen) == 4
    assert same >= 0.99 * seen.total()
    assert several >= 100, "labels and options of several tokens are rated"


def test_only_what_is_missing_is_asked_again(room: Room) -> None:
    before, manifest = room.bytes(), room.step.manifest()
    assert len(before) > 2
    digests = room.step.output.read_json(DIGESTS)
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
    assert room.step.output.read_json(DIGESTS) == digests
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


def test_a_prompt_that_the_engine_refuses_is_an_error_and_all_others_have_replies(room: Room) -> None:
    good, too_long = Request((5, 6, 7), ((8,), (9,))), Request((5,) * (LENGTH + 9), ((8,), (9,)))
    engines = Engines(Model(room.model, "float32", LENGTH, 1).start, 1, 600)
    # Together they are more than one pass takes, and a vLLM on a CPU cannot cut a prompt with a seed.
    written = Writing(2, temperature=0.8, seeds=(1, 2, 3))
    long = [Request((token,) * (LENGTH - 20), writing=written) for token in range(5, 13)]
    asked = dict(engines.replies({0: [good, too_long, good], 1: long}))
    replies = asked[0]
    assert "maximum context length" in (replies[1].error or "")
    assert replies[0] == replies[2]
    assert replies[0].error is None
    assert [(reply.error, len(reply.outputs)) for reply in asked[1]] == [(None, 3)] * 8


class Moody:
    """Stands in for an engine, to fail at a prompt: 13 kills its process, 14 takes for ever, 15 kills it once."""

    def __init__(self, folder: str) -> None:
        self.killed = Path(folder, "killed")

    def ready(self) -> str:
        return "float32"

    def ask(self, requests: list[Request]) -> list[Reply]:
        asked = {request.prompt[0] for request in requests}
        if 13 in asked or (15 in asked and not self.killed.exists()):
            self.killed.touch()
            os._exit(1)
        if 14 in asked:
            time.sleep(600)
        return [Reply([[float(token) for token in request.prompt]]) for request in requests]


@pytest.mark.parametrize("replicas", [1, 2])
def test_an_engine_that_dies_or_hangs_is_replaced(ray_cluster: None, tmp_path: Path, replicas: int) -> None:
    start = partial(ray.remote(Moody).options(num_cpus=0).remote, str(tmp_path))
    parts = {
        index: [Request((prompt,)) for prompt in prompts] for index, prompts in enumerate([[1, 15], [2, 13], [14], [3]])
    }
    with pytest.warns(UserWarning, match="an engine failed and is replaced"):
        replies = dict(Engines(start, replicas, 2.0).replies(parts))
    assert replies.keys() == parts.keys()
    assert [reply.logprobs for reply in replies[0]] == [[[1.0]], [[15.0]]]
    assert [reply.logprobs for reply in replies[3]] == [[[3.0]]]
    assert replies[1][0].logprobs == [[2.0]], "alone it has a reply"
    for failed in (replies[1][1], replies[2][0]):
        assert "the engine failed 2 times" in (failed.error or "")
