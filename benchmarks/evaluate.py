"""This project's evaluation beside lm-evaluation-harness: the same questions, in its prompts, of the same model.

    python -m benchmarks.evaluate --model DIR [--limit 200] [--shots 0,3] [--peer-backend hf|vllm]
        [--lm-eval PYTHON] [--data DIR] [--json]

MedQA-4, MedMCQA, PubMedQA and three subjects of MMLU, of each benchmark `--limit` questions, in float32. Ours is the
step `evaluate`, on Ray; the harness is its own command with its own tasks, on local files. Each asks all benchmarks in
one start and a fresh process, once for each number of shots; seconds are from end to end, start-up included.

A question differs if another prompt or another option was asked, the answer is another, or a log-likelihood is off by
more than 1e-3. The Python of `--lm-eval` has the harness: python -m benchmarks.harness FOLDER makes an environment.
"""

import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
import pyarrow as pa

from benchmarks import harness
from benchmarks.exam import Paper, prepare
from benchmarks.harness import Answer, Backend
from benchmarks.steps import stand_in
from eval.settings import EvaluateSettings
from eval.verdict import likeliest, sums
from gap.command import table, user_errors
from lake.dataset import Output
from lake.step import Step

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"
TOLERANCE = 1e-3
SEED = 1234


@dataclass(frozen=True)
class Asked:
    """A question as ours asked it, with its right label; without an answer, `why` says why it was not asked."""

    id: str
    labels: list[str]
    gold: str
    answer: Answer | None
    why: str = ""


def ours(model: Path, data: Path, benchmarks: Sequence[str], shots: int, lake: Path) -> str:
    """Run the step `evaluate`. Returns its folder."""
    from dedup.decontaminate import HIT
    from ray_jobs.cluster import RaySettings, start
    from ray_jobs.evaluate import EVALUATE

    exported, hits = stand_in("export", lake), stand_in("decontaminate", lake)
    exported.output.local().mkdir(parents=True)
    exported.output.local("model").symlink_to(model)
    hits.output.write_part("hits", 0, HIT.empty_table())
    ways = [{"task": name, "protocol": "lm-eval", "shots": shots, "seeds": [SEED]} for name in benchmarks]
    settings = EvaluateSettings.model_validate({"benchmarks": ways, "dtype": "float32"})
    inputs = {"model": exported, "hits": hits}
    step = Step("evaluate", EVALUATE, settings, str(lake), inputs, extra={"data": str(data)})
    start(RaySettings(cpus=os.cpu_count() or 1))
    step.run()
    return step.output.root


def answers(output: Output) -> dict[str, list[Asked]]:
    """What ours asked of each benchmark, in the order of its questions, also of those that it did not ask."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for part in output.parts("answers"):
        rows |= {(row["score"], row["id"]): row for row in output.read_part("answers", part).to_pylist()}
    found: dict[str, list[Asked]] = {}
    decisions = pa.concat_tables(output.read_part("decisions", part) for part in output.parts("decisions"))
    for decided in decisions.to_pylist():
        row = rows.get((decided["source"], decided["id"]))
        found.setdefault(decided["source"].partition(" ")[0], []).append(_asked(decided, row))
    return found


def _asked(decided: Mapping[str, Any], row: Mapping[str, Any] | None) -> Asked:
    if row is None or row["error"]:
        return Asked(decided["id"], [], "", None, str(row["error"] if row else decided["reason"]))
    texts = [continuation["text"] for continuation in row["continuations"]]
    rated = sums(row)
    return Asked(decided["id"], list(rated), row["gold"], Answer(row["prompt"], texts, list(rated.values())))


def compare(ours: Sequence[Asked], theirs: Sequence[Answer]) -> dict[str, Any]:
    """The figures of one benchmark. Accuracies and the largest difference are over the questions that both asked.

    `differing_questions` has by id what is different.
    """
    pairs = [(one, one.answer, answer) for one, answer in zip(ours, theirs, strict=True) if one.answer]
    faults = {one.id: why for one in ours if (why := one.why)}
    faults |= {one.id: why for one, mine, answer in pairs if (why := _difference(one.labels, mine, answer))}
    return {
        "questions": len(pairs),
        "max_loglikelihood_difference": max((_largest(mine, answer) for _, mine, answer in pairs), default=0.0),
        "differing_questions": faults,
        "accuracy": {
            "ours": _share(_likeliest(one.labels, mine) == one.gold for one, mine, _ in pairs),
            "lm_eval": _share(_likeliest(one.labels, answer) == one.gold for one, _, answer in pairs),
        },
    }


def _difference(labels: Sequence[str], mine: Answer, other: Answer) -> str:
    """What is different, or an empty text."""
    for what, a, b in (("prompt", [mine.prompt], [other.prompt]), ("option", mine.continuations, other.continuations)):
        if a != b:
            first, second = next(pair for pair in zip([*a, None], [*b, None], strict=False) if pair[0] != pair[1])
            return f"{what}: {_parting(first or '', second or '')}"
    if (a_label := _likeliest(labels, mine)) != (b_label := _likeliest(labels, other)):
        return f"answer: {a_label}, of lm-eval {b_label}; log-likelihoods differ by up to {_largest(mine, other):.1e}"
    if not _largest(mine, other) <= TOLERANCE:
        return f"log-likelihood: differs by up to {_largest(mine, other):.1e}"
    return ""


def _parting(ours: str, theirs: str) -> str:
    """Where two texts part."""
    length = min(len(ours), len(theirs))
    place = next((place for place in range(length) if ours[place] != theirs[place]), length)
    return f"from character {place}: {ours[place : place + 40]!r}, of lm-eval {theirs[place : place + 40]!r}"


def _largest(mine: Answer, other: Answer) -> float:
    """The largest difference of two log-likelihoods: infinite where one of them is not a number."""
    pairs = zip(mine.loglikelihoods, other.loglikelihoods, strict=True)
    return max(math.inf if math.isnan(a - b) else abs(a - b) for a, b in pairs)


def _likeliest(labels: Sequence[str], answer: Answer) -> str:
    return likeliest(dict(zip(labels, answer.loglikelihoods, strict=True)))


def _share(hits: Any) -> float:
    found = list(hits)
    return round(sum(found) / len(found), 4) if found else 0.0


def both(
    model: Path, data: Path, papers: Sequence[Paper], shots: int, python: Path, backend: Backend, folder: Path
) -> dict[str, Any]:
    """The figures of one number of shots."""
    benchmarks = list(dict.fromkeys(paper.benchmark for paper in papers))
    started = time.monotonic()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        root = process.submit(ours, model, data, benchmarks, shots, folder / f"ours-{shots}").result()
    seconds = {"ours": time.monotonic() - started}
    seconds["lm_eval"], theirs = harness.ask(python, backend, model, papers, shots, folder / f"theirs-{shots}")
    mine = answers(Output(root))
    rows = []
    for name in benchmarks:
        parts = [theirs[paper.name] for paper in papers if paper.benchmark == name]
        rows.append({"benchmark": name, **compare(mine[name], [answer for part in parts for answer in part])})
    return {
        "shots": shots,
        "backend": backend,
        "questions": sum(len(paper.asked) for paper in papers),
        "seconds": {side: round(of, 1) for side, of in seconds.items()},
        "ratio_to_lm_eval": round(seconds["lm_eval"] / seconds["ours"], 2),
        "benchmarks": rows,
    }


def lines(figures: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            row["benchmark"],
            str(one["shots"]),
            f"{row['questions']:,}",
            f"{row['max_loglikelihood_difference']:.1e}",
            str(len(row["differing_questions"])),
            *(f"{accuracy:.3f}" for accuracy in row["accuracy"].values()),
        )
        for one in figures
        for row in one["benchmarks"]
    ]
    head = ("benchmark", "shots", "questions", "largest difference", "differing", "ours", "lm-eval")
    differing = [
        f"{row['benchmark']}, {one['shots']} shots, {id_}: {why}"
        for one in figures
        for row in one["benchmarks"]
        for id_, why in row["differing_questions"].items()
    ]
    speeds = [
        f"{one['shots']} shots: {one['questions']:,} questions in {one['seconds']['ours']:,} s, lm-eval on "
        f"{one['backend']} in {one['seconds']['lm_eval']:,} s: {one['ratio_to_lm_eval']} times as fast"
        for one in figures
    ]
    return "\n".join([table(head, rows, set(range(1, len(head)))), *differing, *speeds])


@click.command(help=__doc__)
@click.option("--model", required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--limit", default=200, show_default=True, type=click.IntRange(12), help="Questions a benchmark.")
@click.option("--shots", default="0,3", show_default=True, help="Numbers of shots, commas between.")
@click.option("--data", default=DATA, type=click.Path(path_type=Path), help="The folder with `benchmarks` in it.")
@click.option("--lm-eval", "python", type=click.Path(path_type=Path), help="The Python that has it. Default: this one.")
@click.option("--peer-backend", "backend", default="vllm", show_default=True, type=click.Choice(["hf", "vllm"]))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@user_errors
def main(model: Path, limit: int, shots: str, data: Path, python: Path | None, backend: Backend, as_json: bool) -> None:
    python = (python or Path(sys.executable)).absolute()
    harness.tasks_folder(python)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        papers = prepare(data, limit, folder / "data")
        numbers = [int(number) for number in shots.split(",")]
        figures = [
            both(model.absolute(), folder / "data", papers, number, python, backend, folder) for number in numbers
        ]
    click.echo(json.dumps(figures) if as_json else lines(figures))


if __name__ == "__main__":
    main()
