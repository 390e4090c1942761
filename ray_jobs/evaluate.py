"""Evaluate: every question put to the exported model, in one vLLM engine that lives in a Ray actor."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray

from eval.generate import ENVIRONMENT, Engine, Said, Tokens, check_heads, label_tokens
from eval.prompts import Encode, Prompt, ending, fit
from eval.questions import EvaluateSettings, Question, sample
from eval.score import prediction, score
from eval.task import load_task
from lake.decision import DECISION, Drop, decision
from lake.error import UserError
from lake.progress import progress
from lake.step import Outcome, Step, account
from mixing.tokenizer.tokenizer import Tokenizer

ANSWER = pa.schema(
    [
        pa.field("benchmark", pa.string(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("options", pa.map_(pa.string(), pa.string()), nullable=False),
        pa.field("answer", pa.string(), nullable=False),
        pa.field("prediction", pa.string(), nullable=False),
        pa.field("correct", pa.bool_(), nullable=False),
        pa.field("output", pa.string(), nullable=False),
        pa.field("logprobs", pa.map_(pa.string(), pa.float64()), nullable=False),
        pa.field("prompt_tokens", pa.int32(), nullable=False),
        pa.field("cut", pa.bool_(), nullable=False),
        pa.field("dtype", pa.string(), nullable=False),
    ]
)
"""A question as it was asked, known by benchmark and id. `options` and `logprobs` go by label; `output` is the token
the model would write next, whatever the options; `dtype` is that of the arithmetic."""

PART = 128
"""Questions in a part, and to the engine at a time."""


@dataclass(frozen=True)
class Asked:
    """A prompt, and the tokens of each label that may follow it."""

    prompt: Prompt
    labels: Mapping[str, Tokens]


def evaluate(step: Step, settings: EvaluateSettings, questions: Iterable[Question]) -> Outcome:
    """Write `answers` and `decisions`, one row a question, in the order of benchmarks and files; score the answers.

    The engine starts only where a part of `answers` is missing, and once for all benchmarks.

    Raises:
        UserError: the model's folder is not whole, the model takes fewer tokens than `max_length` or has heads that no
            engine here can run, or its tokenizer cannot tell the options apart.
    """
    model = step.input("export").local("model")
    config = _config(model)
    length = _max_length(config, settings.max_length)
    if not _gpus():
        check_heads(config)
    asked, rows = _prompts(step.name, settings, questions, model, length)
    step.output.write_part("decisions", 0, pa.Table.from_pylist(rows, DECISION))
    _ask(step, asked, lambda: _engine(model, settings.dtype, length))
    parts = step.output.parts("answers")
    answers = [row for name in parts for row in step.output.read_part("answers", name).to_pylist()]
    return Outcome(
        accounts=account(rows),
        figures={
            "benchmarks": _scores(step, settings, answers),
            "mode": "top token, zero-shot",
            "max_length": length,
            "prompt_tokens": sum(row["prompt_tokens"] for row in answers),
            "dtypes": sorted({row["dtype"] for row in answers}),
        },
        unit="questions",
    )


def _config(model: Path) -> dict[str, Any]:
    file = model / "config.json"
    if not file.is_file():
        raise UserError(f"{file}: not there; delete {model.parent} and run export again")
    return json.loads(file.read_text(encoding="utf-8"))


def _max_length(config: Mapping[str, Any], wanted: int | None) -> int:
    """Tokens of the longest prompt with its answer."""
    limit = int(config["max_position_embeddings"])
    if wanted is not None and wanted > limit:
        raise UserError(f"evaluate.max_length: {wanted} tokens, the model takes {limit}; set it to {limit} or less")
    return wanted or limit


def _gpus() -> int:
    return min(1, int(ray.cluster_resources().get("GPU", 0)))


def _prompts(
    step: str, settings: EvaluateSettings, questions: Iterable[Question], model: Path, length: int
) -> tuple[list[Asked], list[dict[str, Any]]]:
    """What is asked, and a row of DECISION for every question of the sample."""
    encode = _encode(model)
    chosen = sample(settings, questions)
    asked: list[Asked] = []
    rows = []
    for one in settings.benchmarks:
        template = load_task(one.task).prompt
        labels_of = _labels(encode, ending(template))
        for question in chosen[one.name]:
            found = question.drop or _prompt(template, question, labels_of(tuple(question.options)), encode, length)
            rows.append(decision(step, question.id, one.name, found if isinstance(found, Drop) else None))
            if isinstance(found, Asked):
                asked.append(found)
    return asked, rows


def _encode(model: Path) -> Encode:
    """The ids of a text as the exported tokenizer begins a sequence; control tokens in a question are plain text."""
    backend = Tokenizer.load(model).backend
    backend.encode_special_tokens = True
    return lambda text: backend.encode(text).ids


def _labels(encode: Encode, stem: str) -> Callable[[tuple[str, ...]], Mapping[str, Tokens]]:
    return cache(lambda labels: label_tokens(encode, stem, labels))


def _prompt(
    template: str, question: Question, labels: Mapping[str, Tokens], encode: Encode, length: int
) -> Asked | Drop:
    found = fit(template, question, encode, length - max(map(len, labels.values())))
    return found if isinstance(found, Drop) else Asked(found, labels)


def _ask(step: Step, asked: Sequence[Asked], start: Callable[[], Any]) -> None:
    """Write the parts of `answers` that are not there; `start` gives the actor, which is ended at the end."""
    parts = {index: asked[begin : begin + PART] for index, begin in enumerate(range(0, len(asked), PART))}
    missing = {index: part for index, part in parts.items() if not step.output.has_part("answers", index)}
    if not missing:
        return
    with progress(step.name, len(asked), "questions") as bar:
        bar.update(len(asked) - sum(map(len, missing.values())))
        actor = start()
        try:
            dtype = ray.get(actor.ready.remote())
            for index, part in missing.items():
                said = ray.get(actor.ask.remote([(one.prompt.tokens, one.labels) for one in part]))
                rows = [_answer(one, said_, dtype) for one, said_ in zip(part, said, strict=True)]
                step.output.write_part("answers", index, pa.Table.from_pylist(rows, ANSWER))
                bar.update(len(part))
        finally:
            ray.kill(actor)


def _engine(model: Path, dtype: str, length: int) -> Any:
    """The engine's actor, with all CPUs of a node, and a GPU where the cluster has one."""
    cpus = max(1, *(int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]))
    # Libraries that count threads read this when they load, so it must be there before the process starts.
    environment = {**ENVIRONMENT, "OMP_NUM_THREADS": str(cpus)}
    actor = ray.remote(Engine).options(num_cpus=cpus, num_gpus=_gpus(), runtime_env={"env_vars": environment})
    return actor.remote(str(model), dtype, length)


def _answer(asked: Asked, said: Said, dtype: str) -> dict[str, Any]:
    question, chosen = asked.prompt.question, prediction(said.logprobs)
    return {
        "benchmark": question.benchmark,
        "id": question.id,
        "prompt": asked.prompt.text,
        "options": list(question.options.items()),
        "answer": question.answer,
        "prediction": chosen,
        "correct": chosen == question.answer,
        "output": said.output,
        "logprobs": list(said.logprobs.items()),
        "prompt_tokens": len(asked.prompt.tokens),
        "cut": asked.prompt.cut,
        "dtype": dtype,
    }


def _scores(step: Step, settings: EvaluateSettings, answers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row of eval.score for each benchmark, with its title and where it is published."""
    quoted = step.input("decontaminate").scan("hits").to_table(["benchmark", "question"])
    found = []
    for one in settings.benchmarks:
        task = load_task(one.task)
        hits = quoted.filter(pc.equal(quoted["benchmark"], one.name))["question"].to_pylist()
        mine = [row for row in answers if row["benchmark"] == one.name]
        found.append({"title": task.title, "hub": task.hub} | score(one.name, mine, hits))
    return found
