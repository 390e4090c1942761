"""The page of questions: what the models of a run were asked, and what each answered, to be filtered and read.

It is one file that loads nothing. The answers are JSON in it, and its script, the only one that it lets run, shows them
as text. Equal answers give equal bytes.
"""

import hashlib
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from eval import numbers, template
from eval.score import JUDGED, Evaluation, Judged, Row, judged
from eval.summary import named
from eval.text import printable
from eval.verdict import RATED, probabilities, sums

QUESTIONS = "questions.html"
COLUMNS = (*JUDGED, "question", "prompt", "shots")
"""The columns of ANSWERS that the page needs."""

MOST = 8_000_000
"""The page has about so many characters of answers. Where there are more, questions are left out."""

PROMPT, OUTPUT, FIELD = 1_600, 1_600, 400
"""The most characters of a prompt, of all that a model wrote as one answer, and of any other text."""

DOCUMENTS = 5
"""The most documents that are named as quoting a question."""

SCRIPT = Path(__file__).parent / "page" / "questions.js"

LINK = re.compile(r"https?://[!-~]+")
"""Whatever else a document has as its URL, such as a script, is no link."""


class Quoting(NamedTuple):
    """A document that quotes a question: its source and id, and its URL if it has one."""

    document: str
    url: str | None


Key = tuple[str, str, int, int]
"""Score, question, seed and rotation."""


def render(name: str, models: Mapping[str, Evaluation], quoting: Mapping[tuple[str, str], Sequence[Quoting]]) -> str:
    """The page of a run, from the evaluations of its models by name, which were read with COLUMNS.

    `quoting` has the documents that quote a question, by benchmark and id.
    """
    ways = {score: way for saved in models.values() for score, way in saved.asked.items()}
    asked = _asked(models)
    rows: dict[Key, dict[str, Any]] = {}
    room = MOST
    for key in _drawn(asked, ways):
        way = ways[key[0]]
        row = _row(asked[key], way, quoting.get((way["benchmark"], key[1]), ()), models)
        room -= len(htmlsafe_json_dumps(row))
        if room < 0:
            break
        rows[key] = row
    script = SCRIPT.read_text(encoding="utf-8")
    context = {
        "name": name,
        "models": list(models),
        "scores": {score: named(way) for score, way in ways.items()},
        "asked": len(asked),
        "prompt": PROMPT,
        "output": OUTPUT,
        "rows": [rows[key] for key in asked if key in rows],
        "script": Markup(script),  # noqa: S704 - a file of this package
        "digest": b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }
    return f"{template.html('eval', 'page').get_template(QUESTIONS).render(context)}\n"


def _asked(models: Mapping[str, Evaluation]) -> dict[Key, dict[str, Row]]:
    """The answers to each question in each round by model, in the order in which they were asked."""
    rounds: dict[Key, dict[str, Row]] = {}
    for model, saved in models.items():
        for score in saved.asked:
            for row in saved.answers[score]:
                rounds.setdefault((score, row["id"], row["seed"], row["rotation"]), {})[model] = row
    return rounds


def _drawn(asked: Iterable[Key], ways: Mapping[str, Row]) -> list[Key]:
    """The order in which questions get room: scores take turns, and each begins with those of the smallest hashes.

    So the questions of a benchmark are the same in all scores.
    """
    by_score: dict[str, list[Key]] = {}
    for key in asked:
        by_score.setdefault(key[0], []).append(key)
    places: dict[Key, int] = {}
    for score, keys in by_score.items():
        benchmark = ways[score]["benchmark"]
        hashes = {key: hashlib.sha256(f"{benchmark}\0{key[1]}".encode()).digest() for key in keys}
        places |= {key: place for place, key in enumerate(sorted(keys, key=lambda key: hashes[key]))}
    return sorted(places, key=lambda key: places[key])


def _row(answers: Mapping[str, Row], way: Row, quoting: Sequence[Quoting], models: Iterable[str]) -> dict[str, Any]:
    """A question in one round. A model that was not asked it has null as its answer."""
    row = next(iter(answers.values()))
    prompt = _cut(row["prompt"], PROMPT)
    return {
        **{key: _cut(row[key], FIELD) for key in ("score", "id", "group", "question", "gold")},
        **{key: row[key] for key in ("seed", "rotation")},
        "shots": len(row["shots"]),
        "quoting": [[_cut(one.document, FIELD), _link(one.url)] for one in quoting[:DOCUMENTS]],
        "prompt": prompt,
        "options": [[_cut(label, FIELD), _cut(text, FIELD)] for label, text in row["options"]],
        "answers": [
            _answer(judged(way, [answers[model]])[0], way, prompt) if model in answers else None for model in models
        ],
    }


def _answer(one: Judged, way: Row, prompt: str) -> dict[str, Any]:
    """What a model answered. Its prompt is here if it is not that of the first model."""
    row, verdict = one.row, one.verdict
    own = _cut(row["prompt"], PROMPT)
    outputs = row["outputs"]
    counts = f"{verdict.found} right of {verdict.given} given and {verdict.wanted} wanted"
    return {
        "state": _state(one),
        "said": _cut(verdict.prediction or "", FIELD),
        "why": _cut(verdict.error or verdict.reason or (counts if way["kind"] in ("text", "entities") else ""), FIELD),
        "rated": _rated(row, way["mode"]) if way["mode"] in RATED and one.answered else [],
        "outputs": [_cut(output["text"], OUTPUT // len(outputs)) for output in outputs],
        "prompt": own if own != prompt else None,
    }


def _state(one: Judged) -> str:
    if not one.answered:
        return "error"
    if one.verdict.prediction is None:
        return "not read"
    return "right" if one.verdict.correct else "wrong"


def _rated(row: Row, mode: str) -> list[str]:
    """The options' probabilities, or for a cloze the log-probabilities of their texts."""
    values = list(sums(row).values())
    return (
        [numbers.decimal(value, 2) for value in values]
        if mode == "cloze"
        else [numbers.percent(value) for value in probabilities(values)]
    )


def _link(url: str | None) -> str | None:
    return url if url and len(url) <= FIELD and LINK.fullmatch(url) else None


def _cut(text: str, most: int) -> str:
    """Printable text, without its middle where it is longer than `most`: a prompt ends with its question."""
    if len(text) <= most:
        return printable(text)
    head = most // 4
    gone = f"[… {len(text) - most:,} characters are left out here …]"
    return printable(f"{text[:head]} {gone} {text[head - most :]}")
