"""Scores of an evaluation from its saved answers. `python -m eval.score FOLDER` needs Python and pyarrow alone."""

import argparse
import hashlib
import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import stdev
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from eval.answers import ASKED, DIGESTS, QUOTED, SCORES
from eval.statistics import Part, agreement, bootstrap, calibration, joined, macro_f1, ratio, share_of, wilson
from eval.verdict import Verdict, likeliest, probabilities, same, sums, verdict
from lake.dataset import Output
from lake.error import UserError

Row = Mapping[str, Any]
Figures = dict[str, Any]

JUDGED = (
    *("score", "id", "group", "cluster", "seed", "rotation", "options", "gold"),
    *("shots_cut", "context_cut", "continuations", "outputs", "error"),
)
"""The columns of ANSWERS that decide a score."""


@dataclass(frozen=True)
class Evaluation:
    """An evaluation as it was saved: its entries of ASKED, the answers of each score, and the ids of quoted questions.

    `about` has what else ASKED says, such as the model.
    """

    about: Row
    asked: dict[str, Row]
    answers: dict[str, list[Row]]
    quoted: Mapping[str, Collection[str]]


def read(output: Output, columns: Iterable[str] | None = JUDGED) -> Evaluation:
    """Read an evaluation's folder. `columns` of ANSWERS are read, or all.

    Raises:
        UserError: the folder is not a finished evaluation, or one of its files is not what was written.
    """
    files = _verified(output)
    about = json.loads(files[ASKED])
    asked = {entry["score"]: entry for entry in about.pop("scores")}
    answers: dict[str, list[Row]] = {name: [] for name in asked}
    for name, data in files.items():
        if name.endswith(".parquet"):
            for row in pq.read_table(pa.BufferReader(data), columns=columns and list(columns)).to_pylist():
                answers[row["score"]].append(row)
    return Evaluation(about, asked, answers, json.loads(files.get(QUOTED, b"{}")))


def _verified(output: Output) -> dict[str, bytes]:
    """The files that scores follow from, by path and in order."""
    if not output.exists(DIGESTS):
        raise UserError(f"{output.path(DIGESTS)}: not there; give the folder of a finished evaluation")
    digests: dict[str, str] = output.read_json(DIGESTS)
    parts = [f"answers/{name}" for name in output.parts("answers")]
    if unknown := next((name for name in parts if name not in digests), None):
        raise UserError(f"{output.path(unknown)}: not of this evaluation; take it away")
    files = {}
    for name, digest in sorted(digests.items()):
        if not output.exists(name):
            raise UserError(f"{output.path(name)}: missing; evaluate again")
        files[name] = output.read_bytes(name)
        if hashlib.sha256(files[name]).hexdigest() != digest:
            raise UserError(f"{output.path(name)}: changed since it was written; evaluate again")
    return files


def scores(output: Output) -> list[Figures]:
    """The figures of each score, in the order in which they were asked.

    Raises:
        UserError: see `read`.
    """
    return figures_of(read(output))


def figures_of(saved: Evaluation) -> list[Figures]:
    """The figures of each score, in the order in which they were asked."""
    return [
        score(asked, saved.answers[name], saved.quoted.get(asked["benchmark"], ()))
        for name, asked in saved.asked.items()
    ]


@dataclass(frozen=True)
class Judged:
    """A saved answer and its verdict."""

    row: Row
    kind: str
    verdict: Verdict

    @property
    def answered(self) -> bool:
        return self.verdict.error is None

    @cached_property
    def meaning(self) -> object:
        """What the answer says, whatever the label."""
        if self.verdict.prediction is None:
            return None
        if self.kind == "choice":
            return dict(self.row["options"]).get(self.verdict.prediction)
        return same(self.kind, self.verdict.prediction)

    @cached_property
    def part(self) -> Part:
        """What it adds to the score. Entities are counted over all questions; a text has an F1 of its own."""
        found, sizes = 2 * self.verdict.found, self.verdict.given + self.verdict.wanted
        if self.kind == "entities":
            return found, sizes
        return (found / sizes if sizes else 1.0) if self.kind == "text" else self.verdict.correct, 1

    @property
    def best(self) -> Part:
        """What it would add if it were right."""
        return (2 * self.verdict.wanted, 2 * self.verdict.wanted) if self.kind == "entities" else (1, 1)


def judged(asked: Row, rows: Iterable[Row]) -> list[Judged]:
    """Judge the answers of one score."""
    return [Judged(row, asked["kind"], verdict(row, asked)) for row in rows]


def score(asked: Row, rows: Sequence[Row], quoted: Iterable[str] = ()) -> Figures:
    """The figures of one score, from its entry of ASKED and its rows of ANSWERS.

    `metric` names the figure that is the score, which is also there as `value`: `accuracy`, or `f1` of entities and
    texts; `low` and `high` are its 95 % interval, by Wilson, or by sampling clusters where questions share one or were
    asked several times. Each of the `questions` was asked in `rounds`, which gave `answered` answers, `correct` of them
    right, and `errors` of the engine. Shares are null where there is nothing to count.

    `chance` is guessing evenly among each question's options, if it has any; `majority` is always giving the most
    common right answer. An answer without a prediction is wrong; `unparsed` is their share, `lowest` and `highest` are
    the score if they and the questions with an error were all wrong or all right. Clean scores leave out the questions
    that a document quotes, whose ids are in `quoted`.
    """
    all_of = judged(asked, rows)
    answered = [one for one in all_of if one.answered]
    kind, metric, dirty = asked["kind"], metric_of(asked), set(quoted)
    correct = int(sum(one.verdict.correct for one in answered))
    halves = {
        name: [one for one in answered if (one.row["id"] in dirty) == is_dirty]
        for name, is_dirty in (("clean", False), ("quoted", True))
    }
    figures = {key: asked[key] for key in ("score", "benchmark", "title", "hub", "kind", "protocol", "mode", "shots")}
    figures |= {
        "metric": metric,
        "questions": len({row["id"] for row in rows}),
        "rounds": len({(row["seed"], row["rotation"]) for row in rows}),
        "answered": len(answered),
        "correct": correct,
        "accuracy": share_of(correct, len(answered)),
        **_measured(answered, metric),
        "chance": _chance(answered) if kind == "choice" else None,
        "majority": _majority(answered) if metric == "accuracy" else None,
        "macro_f1": macro_f1((one.row["gold"], one.verdict.prediction) for one in answered)
        if kind == "choice"
        else None,
        "unparsed": share_of(sum(one.verdict.prediction is None for one in answered), len(answered)),
        "unparsed_reasons": _counts(one.verdict.reason for one in answered),
        "errors": _counts(one.verdict.error for one in all_of),
        "lowest": ratio([one.part for one in all_of]),
        "highest": ratio([one.best if one.verdict.prediction is None else one.part for one in all_of]),
        "context_cut": sum(row["context_cut"] for row in rows),
        "shots_cut": sum(row["shots_cut"] > 0 for row in rows),
        "predicted": _counts(one.verdict.prediction for one in answered) if kind == "choice" else {},
    }
    for name, half in halves.items():
        figures |= {f"{name}_questions": len({one.row["id"] for one in half}), f"{name}_{metric}": _value(half)}
    if metric == "f1":
        figures |= _precision(kind, answered)
    if asked["mode"] == "letters":
        figures["calibration"] = calibration([_believed(one.row) for one in answered if one.verdict.prediction])
    if asked["mode"] == "cloze":
        figures["cloze"] = _cloze([one.row for one in answered])
    return figures | {"value": figures[metric]} | _groups(answered, metric) | _rounds(answered, metric)


def metric_of(asked: Row) -> str:
    """The name of the figure that is the score."""
    return "f1" if asked["kind"] in ("text", "entities") else "accuracy"


def _value(answers: Iterable[Judged]) -> float | None:
    return ratio(one.part for one in answers)


def _measured(answers: Sequence[Judged], metric: str) -> Figures:
    """The score with its interval."""
    clusters = joined((one.row["cluster"] for one in answers), (one.part for one in answers))
    if metric == "accuracy" and len(clusters) == len(answers):
        low, high = wilson(math.fsum(one.verdict.correct for one in answers), len(answers))
    else:
        low, high = bootstrap(clusters)
    return {metric: ratio(clusters), "low": low, "high": high}


def _chance(answers: Sequence[Judged]) -> float | None:
    return share_of(math.fsum(1 / len(one.row["options"]) for one in answers), len(answers))


def _majority(answers: Sequence[Judged]) -> float | None:
    return share_of(max(Counter(one.row["gold"] for one in answers).values(), default=0), len(answers))


def _counts(values: Iterable[str | None]) -> dict[str, int]:
    return dict(sorted(Counter(value for value in values if value is not None).items()))


def _precision(kind: str, answers: Sequence[Judged]) -> Figures:
    """Precision and recall: of all entities together, or the mean over texts."""
    figures = {}
    for name, of in (("precision", "given"), ("recall", "wanted")):
        pairs: list[Part] = [(one.verdict.found, getattr(one.verdict, of)) for one in answers]
        figures[name] = ratio([(share_of(*pair) or 0.0, 1) for pair in pairs] if kind == "text" else pairs)
    return figures


def _believed(row: Row) -> tuple[list[float], int]:
    """The probabilities of the options, and the place of the right one."""
    by_label = sums(row)
    return probabilities(list(by_label.values())), list(by_label).index(row["gold"])


def _cloze(rows: Sequence[Row]) -> Figures:
    """Accuracy by the log-probability of the option's text, by that for each character of the option and for each byte
    of it, and the mean bits for each byte of the right continuation."""
    sizes: dict[str, Callable[[str], int]] = {
        "sum": lambda text: 1,
        "characters": lambda text: max(1, len(text)),
        "bytes": lambda text: max(1, len(text.encode())),
    }
    right: Counter[str] = Counter()
    bits = []
    for row in rows:
        options, by_label = dict(row["options"]), sums(row)
        for name, size in sizes.items():
            right[name] += (
                likeliest({label: by_label[label] / size(options[label]) for label in by_label}) == row["gold"]
            )
        text = next(rated["text"] for rated in row["continuations"] if rated["label"] == row["gold"])
        bits.append(-by_label[row["gold"]] / math.log(2) / max(1, len(text.encode())))
    mean = share_of(math.fsum(bits), len(bits)) if all(map(math.isfinite, bits)) else None
    return {name: share_of(right[name], len(rows)) for name in sizes} | {"bits_per_byte": mean}


def _groups(answers: Sequence[Judged], metric: str) -> Figures:
    """The score of each group of questions, if there are several, and the mean over groups."""
    groups: dict[str, list[Judged]] = {}
    for one in answers:
        groups.setdefault(one.row["group"], []).append(one)
    if len(groups) < 2:
        return {}
    rows = [
        {"group": name, "questions": len({one.row["id"] for one in of}), **_measured(of, metric)}
        for name, of in sorted(groups.items())
    ]
    return {"groups": rows, "group_mean": share_of(math.fsum(row[metric] or 0.0 for row in rows), len(rows))}


def _rounds(answers: Sequence[Judged], metric: str) -> Figures:
    """The score by seed, if there are several, and the shares of questions that are answered alike in all rounds."""
    seeds = sorted({one.row["seed"] for one in answers})
    figures: Figures = {}
    if len(seeds) > 1:
        by_seed = {seed: _value(one for one in answers if one.row["seed"] == seed) for seed in seeds}
        values = [value for value in by_seed.values() if value is not None]
        figures["seeds"] = {
            "each": [{"seed": seed, metric: value} for seed, value in by_seed.items()],
            "mean": share_of(math.fsum(values), len(values)),
            "deviation": stdev(values) if len(values) > 1 else None,
            "agreement": _alike(answers, "rotation"),
        }
    if len({one.row["rotation"] for one in answers}) > 1:
        figures["rotation_consistency"] = _alike(answers, "seed")
    return figures


def _alike(answers: Iterable[Judged], within: str) -> float | None:
    rounds: dict[tuple[str, int], list[object]] = {}
    for one in answers:
        rounds.setdefault((one.row["id"], one.row[within]), []).append(one.meaning)
    return agreement(rounds.values())


# The command ---------------------------------------------------------------------------------------------------------


def recomputed(output: Output) -> list[Figures]:
    """The figures of each score, which must be those that were saved, if any were.

    Raises:
        UserError: one differs, or see `read`.
    """
    rows = scores(output)
    if not output.exists(SCORES):
        return rows
    saved = {row["score"]: row for row in output.read_json(SCORES)}
    for row in json.loads(json.dumps(rows)):
        before = saved.get(row["score"], {})
        if wrong := next((key for key in row if row[key] != before.get(key)), None):
            what = f"{row['score']}: {wrong} is {row[wrong]!r}, not {before.get(wrong)!r}"
            raise UserError(f"{output.path(SCORES)}: {what}; delete it, and trust what the answers say")
    return rows


def printed(rows: Sequence[Row]) -> str:
    """Scores as a table of text, a line for each."""
    width = max((len(row["score"]) for row in rows), default=0)
    return "\n".join(f"{row['score']:<{width}}  {_line(row)}" for row in rows)


def _line(row: Row) -> str:
    metric = row["metric"]
    words = [
        f"{metric} {percent(row[metric])} ({percent(row['low'])} to {percent(row['high'])})",
        f"{row['answered']:,} answers to {row['questions']:,} questions",
        f"chance {percent(row['chance'])}" if row["kind"] == "choice" else "",
        f"clean {percent(row[f'clean_{metric}'])} of {row['clean_questions']:,}" if row["quoted_questions"] else "",
        f"unparsed {percent(row['unparsed'])}" if row["unparsed"] else "",
        f"{sum(row['errors'].values()):,} errors" if row["errors"] else "",
    ]
    return ", ".join(filter(None, words))


def percent(share: float | None) -> str:
    """A share as a percentage with one decimal."""
    return f"{share * 100:.1f} %" if share is not None else "–"


def main(arguments: Sequence[str] | None = None) -> int:
    """Recompute and print the scores of a folder. The exit code is 2 if it was changed."""
    parser = argparse.ArgumentParser("python -m eval.score", description=__doc__)
    parser.add_argument("folder", help="the folder of an evaluation, or its URI")
    parser.add_argument("--json", action="store_true", help="print every figure as JSON")
    given = parser.parse_args(arguments)
    folder = given.folder if "://" in given.folder else str(Path(given.folder).resolve())
    try:
        rows = recomputed(Output(folder))
    except UserError as error:
        print(f"eval.score: {error}", file=sys.stderr)
        return 2
    print(json.dumps(rows, indent=1, ensure_ascii=False) if given.json else printed(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
