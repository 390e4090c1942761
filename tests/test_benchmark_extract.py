"""The benchmark of extraction: how it counts, and its errors for a gold file that it cannot use."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.extract import Counts, Gold, count, main, read_gold, score
from lake.error import UserError

STORY = (
    "<p>" + "The patient should drink enough water and return to the clinic when the fever lasts longer. " * 8 + "</p>"
)


def gold(folder: Path, *lines: object) -> Path:
    path = folder / "gold.jsonl"
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return path


def test_snippets_are_counted_with_white_space_as_single_blanks() -> None:
    snippets = Gold(file="a", present=("two\n words", "gone"), absent=("bad  word", "not here"))
    assert count(snippets, "the two words, a bad\tword") == Counts(1, 1, 1)


def test_scores_are_over_all_snippets() -> None:
    scores = score([Counts(3, 1, 0), Counts(0, 0, 3)], 0.5)
    assert (scores.pages_per_core_s, scores.precision, scores.recall) == (4.0, 0.75, 0.5)
    assert scores.f1 == pytest.approx(0.6)
    assert score([Counts(0, 0, 2)], 1.0)[1:] == (0.0, 0.0, 0.0)


def test_figures_of_both_are_printed(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(f"<nav>Menu here</nav><article>{STORY}</article>")
    lines = gold(tmp_path, {"file": "a.html", "with": ["return to the clinic"], "without": ["Menu here"]}, "")
    called = CliRunner().invoke(main, ["--pages", str(tmp_path), "--gold", str(lines), "--json"])
    figures = json.loads(called.output)
    assert figures.keys() == {"pages", "pages_per_core_s", "precision", "recall", "f1", "trafilatura"}
    assert figures["trafilatura"].keys() == {"pages_per_core_s", "precision", "recall", "f1"}
    assert (figures["pages"], figures["precision"], figures["recall"], figures["f1"]) == (1, 1.0, 1.0, 1.0)
    shown = CliRunner().invoke(main, ["--pages", str(tmp_path), "--gold", str(lines)]).output
    assert [line.split()[0] for line in shown.splitlines()[2:]] == ["ours", "trafilatura"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"file": "gone.html", "with": [], "without": []}, "no such page"),
        ({"file": "gold.jsonl", "with": []}, "not an object with file and two lists of strings"),
        ({"file": "gold.jsonl", "with": "Sodium", "without": []}, "not an object with file and two lists of strings"),
        ({"file": "gold.jsonl", "with": ["a"], "without": [1]}, "gold.jsonl:1: not an object"),
        ({"file": "gold.jsonl", "with": {"a": 1}, "without": []}, "not an object with file and two lists of strings"),
        ("[1]", "not an object with file and two lists of strings"),
        ("{", "not an object with file and two lists of strings"),
        ("", "the file has no line"),
    ],
)
def test_a_gold_file_that_is_wrong_is_one_line(tmp_path: Path, line: object, message: str) -> None:
    path = gold(tmp_path, line)
    with pytest.raises(UserError, match=message):
        read_gold(path, tmp_path)
    called = CliRunner().invoke(main, ["--pages", str(tmp_path), "--gold", str(path), "--json"])
    assert called.exit_code == 2
    assert len(called.stderr.strip().splitlines()) == 1


def test_missing_files_are_one_line(tmp_path: Path) -> None:
    for pages, path in ((tmp_path, tmp_path / "no"), (tmp_path / "no", gold(tmp_path, ""))):
        called = CliRunner().invoke(main, ["--pages", str(pages), "--gold", str(path)])
        assert (called.exit_code, len(called.stderr.strip().splitlines())) == (2, 1)
