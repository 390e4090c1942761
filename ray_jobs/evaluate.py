"""Evaluate: ask a model every question in every way of the config, on vLLM engines in Ray actors."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from eval.answers import ANSWERS, ASKED, DIGESTS, QUOTED, SCORES
from eval.ask import Ask, Examinee, Sample, asks, samples
from eval.generate import Reply, check_heads
from eval.prompts import Chat
from eval.protocol import OF_OPTIONS, load_protocol, protocol_file
from eval.questions import raw_files
from eval.score import scores
from eval.settings import BenchmarkSettings, EvaluateSettings
from eval.task import load_task
from lake.dataset import Output
from lake.decision import DECISION, Drop, decision
from lake.error import UserError
from lake.files import digest
from lake.progress import progress
from lake.step import Body, Kind, Outcome, Step, account, versions
from mixing.tokenizer.build import of_model
from ray_jobs.engines import Engines, Model, gpus, on_gpus, room

SEQUENCES = {"cpu": 32, "gpu": 256}
"""About so many sequences go to an engine at once, and make a part of `answers`."""


def evaluate(step: Step[EvaluateSettings], data: str) -> Outcome:
    """Ask a model every question and write what eval/answers.py lists.

    Raises:
        UserError: see `Exam.hold`.
    """
    model = step.input("model")
    exam = Exam(step.name, step.settings, data, samples(step.settings, data), quoted(step.input("hits").output))
    rows, figures = exam.hold(model.output.local("model"), step.output, {"model": model.fingerprint})
    return Outcome(accounts=account(rows), figures=figures, unit="questions")


def check(step: Step[EvaluateSettings], data: str) -> None:
    """Raises UserError if a benchmark's file is missing or broken, or a protocol cannot ask a benchmark so."""
    samples(step.settings, data)


EVALUATE = Body[EvaluateSettings](evaluate, Kind.EVALUATION, "ray + vllm", 4, check=check)


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


@dataclass(frozen=True)
class Exam:
    """What one or several models are asked, and how. `quoted` has the ids that documents quote, by benchmark."""

    name: str
    settings: EvaluateSettings
    data: str
    asked: Sequence[Sample]
    quoted: Mapping[str, Sequence[str]]

    def hold(
        self, folder: Path, output: Output, about: Mapping[str, Any]
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Ask the model in a Hugging Face folder. Returns a row of DECISION for each question, and the figures.

        `about` goes into ASKED, to say which model it is. Engines start only if a part of `answers` is missing.

        Raises:
            UserError: the model's folder is incomplete, the model takes fewer tokens than `max_length`, no engine here
                can run its heads, or its tokenizer cannot tell the options apart.
        """
        config = _config(folder)
        length = _max_length(config, self.settings.max_length)
        if not gpus():
            check_heads(config)
        asked: list[Ask] = []
        rows = []
        for benchmark, question, rounds in asks(self.asked, _examinee(folder, length)):
            dropped = rounds if isinstance(rounds, Drop) else None
            rows.append(decision(self.name, question.id, benchmark.score, dropped))
            asked += [] if isinstance(rounds, Drop) else rounds
        output.write_part("decisions", 0, pa.Table.from_pylist(rows, DECISION))
        output.write_json(self.quoted, QUOTED)
        # A run that was killed goes on with the parts that it began with, on another machine too.
        at_once = output.read_json(ASKED)["at_once"] if output.exists(ASKED) else SEQUENCES["gpu" if gpus() else "cpu"]
        output.write_json({**about, "versions": versions(), "at_once": at_once, "scores": self._ways()}, ASKED)
        tensor = self.settings.tensor
        model = Model(folder, self.settings.dtype, length, tensor)
        replicas = min(self.settings.replicas or max(1, on_gpus(tensor)), room(tensor))
        _ask(self.name, output, _parts(asked, at_once), Engines(model.start, replicas, self.settings.timeout))
        parts = output.parts("answers")
        files = [ASKED, QUOTED, *(f"answers/{name}" for name in parts)]
        output.write_json({name: hashlib.sha256(output.read_bytes(name)).hexdigest() for name in files}, DIGESTS)
        output.write_json(scores(output), SCORES)
        dtypes = {
            dtype for name in parts for dtype in output.read_part("answers", name, ["dtype"])["dtype"].to_pylist()
        }
        figures = {
            "benchmarks": output.read_json(SCORES),
            "max_length": length,
            "dtype": ", ".join(sorted(dtypes)) or "–",
        }
        return rows, figures

    def _ways(self) -> list[dict[str, Any]]:
        """How the questions were asked, for whoever reads the answers."""
        return [_way(self.settings, one.benchmark, self.data) for one in self.asked]


def _examinee(folder: Path, length: int) -> Examinee:
    """Text is encoded by the one rule for all text (mixing/tokenizer/plain.py)."""
    tokenizer, prefix = of_model(folder)

    def encode(text: str) -> list[int]:
        return tokenizer.encode([text])[0].tolist()

    def parse(text: str) -> list[int]:
        return tokenizer.backend.encode(text, add_special_tokens=False).ids

    return Examinee(encode, parse, length, tuple(prefix), _chat(folder))


def _chat(folder: Path) -> Chat | None:
    """The model's own chat template."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    if not tokenizer.chat_template:
        return None
    render = partial(tokenizer.apply_chat_template, tokenize=False, add_generation_prompt=True)
    return Chat(render, frozenset(tokenizer.get_added_vocab()))


def _way(settings: EvaluateSettings, benchmark: BenchmarkSettings, data: str) -> dict[str, Any]:
    task, protocol = load_task(benchmark.task), load_protocol(benchmark.protocol)
    files = raw_files(settings.model_copy(update={"benchmarks": (benchmark,)}), data)
    keys = {"protocol", "mode", "shots", "chat", "rotate"}
    if benchmark.mode not in OF_OPTIONS:
        keys |= {"max_tokens"}
    if benchmark.mode == "vote":
        keys |= {"branches", "temperature"}
    return {
        "score": benchmark.score,
        "benchmark": benchmark.name,
        "title": task.title,
        "hub": task.hub,
        "kind": task.kind,
        "seeds": list(benchmark.rounds),
        "extract": list(protocol.way(task, benchmark.mode).extract),
        **benchmark.model_dump(include=keys),
        "fingerprints": {path.name: digest(path) for path in (*files, protocol_file(benchmark.protocol))},
    }


def _ask(name: str, output: Output, parts: Mapping[int, Sequence[Ask]], engines: Engines) -> None:
    """Write the missing parts of `answers`."""
    missing = {index: part for index, part in parts.items() if not output.has_part("answers", index)}
    if not missing:
        return
    whole = sum(map(len, parts.values()))
    with progress(name, whole, "questions") as bar:
        bar.update(whole - sum(map(len, missing.values())))
        requests = {index: [ask.request for ask in part] for index, part in missing.items()}
        for index, replies in engines.replies(requests):
            rows = [_answer(*pair, engines.dtype) for pair in zip(missing[index], replies, strict=True)]
            output.write_part("answers", index, pa.Table.from_pylist(rows, ANSWERS))
            bar.update(len(rows))


def _parts(asked: Sequence[Ask], at_once: int) -> dict[int, list[Ask]]:
    """About `at_once` sequences for each part, in order."""
    parts: dict[int, list[Ask]] = {}
    sequences = 0
    for ask in asked:
        parts.setdefault(sequences // at_once, []).append(ask)
        sequences += ask.request.sequences
    return dict(enumerate(parts.values()))


def _answer(ask: Ask, reply: Reply, dtype: str) -> dict[str, Any]:
    """A row of ANSWERS."""
    question, prompt = ask.prompt.question, ask.prompt
    rated = zip(prompt.continuations.items(), ask.request.continuations, reply.logprobs, strict=reply.error is None)
    return {
        "score": ask.score,
        "id": question.id,
        "group": question.group,
        "cluster": question.cluster,
        "seed": ask.seed,
        "rotation": ask.rotation,
        "question": question.text,
        "options": list(question.options.items()),
        "gold": question.answer,
        "prompt": prompt.text,
        "prompt_tokens": prompt.tokens,
        "shots": list(prompt.shots),
        "shots_cut": prompt.shots_cut,
        "context_cut": prompt.context_cut,
        "continuations": [
            {"label": label, "text": text, "tokens": tokens, "logprobs": logprobs}
            for (label, text), tokens, logprobs in rated
        ],
        "outputs": [asdict(written) for written in reply.outputs],
        "error": reply.error,
        "dtype": dtype,
    }


def quoted(hits: Output) -> dict[str, list[str]]:
    """The questions that documents quote, by benchmark."""
    found: dict[str, set[str]] = {}
    for row in hits.scan("hits").to_table(["benchmark", "question"]).to_pylist():
        found.setdefault(row["benchmark"], set()).add(row["question"])
    return {name: sorted(ids) for name, ids in sorted(found.items())}
