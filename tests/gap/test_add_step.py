"""A step is added as CONTRIBUTING says: its function with its body, and one line of the plan."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner

from gap import forecast, plan, status
from gap.cli import main
from gap.config import Config
from gap.run import run_steps, select
from lake.config import Settings, load
from lake.document import DOCUMENT, new_document
from lake.step import Account, Body, Kind, Manifest, Outcome, Step
from tests.gap.command import DEMO, ROOT

LINE = '    add("clean", CLEAN, c.clean, {"documents": "read"}, "documents")\n'
ADDED = '    add("words", WORDS, c.shard, {"documents": "clean"}, "documents")\n'


def words(step: Step[Settings]) -> Outcome:
    """Count the words of the clean documents. In the project this is the file of the step."""
    texts = step.input("documents").output.scan("documents").to_table()["text"].to_pylist()
    return Outcome({"papers": Account.of(len(texts))}, {"words": sum(len(text.split()) for text in texts)})


WORDS = Body[Any](words, Kind.INSTRUCTIONS, "python", 1)


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Step[Any]]:
    """The demo's steps, planned by gap/plan.py with one line more; read and clean are done."""
    monkeypatch.chdir(ROOT)
    source = Path(str(plan.__file__)).read_text(encoding="utf-8")
    assert source.count(LINE) == 1
    namespace: dict[str, Any] = {"WORDS": WORDS, "__name__": "gap.plan"}
    exec(compile(source.replace(LINE, LINE + ADDED), "plan.py", "exec"), namespace)
    for module in (forecast, status):
        monkeypatch.setattr(module, "plan", namespace["plan"])
    steps: dict[str, Step[Any]] = namespace["plan"](load(DEMO, [f"lake={tmp_path}"], Config))
    documents = [new_document("papers", str(number), "five words are in here") for number in range(3)]
    for name in ("read", "clean"):
        steps[name].output.write_part("documents", 0, pa.Table.from_pylist(documents, DOCUMENT), "papers")
        steps[name].complete(lambda: Outcome({"papers": Account.of(3)}))
    return steps


def test_it_runs_alone_and_is_accounted_for(steps: dict[str, Step[Any]], tmp_path: Path) -> None:
    lines: list[tuple[str, bool]] = []
    chosen = select(steps, ["words"])
    assert list(chosen) == ["read", "clean", "words"]
    config = load(DEMO, [f"lake={tmp_path}"], Config)
    run_steps(config, chosen, lambda step, manifest, new: lines.append((step.name, new)) if manifest else None)
    assert lines == [("read", False), ("clean", False), ("words", True)]
    manifest = steps["words"].manifest()
    assert manifest.figures == {"words": 15}
    assert manifest.inputs == {"documents": steps["clean"].output.root.rpartition("/")[2]}
    assert steps["report"].input("words") is steps["words"]


@pytest.mark.parametrize("command", ["plan", "status"])
def test_plan_and_status_show_it(steps: dict[str, Step[Any]], tmp_path: Path, command: str) -> None:
    done = CliRunner().invoke(main, [command, DEMO, f"lake={tmp_path}"])
    assert done.exit_code == 0, done.output
    names = [line.split(" ")[0] for line in done.output.splitlines()]
    assert names.index("clean") < names.index("words") < names.index("dedup")


def test_the_page_has_a_section_for_it(steps: dict[str, Step[Any]]) -> None:
    from eval.report import render
    from eval.summary import Run

    steps["words"].run()
    made_up = json.loads((ROOT / "tests" / "manifests.json").read_text(encoding="utf-8"))
    manifests = [Manifest.model_validate(row) for row in made_up]
    page = render(Run("demo", (*manifests, steps["words"].manifest())))
    assert 'id="words"' in page
