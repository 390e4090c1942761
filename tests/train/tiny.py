"""Tiny random models of every family, made by transformers' own classes, and their conversion."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

VOCABULARY = 150
LENGTH = 40
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 16_384,
}


def llama_3(factor: float) -> dict[str, Any]:
    return {
        "rope_type": "llama3",
        "rope_theta": 500_000.0,
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }


MODELS: dict[str, Callable[[], Any]] = {
    "llama-2": lambda: LlamaForCausalLM(LlamaConfig(**SIZES | {"num_key_value_heads": 4})),
    "smollm2": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, tie_word_embeddings=True)),
    "llama-3.1": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, rope_parameters=llama_3(8.0))),
    "llama-3.2": lambda: LlamaForCausalLM(
        LlamaConfig(**SIZES, rope_parameters=llama_3(32.0), tie_word_embeddings=True)
    ),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**SIZES, sliding_window=None, head_dim=16)),
    "mistral-window": lambda: MistralForCausalLM(MistralConfig(**SIZES, sliding_window=64)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES)),
    "qwen2-tied": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES, tie_word_embeddings=True)),
}


def save(folder: Path, model: Any, dtype: torch.dtype = torch.bfloat16, shard: str = "20KB") -> Path:
    """Write the model with weights of every size, so that a matrix in the wrong place is seen."""
    torch.manual_seed(7)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    model.to(dtype).save_pretrained(folder, max_shard_size=shard)
    return folder


def sample(vocab_size: int = VOCABULARY) -> torch.Tensor:
    return torch.randint(0, vocab_size, (2, LENGTH), generator=torch.Generator().manual_seed(3))
