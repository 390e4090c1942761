"""Models side by side: only like is compared with like, and several tests hold together."""

from pathlib import Path
from random import Random
from typing import Any

import pytest

from eval.comparison import PUBLISHED, Model, Published, compare, load
from eval.statistics import holm, mcnemar
from lake import bundled
from tests.eval.saved import chosen, entry, save, written

LETTERS, GENES = entry(title="Quiz"), entry("answer", "entities", "genes")


def model(folder: Path, right: float, seed: int, **more: Any) -> Model:
    """A model with a share of right answers to the same 200 questions as all others, of which every tenth is quoted."""
    random = Random(99)
    rows = []
    for n in range(200):
        hard = random.random()
        drawn = hard if Random(1000 * seed + n).random() < 0.8 else Random(n + seed).random()
        rows.append(chosen(LETTERS, str(n), "A", "A" if drawn < right else "B"))
        rows.append(written(GENES, str(n), f"gene {n}\np53", f"gene {n}" if drawn < right else "none"))
    quoted = {"quiz": [str(n) for n in range(0, 200, 10)]}
    return load(folder.name, save(folder, [LETTERS, GENES], rows, quoted, **more).root)


def test_models_stand_side_by_side_and_are_tested_against_the_first(tmp_path: Path) -> None:
    models = [model(tmp_path / name, right, 1 + n) for n, (name, right) in enumerate([("base", 0.4), ("tuned", 0.6)])]
    found = compare(models)
    assert found["models"] == ["base", "tuned"]
    assert [table["way"] for table in found["tables"]] == ["strict letters 0-shot", "strict answer 0-shot"]
    base, tuned = found["tables"][0]["rows"]
    score = LETTERS["score"]
    assert base["average"] == base["scores"][score]["value"] == models[0].figures[score]["accuracy"]
    assert tuned["scores"][score]["quoted_questions"] == 20

    letters, genes = found["tests"]
    one, other = ([judged.verdict.correct for judged in each.answered(score)] for each in models)
    lost = sum(a > b for a, b in zip(one, other, strict=True))
    won = sum(a < b for a, b in zip(one, other, strict=True))
    assert (letters["test"], letters["p"], letters["questions"]) == ("McNemar", mcnemar(lost, won), 200)
    assert letters["difference"] == pytest.approx(sum(other) / 200 - sum(one) / 200)
    assert letters["clean"]["questions"] == 180
    assert genes["test"] == "bootstrap"
    assert [letters["holm"], genes["holm"]] == holm([letters["p"], genes["p"]])
    assert letters["sentence"].startswith("A gain of ")
    assert found["curves"] == []


def test_equal_models_show_no_difference_and_say_which_is_excluded(tmp_path: Path) -> None:
    found = compare([model(tmp_path / "one", 0.5, 1), model(tmp_path / "other", 0.5, 1)])
    letters = found["tests"][0]
    assert letters["difference"] == 0
    assert (
        letters["sentence"]
        == f"No difference is shown; one of more than {letters['high'] * 100:.1f} points is excluded."
    )


def test_what_was_asked_in_another_way_is_not_tested(tmp_path: Path) -> None:
    first = model(tmp_path / "first", 0.5, 1)
    other = LETTERS | {"fingerprints": {"task": "another", "protocol": "p", "questions": "q"}}
    shots = LETTERS | {"score": "quiz strict letters 3-shot", "shots": 3}
    rows = [chosen(asked, str(n), "A", "A") for asked in (other, shots) for n in range(10)]
    second = load("second", save(tmp_path / "second", [other, shots], rows).root)
    tests = compare([first, second])["tests"]
    assert [test["score"] for test in tests] == [LETTERS["score"]], "no score of another name"
    assert "another way" in tests[0]["sentence"]
    assert "p" not in tests[0]


def test_checkpoints_give_a_curve_and_only_the_last_is_tested(tmp_path: Path) -> None:
    base = model(tmp_path / "base", 0.4, 1)
    run = [
        model(tmp_path / f"step-{n}", 0.4 + 0.08 * n, 2, training="pretrain", tokens=1000 * n) for n in (3, 1, 2, 5, 4)
    ]
    found = compare([base, *run])
    curve = found["curves"][0]
    assert (curve["training"], curve["score"]) == ("pretrain", LETTERS["score"])
    assert [point["tokens"] for point in curve["points"]] == [1000, 2000, 3000, 4000, 5000]
    assert curve["points"][0]["value"] == run[1].figures[LETTERS["score"]]["accuracy"]
    assert curve["trend"]["change"] == pytest.approx(0.32, abs=0.08)
    assert curve["trend"]["sentence"].startswith("A rise of ")
    assert curve["trend"]["holm"] >= curve["trend"]["p"]
    assert {test["second"] for test in found["tests"]} == {"step-5"}


def test_published_scores_stand_beside_those_that_were_asked_likewise(tmp_path: Path) -> None:
    letters, answer = compare([model(tmp_path / "one", 0.5, 1)])["tables"]
    assert [row["average"] for row in letters["published"]] == [69.0], "fine-tuned, without shots"
    assert answer["published"] == []
    assert len({(row.model, row.mode) for row in bundled.read(PUBLISHED, Published).rows}) == 10
