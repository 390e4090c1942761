"""The recipe of a training run: architecture, layout on the workers, batches, optimizer and schedule."""

from typing import Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from lake.config import Settings

VOCABULARY_MULTIPLE = 128
"""Every layout pads the vocabulary to a multiple of this, so that losses do not depend on the layout."""


class Llama(Settings):
    """A decoder of the Llama family: RMSNorm, SwiGLU, rotary positions, grouped-query attention, no biases.

    `kv_heads` of `heads` attention heads hold keys and values; `ffn` is the width of the feed-forward layer. With
    `tied`, the output layer shares the weights of the embedding.
    """

    layers: PositiveInt
    hidden: PositiveInt
    heads: PositiveInt
    kv_heads: PositiveInt
    ffn: PositiveInt
    tied: bool = False
    rope_base: PositiveInt = 10_000
    norm_eps: PositiveFloat = 1e-5

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.hidden % self.heads or (self.hidden // self.heads) % 2:
            raise ValueError(f"hidden {self.hidden} must be an even multiple of heads {self.heads}")
        if self.heads % self.kv_heads:
            raise ValueError(f"heads {self.heads} must be a multiple of kv_heads {self.kv_heads}")
        return self

    @property
    def head_size(self) -> int:
        return self.hidden // self.heads

    def parameters(self, vocab_size: int) -> int:
        """The number of weights, without those that pad the vocabulary."""
        attention = 2 * self.hidden * self.hidden + 2 * self.hidden * self.kv_heads * self.head_size
        layer = attention + 3 * self.hidden * self.ffn + 2 * self.hidden
        embeddings = vocab_size * self.hidden * (1 if self.tied else 2)
        return self.layers * layer + embeddings + self.hidden


class Parallel(Settings):
    """`tensor` workers share the matrices of each layer, and there are `data` copies of the model."""

    tensor: PositiveInt = 1
    data: PositiveInt = 1

    @property
    def workers(self) -> int:
        return self.tensor * self.data


class Batch(Settings):
    """Sequences in an optimizer step over all workers (`total`), and in a forward pass of one copy (`micro`)."""

    total: PositiveInt
    micro: PositiveInt


class AdamW(Settings):
    """AdamW with warm-up and cosine decay. `warmup` is in steps; `clip` bounds the norm of the whole gradient."""

    lr: PositiveFloat
    min_lr: float = Field(default=0, ge=0)
    warmup: int = Field(default=0, ge=0)
    betas: tuple[float, float] = (0.9, 0.95)
    eps: PositiveFloat = 1e-5
    weight_decay: float = Field(default=0.1, ge=0)
    clip: PositiveFloat = 1.0


class Validation(Settings):
    """Validate before the first step, every `every` steps and after the last, on at most `sequences` of each source."""

    every: PositiveInt
    sequences: PositiveInt = 64


class Recipe(Settings):
    """The section `pretrain`.

    `sequence` is the length of a training sequence in tokens. A checkpoint is written every `checkpoint_every` steps.
    Training that fails resumes from the last one, at most `max_failures` times. Neither key changes the result.
    """

    model: Llama
    parallel: Parallel = Parallel()
    sequence: PositiveInt
    batch: Batch
    steps: PositiveInt
    optimizer: AdamW
    validation: Validation
    precision: Literal["float32", "bfloat16"] = "float32"
    checkpoint_every: PositiveInt = Field(default=50, exclude=True)
    max_failures: int = Field(default=2, ge=0, exclude=True)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        tensor = self.parallel.tensor
        for key, size in (("kv_heads", self.model.kv_heads), ("ffn", self.model.ffn)):
            if size % tensor:
                raise ValueError(f"parallel.tensor {tensor} must divide model.{key} {size}")
        if VOCABULARY_MULTIPLE % tensor:
            raise ValueError(
                f"parallel.tensor {tensor} must divide {VOCABULARY_MULTIPLE}, to which vocabularies are padded"
            )
        if self.batch.total % (self.batch.micro * self.parallel.data):
            raise ValueError(
                f"batch.total {self.batch.total} must be a multiple of batch.micro {self.batch.micro} "
                f"times parallel.data {self.parallel.data}"
            )
        if self.optimizer.warmup >= self.steps:
            raise ValueError(f"optimizer.warmup {self.optimizer.warmup} must be less than steps {self.steps}")
        if self.optimizer.min_lr > self.optimizer.lr:
            raise ValueError(f"optimizer.min_lr {self.optimizer.min_lr} is above optimizer.lr {self.optimizer.lr}")
        return self

    @property
    def tokens(self) -> int:
        """The tokens of all steps, repetitions included."""
        return self.steps * self.batch.total * self.sequence


class ExportSettings(Settings):
    """The section `export`: the logits of both models may differ by `tolerance` at most, on `sequences` sequences."""

    sequences: PositiveInt = 4
    tolerance: PositiveFloat = 1e-3


def padded(vocab_size: int) -> int:
    """The size of the vocabulary in Megatron: the next multiple of VOCABULARY_MULTIPLE."""
    return -(-vocab_size // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE
