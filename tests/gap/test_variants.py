"""Two trainings in one run: two evaluations of two models stand side by side in status, report and cards."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gap.cli import main
from gap.config import Config
from gap.plan import plan
from lake.config import load
from lake.error import UserError
from lake.step import Kind, Manifest, Outcome, Step
from tests.eval.saved import chosen, entry, save, searched
from tests.gap.command import DEMO, ROOT

MADE_UP = ROOT / "tests" / "manifests.json"
VARIANTS = "variants={slow: {optimizer: {lr: 1.0e-4}}, one-pass: {steps: 20}}"


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def steps_of(lake: Path, *overrides: str) -> dict[str, Step[Any]]:
    return plan(load(DEMO, [f"lake={lake}", *overrides], Config))


def test_a_variant_is_the_recipe_with_keys_laid_over(tmp_path: Path) -> None:
    steps = steps_of(tmp_path, VARIANTS)
    first, slow = steps["pretrain"].settings, steps["pretrain-slow"].settings
    assert slow.optimizer.lr == 1e-4
    assert slow.model_copy(update={"optimizer": first.optimizer}) == first
    assert steps["evaluate-slow"].input("model") is steps["export-slow"]
    assert steps["export-slow"].input("trained") is steps["pretrain-slow"]
    assert [name for name in steps if name.endswith("one-pass")] == [
        f"{step}-one-pass" for step in ("pretrain", "export", "evaluate")
    ]


def test_variants_change_no_step_but_the_report(tmp_path: Path) -> None:
    plain, varied = steps_of(tmp_path), steps_of(tmp_path, VARIANTS)
    changed = [name for name, step in plain.items() if step.fingerprint != varied[name].fingerprint]
    assert changed == ["report"]


def test_a_wrong_variant_is_told_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"variants\.slow\.optimizer\.lrr: unknown key; did you mean lr\?"):
        steps_of(tmp_path, "variants={slow: {optimizer: {lrr: 1.0}}}")
    with pytest.raises(UserError, match=r"variants\.\.\./x"):
        steps_of(tmp_path, "variants={../x: {}}")


def test_two_models_stand_side_by_side(tmp_path: Path) -> None:
    manifests = [Manifest.model_validate(row) for row in json.loads(MADE_UP.read_text(encoding="utf-8"))]
    made_up = {manifest.kind: manifest for manifest in manifests}
    steps = steps_of(tmp_path, "variants={slow: {optimizer: {lr: 1.0e-4}}}")
    for step in steps.values():
        if step.kind is Kind.REPORT:
            continue
        manifest = made_up[step.kind]
        if step.kind is Kind.EVALUATION:
            save(step.output.local(), [entry()], [chosen(entry(), "1", "A", "B")])
        if step.kind is Kind.DECONTAMINATION:
            searched(step)
        step.complete(lambda manifest=manifest: Outcome(manifest.accounts, manifest.figures, manifest.unit))
    steps["report"].run()
    status = CliRunner().invoke(main, ["status", DEMO, f"lake={tmp_path}", "variants.slow.optimizer.lr=1.0e-4"])
    assert status.exit_code == 0, status.output
    shown = {line.split(" ")[0] for line in status.output.splitlines()}
    assert {"evaluate", "evaluate-slow", "pretrain-slow", "export-slow"} <= shown
    output = steps["report"].output
    page, card = (output.read_bytes(name).decode() for name in ("report.html", "model_card.md"))
    for name in ("evaluate", "evaluate-slow"):
        assert f'id="{name}"' in page
    for name in ("pretrain", "pretrain-slow"):
        assert f'<th scope="row"><a href="#{name}">{name}</a></th>' in page
        assert f"| {name} |" in card
