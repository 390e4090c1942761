"""The report's sections of evaluations: each figure of a score is there, and its picture."""

from pathlib import Path
from typing import Any

import pytest

from eval.comparison import compare, load
from eval.report import render
from eval.score import score
from eval.summary import Run
from lake.step import Account, Kind
from tests.eval.paged import cells, changed, evaluated, page_of, run, section, without, words
from tests.eval.saved import chosen, entry, rated, row, save, written

LETTERS, CLOZE = entry(title="Quiz", shots=3), entry("cloze", title="Quiz")
GENES, SUMS = entry("answer", "entities", "genes"), entry("answer", "number", "sums", extract=["committed"])


def questions(right: int, **more: Any) -> list[dict[str, Any]]:
    """Ten questions in two groups, the first `right` of them answered rightly."""
    return [
        chosen(LETTERS, str(n), "A", "A" if n < right else "B", group="bones" if n < 5 else "nerves", **more)
        for n in range(10)
    ]


@pytest.fixture(scope="module")
def page() -> Any:
    seeded = [row for seed, right in ((1234, 8), (432, 6)) for row in questions(right, seed=seed)]
    numbers = [
        written(SUMS, "1", "42", "The answer is 42."),
        written(SUMS, "2", "42", "I cannot say."),
        row(SUMS, "3", "42", error="the engine died", shots_cut=1, context_cut=True),
    ]
    return page_of(
        evaluated(
            score(LETTERS, seeded, ["0", "1"]),
            score(CLOZE, [rated(CLOZE, "1", "A", [-1.0, -2.0, -3.0, -4.0], rotation=n) for n in range(2)]),
            score(GENES, [written(GENES, "1", "BRCA1\np53", "p53")]),
            score(SUMS, numbers),
        )
    )


def shown(page: Any, caption: str) -> list[list[str]]:
    return [list(row.values()) for row in cells(section(page, "evaluate"), caption)]


def test_answers_that_were_not_read_stand_with_their_bounds(page: Any) -> None:
    (sums,) = [row for row in shown(page, "Answers to the questions") if row[0].startswith("Sums")]
    bounds = ["50.0 %", "50.0 %", "33.3 % to 100.0 %", "refused 1", "1", "1", "1"]
    assert sums == ["Sums, strict answer 0-shot", "2", *bounds]


def test_clean_and_near_quoted_questions_stand_beside_all(page: Any) -> None:
    quiz = shown(page, "All, clean and near-quoted")[0]
    assert quiz == ["Quiz, strict letters 3-shot", "70.0 %", "10", "62.5 %", "8", "100.0 %", "2"]


def test_groups_have_a_table_and_a_picture(page: Any) -> None:
    bones, nerves, together = shown(page, "Groups of Quiz")
    assert (bones[:3], nerves[:3]) == (["bones", "5", "100.0 %"], ["nerves", "5", "40.0 %"])
    assert together[:3] == ["all together", "10", "70.0 %"]
    (picture,) = section(page, "evaluate").xpath(".//svg[contains(@aria-label, 'by group')]/@aria-label")
    assert picture.replace("\u00a0", " ").endswith("all together 70.0 %, bones 100.0 %, nerves 40.0 %")


def test_letters_have_a_calibration(page: Any) -> None:
    quiz, whole = shown(page, "Calibration of evaluate")
    assert quiz == ["Quiz, strict letters 3-shot", "60 % to 70 %", "20", "70.0 %", "70.0 %"]
    assert whole[2:] == ["20", "ECE 0.000", "Brier 0.480"]
    (picture,) = section(page, "evaluate").xpath(".//svg[starts-with(@aria-label, 'Calibration')]")
    assert picture.get("aria-label").replace("\u00a0", " ").endswith("70.0 % believed and 70.0 % right")
    assert len(picture.xpath("circle")) == 1
    assert picture.xpath("path[contains(@class, 'band')]")


def test_seeds_and_rotations_have_their_spread(page: Any) -> None:
    (quiz,) = shown(page, "Seeds of evaluate")
    assert quiz == ["Quiz, strict letters 3-shot", "432: 60.0 %, 1234: 80.0 %", "70.0 %", "14.1 %", "80.0 %"]
    assert shown(page, "Questions of evaluate that are answered alike") == [["Quiz, strict cloze 0-shot", "100.0 %"]]


def test_a_cloze_has_bits_per_byte_and_entities_precision_and_recall(page: Any) -> None:
    (cloze,) = shown(page, "Accuracy of evaluate by")
    assert cloze == ["Quiz, strict cloze 0-shot", "100.0 %", "100.0 %", "100.0 %", "0.180"]
    (genes,) = shown(page, "Precision and recall")
    assert genes == ["Genes, strict answer 0-shot", "66.7 %", "100.0 %", "50.0 %"]
    (scored,) = [row for row in shown(page, "Scores of evaluate") if row[0].startswith("Genes")]
    assert scored[3:] == ["f1", "66.7 %", "0.0 % to 100.0 %", "–", "–", "–"]


def test_scores_lead_to_their_questions(page: Any) -> None:
    links = section(page, "evaluate").xpath(".//a/@href")
    assert "questions.html#quiz%20strict%20letters%203-shot" in links
    assert page.xpath("//nav//a[@href='questions.html']")
    assert not page_of(without("evaluate")).xpath("//a[starts-with(@href, 'questions.html')]")


def test_the_page_keeps_its_rules_with_all_of_it(page: Any) -> None:
    for table in page.xpath("//table"):
        assert len({len(row.xpath("th | td")) for row in table.xpath(".//tr")}) == 1, words(table.xpath("caption")[0])
    assert not page.xpath("//figure[not(.//svg[@role='img']) or not(figcaption)]")
    assert not page.xpath("//script")


def test_checkpoints_have_a_curve_with_its_trend(tmp_path: Path) -> None:
    models = [
        load(name, save(tmp_path / name, [LETTERS], questions(n), training="pretrain", tokens=100 * n).root)
        for n, name in ((2, "step-2"), (5, "step-5"), (9, "step-9"))
    ]
    figures = {"curves": compare(models)["curves"]}
    asked = {LETTERS["score"]: Account.of(10)}
    made = changed("mix", kind=Kind.CURVE, unit="questions", accounts=asked, config={}).steps["mix"]
    made = made.model_copy(update={"figures": figures, "step": "evaluate-checkpoints"})
    page = page_of(Run("demo", (*run().manifests, made)))
    found = section(page, "evaluate-checkpoints")
    assert [row["tokens"] for row in cells(found, "Checkpoints of pretrain")] == ["200", "500", "900"]
    assert figures["curves"][0]["trend"]["sentence"] in words(found)
    assert "Noise in points: " in words(found)
    assert found.xpath(".//svg[@role='img']//path[contains(@class, 'band')]")
    none = made.model_copy(update={"figures": {"curves": []}})
    assert "there is no curve" in render(Run("demo", (*run().manifests, none)))
