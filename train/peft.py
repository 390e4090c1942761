"""Adapters outside of Megatron: matrix by matrix, in the files of the library peft, and merged into the base."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from train.families import ADAPTER_CONFIG, ADAPTER_WEIGHTS, names
from train.hf import write_json
from train.lora import LAYERS, A, B, LoraSettings
from train.recipe import Llama
from train.store import Stored, alone, skeleton
from train.weights import AsHf, Finite, Weights

Adapters = Mapping[str, tuple[torch.Tensor, torch.Tensor]]
"""A [rank, in] and B [out, rank] of each target, by the Hugging Face name of the weight that they are added to."""


def by_target(weights: Weights, shape: Llama, lora: LoraSettings) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """The adapters among a model's whole weights, which have Megatron's names and the forms of train/adapters.py."""
    found: dict[str, torch.Tensor] = {}
    wide: dict[str, torch.Tensor] = {}
    for name, parts in names(shape).items():
        layer, kind = name.split(".")[-2:]
        if layer not in LAYERS or kind != "weight" or not (targets := lora.within(layer)):
            continue
        prefix = name.removesuffix("weight")
        narrow = dict(zip(targets, weights[prefix + A].split(lora.rank), strict=True))
        # The rows of B lie as those of the layer's weight.
        wide[name] = weights[prefix + B].flatten(0, 1)
        found |= {part: narrow[of] for of, part in zip(LAYERS[layer], parts, strict=True) if of in narrow}
    rows = AsHf(wide, shape, 0)
    return {name: (narrow, rows[name]) for name, narrow in found.items()}


class Merged(Mapping[str, torch.Tensor]):
    """A base model's weights under Hugging Face's names with the adapters in them: W + alpha / rank · B A, in float32.

    With `rounded`, a merged weight has the type of the base's.
    """

    def __init__(self, base: Weights, adapters: Adapters, lora: LoraSettings, rounded: bool) -> None:
        self._base, self._adapters, self._scale, self._rounded = base, adapters, lora.scale, rounded

    def __getitem__(self, name: str) -> torch.Tensor:
        weight = self._base[name]
        if name not in self._adapters:
            return weight
        narrow, wide = self._adapters[name]
        merged = torch.addmm(weight.float(), wide.float(), narrow.float(), alpha=self._scale)
        return merged.to(weight.dtype) if self._rounded else merged

    def __iter__(self) -> Iterator[str]:
        return iter(self._base)

    def __len__(self) -> int:
        return len(self._base)


def to_peft(checkpoint: Path, shape: Llama, lora: LoraSettings, folder: Path, base: str) -> dict[str, Any]:
    """Write a new folder that peft loads onto the Hugging Face model `base`, and return the step's figures.

    Raises:
        UserError: the checkpoint is none, or has other adapters.
        ParityError: an adapter is not finite.
    """
    from safetensors.torch import save_file

    with alone():
        # The vocabulary and the sequence are no part of an adapter.
        adapters = by_target(Finite(Stored(checkpoint, skeleton(shape, 1, 1, lora))), shape, lora)
    tensors = {
        f"base_model.model.{name.removesuffix('weight')}{kind}.weight": matrix.contiguous()
        for name, pair in adapters.items()
        for kind, matrix in zip((A, B), pair, strict=True)
    }
    folder.mkdir(parents=True)
    save_file(tensors, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})
    write_json(folder / ADAPTER_CONFIG, config(lora, base))
    return {"adapters": len(adapters), "parameters": sum(matrix.numel() for matrix in tensors.values())}


def config(lora: LoraSettings, base: str) -> dict[str, Any]:
    """peft's adapter_config.json."""
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "lora_dropout": 0.0,
        "target_modules": list(lora.targets),
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }
