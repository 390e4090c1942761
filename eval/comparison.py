"""Models side by side: their scores, paired tests between them, and the curves of training runs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

from eval.score import Evaluation, Figures, Judged, figures_of, judged, metric_of, read
from eval.settings import Mode
from eval.statistics import Part, holm, joined, paired
from eval.trend import Checkpoint, sentence, trend
from lake import bundled
from lake.config import Settings
from lake.dataset import Output

PUBLISHED = Path(__file__).with_name("published.yaml")


class PublishedRow(Settings):
    """A model in a published table. `average` is in percent."""

    model: str
    table: int
    mode: Mode
    shots: int
    average: float


class Published(Settings):
    """Published scores, and where."""

    source: str
    rows: tuple[PublishedRow, ...]


@dataclass(frozen=True)
class Model:
    """A model with its evaluation, as it is named in tables."""

    name: str
    saved: Evaluation

    @property
    def training(self) -> str | None:
        """The run of which it is a checkpoint."""
        return self.saved.about.get("training")

    @property
    def tokens(self) -> int:
        """What it had seen in that run."""
        return int(self.saved.about.get("tokens", 0))

    @cached_property
    def figures(self) -> dict[str, Figures]:
        """The figures by score."""
        return {row["score"]: row for row in figures_of(self.saved)}

    def answered(self, score: str, clean: bool = False) -> list[Judged]:
        """The answers to a score's questions, or to those that no document quotes."""
        asked = self.saved.asked[score]
        quoted = set(self.saved.quoted.get(asked["benchmark"], ())) if clean else set()
        return [one for one in judged(asked, self.saved.answers[score]) if one.answered and one.row["id"] not in quoted]


def load(name: str, folder: str) -> Model:
    """Raises UserError if the folder is not a finished evaluation or was changed."""
    return Model(name, read(Output(folder)))


def compare(models: Sequence[Model]) -> dict[str, Any]:
    """All that a comparison shows, as plain data.

    `tables` has the models by benchmark for each way of asking, `tests` each model against the first on each score that
    both have, adjusted after Holm for all these tests, and `curves` the scores over each training run. Of a run's
    checkpoints only the last is tested against the first model.
    """
    last = {model.training: model for model in sorted(models, key=lambda model: model.tokens) if model.training}
    ends = [model for model in models if not model.training or last[model.training] is model]
    return {
        "models": [model.name for model in models],
        "tables": list(_tables(models)),
        "tests": _tests(ends),
        "curves": _curves(models),
    }


def way(asked: Mapping[str, Any]) -> str:
    """A score's name without its benchmark."""
    return str(asked["score"]).removeprefix(asked["benchmark"]).strip()


def _tables(models: Sequence[Model]) -> Iterator[dict[str, Any]]:
    """A table for each way of asking, in the shape of the tables 4 to 6 of MEDITRON: models by benchmark."""
    asked = {name: entry for model in models for name, entry in model.saved.asked.items()}
    published = bundled.read(PUBLISHED, Published)
    for how in dict.fromkeys(map(way, asked.values())):
        columns = {name: entry for name, entry in asked.items() if way(entry) == how}
        first = next(iter(columns.values()))
        rows = [{"model": model.name, **_row(model, columns)} for model in models]
        yield {
            "way": how,
            "columns": [{"score": name, "title": entry["title"]} for name, entry in columns.items()],
            "rows": [row for row in rows if row["scores"]],
            "source": published.source,
            "published": [
                row.model_dump()
                for row in published.rows
                # Shots are few or none; their number is told.
                if row.mode == first["mode"] and (row.shots > 0) == (first["shots"] > 0)
            ],
        }


def _row(model: Model, columns: Mapping[str, Any]) -> dict[str, Any]:
    """A model's scores, and their mean if it has them all."""
    scores = {name: _cell(model.figures[name]) for name in columns if name in model.figures}
    values = [cell["value"] for cell in scores.values()]
    whole = len(values) == len(columns) and None not in values
    return {"scores": scores, "average": sum(values) / len(values) if whole else None}


def _cell(row: Figures) -> dict[str, Any]:
    metric = row["metric"]
    return {
        "value": row[metric],
        "deviation": row["seeds"]["deviation"] if "seeds" in row else None,
        "clean": row[f"clean_{metric}"],
        "quoted": row[f"quoted_{metric}"],
        **{key: row[key] for key in ("metric", "low", "high", "chance", "majority", "unparsed", "lowest", "highest")},
        **{key: row[key] for key in ("questions", "clean_questions", "quoted_questions")},
    }


# Tests ---------------------------------------------------------------------------------------------------------------


def _tests(models: Sequence[Model]) -> list[dict[str, Any]]:
    rows = [row for second in models[1:] for row in _against(models[0], second)]
    tested = [row for row in rows if "p" in row]
    for row, adjusted in zip(tested, holm([row["p"] for row in tested]), strict=True):
        row["holm"] = adjusted
        row["sentence"] = sentence(row["low"], row["high"], adjusted, "gain", "loss", "difference")
    return rows


def _against(first: Model, second: Model) -> Iterator[dict[str, Any]]:
    for name, asked in second.saved.asked.items():
        if name not in first.saved.asked:
            continue
        row = {"score": name, "metric": metric_of(asked), "first": first.name, "second": second.name}
        if asked["fingerprints"] != first.saved.asked[name]["fingerprints"]:
            yield row | {"sentence": "They were asked in another way: task, protocol or questions differ."}
            continue
        found, clean = (_pair(first, second, name, only) for only in (False, True))
        if found is None:
            yield row | {"sentence": "No question was answered by both."}
            continue
        yield row | found | {"clean": clean if clean and clean["questions"] < found["questions"] else None}


def _pair(first: Model, second: Model, score: str, clean: bool) -> dict[str, Any] | None:
    one, other = (_parts(model.answered(score, clean)) for model in (first, second))
    clusters = {answer.row["id"]: answer.row["cluster"] for answer in first.answered(score, clean)}
    found = paired(one, other, clusters)
    return asdict(found) | {"questions": len(one.keys() & other.keys())} if found else None


def _parts(answers: Sequence[Judged]) -> dict[str, Part]:
    """What each question adds to the score, in all of its rounds."""
    ids = list(dict.fromkeys(one.row["id"] for one in answers))
    return dict(zip(ids, joined((one.row["id"] for one in answers), (one.part for one in answers)), strict=True))


# Curves --------------------------------------------------------------------------------------------------------------


def _curves(models: Sequence[Model]) -> list[dict[str, Any]]:
    """Each score over each training run, with its trend, adjusted after Holm for all trends."""
    runs = sorted((model for model in models if model.training), key=lambda model: str(model.training))
    curves = [
        _curve(training, sorted(run, key=lambda model: model.tokens), score)
        for training, group in groupby(runs, key=lambda model: model.training)
        if len(run := list(group)) > 1
        for score in run[0].saved.asked
        if all(score in model.saved.asked for model in run)
    ]
    found = [curve for curve in curves if curve["trend"]]
    for curve, adjusted in zip(found, holm([curve["trend"]["p"] for curve in found]), strict=True):
        low, high = curve["trend"]["low"], curve["trend"]["high"]
        curve["trend"] |= {"holm": adjusted, "sentence": sentence(low, high, adjusted)}
    return curves


def _curve(training: str | None, run: Sequence[Model], score: str) -> dict[str, Any]:
    answers = [model.answered(score) for model in run]
    clusters = {one.row["id"]: one.row["cluster"] for one in answers[0]}
    points = [
        Checkpoint(model.tokens, [_parts(list(round_)) for round_ in _by_seed(of)])
        for model, of in zip(run, answers, strict=True)
    ]
    found = trend(points, clusters)
    rows = [(model.tokens, model.figures[score]) for model in run]
    return {
        "training": training,
        "score": score,
        "metric": metric_of(run[0].saved.asked[score]),
        "points": [
            {"tokens": tokens, "value": row[row["metric"]], "low": row["low"], "high": row["high"]}
            for tokens, row in rows
        ],
        "trend": asdict(found) if found else None,
    }


def _by_seed(answers: Sequence[Judged]) -> list[list[Judged]]:
    rounds: dict[int, list[Judged]] = {}
    for one in answers:
        rounds.setdefault(one.row["seed"], []).append(one)
    return list(rounds.values())
