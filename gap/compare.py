"""`gap compare`: models side by side, with paired tests."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from eval import numbers, plots, template
from eval.comparison import Model, compare, load
from gap.command import load_config, table, user_errors
from gap.plan import plan
from gap.score import output_at
from lake.bundled import SUFFIX
from lake.error import UserError
from lake.files import replace
from lake.step import Kind

FINGERPRINT = re.compile(r"-[0-9a-f]{12}$")


@click.command("compare")
@click.argument("models", nargs=-1, required=True, metavar="FOLDER|CONFIG...")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a page with plots as well.")
@user_errors
def compare_models(models: tuple[str, ...], as_json: bool, html: Path | None) -> None:
    """Show models side by side, and test each against the first.

    A FOLDER is that of a step `evaluate`; a CONFIG stands for all finished evaluations of its run, the base first. Only
    questions that both models answered are compared, and only scores of one name. Of several tests each is stricter
    (Holm), so that all hold together.
    """
    found = compare(_loaded(models))
    if html is not None:
        page = template.html("eval", "page").get_template("compare.html").render(found, plots=plots)
        replace(html, f"{page}\n".encode())
    click.echo(json.dumps(found, indent=1, ensure_ascii=False) if as_json else "\n".join(_printed(found)))


def _loaded(given: Sequence[str]) -> list[Model]:
    places = [place for name in given for place in _places(name)]
    times = Counter(name for name, _ in places)
    # Two evaluations of a name are told apart by their folders.
    return [load(name if times[name] == 1 else folder.rpartition("/")[2], folder) for name, folder in places]


def _places(name: str) -> list[tuple[str, str]]:
    """The name and the folder of each evaluation."""
    if not name.endswith(SUFFIX):
        root = output_at(name).root.rstrip("/")
        return [(FINGERPRINT.sub("", root.rpartition("/")[2]), root)]
    steps = [step for step in plan(load_config(name, ())).values() if step.done]
    found = [(step.name, step.output.root) for step in steps if step.kind is Kind.EVALUATION]
    for curve in (step for step in steps if step.kind is Kind.CURVE):
        found += [(f"{curve.name} {folder}", curve.output.path(folder)) for folder in curve.output.folders()]
    if not found:
        raise UserError(f"{name}: nothing is evaluated yet; run it first: gap run {name}")
    return found


# Text ----------------------------------------------------------------------------------------------------------------


def _printed(found: Mapping[str, Any]) -> Iterator[str]:
    for shown in found["tables"]:
        yield from ("", shown["way"], "", _scores(shown))
    yield from ("", "Clean and near-quoted questions, unparsed answers", "", _clean(found["tables"]))
    if found["tests"]:
        yield from ("", f"Against {found['tests'][0]['first']}", "", _tests(found["tests"]), "")
        yield from (f"{row['score']}, {row['second']}: {row['sentence']}" for row in found["tests"])
    for curve in found["curves"]:
        yield from ("", f"{curve['score']} over {curve['training']}", "", *_curve(curve))


def _scores(shown: Mapping[str, Any]) -> str:
    columns = shown["columns"]
    rows = [
        [row["model"], *(_cell(row["scores"].get(column["score"])) for column in columns), _percent(row["average"])]
        for row in shown["rows"]
    ]
    rows += [
        [f"{row['model']}, {row['shots']}-shot, published in table {row['table']}"]
        + [numbers.NONE] * len(columns)
        + [f"{row['average']:.1f} *"]
        for row in shown["published"]
    ]
    text = table(["model", *(column["title"] for column in columns), "average"], rows, {*range(1, len(columns) + 2)})
    return f"{text}\n* {plots.PUBLISHED} {shown['source']}." if shown["published"] else text


def _cell(cell: Mapping[str, Any] | None) -> str:
    if cell is None or cell["value"] is None:
        return numbers.NONE
    if cell["deviation"] is not None:
        return f"{_percent(cell['value'])} ± {_percent(cell['deviation'])}"
    return f"{_percent(cell['value'])} ({_percent(cell['low'])} to {_percent(cell['high'])})"


def _clean(tables: Sequence[Mapping[str, Any]]) -> str:
    head = ["score", "model", "all", "clean", "near-quoted", "unparsed", "bounds"]
    rows = [
        [
            score,
            row["model"],
            _percent(cell["value"]),
            f"{_percent(cell['clean'])} of {cell['clean_questions']:,}",
            f"{_percent(cell['quoted'])} of {cell['quoted_questions']:,}",
            _percent(cell["unparsed"]),
            f"{_percent(cell['lowest'])} to {_percent(cell['highest'])}",
        ]
        for shown in tables
        for row in shown["rows"]
        for score, cell in row["scores"].items()
    ]
    return table(head, rows, {2, 3, 4, 5, 6})


def _tests(tests: Sequence[Mapping[str, Any]]) -> str:
    head = ["score", "model", "questions", "points", "95 %", "p", "Holm", "smallest to find", "clean points", "test"]
    rows = [
        [
            row["score"],
            row["second"],
            f"{row['questions']:,}",
            _points(row["difference"]),
            f"{_points(row['low'])} to {_points(row['high'])}",
            f"{row['p']:.3g}",
            f"{row['holm']:.3g}",
            _percent(row["smallest"]),
            _points(row["clean"]["difference"]) if row["clean"] else numbers.NONE,
            row["test"],
        ]
        for row in tests
        if "p" in row
    ]
    return table(head, rows, {2, 3, 4, 5, 6, 7, 8})


def _curve(curve: Mapping[str, Any]) -> Iterator[str]:
    rows = [
        [f"{point['tokens']:,}", _percent(point["value"]), f"{_percent(point['low'])} to {_percent(point['high'])}"]
        for point in curve["points"]
    ]
    yield table(["tokens", curve["metric"], "95 %"], rows, {0, 1, 2})
    if curve["trend"]:
        yield ""
        yield plots.noise(curve["trend"]["noise"])
        yield f"{curve['trend']['sentence']} p = {curve['trend']['p']:.3g}, Holm {curve['trend']['holm']:.3g}."


def _percent(share: float | None) -> str:
    return f"{share * 100:.1f}" if share is not None else numbers.NONE


def _points(share: float) -> str:
    return f"{share * 100:+.1f}".replace("-", "−")
