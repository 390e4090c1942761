"""Fine-tunings in the plan: what they read, where they start, and what is refused before engines."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from gap.config import Config
from gap.plan import plan
from lake.config import load
from lake.error import UserError
from lake.step import Step, needed
from ray_jobs.export import Like
from ray_jobs.finetune import started_from
from tests.gap.command import ROOT
from tests.train.tiny import MODELS, save

TUNED = "configs/demo-tuned.yaml"


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def steps_of(lake: Path, *overrides: str, config: str = TUNED) -> dict[str, Step[Any]]:
    return plan(load(config, [f"lake={lake}", *overrides], Config))


@pytest.fixture
def with_base(tmp_path: Path) -> Path:
    """The tuned demo on a tiny model, with a byte-level tokenizer of this project's own making."""
    from mixing.tokenizer.build import TokenizerSettings, TrainSettings, train

    folder = save(tmp_path / "base", MODELS["llama-2"](), shard="1GB")
    train(["some text"], TokenizerSettings(train=TrainSettings(vocab_size=400))).save(folder)
    demo, tuned = (
        yaml.safe_load((ROOT / "configs" / name).read_text("utf-8")) for name in ("demo.yaml", "demo-tuned.yaml")
    )
    del demo["tokenizer"], demo["pretrain"]["model"], tuned["extends"]
    (file := tmp_path / "config.yaml").write_text(
        yaml.safe_dump(demo | tuned | {"base": {"path": str(folder)}}), "utf-8"
    )
    return file


def test_each_tuning_reads_the_rows_and_the_continued_model(tmp_path: Path) -> None:
    steps = steps_of(tmp_path)
    for which in ("", "-lora"):
        tuning, export = steps[f"finetune{which}"], steps[f"export-finetune{which}"]
        assert tuning.input("continued") is steps["pretrain"]
        assert tuning.input("rows") is export.input("rows") is steps["instruct"]
        assert export.input("trained") is tuning
        assert steps[f"evaluate-finetune{which}"].input("model") is export
    assert steps["finetune-lora"].settings.lora.rank == 8
    assert steps["finetune-lora"].settings.epochs == steps["finetune"].settings.epochs


def test_from_a_base_nothing_is_pretrained_or_sharded(tmp_path: Path, with_base: Path) -> None:
    steps = steps_of(tmp_path, "finetune.start=base", "tuned.lora.start=continued", config=str(with_base))
    assert list(needed(steps, ["export-finetune"])) == [
        "read", "clean", "tokenizer", "import", "instruct", "finetune", "export-finetune",
    ]  # fmt: skip
    assert started_from(steps["finetune"]) == steps["import"].output.local() / "megatron"
    assert "pretrain" in needed(steps, ["export-finetune-lora"])


def test_weight_decay_of_adapters_is_none_unless_set_and_part_of_the_fingerprint(tmp_path: Path) -> None:
    plain, set_ = (steps_of(tmp_path, *more) for more in ((), ("tuned.lora.optimizer.weight_decay=0.1",)))
    assert plain["finetune-lora"].settings.optimizer.weight_decay == 0
    assert plain["finetune"].settings.optimizer.weight_decay == 0.1
    assert set_["finetune-lora"].settings.optimizer.weight_decay == 0.1
    assert plain["finetune-lora"].fingerprint != set_["finetune-lora"].fingerprint
    assert plain["finetune"].fingerprint == set_["finetune"].fingerprint


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("instructions=null", "finetune: it trains on the answers of instructions; add that section"),
        ("finetune=null", "tuned: they are laid over finetune, which is missing"),
        ("tuned.lora.start=base", "finetune-lora.start: there is no base"),
        ("variants={finetune: {steps: 9}}", "variants.finetune: export-finetune is the export of a fine-tuning"),
        ("variants={finetune-lora: {steps: 9}}", "variants.finetune-lora: export-finetune-lora is the export of"),
        ("pretrain.lora={rank: 8}", "pretrain.lora: adapters are for finetune"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        steps_of(tmp_path, override)


@pytest.mark.parametrize(
    ("listed", "expected"), [(None, [7, 9]), (7, [7, 9]), (5, [7, 9, 5]), ([9, 5], [7, 9, 5]), ([9], [7, 9])]
)
def test_a_tuned_model_also_ends_where_its_turns_end(listed: Any, expected: list[int]) -> None:
    config = {} if listed is None else {"eos_token_id": listed}
    like = Like({"hidden_size": 1, **config}, {}, {}).ending_with(7, 9)
    assert like.config == {"hidden_size": 1, "eos_token_id": expected}
    assert like.generation == {}, "what the base lacks is not made up"
    assert Like({"hidden_size": 1}, {"temperature": 1}, {}).ending_with(7, 7).generation["eos_token_id"] == 7
