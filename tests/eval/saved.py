"""Folders of evaluations, written as the step does."""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from eval.answers import ANSWERS, ASKED, DIGESTS, QUOTED, SCORES
from eval.score import scores
from lake.dataset import Output
from lake.step import Step

OPTIONS = {"A": "aspirin", "B": "beta blockers", "C": "calcium", "D": "digoxin"}


def entry(mode: str = "letters", kind: str = "choice", benchmark: str = "quiz", **more: Any) -> dict[str, Any]:
    """An entry of ASKED."""
    shots = more.get("shots", 0)
    return {
        "score": f"{benchmark} strict {mode} {shots}-shot",
        "benchmark": benchmark,
        "title": benchmark.title(),
        "hub": "none",
        "kind": kind,
        "protocol": "strict",
        "mode": mode,
        "shots": shots,
        "seeds": [1234],
        "extract": ["begins"],
        "fingerprints": {"task": "t", "protocol": "p", "questions": "q"},
    } | more


def row(asked: Mapping[str, Any], id_: str, gold: str, **more: Any) -> dict[str, Any]:
    """A row of ANSWERS without an answer."""
    return {
        "score": asked["score"],
        "id": id_,
        "group": "",
        "cluster": id_,
        "seed": 1234,
        "rotation": 0,
        "question": f"question {id_}",
        "options": list((OPTIONS if asked["kind"] == "choice" else {}).items()),
        "gold": gold,
        "prompt": f"Question: {id_}\nAnswer:",
        "prompt_tokens": [1, 2, 3],
        "shots": [],
        "shots_cut": 0,
        "context_cut": False,
        "continuations": [],
        "outputs": [],
        "error": None,
        "dtype": "float32",
    } | more


def rated(asked: Mapping[str, Any], id_: str, gold: str, logprobs: Sequence[float], **more: Any) -> dict[str, Any]:
    """A row with log-probabilities of the options."""
    made = row(asked, id_, gold, **more)
    texts = [f" {text if asked['mode'] == 'cloze' else label}" for label, text in made["options"]]
    made["continuations"] = [
        {"label": label, "text": text, "tokens": [7], "logprobs": [logprob]}
        for (label, _), text, logprob in zip(made["options"], texts, logprobs, strict=True)
    ]
    return made


def chosen(asked: Mapping[str, Any], id_: str, gold: str, label: str, **more: Any) -> dict[str, Any]:
    """A row in which one label has 70 % and the others 10 % each."""
    logprobs = [math.log(0.7 if other == label else 0.1) for other in OPTIONS]
    return rated(asked, id_, gold, logprobs, **more)


def written(asked: Mapping[str, Any], id_: str, gold: str, *texts: str, **more: Any) -> dict[str, Any]:
    """A row in which the model wrote these texts."""
    outputs = [{"text": text, "tokens": [5], "end": "stop"} for text in texts]
    return row(asked, id_, gold, outputs=outputs, **more)


def save(
    folder: Path,
    asked: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    quoted: Mapping[str, Iterable[str]] | None = None,
    **about: Any,
) -> Output:
    """Write a folder, its answers in two parts."""
    output = Output(str(folder))
    half = len(rows) // 2
    for index, part in enumerate((rows[:half], rows[half:])):
        output.write_part("answers", index, pa.Table.from_pylist(list(part), ANSWERS))
    output.write_json({"model": folder.name, "versions": {"vllm": "0"}, "scores": list(asked)} | about, ASKED)
    output.write_json({name: sorted(ids) for name, ids in (quoted or {}).items()}, QUOTED)
    files = [ASKED, QUOTED, *(f"answers/{name}" for name in output.parts("answers"))]
    output.write_json({name: hashlib.sha256(output.read_bytes(name)).hexdigest() for name in files}, DIGESTS)
    output.write_json(scores(output), SCORES)
    return output


def searched(step: Step[Any], hits: int = 1) -> None:
    """Write the hits of a decontamination, one document that quotes the first question or none, and that document."""
    hit = {"benchmark": "quiz", "question": "1", "id": "d1", "source": "papers", "rule": "run"}
    step.output.write_part("hits", 0, pa.table({key: [value] for key, value in hit.items()}).slice(0, hits))
    document = pa.table({"id": ["d1"], "url": ["https://example.org/d1"]})
    step.input("documents").output.write_part("documents", 0, document, "papers")
