"""Convert weights from Megatron's layout to Hugging Face's Llama, and compare the logits of both models."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from train.recipe import Llama

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

    from train.data import Vocabulary

Weights = dict[str, torch.Tensor]

TOP = {
    "embedding.word_embeddings.weight": "model.embed_tokens.weight",
    "output_layer.weight": "lm_head.weight",
    "decoder.final_layernorm.weight": "model.norm.weight",
}
LAYER = {
    "input_layernorm.weight": "input_layernorm.weight",
    "self_attention.linear_proj.weight": "self_attn.o_proj.weight",
    "pre_mlp_layernorm.weight": "post_attention_layernorm.weight",
    "mlp.linear_fc2.weight": "mlp.down_proj.weight",
}
"""Megatron's name → Hugging Face's, for matrices that are equal in both."""

QKV, GATE_UP = "self_attention.linear_qkv.weight", "mlp.linear_fc1.weight"
"""Matrices of Megatron that stack several of Hugging Face."""


class ParityError(Exception):
    """The exported model computes other logits than the trained one; the step is not committed."""


def to_hf(weights: Weights, shape: Llama, vocab_size: int) -> Weights:
    """The state dict of LlamaForCausalLM, from that of a GPTModel on one rank; rows that pad the vocabulary are cut."""
    return dict(_translated(weights, shape, vocab_size))


def _translated(weights: Weights, shape: Llama, vocab_size: int) -> Iterator[tuple[str, torch.Tensor]]:
    for megatron, hf in TOP.items():
        if megatron in weights:
            yield hf, weights[megatron] if megatron.startswith("decoder") else weights[megatron][:vocab_size]
    for layer in range(shape.layers):
        megatron, hf = f"decoder.layers.{layer}.", f"model.layers.{layer}."
        for name, hf_name in LAYER.items():
            yield hf + hf_name, weights[megatron + name]
        for part, matrix in zip("qkv", _split_qkv(weights[megatron + QKV], shape), strict=True):
            yield f"{hf}self_attn.{part}_proj.weight", matrix
        gate, up = weights[megatron + GATE_UP].chunk(2)
        yield f"{hf}mlp.gate_proj.weight", gate
        yield f"{hf}mlp.up_proj.weight", up


def _split_qkv(stacked: torch.Tensor, shape: Llama) -> tuple[torch.Tensor, ...]:
    """Megatron stacks the matrices by key-value group: the query heads of the group, then its key, then its value."""
    per_group = shape.heads // shape.kv_heads
    grouped = stacked.view(shape.kv_heads, per_group + 2, shape.head_size, shape.hidden)
    parts = grouped.split([per_group, 1, 1], dim=1)
    return tuple(part.reshape(-1, shape.hidden) for part in parts)


def write_hf(folder: Path, weights: Weights, shape: Llama, vocabulary: "Vocabulary", sequence: int) -> int:
    """Write config and weights to `folder` as safetensors and return the number of parameters.

    Raises:
        RuntimeError: one of the `weights`, named as in Hugging Face, is missing or has another shape.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocabulary.vocab_size,
        hidden_size=shape.hidden,
        intermediate_size=shape.ffn,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_size,
        max_position_embeddings=sequence,
        rms_norm_eps=shape.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": float(shape.rope_base)},
        tie_word_embeddings=shape.tied,
        # Documents end with a token; no token begins them.
        bos_token_id=None,
        eos_token_id=vocabulary.eod,
        pad_token_id=vocabulary.pad,
    )
    dtype = next(iter(weights.values())).dtype
    with torch.device("meta"):
        model = LlamaForCausalLM(config).to(dtype)
    head = {"lm_head.weight": weights["model.embed_tokens.weight"]} if shape.tied else {}
    model.load_state_dict(weights | head, assign=True)
    model.tie_weights()
    model.save_pretrained(folder)
    return sum(matrix.numel() for matrix in weights.values())


@dataclass(frozen=True)
class Parity:
    """The largest difference between the logits of two models, and the share of positions with the same top token."""

    max_logit_difference: float
    argmax_agreement: float


def parity(trained: torch.Tensor, exported: torch.Tensor) -> Parity:
    """Compare logits of shape [sequences, length, vocabulary]."""
    same = trained.argmax(-1) == exported.argmax(-1)
    return Parity(float((trained - exported).abs().max()), float(same.float().mean()))


def load_hf(folder: Path) -> "LlamaForCausalLM":
    """Load the exported model as a user does, in float32."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
