"""What a user can do wrong is told in one line, with exit code 2, before an engine starts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gap.cli import main
from tests.gap.command import DEMO, ROOT, WHOLE, called, command


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "nowhere.yaml"), "nowhere.yaml: no such config file"),
        (("run", DEMO, "dedup.treshold=0.7"), "dedup.treshold: unknown key; did you mean threshold?"),
        (("run", DEMO, "dedup.threshold=high"), "dedup.threshold: Input should be a valid number"),
        (("run", DEMO, "pretrain.parallel.tensor=7"), "pretrain"),
        (("run", DEMO, "data=/nowhere"), "read.inputs.0.paths: no file matches /nowhere/"),
        (("run", DEMO, "dedupe"), "dedupe: no such step; did you mean dedup?; the steps are read, clean"),
        (("run", DEMO, "clean.treshold=0.7"), "clean.treshold: unknown key; did you mean dedup.threshold?"),
        (("plan", DEMO, "seed=yes"), "seed: Input should be a valid integer"),
        (("run", DEMO, "evaluate.benchmarks=[{task: medqq}]"), "medqq"),
        (("plan", DEMO, "data=/nowhere"), "read.inputs.0.paths: no file matches /nowhere/"),
        (("run", WHOLE, "data=/nowhere"), "read.inputs.0.paths: no file matches /nowhere/"),
        (("crawl", WHOLE, "nice"), "crawl.contact: give an e-mail address or a URL"),
        (("plan", DEMO, "seed"), "an override is written key.key=value"),
        (("status", DEMO, "lake="), "lake"),
        (("plan", DEMO, "read.inputs.0.site=nize"), "nize: no such site"),
        (("trace", DEMO, "0" * 32, "lake=/nowhere/lake"), "nothing has been read yet"),
        (("evaluate", DEMO, "/nowhere"), "/nowhere: no config.json in it; give the folder of a Hugging Face model"),
        (("run", DEMO, "lake=/etc/passwd"), "lake: /etc/passwd cannot be written: File exists; set lake="),
        (("status", DEMO, "lake=s3x://foo"), "lake: s3x://foo cannot be opened: Unrecognized filesystem type in URI"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(words: tuple[str, ...], said: str) -> None:
    done = called(*words)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_plan_tells_all_steps_without_an_engine(tmp_path: Path) -> None:
    done = called("plan", DEMO, f"lake={tmp_path}")
    assert done.returncode == 0, done.stderr
    for step in ("read", "dedup", "pretrain", "report", "tokens"):
        assert step in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_plan_of_the_full_mix_needs_no_data(tmp_path: Path) -> None:
    done = called("plan", WHOLE, f"data={tmp_path}", f"lake={tmp_path}", "mix.sources.replay.ratio=0.02")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "mix.sources.replay: 523,880,612 of the 944,080,612 tokens that ratio 0.02" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_another_selector_of_a_site_reads_again(tmp_path: Path) -> None:
    site = tmp_path / "example-clinic.yaml"
    before = (ROOT / "samples" / "sites" / site.name).read_text(encoding="utf-8")
    found = []
    for content in (before, before.replace("article.guideline h1", "article h1")):
        site.write_text(content, encoding="utf-8")
        done = called("plan", DEMO, f"lake={tmp_path}", f"read.inputs.0.site={site}")
        assert done.returncode == 0, done.stderr
        found.append(next(line.split()[-1] for line in done.stdout.splitlines() if line.startswith("read ")))
    assert found[0] != found[1]


def test_help_teaches() -> None:
    for words in ((), *((name,) for name in main.commands)):
        done = called(*words, "--help")
        assert done.returncode == 0
        assert len(done.stdout.split()) > 15


def test_the_command_line_loads_no_library_that_takes_seconds() -> None:
    slow = ["megatron", "nicegui", "torch", "transformers", "vllm"]
    code = f"import gap.cli, sys; print([name for name in {slow} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True) == "[]\n"


def test_the_lake_may_have_any_name(tmp_path: Path) -> None:
    done = called("plan", DEMO, f"lake={tmp_path}/x #2: yes")
    assert done.returncode == 0, done.stderr
    assert f"{tmp_path}/x #2: yes" in done.stdout


def test_a_terminal_of_few_signs_shows_what_it_can(tmp_path: Path) -> None:
    words = command("status", DEMO, f"lake={tmp_path}/größe")
    environment = os.environ | {"PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert b"read" in done.stdout
