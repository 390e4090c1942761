"""The memory that training takes on a GPU, by pipeline stage, after Korthikanti et al. 2022 (arXiv 2205.05198).

They count GPT's layer. Ours has RMSNorm, SwiGLU and grouped queries, no dropout, and attention that keeps no matrix of
scores. Below, `h` is hidden, `q` heads · head_size, `k` kv_heads · head_size, `f` ffn, `v` the padded vocabulary, `t`
parallel.tensor, and `p` is `t` with sequence_parallel, else 1.

**State**, for each weight of the rank, in bfloat16 (in float32): the weight takes 2 (4) bytes, its gradient, summed in
float32, 4 (4), AdamW's moments and a float32 copy 12 (the moments alone, 8). `distributed_optimizer` divides the last
by parallel.data. With LoRA, all weights take the first, and adapters alone the others.

**Activations** wait for the backward pass. In values for each token and layer they are

    input of the layer, input of the second norm          2 h/p
    outputs of both norms: inputs of linear_qkv and fc1   2 h/p
    queries, keys, values as linear_qkv gives them        (q + 2k)/t    values are read from there
    queries and keys, turned                              (q + k)/t
    output of attention: input of linear_proj             q/t
    output of fc1, input of fc2                           3 f/t

and, in float32, a scale for each norm and a normaliser for each head. `recompute: full` keeps the input of the layer
alone, and all of the above for one layer at a time. A stage keeps the output of its last layer, too. Under 1F1B stage
`i` of `n` holds `n - i` micro-batches. With interleave `m` it holds `2 (n - i - 1) + (m - 1) n + 1`, of a group of
layers each; for `i = 0` that is the paper's factor 1 + (n - 1)/(n m).

A frozen weight needs no input for its gradient. So with LoRA the output of a norm, or the input of linear_fc2, is kept
only where a target reads it; attention keeps its output in any case. Each target of rank `r` adds A x, of `r` values
for each token: `r/p` if o_proj or down_proj. For each micro-batch, linear_qkv and fc1 keep B for each of their targets,
spread over the rows of all.

**For a moment**, there are the larger of two. A layer's backward pass has the gradients of what SwiGLU reads and gives,
3 f/t, the gathered input and its gradient, 2 h, and a weight's gradient before it is added, 2 f h/t. The loss has the
output of the last norm, the gathered input and its gradient, h/p + 2 h, the gradient of the output layer, v h/t, in
float32 and in the weights' type, and the float32 logits of a chunk with their gradient. What is frozen has no gradient.
AdamW's step is fused and takes nothing.
"""

from dataclasses import dataclass
from typing import Self

from train.lora import ROW, LoraSettings
from train.recipe import Llama, Parallel, Recipe, padded

LOGITS_AT_ONCE = 1 << 26
"""Logits that a rank holds at a time; the loss goes through the tokens in chunks."""

FLOAT32 = 4
SIZES = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True)
class Memory:
    """Bytes on a GPU. `activations` are those that wait, with the most that is there for a moment."""

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
        trained = weights
        if recipe.lora is not None:
            trained = adapters_of(recipe.model, recipe.lora, recipe.parallel)
            weights += trained
        copies = recipe.parallel.data if recipe.parallel.distributed_optimizer else 1
        return cls(
            SIZES[recipe.precision] * weights,
            FLOAT32 * trained,
            (3 if recipe.precision == "bfloat16" else 2) * FLOAT32 * trained / copies,
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


def adapters_of(shape: Llama, lora: LoraSettings, parallel: Parallel) -> int:
    """The number of LoRA's weights on a rank, with the rows of B for matrices that share a layer with a target."""
    count = 0
    for layer, (columns, rows) in _linears(shape).items():
        if targets := lora.within(layer):
            narrow, wide = len(targets) * lora.rank * columns, lora.rank * rows
            count += narrow // parallel.tensor + wide if layer in ROW else narrow + wide // parallel.tensor
    return shape.layers // parallel.pipeline * count


def _linears(shape: Llama) -> dict[str, tuple[int, int]]:
    """The columns and rows of a layer's matrices as Megatron stacks them."""
    queries, keys = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    return {
        "linear_qkv": (shape.hidden, queries + 2 * keys),
        "linear_proj": (queries, shape.hidden),
        "linear_fc1": (shape.hidden, 2 * shape.ffn),
        "linear_fc2": (shape.ffn, shape.hidden),
    }


def _activations(recipe: Recipe, stage: int) -> float:
    """Bytes that wait for the backward pass."""
    shape, parallel = recipe.model, recipe.parallel
    size, tokens = SIZES[recipe.precision], recipe.batch.micro * recipe.sequence
    layers = shape.layers // (parallel.pipeline * parallel.interleave)
    kept = tokens * size * shape.hidden / _spread(parallel)
    layer = tokens * _inside(recipe) + size * _widened(recipe)
    waiting = _waiting(recipe, stage)
    if recipe.recompute == "full":
        return waiting * (layers + 1) * kept + layer
    return waiting * (layers * (kept + layer) + kept)


def _inside(recipe: Recipe) -> float:
    """Bytes for each token that a layer keeps besides its input."""
    shape, tensor, spread = recipe.model, recipe.parallel.tensor, _spread(recipe.parallel)
    queries, keys = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    values = 3 * shape.hidden / spread + (3 * queries + 3 * keys + 3 * shape.ffn) / tensor
    if recipe.lora is not None:
        inputs = {
            "linear_qkv": shape.hidden / spread,
            "linear_fc1": shape.hidden / spread,
            "linear_fc2": shape.ffn / tensor,
        }
        for layer in _linears(shape):
            targets = len(recipe.lora.within(layer))
            values += targets * recipe.lora.rank / (spread if layer in ROW else 1)
            values -= 0 if targets else inputs.get(layer, 0)
    return SIZES[recipe.precision] * values + FLOAT32 * (2 / spread + shape.heads / tensor)


def _widened(recipe: Recipe) -> int:
    """Values that a layer keeps for each micro-batch: B of stacked matrices, by row and target."""
    if recipe.lora is None:
        return 0
    return sum(
        len(recipe.lora.within(layer)) * recipe.lora.rank * rows // recipe.parallel.tensor
        for layer, (_, rows) in _linears(recipe.model).items()
        if layer not in ROW
    )


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
    weight = 2 * shape.ffn * shape.hidden / tensor if recipe.lora is None else _widened(recipe)
    return SIZES[recipe.precision] * (tokens * (3 * shape.ffn / tensor + 2 * shape.hidden) + weight)


def _loss(recipe: Recipe, vocab_size: int, stage: int) -> float:
    """Bytes for a moment at the loss, which the last stage computes."""
    if stage != recipe.parallel.pipeline - 1:
        return 0
    shape, size = recipe.model, SIZES[recipe.precision]
    tokens, ids = recipe.batch.micro * recipe.sequence, padded(vocab_size) / recipe.parallel.tensor
    hidden = size * tokens * (1 / _spread(recipe.parallel) + 2) * shape.hidden
    weight = ids * shape.hidden if recipe.lora is None else 0
    return hidden + (FLOAT32 + size) * (weight + min(tokens * ids, LOGITS_AT_ONCE))
