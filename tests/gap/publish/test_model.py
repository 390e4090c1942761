"""A model's repository: what the export wrote, checked; lineage, scores, adapters without a path of this machine."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries

from gap.command import load_config
from gap.publish.model import model_release, models_of
from gap.publish.release import Release
from gap.publish.settings import PublishSettings
from lake.error import UserError
from tests.gap.command import ROOT
from tests.gap.publish.small_lake import SmallLake
from tests.gap.publish.test_dataset import texts


@pytest.fixture
def full(tmp_path: Path, models: Path) -> SmallLake:
    return SmallLake(tmp_path / "lake").with_models(models)


def released(small: SmallLake, training: str = "pretrain", **settings: Any) -> Release:
    def revision(kind: str, repository: str) -> str:
        return f"{kind} of {repository}".replace(" ", "-")

    given = PublishSettings.model_validate({"owner": "me", **settings})
    return model_release(small.steps, training, "demo", given, revision)


def test_each_training_has_a_repository(full: SmallLake) -> None:
    assert list(models_of(full.steps)) == ["pretrain", "finetune", "finetune-lora"]
    assert released(full).repository == "me/demo-pretrain"
    assert released(full, models={"pretrain": "org/base"}).repository == "org/base"


def test_the_files_are_those_of_the_export_and_what_describes_them(full: SmallLake) -> None:
    files = {file.path for file in released(full).files([released(full).state.next([], "2026-11-27", None)])}
    weights = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert files == weights | {
        "chat_template.jinja",
        "README.md",
        "LICENSE.md",
        "publication.json",
        ".eval_results/medmcqa.yaml",
    }
    generation = json.loads(texts(released(full))["generation_config.json"])
    assert generation["eos_token_id"] == 0


def test_the_card_has_index_lineage_and_advisory(full: SmallLake) -> None:
    card = ModelCard(texts(released(full, "finetune"))["README.md"])
    assert card.data.datasets == ["me/demo"]
    assert card.data.base_model == "me/demo-pretrain"
    assert (card.data.license, card.data.license_link) == ("other", "LICENSE.md")
    assert "Medical safety advisory" in card.text
    assert "revision `dataset-of-me/demo`" in card.text
    assert "revision `model-of-me/demo-pretrain`" in card.text
    assert 'folder = "me/demo-finetune"\n' in card.text
    assert "- `v1.0.0` (2026-11-27): First publication." in card.text
    first = ModelCard(texts(released(full))["README.md"])
    assert first.data.base_model is None
    assert first.text.lstrip().startswith("# demo-pretrain\n")
    assert "`hidden_size`" in first.text
    assert "\\_" not in first.text, "names are code, without escapes"
    assert {result.dataset_name: result.metric_value for result in first.data.eval_results}["MedMCQA"] == 0.245
    assert "- Started from random weights." in first.text


def test_a_note_is_text_without_mark_up(full: SmallLake) -> None:
    state = released(full).state
    evil = state.next([], "2026-11-28", "<script>alert(1)</script>\n---\n# Heading | `x`")
    card = texts(released(full), evil)["README.md"]
    assert "<script" not in card
    assert "\n# Heading" not in card
    assert ModelCard(card).data.model_name == "demo-pretrain"


def test_licences_are_those_of_what_it_learned(full: SmallLake) -> None:
    listed = texts(released(full, "finetune"))["LICENSE.md"]
    assert "The weights learned from documents under these licences." in listed
    assert "Training started from `me/demo-pretrain`, whose licence holds for the weights, too." in listed
    assert "Training started" not in texts(released(full))["LICENSE.md"]


def test_scores_are_entries_of_the_hubs_format(full: SmallLake) -> None:
    made = texts(released(full))
    (entry,) = parse_eval_result_entries(yaml.safe_load(made[".eval_results/medmcqa.yaml"]))
    assert (entry.dataset_id, entry.task_id, entry.value) == ("openlifescienceai/medmcqa", "medmcqa", 0.245)
    assert entry.source_url.endswith("/me/demo-pretrain")
    assert "accuracy as a fraction of 1, 200 questions, 95 % interval 0.1906 to 0.3090" in entry.notes
    assert not [path for path in made if "sample" in path], "a benchmark without a data set on the Hub has no entry"


def test_adapters_name_the_model_on_the_hub(full: SmallLake) -> None:
    made = texts(released(full, "finetune-lora"))
    config = json.loads(made["adapters/adapter_config.json"])
    assert config["base_model_name_or_path"] == "me/demo-pretrain"
    assert config["revision"] == "model-of-me/demo-pretrain"
    assert 'subfolder="adapters"' in made["README.md"]
    for path, text in made.items():
        assert str(full.folder.parent) not in text, path


def test_weights_that_changed_after_the_export_do_not_leave(full: SmallLake) -> None:
    place = full.steps["export"].output.local("model", "model.safetensors")
    place.write_bytes(place.read_bytes() + b"x")
    with pytest.raises(UserError, match="it was changed after the export"):
        released(full)
    place.unlink()
    with pytest.raises(UserError, match="it is missing"):
        released(full)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "modeling.py", "../secret.json", "weights.pkl"])
def test_no_pickle_no_code_and_no_path_from_a_manifest(full: SmallLake, name: str) -> None:
    export = full.steps["export"]
    (export.output.local("model") / name).write_bytes(b"")
    full.finish(export, files={name: "0" * 64}, config={})
    with pytest.raises(UserError, match="a file of this kind is not published"):
        released(full)


def test_a_base_needs_its_name_on_the_hub(tmp_path: Path, models: Path) -> None:
    base = models / "model"
    words = (f"tokenizer={{path: {base}}}", f"base.path={base}", "finetune.start=base")
    small = SmallLake(tmp_path / "lake", None, *words)
    small.with_models(models)
    with pytest.raises(UserError, match=r"publish.base: finetune started from a base model"):
        released(small, "finetune")
    card = ModelCard(texts(released(small, "finetune", base={"id": "org/base", "revision": "abc"}))["README.md"])
    assert card.data.base_model == "org/base"
    assert "revision `abc`" in card.text
    assert (card.data.license, card.data.base_model_relation) == ("other", "finetune")
    assert "The licence of the base model holds for these weights, too." in card.text
    assert card.data.datasets is None, "it learned answers, and no text of the run"


@pytest.mark.parametrize("place", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda place: place.stem)
def test_a_ready_config_with_a_base_names_it_on_the_hub(place: Path) -> None:
    config = load_config(str(place), [])
    assert (config.publish.base is not None) == (config.base is not None)


def test_a_model_that_is_not_exported_says_so(full: SmallLake) -> None:
    full.steps["export"].output.local("manifest.json").unlink()
    with pytest.raises(UserError, match="the model has not been exported yet; gap run CONFIG export"):
        released(full)
