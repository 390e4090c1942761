"""The settings of fine-tuning make a recipe of pretraining's kind."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lake.error import UserError
from train.finetune import FinetuneSettings
from train.recipe import Llama, Training

MODEL = Llama.model_validate({"layers": 2, "hidden": 64, "heads": 4, "kv_heads": 2, "ffn": 128, "window": 256})


def test_the_defaults_are_those_of_the_paper() -> None:
    recipe = FinetuneSettings().recipe(MODEL, rows=1000, sequence=128)
    assert (recipe.steps, recipe.batch.total, recipe.sequence) == (47, 64, 128)
    assert (recipe.optimizer.lr, recipe.optimizer.min_lr, recipe.optimizer.warmup) == (2e-5, 2e-6, 4)
    assert (recipe.optimizer.betas, recipe.optimizer.eps, recipe.optimizer.weight_decay) == ((0.9, 0.95), 1e-5, 0.1)


@given(st.integers(1, 500), st.integers(1, 5), st.integers(1, 40), st.floats(0, 1, exclude_max=True))
def test_the_steps_are_just_enough_for_the_epochs(rows: int, epochs: int, total: int, warmup: float) -> None:
    settings = FinetuneSettings.model_validate(
        {"epochs": epochs, "batch": {"total": total, "micro": 1}, "optimizer": {"warmup": warmup}}
    )
    recipe = settings.recipe(MODEL, rows, 64)
    assert (recipe.steps - 1) * total < epochs * rows <= recipe.steps * total
    assert recipe.optimizer.warmup <= warmup * recipe.steps < recipe.optimizer.warmup + 1


def test_what_both_trainings_have_reaches_the_recipe() -> None:
    given: dict[str, Any] = {
        "parallel": {"tensor": 2, "sequence_parallel": True},
        "batch": {"total": 8, "micro": 2},
        "optimizer": {"clip": 0.5},
        "validation": {"every": 7, "sequences": 9},
        "guard": {"skips": 9},
        "precision": "bfloat16",
        "recompute": "full",
        "checkpoints": {"every": 3},
        "gpu": "H100-80GB",
        "max_failures": 5,
        "wandb": "project",
        "lora": {"rank": 4, "targets": ["q_proj"]},
    }
    assert given.keys() == Training.model_fields.keys(), "a new key must reach the recipe, too"
    settings = FinetuneSettings.model_validate(given)
    recipe = settings.recipe(MODEL, 8, 64)
    for name in given.keys() - {"optimizer"}:
        assert getattr(recipe, name) == getattr(settings, name), name
    assert recipe.optimizer.clip == 0.5


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"batch": {"total": 6, "micro": 4}}, "batch.total 6 must be a multiple of batch.micro 4"),
        ({"optimizer": {"lr": 1e-6}}, "min_lr 2e-06 is above"),
        ({"optimizer": {"warmup": 1}}, "less than 1"),
        ({"epochs": 0}, "greater than or equal to 1"),
        ({"epochs": 1.5}, "integer"),
        ({"start": "anywhere"}, "'continued' or 'base'"),
        ({"sequence": 2048}, "Extra inputs"),
        ({"lora": {"targets": ["qkv"]}}, "q_proj"),
    ],
)
def test_a_section_that_cannot_train_is_an_error_at_once(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FinetuneSettings.model_validate(given)


@pytest.mark.parametrize(
    ("given", "rows", "sequence", "message"),
    [
        ({}, 0, 64, "finetune: no row of instructions is left"),
        ({"parallel": {"tensor": 8}}, 8, 64, "finetune: parallel.tensor 8 must divide model.heads 4"),
        ({"parallel": {"pipeline": 4}}, 8, 64, "finetune: parallel.pipeline 4 .* must divide model.layers 2"),
        ({}, 8, 512, "finetune: sequence 512 is longer than model.window 256"),
    ],
)
def test_what_does_not_fit_the_model_or_the_rows_is_one_line(
    given: dict[str, Any], rows: int, sequence: int, message: str
) -> None:
    with pytest.raises(UserError, match=message) as told:
        FinetuneSettings.model_validate(given).recipe(MODEL, rows, sequence)
    assert "\n" not in str(told.value)
