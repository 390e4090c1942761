"""Folders of tiny models: random weights, with a tokenizer of the project's."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from mixing.tokenizer.build import TokenizerSettings, train
from mixing.tokenizer.chatml import CHAT_TOKENS

TEXTS = [
    "A patient with fever is given fluids. Question: which dose helps? Answer: one, two or three a day.",
    "What helps? Rest, drink, and ask somebody who knows. Client asks what was given to the child.",
]


def folder_of_model(folder: Path, tuned: bool = True, heads: int = 4, template: str | None = None) -> Path:
    """A Llama of two layers. A tuned one ends its texts with the end of a turn, too."""
    tokenizer = train(TEXTS * 20, TokenizerSettings.model_validate({"train": {"vocab_size": 400}}))
    end = tokenizer.backend.token_to_id(CHAT_TOKENS[1])
    config = LlamaConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=128,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
        max_position_embeddings=2048,
        bos_token_id=None,
        eos_token_id=[tokenizer.eod, end] if tuned else tokenizer.eod,
        pad_token_id=tokenizer.pad,
    )
    torch.manual_seed(5)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save(folder)
    if template is not None:
        change(folder / "tokenizer_config.json", chat_template=template)
    return folder


def change(file: Path, **keys: Any) -> None:
    """Set keys of a JSON file; None takes one out."""
    known = json.loads(file.read_text(encoding="utf-8")) | keys
    kept = {key: value for key, value in known.items() if value is not None}
    file.write_text(json.dumps(kept), encoding="utf-8")
