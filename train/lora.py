"""LoRA: which matrices get a low-rank addition, and of what size (Hu et al. 2021, arXiv 2106.09685).

A target computes W x + alpha / rank · B A x. W stays as it is; A [rank, in] and B [out, rank] are trained. Names of
targets are Hugging Face's. Megatron stacks some of them in one layer, and there, too, each has an A and a B of its own.
"""

from collections.abc import Mapping
from typing import Literal, TypeVar, get_args

from pydantic import Field, field_validator

from lake.config import Settings
from lake.values import Count, Positive

LoraTarget = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
TARGETS: tuple[LoraTarget, ...] = get_args(LoraTarget)

LAYERS: dict[str, tuple[LoraTarget, ...]] = {
    "linear_qkv": ("q_proj", "k_proj", "v_proj"),
    "linear_proj": ("o_proj",),
    "linear_fc1": ("gate_proj", "up_proj"),
    "linear_fc2": ("down_proj",),
}
"""Megatron's linear layers, and the targets that each of them stacks, in its order."""

ROW = {"linear_proj", "linear_fc2"}
"""The layers whose columns tensor-parallel workers share; of the others, they share the rows."""

A, B = "lora_A", "lora_B"
"""The names of an adapter's parameters within Megatron's linear layers, and in peft's files."""

T = TypeVar("T")


class LoraSettings(Settings):
    """The section `finetune.lora`: adapters of `rank` for the `targets`, whose output counts `alpha / rank` times.

    The base model does not change. Its embeddings stay, too: a token that it does not know is not learned.
    """

    rank: Count = 16
    alpha: Positive = 32
    targets: tuple[LoraTarget, ...] = Field(default=TARGETS, min_length=1)

    @field_validator("targets")
    @classmethod
    def _in_one_order(cls, targets: tuple[LoraTarget, ...]) -> tuple[LoraTarget, ...]:
        """The order says nothing, so it changes no fingerprint."""
        return tuple(target for target in TARGETS if target in targets)

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    def within(self, layer: str) -> tuple[LoraTarget, ...]:
        """The targets that a linear layer of Megatron holds, in its order."""
        return tuple(target for target in LAYERS[layer] if target in self.targets)


def is_adapter(name: str) -> bool:
    """Whether this is the name of an adapter's weight in Megatron."""
    return name.endswith((f".{A}", f".{B}"))


def trained(weights: Mapping[str, T]) -> dict[str, T]:
    """Of a model's weights by their names, those that training changes: the adapters if it has some, else all."""
    return {name: weight for name, weight in weights.items() if is_adapter(name)} or dict(weights)
