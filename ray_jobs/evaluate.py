"""Evaluate: ask the exported model every question, in one vLLM engine inside a Ray actor."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray

from eval.generate import ENVIRONMENT, Continuation, Engine, Tokens, check_heads, label_tokens
from eval.prompts import Encode, Prompt, ending, fit
from eval.questions import EvaluateSettings, Question, load_questions, sample
from eval.score import prediction, score
from eval.task import load_task
from lake.decision import DECISION, Drop, decision
from lake.error import UserError
from lake.progress import progress
from lake.schema import schema
from lake.step import Body, Kind, Outcome, Step, account
from mixing.tokenizer.tokenizer import Tokenizer

ANSWER = schema(
    "benchmark string, id string, prompt string, options map<string>, answer string, prediction string, correct bool, "
    "output string, logprobs map<float64>, prompt_tokens int32, cut bool, dtype string"
)
"""A question as it was asked, identified by benchmark and id. `options` and `logprobs` are by label. `output` is the
token that the model would write next, whatever the options. `dtype` is the type of the arithmetic."""

PART = 128
"""A part has this many questions, and the engine gets them together."""


@dataclass(frozen=True)
class Request:
    """A prompt and the tokens of each label that may follow it."""

    prompt: Prompt
    labels: Mapping[str, Tokens]


def evaluate(step: Step[EvaluateSettings], data: str) -> Outcome:
    """Write `answers` and `decisions` with a row per question, in the order of benchmarks and files, and score them.

    The engine starts once for all benchmarks, and only if a part of `answers` is missing.

    Raises:
        UserError: the model's folder is incomplete, the model takes fewer tokens than `max_length`, no engine here can
            run its heads, or its tokenizer cannot tell the options apart.
    """
    settings, questions = step.settings, load_questions(step.settings, data)
    model = step.input("model").output.local("model")
    config = _config(model)
    length = _max_length(config, settings.max_length)
    if not _gpus():
        check_heads(config)
    requests, rows = _requests(step.name, settings, questions, model, length)
    step.output.write_part("decisions", 0, pa.Table.from_pylist(rows, DECISION))
    _ask(step, requests, lambda: _engine(model, settings.dtype, length))
    parts = step.output.parts("answers")
    answers = [row for name in parts for row in step.output.read_part("answers", name).to_pylist()]
    return Outcome(
        accounts=account(rows),
        figures={
            "benchmarks": _scores(step, answers),
            "mode": "top token, zero-shot",
            "max_length": length,
            "prompt_tokens": sum(row["prompt_tokens"] for row in answers),
            "dtypes": sorted({row["dtype"] for row in answers}),
        },
        unit="questions",
    )


def check(step: Step[EvaluateSettings], data: str) -> None:
    """Raises UserError if a benchmark's file is missing or broken."""
    load_questions(step.settings, data)


EVALUATE = Body[EvaluateSettings](evaluate, Kind.EVALUATION, "ray + vllm", 3, check=check)


def _config(model: Path) -> dict[str, Any]:
    file = model / "config.json"
    if not file.is_file():
        raise UserError(f"{file}: not there; delete {model.parent} and run export again")
    return json.loads(file.read_text(encoding="utf-8"))


def _max_length(config: Mapping[str, Any], length: int | None) -> int:
    """The most tokens of a prompt with its answer."""
    limit = int(config["max_position_embeddings"])
    if length is not None and length > limit:
        raise UserError(f"evaluate.max_length: {length} tokens, the model takes {limit}; set it to {limit} or less")
    return length or limit


def _gpus() -> int:
    return min(1, int(ray.cluster_resources().get("GPU", 0)))


def _requests(
    step: str, settings: EvaluateSettings, questions: Iterable[Question], model: Path, length: int
) -> tuple[list[Request], list[dict[str, Any]]]:
    """The requests, and a row of DECISION for every question of the sample."""
    encode = _encode(model)
    samples = sample(settings, questions)
    requests: list[Request] = []
    rows = []
    for benchmark in settings.benchmarks:
        template = load_task(benchmark.task).prompt
        labels_of = cache(partial(label_tokens, encode, ending(template)))
        for question in samples[benchmark.name]:
            request = question.drop or _request(template, question, labels_of(tuple(question.options)), encode, length)
            rows.append(decision(step, question.id, benchmark.name, request if isinstance(request, Drop) else None))
            if isinstance(request, Request):
                requests.append(request)
    return requests, rows


def _encode(model: Path) -> Encode:
    """Encode text with the exported tokenizer, by the one rule for all text (mixing/tokenizer/plain.py)."""
    tokenizer = Tokenizer.load(model)
    return lambda text: tokenizer.encode([text])[0].tolist()


def _request(
    template: str, question: Question, labels: Mapping[str, Tokens], encode: Encode, length: int
) -> Request | Drop:
    prompt = fit(template, question, encode, length - max(map(len, labels.values())))
    return prompt if isinstance(prompt, Drop) else Request(prompt, labels)


def _ask(step: Step[EvaluateSettings], requests: Sequence[Request], start: Callable[[], Any]) -> None:
    """Write the missing parts of `answers`. `start` starts the engine's actor, which is killed at the end."""
    parts = {index: requests[begin : begin + PART] for index, begin in enumerate(range(0, len(requests), PART))}
    missing = {index: part for index, part in parts.items() if not step.output.has_part("answers", index)}
    if not missing:
        return
    with progress(step.name, len(requests), "questions") as bar:
        bar.update(len(requests) - sum(map(len, missing.values())))
        actor = start()
        try:
            dtype = ray.get(actor.ready.remote())
            for index, part in missing.items():
                prompts = [(request.prompt.tokens, request.labels) for request in part]
                continuations = ray.get(actor.ask.remote(prompts))
                rows = [_answer(*pair, dtype) for pair in zip(part, continuations, strict=True)]
                step.output.write_part("answers", index, pa.Table.from_pylist(rows, ANSWER))
                bar.update(len(part))
        finally:
            ray.kill(actor)


def _engine(model: Path, dtype: str, length: int) -> Any:
    """The engine's actor, with all CPUs of a node, and a GPU if the cluster has one."""
    cpus = max(1, *(int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]))
    # Libraries read the number of threads when they load, so it is set before the process starts.
    environment = {**ENVIRONMENT, "OMP_NUM_THREADS": str(cpus)}
    actor = ray.remote(Engine).options(num_cpus=cpus, num_gpus=_gpus(), runtime_env={"env_vars": environment})
    return actor.remote(str(model), dtype, length)


def _answer(request: Request, continuation: Continuation, dtype: str) -> dict[str, Any]:
    question, chosen = request.prompt.question, prediction(continuation.logprobs)
    return {
        "benchmark": question.benchmark,
        "id": question.id,
        "prompt": request.prompt.text,
        "options": list(question.options.items()),
        "answer": question.answer,
        "prediction": chosen,
        "correct": chosen == question.answer,
        "output": continuation.output,
        "logprobs": list(continuation.logprobs.items()),
        "prompt_tokens": len(request.prompt.tokens),
        "cut": request.prompt.cut,
        "dtype": dtype,
    }


def _scores(step: Step[EvaluateSettings], answers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row of eval.score for each benchmark, with its title and its data set on the Hub."""
    hits = step.input("hits").output.scan("hits").to_table(["benchmark", "question"])
    scores = []
    for benchmark in step.settings.benchmarks:
        task, name = load_task(benchmark.task), benchmark.name
        quoted = hits.filter(pc.equal(hits["benchmark"], name))["question"].to_pylist()
        scores.append(
            {"title": task.title, "hub": task.hub}
            | score(name, [row for row in answers if row["benchmark"] == name], quoted)
        )
    return scores
