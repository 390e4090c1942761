"""The recipe of a training run: architecture, layout on the workers, batches, optimizer and schedule."""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from lake.config import Settings
from lake.paths import HomePath
from lake.values import (
    Amount,
    Count,
    CountOrNone,
    NotNegative,
    Positive,
    Retries,
    ShareBelowAll,
    SomeShare,
    Text,
    Workers,
)
from train.gpus import GpuName
from train.lora import LoraSettings

Recompute = Literal["none", "full"]

VOCABULARY_MULTIPLE = 128
"""Every layout pads the vocabulary to a multiple of this, so that losses do not depend on the layout."""


class Llama(Settings):
    """A decoder of the Llama family: RMSNorm, SwiGLU, rotary positions, grouped-query attention.

    `kv_heads` of `heads` attention heads hold keys and values, each of `head_size`, which defaults to `hidden / heads`;
    `ffn` is the width of the feed-forward layer. With `tied`, the output layer shares the weights of the embedding.
    `qkv_bias` adds biases to queries, keys and values, as in Qwen2. `rope_factor` stretches the rotary positions as
    Llama 3.1 does. `window` is the number of tokens that a token attends to, where it is fewer than all before it.
    """

    layers: Count
    hidden: Count
    heads: Count
    kv_heads: Count
    head_size: Count
    ffn: Count
    tied: bool = False
    qkv_bias: bool = False
    rope_base: Amount = 10_000
    rope_factor: Positive | None = None
    window: Count | None = None
    norm_eps: SomeShare = 1e-5

    @model_validator(mode="before")
    @classmethod
    def _head_size(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("head_size") is not None:
            return given
        hidden, heads = given.get("hidden"), given.get("heads")
        if isinstance(hidden, int) and isinstance(heads, int) and heads > 0:
            if hidden % heads:
                raise ValueError(f"hidden {hidden} must be a multiple of heads {heads}, unless head_size is given")
            return given | {"head_size": hidden // heads}
        return given

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.head_size % 2:
            raise ValueError(f"head_size {self.head_size} must be even, since rotary positions turn pairs")
        if self.heads % self.kv_heads:
            raise ValueError(f"heads {self.heads} must be a multiple of kv_heads {self.kv_heads}")
        return self

    def parameters(self, vocab_size: int) -> int:
        """The number of weights, without those that pad the vocabulary."""
        queries, keys = self.heads * self.head_size, self.kv_heads * self.head_size
        attention = 2 * self.hidden * (queries + keys) + (queries + 2 * keys) * self.qkv_bias
        layer = attention + 3 * self.hidden * self.ffn + 2 * self.hidden
        embeddings = vocab_size * self.hidden * (1 if self.tied else 2)
        return self.layers * layer + embeddings + self.hidden


class Parallel(Settings):
    """The layout of the workers. It changes the speed and the memory, not the result.

    `tensor` workers share the matrices of each layer, `pipeline` workers share the layers, and there are `data` copies
    of the model. `interleave` gives each pipeline worker so many groups of layers instead of one: less waiting, more
    communication. `sequence_parallel` spreads what tensor parallelism repeats (norms, residuals) over the sequence.
    `distributed_optimizer` spreads the optimizer's state over the copies.
    """

    tensor: Workers = 1
    pipeline: Workers = 1
    interleave: Workers = 1
    data: Workers = 1
    sequence_parallel: bool = False
    distributed_optimizer: bool = False

    @property
    def workers(self) -> int:
        return self.tensor * self.pipeline * self.data

    @model_validator(mode="after")
    def _interleaves_a_pipeline(self) -> Self:
        if self.interleave > 1 and self.pipeline == 1:
            raise ValueError(f"interleave {self.interleave} needs pipeline 2 or more")
        return self


MOST_SEQUENCES = 2**20
"""In a step. A worker reads all that are its own ahead."""


class Batch(Settings):
    """Sequences in an optimizer step over all workers (`total`), and in a forward pass of one copy (`micro`)."""

    total: Annotated[Count, Field(le=MOST_SEQUENCES)]
    micro: Annotated[Count, Field(le=MOST_SEQUENCES)] = Field(exclude=True)


class Adam(Settings):
    """AdamW with a cosine decay from `lr` to `min_lr`. `clip` bounds the norm of the whole gradient."""

    lr: Positive
    min_lr: NotNegative = 0
    betas: tuple[ShareBelowAll, ShareBelowAll] = (0.9, 0.95)
    eps: Positive = 1e-5
    weight_decay: NotNegative = 0.1
    clip: Positive = 1.0


class AdamW(Adam):
    """With a warm-up of so many steps before the decay."""

    warmup: CountOrNone = 0


class Validation(Settings):
    """Validate before the first step, every `every` steps and after the last, on at most `sequences` of each source."""

    every: Count
    sequences: Count = 64


class Guard(Settings):
    """When to skip an update.

    A loss or gradient norm is a spike if it is more than `deviations` standard deviations above the mean of the last
    `window` steps. The step is skipped, its documents are logged. The run stops after `skips` of them within a window.
    A loss or norm that is not finite stops the run at once.
    """

    deviations: Positive = 8
    window: Annotated[Count, Field(ge=8, le=10_000)] = 64
    skips: Count = 4


class Checkpoints(Settings):
    """Write a checkpoint every `every` steps and after the last. Keep the last `keep_last` and one every `keep_every`.

    `background` goes on with training while the files are written. `copy_to` is a folder, such as s3://bucket/copies,
    that gets a copy of the last `keep_last`; training goes on from there if its disk is lost. None of the keys changes
    the result.
    """

    every: Count = 50
    keep_last: Annotated[Count, Field(ge=2, le=10_000)] = 2
    keep_every: Count | None = None
    background: bool = True
    copy_to: Annotated[Text, Field(pattern=r"^(/|[a-z0-9]+://)")] | None = None

    def kept(self, steps: int) -> int:
        """How many are there after so many steps."""
        before = (steps - 1) // self.every
        older = max(before - self.keep_last + 1, 0)
        for_good = older // (self.keep_every // math.gcd(self.every, self.keep_every)) if self.keep_every else 0
        return before + 1 - older + for_good


class Training(Settings):
    """What pretraining and fine-tuning have in common.

    `recompute: full` keeps only the inputs of the layers and computes the rest again in the backward pass: less memory,
    a third more work. A run in bfloat16 must fit the memory of `gpu`, and `gap plan` takes its speed for the time.
    Training that fails resumes from the last checkpoint, at most `max_failures` times. With `wandb`, a project's name,
    the metrics are also written in the format of Weights & Biases, on disk only. With `lora`, adapters are trained, and
    the base stays as it is.
    """

    parallel: Parallel = Field(default_factory=Parallel, exclude=True)
    batch: Batch
    optimizer: Adam
    validation: Validation
    guard: Guard = Field(default_factory=Guard)
    precision: Literal["float32", "bfloat16"] = "float32"
    recompute: Recompute = Field(default="none", exclude=True)
    checkpoints: Checkpoints = Field(default_factory=Checkpoints, exclude=True)
    gpu: GpuName = Field(default="A100-80GB", exclude=True)
    max_failures: Retries = Field(default=2, exclude=True)
    wandb: Text | None = Field(default=None, exclude=True)
    lora: LoraSettings | None = Field(default=None, exclude_if=lambda lora: lora is None)

    @model_validator(mode="after")
    def _spreads(self) -> Self:
        if self.batch.total % (self.batch.micro * self.parallel.data):
            raise ValueError(
                f"batch.total {self.batch.total} must be a multiple of batch.micro {self.batch.micro} "
                f"times parallel.data {self.parallel.data}"
            )
        micro_batches = self.batch.total // (self.batch.micro * self.parallel.data)
        if self.parallel.interleave > 1 and micro_batches % self.parallel.pipeline:
            raise ValueError(
                f"parallel.pipeline {self.parallel.pipeline} must divide the {micro_batches} micro-batches of a step "
                "with interleave"
            )
        if self.optimizer.min_lr > self.optimizer.lr:
            raise ValueError(f"optimizer.min_lr {self.optimizer.min_lr} is above optimizer.lr {self.optimizer.lr}")
        return self


class Recipe(Training):
    """The section `pretrain`.

    `sequence` is the length of a training sequence in tokens. `document_mask` keeps attention within a document. A run
    with a `base` may leave out `model`: it is read from the base model's config.

    `resume_from` goes on from the last checkpoint in the folder of another training, with its optimizer and its count
    of steps. It is refused if other sequences would follow, unless `accept_changes` names what may differ.
    """

    model: Llama
    sequence: Count
    document_mask: bool = False
    steps: Count
    optimizer: AdamW
    resume_from: HomePath | None = None
    accept_changes: tuple[Literal["mixture", "sequence", "tokenizer", "batch", "seed"], ...] = Field(
        default=(), exclude=True
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        tensor, pipeline, interleave = self.parallel.tensor, self.parallel.pipeline, self.parallel.interleave
        for key, size in (("heads", self.model.heads), ("ffn", self.model.ffn)):
            if size % tensor:
                raise ValueError(f"parallel.tensor {tensor} must divide model.{key} {size}")
        # Where there are more workers than key-value heads, several workers share one.
        if self.model.kv_heads % tensor and tensor % self.model.kv_heads:
            raise ValueError(
                f"parallel.tensor {tensor} must divide model.kv_heads {self.model.kv_heads}, or be a multiple of it"
            )
        if self.model.layers % (pipeline * interleave):
            raise ValueError(
                f"parallel.pipeline {pipeline} times parallel.interleave {interleave} must divide model.layers "
                f"{self.model.layers}"
            )
        if self.parallel.sequence_parallel and self.sequence % tensor:
            raise ValueError(f"parallel.tensor {tensor} must divide sequence {self.sequence} with sequence_parallel")
        if self.model.window is not None and self.sequence > self.model.window:
            raise ValueError(
                f"sequence {self.sequence} is longer than model.window {self.model.window}; windows inside a sequence "
                "are not supported"
            )
        if VOCABULARY_MULTIPLE % tensor:
            raise ValueError(
                f"parallel.tensor {tensor} must divide {VOCABULARY_MULTIPLE}, to which vocabularies are padded"
            )
        if self.optimizer.warmup >= self.steps:
            raise ValueError(f"optimizer.warmup {self.optimizer.warmup} must be less than steps {self.steps}")
        return self

    @property
    def tokens(self) -> int:
        """The tokens of all steps, repetitions included."""
        return self.steps * self.batch.total * self.sequence


class BaseSettings(Settings):
    """The section `base`: the model to continue from.

    `path` is a Hugging Face folder with safetensors. `package` is a GGUF file in an installed Python package, written
    package/file. Exactly one of them is given. The logits of the converted model may differ from the original's by
    `tolerance` at most.
    """

    path: HomePath | None = None
    package: Text | None = None
    tolerance: Positive = 1e-3

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.path is None) == (self.package is None):
            raise ValueError("give exactly one of path and package")
        return self


class ExportSettings(Settings):
    """The section `export`: the logits of both models may differ by `tolerance` at most, on `sequences` sequences."""

    sequences: Count = 4
    tolerance: Positive = 1e-3


def padded(vocab_size: int) -> int:
    """The size of the vocabulary in Megatron: the next multiple of VOCABULARY_MULTIPLE."""
    return -(-vocab_size // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE
