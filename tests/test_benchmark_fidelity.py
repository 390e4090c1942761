"""`benchmarks.fidelity` reads configs, folders and files, and counts what becomes of their critical tokens."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.fidelity import kind, main

PAGE = (
    "<html><nav><a href='/4'>Page 3 of 4</a></nav><main><h1>Dose</h1><p>Give 10–20 mg.</p>"
    f"{'<p>Plain words of a page.</p>' * 30}</main>"
)
PAPER = "<article><front/><body><p>Give 250 µg to HBeAg (-) mothers.</p></body></article>"
CITATION = (
    "<PubmedArticleSet><PubmedArticle><MedlineCitation><PMID>1</PMID><Article><ArticleTitle>A trial</ArticleTitle>"
    "<Abstract><AbstractText>P &lt; 0.05</AbstractText></Abstract></Article></MedlineCitation></PubmedArticle>"
    "</PubmedArticleSet>"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.html").write_text(PAGE, encoding="utf-8")
    (tmp_path / "b.xml").write_text(PAPER, encoding="utf-8")
    (tmp_path / "c.xml").write_text(CITATION, encoding="utf-8")
    (tmp_path / "d.jsonl").write_text('{"text": "Do not give 5 mg."}', encoding="utf-8")
    (tmp_path / "e.png").write_bytes(b"\x89PNG")
    return tmp_path


def figures(*inputs: str) -> dict[str, dict[str, object]]:
    done = CliRunner().invoke(main, [*inputs, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_folder_is_audited_file_by_file(folder: Path) -> None:
    assert [kind(path) for path in sorted(folder.iterdir())] == ["page", "jats", "medline", "jsonl", None]
    (total,) = figures(str(folder)).values()
    assert (total["documents"], total["lost"], total["invented"]) == (4, 0, 0)
    each = [next(iter(figures(str(folder / name)).values())) for name in ("a.html", "b.xml", "c.xml", "d.jsonl")]
    assert [one["kept"] for one in each] == [4, 3, 2, 3]
    assert each[0]["left_out"] == {"links": 2}
    assert total["kept"] == 12


def test_a_config_is_audited_source_by_source() -> None:
    audited = figures("configs/demo.yaml")
    assert set(audited) == {f"demo.yaml: {source}" for source in ("abstracts", "guidelines", "papers", "replay")}
    assert [
        (source, one["lost"], one["invented"]) for source, one in audited.items() if one["lost"] or one["invented"]
    ] == []


def test_a_missing_input_is_one_line() -> None:
    done = CliRunner().invoke(main, ["nowhere.html"])
    assert done.exit_code == 2
    assert "nowhere.html: no such config, file or folder" in done.output
