"""The architecture is read from config.json, and what would be lost is refused by its name."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, MistralConfig, Qwen2Config

from lake.error import UserError
from tests.train.tiny import MODELS, SIZES, llama_3, save
from train.families import config_of, names, shape_of, sizes
from train.hf import open_folder
from train.recipe import Llama

LLAMA_2: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "hidden_act": "silu",
    "max_position_embeddings": 4096,
    "initializer_range": 0.02,
    "rms_norm_eps": 1e-5,
    "pretraining_tp": 1,
    "rope_scaling": None,
    "tie_word_embeddings": False,
    "torch_dtype": "float16",
    "transformers_version": "4.31.0.dev0",
    "use_cache": True,
    "vocab_size": 32000,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
SCALING = {key: value for key, value in llama_3(8.0).items() if key != "rope_theta"}


def test_llama_2_is_read_as_published() -> None:
    assert shape_of(LLAMA_2, "config.json").parameters(32_000) == 6_738_415_616


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"rope_theta": 500_000.0, "rope_scaling": SCALING}, {"rope_base": 500_000, "rope_factor": 8}),
        ({"rope_parameters": llama_3(32.0)}, {"rope_base": 500_000, "rope_factor": 32}),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0}}, {"rope_base": 10_000}),
        ({"model_type": "mistral", "architectures": None, "sliding_window": 4096}, {"window": 4096}),
        ({"model_type": "mistral", "architectures": None, "sliding_window": None}, {"window": None}),
        ({"model_type": "mistral", "architectures": None}, {"window": 4096}),
        ({"model_type": "qwen2", "architectures": None, "use_sliding_window": False, "sliding_window": 32_768},
         {"qkv_bias": True, "window": None}),
        ({"num_key_value_heads": None, "head_dim": 64}, {"kv_heads": 32, "head_size": 64}),
    ],
)  # fmt: skip
def test_keys_of_both_styles_become_fields(keys: dict[str, Any], expected: dict[str, Any]) -> None:
    found = shape_of(LLAMA_2 | keys, "config.json").model_dump()
    assert {key: found[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "linear scaling of the rotary positions"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "yarn scaling"),
        ({"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}, "dynamic scaling"),
        ({"rope_scaling": SCALING | {"low_freq_factor": 2.0}}, "low_freq_factor of the rotary positions is 2.0"),
        ({"rope_scaling": SCALING | {"high_freq_factor": 8.0}}, "high_freq_factor of the rotary positions is 8.0"),
        ({"rope_scaling": SCALING | {"original_max_position_embeddings": 4096}}, "original_max_position_embeddings"),
        ({"rope_scaling": SCALING | {"beta_fast": 32}}, "beta_fast of the rotary positions is unknown"),
        ({"rope_theta": 10_000.5}, "rope_theta is 10000.5"),
        ({"attention_bias": True}, "attention_bias is True"),
        ({"mlp_bias": True}, "mlp_bias is True"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"pretraining_tp": 2}, "pretraining_tp is 2"),
        ({"quantization_config": {"bits": 4}}, "quantization_config is unknown"),
        ({"logit_scale": 0.5}, "logit_scale is unknown"),
        ({"model_type": "gemma"}, "model_type 'gemma' is none of llama, mistral, qwen2"),
        ({"model_type": "qwen2", "architectures": None, "use_sliding_window": True}, "use_sliding_window is True"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "only LlamaForCausalLM"),
        ({"rms_norm_eps": None}, "rms_norm_eps is missing"),
        ({"num_key_value_heads": 5}, "heads 32 must be a multiple of kv_heads 5"),
        ({"layer_types": ["chunked_attention"]}, "layer_types has chunked_attention"),
    ],
)
def test_a_key_that_would_be_lost_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as refused:
        shape_of(LLAMA_2 | keys, "config.json")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(UserError, match=r"attention_bias.*logit_scale"):
        shape_of(LLAMA_2 | {"attention_bias": True, "logit_scale": 0.5}, "config.json")


@pytest.mark.parametrize("name", MODELS)
def test_the_names_and_sizes_are_those_of_transformers(name: str) -> None:
    model = MODELS[name]()
    shape = shape_of(plain(model.config), name)
    expected = {key: tuple(weight.shape) for key, weight in model.named_parameters()}
    assert sizes(shape, SIZES["vocab_size"]) == expected
    assert sum(map(len, names(shape).values())) == len(expected)


def plain(config: LlamaConfig | MistralConfig | Qwen2Config) -> dict[str, Any]:
    """The config as it lies in a folder."""
    import json

    return json.loads(config.to_json_string(use_diff=True)) | {
        key: value for key, value in config.to_dict().items() if key in {*SIZES, "rms_norm_eps", "rope_parameters"}
    }


def test_a_model_from_scratch_has_a_config_that_reads_back() -> None:
    for more in ({}, {"qkv_bias": True, "tied": True}, {"rope_factor": 8.0}, {"window": 512}):
        shape = Llama.model_validate({"layers": 2, "hidden": 32, "heads": 4, "kv_heads": 2, "ffn": 64} | more)
        assert shape_of(config_of(shape, 100, 64), "config.json") == shape


# Weights -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model.norm.weight": None}, "model.norm.weight is missing"),
        ({"model.layers.0.self_attn.q_norm.weight": torch.ones(8)}, "q_norm.weight is unknown"),
        ({"lm_head.weight": torch.ones(149, 32)}, r"lm_head.weight has the shape \[149, 32\], not \[150, 32\]"),
        (
            {"model.layers.1.mlp.up_proj.weight": torch.ones(48, 32, dtype=torch.int8)},
            "up_proj.weight has another type",
        ),
        ({"model.layers.1.mlp.up_proj.weight": torch.ones(48, 32).half()}, "up_proj.weight has another type"),
    ],
)
def test_a_weight_that_is_not_as_the_config_says_is_refused(tmp_path: Path, change: Any, message: str) -> None:
    folder = save(tmp_path, MODELS["llama-2"](), torch.float32, "1GB")
    file = folder / "model.safetensors"
    weights = load_file(file) | change
    save_file({name: weight for name, weight in weights.items() if weight is not None}, file)
    with pytest.raises(UserError, match=message):
        open_folder(folder).check()


def test_tables_of_frequencies_are_no_weights(tmp_path: Path) -> None:
    folder = save(tmp_path, MODELS["llama-2"](), torch.float32, "1GB")
    file = folder / "model.safetensors"
    save_file(load_file(file) | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}, file)
    open_folder(folder).check()


def test_a_missing_shard_is_told(tmp_path: Path) -> None:
    folder = save(tmp_path, MODELS["llama-2"]())
    sorted(folder.glob("model-0*.safetensors"))[1].unlink()
    with pytest.raises(UserError, match="no such file; weights must be safetensors"):
        open_folder(folder)
