"""An evaluation in the files of lm-evaluation-harness: its results and samples, and tasks that ask the same prompts."""

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import stdev
from typing import Any

import yaml

from eval.score import Evaluation, Figures, Judged, figures_of, judged, read
from eval.statistics import Z95
from eval.verdict import RATED, likeliest, sums
from lake.dataset import Output
from lake.files import replace

NAME = re.compile(r"[^A-Za-z0-9.-]+")
EXACT, FILTERED = "exact_match", "strict-match"
"""The harness's names for the score of a written answer, and for what takes the answer out of it."""


def write(output: Output, folder: Path, model: str) -> list[Path]:
    """Write `results.json`, and for each score `samples_TASK.jsonl` and, where options are rated, TASK.yaml and
    TASK.jsonl, with which the harness asks the same prompts (`lm_eval --include_path FOLDER --tasks TASK`).

    `model` is the model's name in the results. The rounds of a score with several seeds or rotations make one task.

    Raises:
        UserError: see eval.score.read.
    """
    saved = read(output, None)
    folder.mkdir(parents=True, exist_ok=True)
    files = {"results.json": json.dumps(results(saved, model), indent=2, ensure_ascii=False)}
    for score, asked in saved.asked.items():
        name, answers = task_name(score), judged(asked, saved.answers[score])
        files[f"samples_{name}.jsonl"] = _lines(samples(asked, answers))
        if asked["mode"] in RATED:
            files[f"{name}.yaml"] = yaml.safe_dump(task(asked), sort_keys=False, allow_unicode=True)
            files[f"{name}.jsonl"] = _lines(map(_doc, range(len(answers)), answers))
    for name, text in files.items():
        replace(folder / name, f"{text}\n".encode())
    return [folder / name for name in files]


def task_name(score: str) -> str:
    """A score's name as the harness's name of a task."""
    return NAME.sub("_", score).strip("_")


def _lines(rows: Iterator[Mapping[str, Any]]) -> str:
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)


def results(saved: Evaluation, model: str) -> dict[str, Any]:
    """The results JSON. Standard errors are a mean's over answers, as the harness has them, or an F1's interval."""
    rows = {task_name(row["score"]): row for row in figures_of(saved)}
    answers = {task_name(name): judged(asked, saved.answers[name]) for name, asked in saved.asked.items()}
    metrics = {name: _metrics(row, answers[name]) for name, row in rows.items()}
    return {
        "results": {name: {"alias": row["title"], **metrics[name]} for name, row in rows.items()},
        "configs": {task_name(name): task(asked) for name, asked in saved.asked.items()},
        "versions": dict.fromkeys(rows, 1.0),
        "n-shot": {name: row["shots"] for name, row in rows.items()},
        "higher_is_better": {
            name: {key.partition(",")[0]: True for key in of if "stderr" not in key} for name, of in metrics.items()
        },
        "n-samples": {name: {"original": row["questions"], "effective": row["answered"]} for name, row in rows.items()},
        "config": {"model": "vllm", "model_args": {"pretrained": model}, "bootstrap_iters": 0, "limit": None},
        "model_name": model,
        "model_source": "vllm",
        "transformers_version": saved.about["versions"].get("transformers"),
        "lm_eval_version": None,
    }


def _metrics(row: Figures, answers: Sequence[Judged]) -> dict[str, float | None]:
    right = [one.verdict.correct for one in answers if one.answered]
    if row["metric"] == "f1":
        return {"f1,none": row["f1"], "f1_stderr,none": (row["high"] - row["low"]) / (2 * Z95)}
    name = "acc,none" if row["mode"] in RATED else f"{EXACT},{FILTERED}"
    found = {name: row["accuracy"], name.replace(",", "_stderr,"): _stderr(right)}
    if row["mode"] == "cloze":
        found |= {"acc_norm,none": row["cloze"]["characters"], "acc_bytes,none": row["cloze"]["bytes"]}
    return found


def _stderr(values: Sequence[float]) -> float | None:
    return stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def samples(asked: Mapping[str, Any], answers: Sequence[Judged]) -> Iterator[dict[str, Any]]:
    """The samples of a task, a line for each answer. Engine errors have none. Numbers are text, as the harness has it.

    Whether a continuation is the greedy one is not saved, so that is null.
    """
    rated = asked["mode"] in RATED
    metric = "acc" if rated else EXACT
    for place, one in enumerate(answers):
        if not one.answered:
            continue
        row, doc = one.row, _doc(place, one)
        if rated:
            target: object = doc["gold"]
            arguments: list[tuple[str, Any]] = [
                (row["prompt"], continuation["text"]) for continuation in row["continuations"]
            ]
            filtered: list[Any] = [[str(logprob), None] for logprob in sums(row).values()]
            responses = [[response] for response in filtered]
        else:
            target, filtered = row["gold"], [one.verdict.prediction or "[invalid]"]
            arguments = [(row["prompt"], {"max_gen_toks": asked.get("max_tokens")})]
            responses = [[output["text"] for output in row["outputs"]]]
        yield {
            "doc_id": place,
            "doc": doc,
            "target": str(target),
            "arguments": {
                f"gen_args_{n}": {"arg_0": prompt, "arg_1": more} for n, (prompt, more) in enumerate(arguments)
            },
            "resps": responses,
            "filtered_resps": filtered,
            "filter": "none" if rated else FILTERED,
            "metrics": [metric],
            "doc_hash": _hash(json.dumps(doc, indent=2, ensure_ascii=False)),
            "prompt_hash": _hash(row["prompt"]),
            "target_hash": _hash(str(target)),
            metric: one.verdict.correct,
            **({"acc_norm": _norm(row)} if asked["mode"] == "cloze" else {}),
        }


def _norm(row: Mapping[str, Any]) -> float:
    options, by_label = dict(row["options"]), sums(row)
    return float(likeliest({label: by_label[label] / max(1, len(options[label])) for label in by_label}) == row["gold"])


def _doc(place: int, one: Judged) -> dict[str, Any]:
    """A question with the prompt that asked it, as a record of the harness."""
    row = one.row
    doc = {key: row[key] for key in ("id", "group", "seed", "rotation", "question", "prompt", "shots")}
    continuations = {continuation["label"]: continuation["text"] for continuation in row["continuations"]}
    gold = list(continuations).index(row["gold"]) if row["gold"] in continuations else row["gold"]
    return {
        "place": place,
        **doc,
        "options": dict(row["options"]),
        "choices": list(continuations.values()),
        "gold": gold,
    }


def task(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The harness's YAML of a task that asks the saved prompts. Their shots are in them, so it draws none."""
    name = task_name(asked["score"])
    config = {"task": name, "task_alias": asked["title"], "num_fewshot": 0}
    if asked["mode"] not in RATED:
        return config | {"output_type": "generate_until"}
    norm = ["acc_norm"] if asked["mode"] == "cloze" else []
    return config | {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": f"{name}.jsonl"}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "prompt",
        "doc_to_choice": "choices",
        "doc_to_target": "gold",
        "target_delimiter": "",
        "metric_list": [
            {"metric": metric, "aggregation": "mean", "higher_is_better": True} for metric in ["acc", *norm]
        ],
        "metadata": {"version": 1.0},
    }


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
