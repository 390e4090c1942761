"""Families of Hugging Face models that train/ can build: their config keys and names of weights, in maps.

A key or a weight that no map knows changes what a model computes, for all we know. So it is refused by its name.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lake.error import UserError
from train.recipe import Llama

CONFIG, GENERATION = "config.json", "generation_config.json"
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
"""What a folder of a model holds, and one of adapters."""

LAYER = "decoder.layers.{}."
"""The prefix of a layer's weights in Megatron."""

LLAMA_NAMES: dict[str, tuple[str, ...]] = {
    "embedding.word_embeddings.weight": ("model.embed_tokens.weight",),
    "decoder.layers.{}.input_layernorm.weight": ("model.layers.{}.input_layernorm.weight",),
    "decoder.layers.{}.self_attention.linear_qkv.weight": (
        "model.layers.{}.self_attn.q_proj.weight",
        "model.layers.{}.self_attn.k_proj.weight",
        "model.layers.{}.self_attn.v_proj.weight",
    ),
    "decoder.layers.{}.self_attention.linear_proj.weight": ("model.layers.{}.self_attn.o_proj.weight",),
    "decoder.layers.{}.pre_mlp_layernorm.weight": ("model.layers.{}.post_attention_layernorm.weight",),
    "decoder.layers.{}.mlp.linear_fc1.weight": (
        "model.layers.{}.mlp.gate_proj.weight",
        "model.layers.{}.mlp.up_proj.weight",
    ),
    "decoder.layers.{}.mlp.linear_fc2.weight": ("model.layers.{}.mlp.down_proj.weight",),
    "decoder.final_layernorm.weight": ("model.norm.weight",),
    "output_layer.weight": ("lm_head.weight",),
}
"""Megatron's name → the names of the Hugging Face weights that it holds. Three are queries, keys and values; two are
gate and up."""

QWEN2_NAMES = LLAMA_NAMES | {
    "decoder.layers.{}.self_attention.linear_qkv.bias": (
        "model.layers.{}.self_attn.q_proj.bias",
        "model.layers.{}.self_attn.k_proj.bias",
        "model.layers.{}.self_attn.v_proj.bias",
    ),
}

KEYS = {
    "num_hidden_layers": "layers",
    "hidden_size": "hidden",
    "num_attention_heads": "heads",
    "num_key_value_heads": "kv_heads",
    "head_dim": "head_size",
    "intermediate_size": "ffn",
    "tie_word_embeddings": "tied",
    "rms_norm_eps": "norm_eps",
}
"""Key of config.json → field of Llama, in all families."""

OPTIONAL = {"num_key_value_heads", "head_dim", "tie_word_embeddings"}
"""Keys of KEYS that a config may leave out or set to null: heads, hidden / heads, false."""

ANY = {
    *("architectures", "bos_token_id", "eos_token_id", "pad_token_id", "vocab_size", "max_position_embeddings"),
    *("torch_dtype", "dtype", "transformers_version", "use_cache", "initializer_range", "_name_or_path"),
    *("rope_theta", "rope_scaling", "rope_parameters", "transformers.js_config"),
}
"""Keys whose value changes no weight and no logit of a context that the model takes, or that `_rope` looks at."""

FIXED: dict[str, tuple[Any, ...]] = {
    "hidden_act": ("silu",),
    "attention_bias": (False,),
    "mlp_bias": (False,),
    "pretraining_tp": (1,),
    "attention_dropout": (0,),
    "rope_interleaved": (False,),
    "is_llama_config": (True,),
    "partial_rotary_factor": (1,),
    "use_mrope": (False,),
}
"""Keys that are harmless with these values only."""

LLAMA_3 = {"low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 8192}
"""What Megatron takes for granted when it scales rotary positions as Llama 3.1 does."""


@dataclass(frozen=True)
class Family:
    """What differs between families: the class, names of weights, fields that the family implies, more keys.

    `optional` maps a key to its field of Llama and to its value where a config leaves it out.
    """

    architecture: str
    names: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: LLAMA_NAMES)
    implied: Mapping[str, Any] = field(default_factory=dict)
    optional: Mapping[str, tuple[str, Any]] = field(default_factory=dict)
    any: frozenset[str] = frozenset()
    fixed: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)


FAMILIES = {
    "llama": Family("LlamaForCausalLM"),
    "mistral": Family("MistralForCausalLM", optional={"sliding_window": ("window", 4096)}),
    "qwen2": Family(
        "Qwen2ForCausalLM",
        QWEN2_NAMES,
        {"qkv_bias": True},
        # Without use_sliding_window the other two keys mean nothing.
        any=frozenset({"sliding_window", "max_window_layers"}),
        fixed={"use_sliding_window": (False,)},
    ),
}
"""By `model_type`. SmolLM2 and Llama 2 and 3 are all `llama`."""


def family_of(shape: Llama) -> tuple[str, Family]:
    """The `model_type` and the family that a model of this shape is written as."""
    name = "qwen2" if shape.qkv_bias else "mistral" if shape.window else "llama"
    return name, FAMILIES[name]


def names(shape: Llama) -> dict[str, tuple[str, ...]]:
    """Every weight of the model: Megatron's name → the Hugging Face names of what it stacks, in Megatron's order."""
    pairs: dict[str, tuple[str, ...]] = {}
    of_family = dict(family_of(shape)[1].names)
    if shape.tied:
        del of_family["output_layer.weight"]
    layer = {name: of_family.pop(name) for name in list(of_family) if name.startswith(LAYER)}
    pairs["embedding.word_embeddings.weight"] = of_family.pop("embedding.word_embeddings.weight")
    for number in range(shape.layers):
        for name, parts in layer.items():
            pairs[name.format(number)] = tuple(part.format(number) for part in parts)
    return pairs | of_family


def sizes(shape: Llama, rows: int) -> dict[str, tuple[int, ...]]:
    """The shape of every Hugging Face weight; `rows` is the size of the vocabulary."""
    queries, keys, hidden = shape.heads * shape.head_size, shape.kv_heads * shape.head_size, shape.hidden
    of_kind = {
        "embed_tokens.weight": (rows, hidden),
        "lm_head.weight": (rows, hidden),
        "q_proj.weight": (queries, hidden),
        "q_proj.bias": (queries,),
        "o_proj.weight": (hidden, queries),
        "gate_proj.weight": (shape.ffn, hidden),
        "up_proj.weight": (shape.ffn, hidden),
        "down_proj.weight": (hidden, shape.ffn),
    } | {f"{part}_proj.{kind}": size for part in "kv" for kind, size in (("weight", (keys, hidden)), ("bias", (keys,)))}
    parts = (part for stacked in names(shape).values() for part in stacked)
    return {part: of_kind.get(".".join(part.split(".")[-2:]), (hidden,)) for part in parts}


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's config.json.

    Raises:
        UserError: there is no such file, or it is not JSON.
    """
    file = folder / CONFIG
    if not file.is_file():
        raise UserError(f"{file}: no such file; give the folder of a Hugging Face model")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{file}: not JSON: {error}") from None
    if not isinstance(config, dict):
        raise UserError(f"{file}: a config is a mapping of keys to values")
    return config


def shape_of(config: Mapping[str, Any], where: str) -> Llama:
    """The architecture that a config.json describes; `where` names the file in messages.

    Raises:
        UserError: the model is of no known family, or has keys that would be lost. All of them are named.
    """
    family = FAMILIES.get(str(config.get("model_type")))
    if family is None:
        raise UserError(f"{where}: model_type {config.get('model_type')!r} is none of {', '.join(FAMILIES)}")
    fields, faults = _fields(config, family)
    rope, more = _rope(config)
    faults += [*_unknown(config, family), *more]
    if not faults:
        try:
            return Llama.model_validate(fields | rope)
        except ValidationError as error:
            faults = [str(fault["msg"]).removeprefix("Value error, ") for fault in error.errors()]
    raise UserError(f"{where}: this model cannot be converted: {'; '.join(faults)}")


def _fields(config: Mapping[str, Any], family: Family) -> tuple[dict[str, Any], list[str]]:
    fields, faults = dict(family.implied), []
    for key, name in KEYS.items():
        value = config.get(key)
        if value is not None:
            fields[name] = value
        elif key not in OPTIONAL:
            faults.append(f"{key} is missing")
    fields.setdefault("kv_heads", fields.get("heads"))
    for key, (name, default) in family.optional.items():
        fields[name] = config.get(key, default)
    return fields, faults


def _unknown(config: Mapping[str, Any], family: Family) -> Iterator[str]:
    """Keys that no map has, and keys with a value that we do not support."""
    known = {"model_type", *KEYS, *ANY, *family.any, *family.optional}
    fixed = FIXED | dict(family.fixed)
    for key, value in config.items():
        if key in fixed:
            if value not in fixed[key]:
                yield f"{key} is {value!r}, and only {fixed[key][0]!r} is supported"
        elif key == "layer_types":
            # Mistral's window is that of all layers.
            plain = {"full_attention"} | ({"sliding_attention"} if "sliding_window" in family.optional else set())
            if value is not None and not set(value) <= plain:
                yield f"layer_types has {', '.join(sorted(set(value) - plain))}, and only full_attention is supported"
        elif key not in known:
            yield f"{key} is unknown"
    if (given := config.get("architectures")) not in (None, [family.architecture]):
        yield f"architectures is {given}, and only {family.architecture} is supported"
    if not isinstance(config.get("vocab_size"), int):
        yield "vocab_size is missing"


def _rope(config: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The rotary positions. transformers 4 writes rope_theta and rope_scaling, transformers 5 rope_parameters."""
    scaling = config.get("rope_scaling") or {}
    given = {"rope_theta": config.get("rope_theta")} | scaling | (config.get("rope_parameters") or {})
    base = given.pop("rope_theta")
    kind = given.pop("rope_type", None) or given.pop("type", None) or "default"
    given.pop("type", None)
    fields: dict[str, Any] = {}
    faults = []
    if base is not None and base != int(base):
        faults.append(f"rope_theta is {base}, and only whole numbers are supported")
    elif base is not None:
        fields["rope_base"] = int(base)
    if kind == "llama3":
        for key, value in LLAMA_3.items():
            if (found := given.pop(key, None)) != value:
                faults.append(f"{key} of the rotary positions is {found}, and only {value} is supported")
        fields["rope_factor"] = given.pop("factor", None)
        if fields["rope_factor"] is None:
            faults.append("factor of the rotary positions is missing")
    elif kind != "default":
        faults.append(f"{kind} scaling of the rotary positions is not supported")
        given = {}
    if given.pop("partial_rotary_factor", 1) != 1:
        faults.append("partial_rotary_factor is not 1")
    faults += [f"{key} of the rotary positions is unknown" for key in given]
    return fields, faults


def config_of(shape: Llama, vocab_size: int, positions: int) -> dict[str, Any]:
    """A config.json for a model that was trained from scratch on sequences of at most `positions` tokens."""
    name, family = family_of(shape)
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": float(shape.rope_base)}
    if shape.rope_factor is not None:
        rope |= {"rope_type": "llama3", "factor": shape.rope_factor, **LLAMA_3}
    fields = shape.model_dump()
    return {
        "architectures": [family.architecture],
        "model_type": name,
        **{key: fields[of] for key, of in KEYS.items()},
        **{key: fields[of] for key, (of, _) in family.optional.items()},
        "hidden_act": "silu",
        "vocab_size": vocab_size,
        "max_position_embeddings": positions,
        "rope_parameters": rope,
        # Documents end with a token; no token begins them.
        "bos_token_id": None,
    }
