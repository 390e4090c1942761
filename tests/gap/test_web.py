"""`gap crawl` and `gap check` on the command line."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.gap.command import DEMO, ROOT, gap

pytestmark = pytest.mark.engine

PROSE = "Give fluids often, in small sips, and look again after one hour of rest at home. "


def faults(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stderr.replace("\r", "\n").splitlines() if line.startswith("gap: ")]


def test_the_sample_sites_are_well() -> None:
    done = gap("check", DEMO)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("well") == 4


def test_a_broken_selector_of_a_sample_site_is_told_with_a_page(tmp_path: Path) -> None:
    site = yaml.safe_load((ROOT / "samples" / "sites" / "example-clinic.yaml").read_text(encoding="utf-8"))
    broken = tmp_path / "example-clinic.yaml"
    broken.write_text(yaml.safe_dump(site | {"content": "div.renamed"}), encoding="utf-8")
    done = gap("check", DEMO, f"crawl.sites=[{broken}]")
    assert done.returncode == 1
    assert "at fault" in done.stdout
    assert any("div.renamed" in fault and "https://example-clinic.example.org/" in fault for fault in faults(done))


def test_a_crawl_fetches_what_is_missing_and_checks_it(web: Any, tmp_path: Path) -> None:
    for number in range(3):
        web.page(f"/guide/{number}", f"<main><h1>Guide {number}</h1><p>{PROSE * 5}</p></main>")
    web.page("/list", "".join(f'<a href="/guide/{number}">x</a>' for number in range(4)))
    site: dict[str, Any] = {
        "name": "Played",
        "audience": "both",
        "license": "CC0-1.0",
        "redistributable": True,
        "mode": "html",
        "index": {"urls": [f"{web.url}/list"]},
        "content": "main",
        "expect": {"documents": 3, "words": 240},
        "rate": 50,
        "checked": "in a test",
    }
    (tmp_path / "played.yaml").write_text(yaml.safe_dump(site), encoding="utf-8")
    (tmp_path / "q.jsonl").write_bytes((ROOT / "samples" / "benchmarks" / "sample-qa.jsonl").read_bytes())
    words = ("crawl", DEMO, "played", f"data={tmp_path}", f"crawl.sites=[{tmp_path}/played.yaml]")
    done = gap(*words)
    assert done.returncode == 0, done.stderr
    assert "URLs 4, kept 3, missed: not_found 1" in done.stdout
    assert "well" in done.stdout
    asked = len(web.paths())
    assert gap(*words).returncode == 0
    assert [path for path in web.paths()[asked:] if path != "/guide/3"] == []
    place = f"[{{format: warc, source: guidelines, site: {tmp_path}/played.yaml, paths: [crawl/played/*.warc.gz]}}]"
    traced = gap(
        "trace",
        DEMO,
        f"{web.url}/guide/3",
        *words[3:],
        f"read.inputs={place}",
        f"lake={tmp_path}/lake",
        "evaluate.benchmarks=[{task: sample-qa, files: [q.jsonl]}]",
    )
    assert traced.returncode == 0, traced.stderr
    assert "crawl          missed: not_found" in traced.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("crawl", DEMO, "nice"), "nice: not in crawl.sites of the config"),
        (("check", DEMO, "crawl.sites=[nize]"), "nize: no such site"),
        (("check", "configs/nih.yaml"), "no section crawl"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(words: tuple[str, ...], said: str) -> None:
    done = gap(*words)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
