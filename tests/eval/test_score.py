"""Scores from saved answers: every figure, every mode, here and in an environment without anything but pyarrow."""

import json
import math
import os
import shutil
import subprocess
import venv
from pathlib import Path

import pyarrow
import pytest

from eval.score import main, printed, recomputed, score
from eval.statistics import bootstrap, wilson
from lake.dataset import Output
from lake.error import UserError
from tests.eval.saved import OPTIONS, chosen, entry, rated, row, save, written

ROOT = Path(__file__).resolve().parents[2]


def test_a_benchmark_is_scored_whole_and_without_the_quoted_questions() -> None:
    asked = entry()
    rows = [
        chosen(asked, "1", "A", "A"),
        chosen(asked, "2", "A", "B", context_cut=True, shots_cut=2),
        chosen(asked, "3", "B", "B"),
        chosen(asked, "4", "C", "A"),
    ]
    figures = score(asked, rows, ["1", "4", "unknown", "1"])
    low, high = wilson(2, 4)
    assert figures == figures | {
        "score": "quiz strict letters 0-shot",
        "metric": "accuracy",
        "questions": 4,
        "rounds": 1,
        "answered": 4,
        "correct": 2,
        "accuracy": 0.5,
        "low": low,
        "high": high,
        "chance": 0.25,
        "majority": 0.5,
        "macro_f1": pytest.approx((0.5 + 2 / 3 + 0) / 3),
        "unparsed": 0,
        "errors": {},
        "lowest": 0.5,
        "highest": 0.5,
        "context_cut": 1,
        "shots_cut": 1,
        "predicted": {"A": 2, "B": 2},
        "clean_questions": 2,
        "clean_accuracy": 0.5,
        "quoted_questions": 2,
        "quoted_accuracy": 0.5,
    }
    assert "groups" not in figures
    assert "seeds" not in figures


def test_without_answers_there_is_no_score() -> None:
    for asked in (entry(), entry("answer", "entities"), entry("cloze")):
        figures = score(asked, [])
        names = ("chance", figures["metric"], "unparsed", "lowest", f"clean_{figures['metric']}", "accuracy")
        assert [figures[name] for name in names] == [None] * len(names)
        assert (figures["questions"], figures["low"], figures["high"]) == (0, 0.0, 1.0)
        json.dumps(figures, allow_nan=False)


def test_the_first_of_equally_likely_labels_is_taken_and_a_nan_is_no_answer() -> None:
    asked = entry()
    logprobs = [(-2.0, -1.0, -1.0, -3.0), (-math.inf,) * 4, (-1.0, math.nan, -1.0, -1.0)]
    figures = score(asked, [rated(asked, str(n), "B", of) for n, of in enumerate(logprobs)])
    assert figures["predicted"] == {"A": 1, "B": 1}
    assert figures["unparsed_reasons"] == {"not_a_number": 1}
    assert (figures["accuracy"], figures["lowest"], figures["highest"]) == (1 / 3, 1 / 3, 2 / 3)
    json.dumps(figures, allow_nan=False)


def test_errors_are_no_wrong_answers_but_widen_the_bounds() -> None:
    asked = entry("answer")
    rows = [
        written(asked, "1", "A", "A."),
        written(asked, "2", "A", "I cannot say."),
        row(asked, "3", "A", error="RuntimeError: out of memory"),
        written(asked, "4", "B", "C"),
    ]
    figures = score(asked, rows)
    assert (figures["questions"], figures["answered"], figures["accuracy"]) == (4, 3, 1 / 3)
    assert (figures["unparsed"], figures["lowest"], figures["highest"]) == (1 / 3, 0.25, 0.75)
    assert figures["errors"] == {"RuntimeError: out of memory": 1}


def test_a_majority_of_the_branches_that_commit_decides() -> None:
    asked = entry("vote")

    def predicted(*answers: str) -> dict[str, int]:
        predicted: dict[str, int] = score(asked, [written(asked, "1", "A", *answers)])["predicted"]
        return predicted

    assert predicted("B", "A", "A") == {"A": 1}
    assert predicted("B", "A") == {"B": 1}, "the first of several"
    assert predicted("unsure", "none", "B") == {"B": 1}, "who does not commit abstains"
    assert predicted("unsure", "none") == {}


@pytest.mark.parametrize(
    ("gold", "said", "right"),
    [("1,000", "1000.0", 1), ("42", "042", 1), ("-3", "3", 0), ("18", "eighteen", 0), ("0.5", "0.50", 1)],
)
def test_numbers_are_equal_however_they_are_written(gold: str, said: str, right: float) -> None:
    asked = entry("answer", "number")
    figures = score(asked, [written(asked, "1", gold, said)])
    assert (figures["accuracy"], figures["chance"], figures["predicted"]) == (right, None, {})


def test_entities_are_counted_over_all_sentences() -> None:
    asked = entry("answer", "entities")
    rows = [
        written(asked, "1", "BRCA1\np53", "p53\nbrca1\nBRCA2"),
        written(asked, "2", "", "none"),
        written(asked, "3", "insulin", "glucose"),
    ]
    figures = score(asked, rows)
    assert (figures["metric"], figures["f1"]) == ("f1", pytest.approx(2 * 2 / (4 + 3)))
    assert (figures["precision"], figures["recall"]) == (2 / 4, 2 / 3)
    assert figures["accuracy"] == 1 / 3, "of whole sentences"
    assert figures["majority"] is None


def test_texts_are_compared_by_their_words() -> None:
    asked = entry("answer", "text")
    rows = [
        written(asked, "1", "Take it with water.", "take it with WATER"),
        written(asked, "2", "one tablet", "one pill"),
    ]
    figures = score(asked, rows)
    assert (figures["f1"], figures["accuracy"], figures["precision"]) == (0.75, 0.5, 0.75)


def test_cloze_is_scored_by_sum_by_characters_and_by_bytes() -> None:
    asked = entry("cloze")
    options = [("A", "ab"), ("B", "abcdef"), ("C", "ééé"), ("D", "abcd")]
    rows = [rated(asked, "1", "B", (-2.0, -3.0, -2.4, -9.0), options=options)]
    figures = score(asked, rows)
    assert figures["predicted"] == {"A": 1}, "−2 is the largest sum"
    # By characters −1, −0.5, −0.8, −2.25; by bytes −1, −0.5, −0.4, −2.25.
    assert figures["cloze"] == {
        "sum": 0,
        "characters": 1,
        "bytes": 0,
        "bits_per_byte": pytest.approx(3 / math.log(2) / len(" abcdef")),
    }


def test_letters_have_a_calibration() -> None:
    asked = entry()
    rows = [chosen(asked, str(n), "A" if n < 7 else "B", "A") for n in range(10)]
    calibration = score(asked, rows)["calibration"]
    assert calibration["ece"] == pytest.approx(0), "70 % sure and 70 % right"
    right, wrong = 0.3**2 + 3 * 0.1**2, 0.7**2 + 0.9**2 + 2 * 0.1**2
    assert calibration["brier"] == pytest.approx((7 * right + 3 * wrong) / 10)
    assert [(one["answers"], one["accuracy"]) for one in calibration["bins"]] == [(10, 0.7)]
    assert calibration["bins"][0]["confidence"] == pytest.approx(0.7)


def test_groups_stand_alone_and_together() -> None:
    asked = entry()
    rows = [
        chosen(asked, str(n), "A", "A" if n % 3 else "B", group="anatomy" if n < 6 else "virology") for n in range(8)
    ]
    figures = score(asked, rows)
    anatomy, virology = figures["groups"]
    assert (anatomy["group"], anatomy["questions"], anatomy["accuracy"]) == ("anatomy", 6, 4 / 6)
    assert (anatomy["low"], anatomy["high"]) == wilson(4, 6)
    assert (virology["questions"], virology["accuracy"]) == (2, 0.5)
    assert (figures["accuracy"], figures["group_mean"]) == (5 / 8, (4 / 6 + 0.5) / 2)


def test_seeds_have_a_mean_a_deviation_and_an_agreement() -> None:
    asked = entry(shots=3)
    said = {1234: "AABB", 432: "AAAA", 32: "AAAC"}
    rows = [
        chosen(asked, str(n), "A", label, seed=seed) for seed, labels in said.items() for n, label in enumerate(labels)
    ]
    figures = score(asked, rows)
    assert (figures["questions"], figures["rounds"], figures["answered"]) == (4, 3, 12)
    assert figures["accuracy"] == 9 / 12
    seeds = figures["seeds"]
    assert {one["seed"]: one["accuracy"] for one in seeds["each"]} == {1234: 0.5, 432: 1.0, 32: 0.75}
    assert (seeds["mean"], seeds["deviation"], seeds["agreement"]) == (0.75, 0.25, 0.5)
    assert (figures["low"], figures["high"]) == bootstrap([(3, 3), (3, 3), (2, 3), (1, 3)])


def test_questions_that_share_an_abstract_widen_the_interval() -> None:
    asked = entry()
    alone = [chosen(asked, str(n), "A", "A" if n % 2 else "B") for n in range(100)]
    shared = [row | {"cluster": f"abstract {int(row['id']) % 10}"} for row in alone]
    narrow, wide = score(asked, alone), score(asked, shared)
    assert narrow["accuracy"] == wide["accuracy"]
    assert wide["high"] - wide["low"] > 2 * (narrow["high"] - narrow["low"])


def test_rotation_shows_who_chooses_a_place() -> None:
    asked = entry(rotate=True)
    texts = list(OPTIONS.values())
    rows = []
    for rotation in range(4):
        options = list(zip("ABCD", texts[rotation:] + texts[:rotation], strict=True))
        gold = next(label for label, text in options if text == "aspirin")
        rows.append(chosen(asked, "place", gold, "A", options=options, rotation=rotation))
        rows.append(chosen(asked, "text", gold, gold, options=options, rotation=rotation))
    figures = score(asked, rows)
    assert (figures["rotation_consistency"], figures["accuracy"]) == (0.5, 5 / 8)
    assert "seeds" not in figures


# The folder ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Every mode and kind, with figures that no binary fraction holds."""
    letters, cloze, vote = entry(shots=3), entry("cloze", benchmark="abstracts"), entry("vote", "number", "sums")
    entities = entry("answer", "entities", "genes")
    rows = [
        rated(
            letters,
            f"{n}",
            "ABCD"[n % 4],
            [-0.1 * ((n * k + seed) % 7) for k in range(1, 5)],
            seed=seed,
            group=f"g{n % 3}",
        )
        for seed in (1234, 432, 32)
        for n in range(40)
    ]
    rows += [rated(cloze, f"{n}", "B", [-(n % (k + 3)) / 3 for k in range(4)], cluster=f"c{n // 4}") for n in range(40)]
    rows += [written(vote, f"{n}", f"{n % 5}", *(f"{n % k}" for k in (3, 5, 7))) for n in range(40)]
    rows += [written(entities, f"{n}", f"gene {n}\ngene x", f"gene {n + n % 2}\ngene y") for n in range(40)]
    save(tmp_path / "folder", [letters, cloze, vote, entities], rows, {"quiz": {"1", "7"}, "genes": {"3"}})
    return tmp_path / "folder"


def test_the_order_of_the_report_is_kept(folder: Path) -> None:
    rows = recomputed(output_of(folder))
    assert [row["benchmark"] for row in rows] == ["quiz", "abstracts", "sums", "genes"]
    assert len(printed(rows).splitlines()) == 4
    assert "clean" in printed(rows).splitlines()[0]


def output_of(folder: Path) -> Output:
    return Output(str(folder))


@pytest.mark.parametrize(
    ("name", "says"),
    [("asked.json", "changed"), ("quoted.json", "changed"), ("answers/part-00001.parquet", "changed")],
)
def test_a_flipped_byte_is_refused_by_name(
    folder: Path, name: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(UserError, match=f"{name}: {says}"):
        recomputed(output_of(folder))
    assert main([str(folder)]) == 2
    assert name in capsys.readouterr().err


def test_a_missing_and_an_extra_part_are_refused_by_name(folder: Path) -> None:
    part = folder / "answers" / "part-00001.parquet"
    shutil.copy(part, folder / "answers" / "part-00002.parquet")
    with pytest.raises(UserError, match=r"part-00002\.parquet: not of this evaluation"):
        recomputed(output_of(folder))
    (folder / "answers" / "part-00002.parquet").unlink()
    part.unlink()
    with pytest.raises(UserError, match=r"part-00001\.parquet: missing"):
        recomputed(output_of(folder))


def test_a_changed_score_is_refused(folder: Path) -> None:
    rows = json.loads((folder / "scores.json").read_text())
    rows[1]["accuracy"] += 1e-16
    (folder / "scores.json").write_text(json.dumps(rows))
    with pytest.raises(UserError, match="abstracts strict cloze 0-shot: accuracy is"):
        recomputed(output_of(folder))


def test_a_folder_that_is_no_evaluation_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert "the folder of a finished evaluation" in capsys.readouterr().err


def test_python_and_pyarrow_alone_give_every_figure_to_the_last_digit(folder: Path, tmp_path: Path) -> None:
    fresh = tmp_path / "fresh"
    venv.create(fresh, with_pip=False, symlinks=True)
    python = fresh / "bin" / "python"
    packages = Path(
        subprocess.check_output(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
        ).strip()
    )
    for found in Path(pyarrow.__file__).parents[1].glob("pyarrow*"):
        (packages / found.name).symlink_to(found)
    code = tmp_path / "code"
    for name in ("eval", "lake"):
        shutil.copytree(ROOT / name, code / name, ignore=shutil.ignore_patterns("__pycache__"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def run(*arguments: str) -> str:
        return subprocess.check_output([python, *arguments], cwd=code, env=environment, text=True)

    for package in ("torch", "numpy", "pydantic"):
        with pytest.raises(subprocess.CalledProcessError):
            subprocess.run(
                [python, "-c", f"import {package}"], cwd=code, env=environment, check=True, capture_output=True
            )
    found = json.loads(run("-m", "eval.score", str(folder), "--json"))
    assert found == json.loads((folder / "scores.json").read_text())
    assert run("-m", "eval.score", str(folder)) == f"{printed(found)}\n"
