"""A run with a base model: what it implies, what is refused before engines, and where the base stands in the report."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gap.cli import main
from gap.config import Config
from gap.plan import plan
from gap.raw import WEIGHTS, missing
from lake.config import load
from lake.error import UserError
from lake.step import MISSING, Kind, Manifest, Outcome, Step
from tests.eval.saved import chosen, entry, searched
from tests.eval.saved import save as save_answers
from tests.gap.command import DEMO, ROOT
from tests.train.tiny import MODELS, save

MADE_UP = ROOT / "tests" / "manifests.json"


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A tiny model, with a byte-level tokenizer of this project's own making."""
    from mixing.tokenizer.build import TokenizerSettings, TrainSettings, train

    folder = save(tmp_path / "base", MODELS["llama-2"](), shard="1GB")
    train(["some text"], TokenizerSettings(train=TrainSettings(vocab_size=400))).save(folder)
    return folder


def config_with(lake: Path, base: Path, *overrides: str) -> Config:
    """The demo's config without a tokenizer and a model of its own."""
    import yaml

    tree = yaml.safe_load((ROOT / DEMO).read_text(encoding="utf-8"))
    del tree["tokenizer"], tree["pretrain"]["model"]
    file = lake.parent / "config.yaml"
    file.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return load(file, [f"lake={lake}", f"base.path={base}", *overrides], Config)


def test_tokenizer_and_architecture_are_those_of_the_base(tmp_path: Path, base: Path) -> None:
    config = config_with(tmp_path / "lake", base)
    assert config.tokenizer.path == str(base)
    assert (config.pretrain.model.layers, config.pretrain.model.hidden, config.pretrain.model.kv_heads) == (4, 32, 4)


def test_import_comes_before_training_and_export_reads_it(tmp_path: Path, base: Path) -> None:
    steps = plan(config_with(tmp_path / "lake", base, "variants.slow.optimizer.lr=1.0e-4"))
    order = list(steps)
    assert order.index("import") < order.index("evaluate-base") < order.index("pretrain")
    for name in ("pretrain", "export", "pretrain-slow", "export-slow"):
        assert steps[name].input("base") is steps["import"]
    assert steps["evaluate-base"].input("model") is steps["import"]
    before = steps["import"].fingerprint
    (base / "generation_config.json").write_text('{"temperature": 0.5}')
    assert plan(config_with(tmp_path / "lake", base))["import"].fingerprint != before


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("tokenizer.train.vocab_size=2048", "tokenizer: the weights of a base know its own tokenizer only"),
        ("tokenizer.path=elsewhere", "tokenizer: the weights of a base know its own tokenizer only"),
        ("variants={base: {steps: 9}}", "variants.base: evaluate-base is the evaluation of the base itself"),
        ("base.package=x/y.gguf", "give exactly one of path and package"),
    ],
)
def test_what_does_not_fit_the_base_is_one_line(tmp_path: Path, base: Path, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        config_with(tmp_path / "lake", base, override)


def test_a_recipe_of_another_architecture_is_refused_before_engines(tmp_path: Path, base: Path) -> None:
    model = "pretrain.model={layers: 4, hidden: 32, heads: 4, kv_heads: 2, ffn: 48, norm_eps: 1.0e-6}"
    steps = plan(config_with(tmp_path / "lake", base, model))
    with pytest.raises(UserError, match=r"not the architecture of the base; kv_heads is 2, in the base 4"):
        steps["import"].check()


def test_a_missing_base_is_one_line_and_can_be_planned_with(tmp_path: Path) -> None:
    away = tmp_path / "away"
    with pytest.raises(UserError, match=r"base\.path: .*away has no config.json"):
        config_with(tmp_path / "lake", away)
    config = config_with(
        tmp_path / "lake", away, "pretrain.model={layers: 2, hidden: 64, heads: 4, kv_heads: 2, ffn: 96}"
    )
    gaps = missing(config)
    assert [files.name for files in gaps] == ["tokenizer", "base"]
    with pytest.raises(UserError):
        plan(config)
    steps = plan(config, {files.part for files in gaps})
    assert WEIGHTS in {files.part for files in gaps}
    assert steps["import"].identity == MISSING
    assert not steps["pretrain"].settled


def test_base_and_adapted_model_stand_side_by_side(tmp_path: Path, base: Path) -> None:
    manifests = [Manifest.model_validate(row) for row in json.loads(MADE_UP.read_text(encoding="utf-8"))]
    made_up: dict[Kind, Manifest] = {manifest.kind: manifest for manifest in manifests}
    more = {"base_vocab_size": 150, "fresh_rows": 9, "untrained_rows": 3, "identical_tensors": 39}
    figures: dict[str, Any] = {**made_up[Kind.EXPORT].figures, **more}
    made_up[Kind.BASE] = made_up[Kind.EXPORT].model_copy(update={"figures": figures})
    steps: dict[str, Step[Any]] = plan(config_with(tmp_path / "lake", base))
    for step in steps.values():
        if step.kind is not Kind.REPORT:
            manifest = made_up[step.kind]
            if step.kind is Kind.EVALUATION:
                save_answers(step.output.local(), [entry()], [chosen(entry(), "1", "A", "B")])
            if step.kind is Kind.DECONTAMINATION:
                searched(step)
            step.complete(lambda manifest=manifest: Outcome(manifest.accounts, manifest.figures, manifest.unit))
    steps["report"].run()
    page, card = (steps["report"].output.read_bytes(name).decode() for name in ("report.html", "model_card.md"))
    for name, shown in (("import", "base model"), ("pretrain", "pretrain")):
        assert f'<th scope="row"><a href="#{name}">{name}</a></th>' in page
        assert f"| {shown} |" in card
    assert 'id="evaluate-base"' in page


def test_the_plan_shows_the_import(tmp_path: Path, base: Path) -> None:
    config_with(tmp_path / "lake", base)
    shown = CliRunner().invoke(
        main, ["plan", str(tmp_path / "config.yaml"), f"lake={tmp_path}/lake", f"base.path={base}"]
    )
    assert shown.exit_code == 0, shown.output
    assert {"import", "evaluate-base"} <= {line.split(" ")[0] for line in shown.output.splitlines()}
