"""The gate: a converted model must compute the logits of its original, and convert back to the same bits.

Both models run layer by layer with weights that are read when a layer needs them, so that the memory holds the largest
matrix in float32, not a model.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from train.lora import LoraSettings
from train.recipe import Llama
from train.store import skeleton
from train.weights import EMBEDDING, OUTPUT, ParityError, Rows, Weights, same_bits

SAMPLE = Path(__file__).with_name("sample.md")


def sample(encode: Callable[[str], list[int]], rows: Rows) -> torch.Tensor:
    """Token ids [1, length] of SAMPLE; tokens that the base does not know as the model does are left out."""
    ids = encode(SAMPLE.read_text(encoding="utf-8"))
    return torch.tensor([[number for number in ids if number not in rows.fresh]])


@dataclass(frozen=True)
class Parity:
    """The largest difference between the logits of two models, and the share of positions with the same top token."""

    max_logit_difference: float
    argmax_agreement: float

    def check(self, tolerance: float, what: str) -> dict[str, float]:
        """The figures for a manifest.

        Raises:
            ParityError: the difference is above `tolerance`, or is no number.
        """
        if not self.max_logit_difference <= tolerance:
            raise ParityError(
                f"{what}: logits differ by up to {self.max_logit_difference:.2e}, the tolerance is {tolerance:.0e}"
            )
        return asdict(self)


def parity(original: torch.Tensor, converted: torch.Tensor) -> Parity:
    """Compare logits of shape [sequences, length, vocabulary]."""
    same = original.argmax(-1) == converted.argmax(-1)
    # max() of a tensor with a NaN is NaN.
    return Parity(float((original - converted).abs().max()), float(same.float().mean()))


def same(original: Weights, converted: Weights, rows: torch.Tensor, embeddings: Iterable[str]) -> int:
    """Compare all weights of two models bit by bit and return their number. Of `embeddings`, compare the `rows`.

    Raises:
        ParityError: some differ; they are named.
    """
    tables = set(embeddings)
    different = []
    for name in converted:
        one, other = original[name], converted[name]
        if name in tables:
            one, other = one[: len(rows)][rows], other[: len(rows)][rows]
        if not same_bits(one, other):
            different.append(name)
    if different:
        shown = ", ".join(different[:5]) + (f" and {len(different) - 5} more" if len(different) > 5 else "")
        raise ParityError(f"the round trip changes {shown}")
    return len(converted)


@torch.no_grad()
def megatron_logits(
    weights: Weights, shape: Llama, vocab_size: int, tokens: torch.Tensor, lora: LoraSettings | None = None
) -> torch.Tensor:
    """Float32 logits [sequences, length, vocab_size] of a Megatron model for token ids [sequences, length]."""
    # Untied, for Megatron would reach for the embedding's weights while the output layer runs.
    model = skeleton(shape.model_copy(update={"tied": False}), vocab_size, tokens.shape[1], lora)
    streamed(model, lambda name: weights[EMBEDDING if shape.tied and name == OUTPUT else name])
    logits: torch.Tensor = model(tokens, None, None)[..., :vocab_size]
    return logits


@torch.no_grad()
def hf_logits(config: dict[str, Any], weights: Weights, tokens: torch.Tensor) -> torch.Tensor:
    """Float32 logits [sequences, length, vocab_size] of transformers' model for token ids [sequences, length]."""
    from transformers import AutoConfig, AutoModelForCausalLM

    known = AutoConfig.for_model(**config)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(known, dtype=torch.float32).eval()
    # It computes its table of frequencies when it is made, and on `meta` there are no numbers.
    model.model.rotary_emb = type(model.model.rotary_emb)(config=model.config)
    tied = known.tie_word_embeddings
    streamed(model, lambda name: weights["model.embed_tokens.weight" if tied and name == "lm_head.weight" else name])
    logits: torch.Tensor = model(tokens, use_cache=False).logits
    return logits


def streamed(model: torch.nn.Module, load: Callable[[str], torch.Tensor]) -> None:
    """Make each module of a model without memory load its own weights by their names before it runs, and drop them."""

    def attach(module: torch.nn.Module, prefix: str) -> None:
        own = [name for name, _ in module.named_parameters(recurse=False)]
        empty = {name: module.get_parameter(name) for name in own}

        def fill(*_: Any) -> None:
            for name in own:
                weight = load(prefix + name).float()
                module._parameters[name] = torch.nn.Parameter(weight, requires_grad=False)

        def drop(*_: Any) -> None:
            module._parameters.update(empty)

        if own:
            module.register_forward_pre_hook(fill)
            module.register_forward_hook(drop)

    for name, module in model.named_modules():
        attach(module, f"{name}." if name else "")
