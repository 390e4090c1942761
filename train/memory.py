"""The memory that training takes on a GPU, by pipeline stage, after Korthikanti et al. 2022 (arXiv 2205.05198).

Their count is of GPT's layer; ours has RMSNorm, SwiGLU, grouped queries, no dropout, and attention that keeps no matrix
of scores. Below, `h` is hidden, `q` heads · head_size, `k` kv_heads · head_size, `f` ffn, `v` the padded vocabulary, `t`
parallel.tensor, and `p` is `t` with sequence_parallel, else 1.

**State**, for each weight of the rank, in bfloat16 (in float32): the weight 2 (4) bytes, its gradient summed in float32
4 (4), AdamW's moments and a float32 copy 12 (moments alone, 8). `distributed_optimizer` divides the last by
parallel.data.

**Activations** that wait for the backward pass, in values for each token and layer:

    input of the layer, input of the second norm         2 h/p
    outputs of both norms, inputs of linear_qkv, fc1     2 h/p
    queries, keys, values as linear_qkv gives them       (q + 2k)/t     values are read from it
    queries and keys, turned                             (q + k)/t
    output of attention, input of linear_proj            q/t
    output of fc1, input of fc2                          3 f/t

Further, in float32, a scale of each norm and a normaliser of each head. `recompute: full` keeps the layer's input alone,
and all of the above for one layer at a time. A stage keeps its last layer's output, too. Under 1F1B stage `i` of `n`
holds `n - i` micro-batches. With interleave `m` it holds `2 (n - i - 1) + (m - 1) n + 1` of a group of layers each; for
`i = 0` that is the paper's factor 1 + (n - 1)/(n m).

**For a moment**, the larger of: a layer's backward pass (gradients of SwiGLU's values, 3 f/t, the gathered input and its
gradient, 2 h, and a weight's gradient before it is added, 2 f h/t), and the loss (the gathered input and its gradient,
the gradient of the output matrix, v h/t, and the logits of LOSS_CHUNK tokens with their float32 gradient).
"""

from dataclasses import dataclass
from typing import Self

from train.recipe import Llama, Parallel, Recipe, padded

LOSS_CHUNK = 1024
"""Tokens whose logits the loss holds at a time."""

FLOAT32 = 4
SIZES = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True)
class Memory:
    """Bytes on a GPU. `activations` has the micro-batches that wait, and what the backward pass holds for a moment."""

    weights: float
    gradients: float
    optimizer: float
    activations: float

    @property
    def total(self) -> float:
        return self.weights + self.gradients + self.optimizer + self.activations

    @classmethod
    def of(cls, recipe: Recipe, vocab_size: int) -> Self:
        """Of the fullest stage. `vocab_size` is without padding."""
        stages = [cls.of_stage(recipe, vocab_size, stage) for stage in range(recipe.parallel.pipeline)]
        return max(stages, key=lambda memory: memory.total)

    @classmethod
    def of_stage(cls, recipe: Recipe, vocab_size: int, stage: int) -> Self:
        """Of one pipeline stage; the first is 0."""
        weights = weights_of(recipe.model, vocab_size, recipe.parallel, stage)
        copies = recipe.parallel.data if recipe.parallel.distributed_optimizer else 1
        moments = (3 if recipe.precision == "bfloat16" else 2) * FLOAT32
        return cls(
            SIZES[recipe.precision] * weights,
            FLOAT32 * weights,
            moments * weights / copies,
            _activations(recipe, stage) + max(_backward(recipe), _loss(recipe, vocab_size, stage)),
        )


def weights_of(shape: Llama, vocab_size: int, parallel: Parallel, stage: int) -> int:
    """The number of weights on a rank of this pipeline stage, those that pad the vocabulary included.

    Norms are whole on every tensor-parallel rank. Tied embeddings lie on the first and on the last stage.
    """
    queries, keys = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    biases = (queries + 2 * keys) * shape.qkv_bias
    shared = 2 * shape.hidden * (queries + keys) + biases + 3 * shape.hidden * shape.ffn
    first, last = stage == 0, stage == parallel.pipeline - 1
    embeddings = 1 if first and last and shape.tied else first + last
    matrices = shape.layers // parallel.pipeline * shared + embeddings * padded(vocab_size) * shape.hidden
    norms = shape.layers // parallel.pipeline * 2 * shape.hidden + last * shape.hidden
    return matrices // parallel.tensor + norms


def _activations(recipe: Recipe, stage: int) -> float:
    """Bytes that wait for the backward pass."""
    shape, parallel = recipe.model, recipe.parallel
    size, tokens = SIZES[recipe.precision], recipe.batch.micro * recipe.sequence
    layers = shape.layers // (parallel.pipeline * parallel.interleave)
    kept = tokens * size * shape.hidden / _spread(parallel)
    layer = tokens * _inside(recipe)
    waiting = _waiting(recipe, stage)
    if recipe.recompute == "full":
        return waiting * (layers + 1) * kept + layer
    return waiting * (layers * (kept + layer) + kept)


def _inside(recipe: Recipe) -> float:
    """Bytes for each token that a layer keeps besides its input."""
    shape, tensor, spread = recipe.model, recipe.parallel.tensor, _spread(recipe.parallel)
    queries, keys = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    values = 3 * shape.hidden / spread + (3 * queries + 3 * keys + 3 * shape.ffn) / tensor
    return SIZES[recipe.precision] * values + FLOAT32 * (2 / spread + shape.heads / tensor)


def _spread(parallel: Parallel) -> int:
    """The ranks over which norms and residuals are spread."""
    return parallel.tensor if parallel.sequence_parallel else 1


def _waiting(recipe: Recipe, stage: int) -> int:
    """How many micro-batches, each in one group of layers, wait for their backward pass at most."""
    parallel = recipe.parallel
    after, groups = parallel.pipeline - 1 - stage, parallel.interleave
    micro_batches = recipe.batch.total // (recipe.batch.micro * parallel.data)
    ahead = after if groups == 1 else 2 * after + (groups - 1) * parallel.pipeline
    return min(ahead + 1, groups * micro_batches)


def _backward(recipe: Recipe) -> float:
    """Bytes for a moment in the backward pass of a layer."""
    shape, tensor, tokens = recipe.model, recipe.parallel.tensor, recipe.batch.micro * recipe.sequence
    values = tokens * (3 * shape.ffn / tensor + 2 * shape.hidden) + 2 * shape.ffn * shape.hidden / tensor
    return SIZES[recipe.precision] * values


def _loss(recipe: Recipe, vocab_size: int, stage: int) -> float:
    """Bytes for a moment at the loss, which the last stage computes."""
    if stage != recipe.parallel.pipeline - 1:
        return 0
    tokens, ids = recipe.batch.micro * recipe.sequence, padded(vocab_size) / recipe.parallel.tensor
    size = SIZES[recipe.precision]
    logits = min(tokens, LOSS_CHUNK) * ids * (size + FLOAT32)
    return size * (2 * tokens + ids) * recipe.model.hidden + logits
