"""The work of training, in floating-point operations (FLOP), and the part of a GPU's peak that a run reaches.

A matrix product spends two operations on each weight and token, and its backward pass twice as many. So a token takes

    6 · weights  +  6 · layers · heads · head_size · sequence

The weights leave out the embedding, from which rows are read, unless the output layer shares it. The second term is
attention: queries times keys and probabilities times values are 12 · layers · heads · head_size · sequence if each
token attends to the whole sequence, as PaLM (arXiv 2204.02311, appendix B) and Megatron count. A causal model attends
to half of it on average. Work done twice, as with `recompute`, is not counted, nor is the work that a document mask
saves. So the figure is *model* FLOP, and their share of the peak is MFU. A weight that LoRA freezes has no gradient
and takes 4; those of the adapters take 6.

The MEDITRON paper calls 40,200 tokens/s on 128 A100s 42.3 % of the peak. It does not say how it counts; 6 · 70e9 FLOP a
token, without attention, give this. By the formula above, they are 43.1 %; with attention over the whole sequence,
44.7 %.
"""

from train.families import sizes
from train.lora import LoraSettings
from train.recipe import Llama


def flops_per_token(shape: Llama, vocab_size: int, sequence: int, lora: LoraSettings | None = None) -> float:
    """Model FLOP to train on a token, forward and backward. `vocab_size` is without padding."""
    weights = shape.parameters(vocab_size) - (0 if shape.tied else vocab_size * shape.hidden)
    attention = 6.0 * shape.layers * shape.heads * shape.head_size * sequence
    return attention + (6.0 * weights if lora is None else 4.0 * weights + 6.0 * trained_weights(shape, lora))


def trained_weights(shape: Llama, lora: LoraSettings) -> int:
    """The number of weights in the adapters, as peft counts them."""
    return sum(
        lora.rank * sum(size)
        for name, size in sizes(shape, 0).items()
        if name.endswith("_proj.weight") and name.split(".")[-2] in lora.targets
    )


def mfu(tokens_per_second: float, flops: float, gpus: int, peak: float) -> float:
    """The share of the peak that the model's FLOP take: `flops` is for a token, `peak` for a GPU and second."""
    return tokens_per_second * flops / (gpus * peak)
