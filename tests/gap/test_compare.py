"""`gap score` and `gap compare` on folders and on a run."""

import json
import shutil
from pathlib import Path
from random import Random

import lxml.html
import pytest
from click.testing import CliRunner, Result

from gap.command import load_config
from gap.compare import compare_models
from gap.plan import plan
from gap.score import score
from lake.step import Kind, Outcome, of_kind
from tests.eval.saved import chosen, entry, save

ROOT = Path(__file__).resolve().parents[2]
ASKED = entry(title="<b>Quiz</b>")


def evaluation(folder: Path, right: float, **about: object) -> Path:
    random = Random(5)
    rows = [chosen(ASKED, str(n), "A", "A" if random.random() < right else "B") for n in range(80)]
    save(folder, [ASKED], rows, {"quiz": ["1"]}, **about)
    return folder


def compare(*words: object) -> Result:
    return CliRunner().invoke(compare_models, [str(word) for word in words])


def test_a_score_is_recomputed(tmp_path: Path) -> None:
    folder = evaluation(tmp_path / "evaluate", 0.5)
    done = CliRunner().invoke(score, [str(folder), "--json"])
    assert json.loads(done.output) == json.loads((folder / "scores.json").read_text())
    assert "quiz strict letters 0-shot  accuracy" in CliRunner().invoke(score, [str(folder)]).output
    (folder / "quoted.json").write_text("{}")
    done = CliRunner().invoke(score, [str(folder)])
    assert done.exit_code == 2
    assert "quoted.json: changed" in done.output


def test_folders_are_compared_as_text_json_and_a_page(tmp_path: Path) -> None:
    folders = [evaluation(tmp_path / f"evaluate-base-{'0' * 12}", 0.2)]
    for n in range(5):
        name, about = f"step-{n}-{'1' * 12}", {"training": "run", "tokens": 10 * n}
        folders.append(evaluation(tmp_path / name, 0.2 + 0.15 * n, **about))
    page = tmp_path / "page.html"
    text = compare(*folders, "--html", page).output
    assert "evaluate-base" in text
    assert "0" * 12 not in text
    assert "published in table 5" in text
    assert "A gain of " in text
    assert "A rise of " in text
    assert "Noise in points: " in text
    html = page.read_text(encoding="utf-8")
    assert "<b>Quiz</b>" not in html
    assert "&lt;b&gt;Quiz&lt;/b&gt;" in html
    assert html.count("<svg") >= 2
    assert 'class="band c0"' in html
    ids = lxml.html.fromstring(html).xpath("//@id")
    assert len(ids) == len(set(ids)) > 2
    found = json.loads(compare(*folders, "--json").output)
    assert found["models"] == ["evaluate-base", *(f"step-{n}" for n in range(5))]
    assert found["tests"][0]["second"] == "step-4"


def test_a_score_is_written_for_the_harness(tmp_path: Path) -> None:
    folder = evaluation(tmp_path / "evaluate", 0.5)
    done = CliRunner().invoke(score, [str(folder), "--lm-eval", str(tmp_path / "harness")])
    assert done.exit_code == 0
    assert json.loads((tmp_path / "harness" / "results.json").read_text())["model_name"] == "evaluate"


def test_two_of_one_name_are_told_apart(tmp_path: Path) -> None:
    folders = [evaluation(tmp_path / f"evaluate-{digit * 12}", 0.5) for digit in "ab"]
    assert json.loads(compare(*folders, "--json").output)["models"] == [folder.name for folder in folders]


def test_a_config_stands_for_the_evaluations_of_its_run(tmp_path: Path) -> None:
    shutil.copy(ROOT / "configs" / "demo.yaml", tmp_path / "demo.yaml")
    mine = tmp_path / "mine.yaml"
    mine.write_text(f"extends: demo.yaml\nlake: {tmp_path / 'lake'}\ndata: {ROOT / 'samples'}\n", encoding="utf-8")
    done = compare(mine)
    assert (done.exit_code, "nothing is evaluated yet" in done.output) == (2, True)
    for step in of_kind(plan(load_config(str(mine), ())), Kind.EVALUATION):
        evaluation(step.output.local(), 0.5)
        step.complete(Outcome)
    assert json.loads(compare(mine, "--json").output)["models"] == ["evaluate"]


@pytest.mark.parametrize("given", ["nowhere", "nowhere.yaml"])
def test_what_is_not_there_is_told_in_one_line(given: str) -> None:
    done = compare(given)
    assert done.exit_code == 2
    assert len(done.output.strip().splitlines()) == 1
