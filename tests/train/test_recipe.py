"""Models have their published sizes, and settings that cannot train are errors at once."""

from typing import Any

import pytest
from pydantic import ValidationError

from train.recipe import Llama, Recipe, padded

GOOD: dict[str, Any] = {
    "model": {"layers": 2, "hidden": 64, "heads": 4, "kv_heads": 2, "ffn": 128},
    "parallel": {"tensor": 2, "data": 2},
    "sequence": 64,
    "batch": {"total": 8, "micro": 2},
    "steps": 10,
    "optimizer": {"lr": 1e-3, "warmup": 2},
    "validation": {"every": 5},
}


@pytest.mark.parametrize(
    ("shape", "parameters"),
    [
        (Llama(layers=32, hidden=4096, heads=32, kv_heads=32, ffn=11008), 6_738_415_616),
        (Llama(layers=80, hidden=8192, heads=64, kv_heads=8, ffn=28672), 68_976_648_192),
    ],
)
def test_llama_2_has_its_published_size(shape: Llama, parameters: int) -> None:
    assert shape.parameters(32_000) == parameters


def test_a_tied_output_layer_is_counted_once() -> None:
    smollm2 = Llama(layers=30, hidden=576, heads=9, kv_heads=3, ffn=1536, tied=True)
    assert smollm2.parameters(49_152) == 134_515_008


@pytest.mark.parametrize(
    ("section", "change", "message"),
    [
        ("model", {"heads": 5}, "hidden 64"),
        ("model", {"head_size": 15}, "head_size 15 must be even"),
        ("model", {"window": 32}, "sequence 64 is longer than model.window 32"),
        ("model", {"kv_heads": 3}, "multiple of kv_heads 3"),
        ("parallel", {"tensor": 3}, "parallel.tensor 3 must divide model.heads 4"),
        ("parallel", {"pipeline": 3}, "pipeline 3 times parallel.interleave 1 must divide model.layers 2"),
        ("parallel", {"interleave": 2}, "interleave 2 needs pipeline 2"),
        ("batch", {"total": 6}, "batch.total 6"),
        ("optimizer", {"warmup": 10}, "warmup 10 must be less than steps 10"),
        ("optimizer", {"min_lr": 1.0}, "min_lr 1.0 is above"),
    ],
)
def test_what_cannot_train_is_an_error(section: str, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Recipe.model_validate(GOOD | {section: GOOD[section] | change})


def test_workers_may_share_a_key_value_head_but_not_unevenly() -> None:
    assert Recipe.model_validate(GOOD | {"parallel": {"tensor": 4, "data": 1}}).parallel.tensor == 4
    uneven = {
        "model": GOOD["model"] | {"hidden": 96, "heads": 12, "kv_heads": 6, "ffn": 192},
        "parallel": {"tensor": 4},
    }
    with pytest.raises(ValidationError, match=r"tensor 4 must divide model.kv_heads 6, or be a multiple"):
        Recipe.model_validate(GOOD | uneven)


def test_what_changes_no_result_is_not_in_the_fingerprint() -> None:
    other = GOOD | {
        "checkpoints": {"every": 1},
        "parallel": {"tensor": 1, "data": 4},
        "batch": {"total": 8, "micro": 1},
        "recompute": "full",
    }
    first, second = (Recipe.model_validate(keys) for keys in (GOOD, other))
    assert first.model_dump(mode="json") == second.model_dump(mode="json")
    assert first != second


def test_padding_of_the_vocabulary() -> None:
    assert [padded(size) for size in (1, 128, 129, 32_016)] == [128, 128, 256, 32_128]
