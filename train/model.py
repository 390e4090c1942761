"""Build a Llama in Megatron-core from its settings, for any layout of workers."""

import hashlib
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch

from train.adapters import adapt
from train.kernels import Attention, RMSNorm, swiglu
from train.lora import A, B, LoraSettings, is_adapter
from train.loss import sum_of_losses
from train.recipe import Llama, Parallel, Recompute, padded

with warnings.catch_warnings():
    # At import, Megatron warns of each optional GPU package that is missing.
    warnings.simplefilter("ignore")
    from megatron.core import parallel_state, tensor_parallel
    from megatron.core.models.gpt import GPTModel
    from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
    from megatron.core.transformer import TransformerConfig
    from megatron.core.transformer.transformer_block import TransformerBlockSubmodules, get_num_layers_to_build

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

SPREAD = 0.02
"""The standard deviation of new weights."""


def initialise(parallel: Parallel, seed: int) -> None:
    """Set up Megatron's process groups over torch's default group, and the same random state on all ranks of a copy."""
    parallel_state.initialize_model_parallel(
        tensor_model_parallel_size=parallel.tensor,
        pipeline_model_parallel_size=parallel.pipeline,
        virtual_pipeline_model_parallel_size=parallel.interleave if parallel.interleave > 1 else None,
    )
    torch.manual_seed(seed)
    tensor_parallel.model_parallel_cuda_manual_seed(seed)


class Decoder(GPTModel):
    """Megatron's GPTModel whose loss is a sum in chunks. Without labels it returns the logits, padding included."""

    tokens: int
    """The size of the vocabulary without padding."""

    def _postprocess(self, hidden_states: torch.Tensor, labels: Any = None, loss_mask: Any = None, **rest: Any) -> Any:
        if labels is None or not self.post_process:
            return super()._postprocess(hidden_states=hidden_states, labels=labels, loss_mask=loss_mask, **rest)
        group = self.pg_collection.tp
        # Their backward passes add up the parts of the gradient that come from each rank's rows of the output layer.
        if self.config.sequence_parallel:
            hidden = tensor_parallel.gather_from_sequence_parallel_region(hidden_states, group=group)
        else:
            hidden = tensor_parallel.copy_to_tensor_model_parallel_region(hidden_states, group=group)
        tied = self.share_embeddings_and_output_weights
        weight = self.shared_embedding_or_output_weight() if tied else self.output_layer.weight
        labels, loss_mask = (field.t().flatten() for field in (labels, loss_mask))
        return sum_of_losses(hidden.flatten(0, 1), weight, labels, loss_mask, self.tokens, group)


def build(
    shape: Llama,
    vocab_size: int,
    sequence: int,
    parallel: Parallel,
    precision: str,
    recompute: Recompute = "none",
    lora: LoraSettings | None = None,
) -> list[Decoder]:
    """This rank's part of the model: one chunk, or `parallel.interleave` of them. Call `initialise` before.

    The weights are to be drawn by `draw_weights` or loaded. With `lora`, adapters are trained and all else is frozen.
    """
    config = TransformerConfig(
        num_layers=shape.layers,
        hidden_size=shape.hidden,
        ffn_hidden_size=shape.ffn,
        num_attention_heads=shape.heads,
        num_query_groups=shape.kv_heads,
        kv_channels=shape.head_size,
        normalization="RMSNorm",
        layernorm_epsilon=shape.norm_eps,
        activation_func=torch.nn.functional.silu,
        gated_linear_unit=True,
        # Megatron's word for an activation that the layer's specification names.
        use_te_activation_func=True,
        add_bias_linear=False,
        add_qkv_bias=shape.qkv_bias,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        tensor_model_parallel_size=parallel.tensor,
        pipeline_model_parallel_size=parallel.pipeline,
        virtual_pipeline_model_parallel_size=parallel.interleave if parallel.interleave > 1 else None,
        sequence_parallel=parallel.sequence_parallel and parallel.tensor > 1,
        # The loss is summed over tokens and divided by their number on all workers. So masked tokens do not count, and
        # the result does not depend on how sequences are spread over micro-batches and workers.
        calculate_per_token_loss=True,
        params_dtype=DTYPES[precision],
        pipeline_dtype=DTYPES[precision],
        bf16=precision == "bfloat16",
        # Sent in a batch, what two neighbours in a pipeline of two send each other both ways would be mixed up.
        batch_p2p_comm=False,
        overlap_p2p_comm=parallel.interleave > 1,
        use_cpu_initialization=True,
        recompute_granularity="full" if recompute == "full" else None,
        recompute_method="uniform" if recompute == "full" else None,
        recompute_num_layers=1 if recompute == "full" else None,
        # These kernels of Megatron exist for CUDA only, or only with Transformer Engine or Apex.
        bias_activation_fusion=False,
        bias_dropout_fusion=False,
        masked_softmax_fusion=False,
        apply_rope_fusion=False,
        gradient_accumulation_fusion=False,
        deallocate_pipeline_outputs=False,
    )
    chunks = []
    for number in range(parallel.interleave):
        stage = number if parallel.interleave > 1 else None
        chunk = Decoder(
            config=config,
            transformer_layer_spec=_layers(shape, get_num_layers_to_build(config, stage), lora),
            vocab_size=padded(vocab_size),
            max_sequence_length=sequence,
            pre_process=parallel_state.is_pipeline_first_stage(False, stage),
            post_process=parallel_state.is_pipeline_last_stage(False, stage),
            share_embeddings_and_output_weights=shape.tied,
            # The core attention turns queries and keys by their positions.
            position_embedding_type="none",
            vp_stage=stage,
        )
        chunk.tokens = vocab_size
        if lora is not None:
            _freeze(chunk)
        chunks.append(chunk)
    return chunks


def _layers(shape: Llama, number: int, lora: LoraSettings | None) -> TransformerBlockSubmodules:
    layer = get_gpt_layer_local_spec(normalization="RMSNorm")
    parts = layer.submodules
    parts.input_layernorm = parts.pre_mlp_layernorm = RMSNorm
    parts.self_attention.submodules.core_attention = partial(Attention, shape.rope_base, shape.rope_factor)
    parts.mlp.submodules.activation_func = swiglu
    if lora is not None:
        adapt(parts, shape, lora)
    return TransformerBlockSubmodules([layer] * number, RMSNorm)


def _freeze(chunk: Decoder) -> None:
    """Leave only the adapters to train."""
    for name, weight in chunk.named_parameters():
        weight.requires_grad_(is_adapter(name))
    if chunk.pre_process and chunk.config.recompute_granularity == "full":
        # A layer is computed again for the backward pass only if its input wants a gradient.
        chunk.embedding.register_forward_hook(lambda _, __, hidden: hidden.requires_grad_())


def named_weights(chunk: GPTModel) -> Iterator[tuple[str, torch.nn.Parameter]]:
    """The chunk's weights by the names they have in the whole model."""
    for name, weight in chunk.named_parameters():
        if name.startswith("decoder.layers."):
            _, _, local, rest = name.split(".", 3)
            name = f"decoder.layers.{chunk.decoder.layers[int(local)].layer_number - 1}.{rest}"
        yield name, weight


@torch.no_grad()
def draw_weights(chunks: Sequence[GPTModel], seed: int) -> None:
    """Fill the model with random weights, which depend on the seed and their names but not on the layout.

    Matrices are normal with a deviation of SPREAD, of SPREAD / √(2 layers) where they write into the residual stream
    (GPT-2), norms are 1, biases 0. Adapters are drawn by `draw_adapters`.
    """
    for chunk in chunks:
        for name, weight in named_weights(chunk):
            if name.endswith("norm.weight"):
                weight.fill_(1)
                continue
            if name.endswith(".bias"):
                weight.zero_()
                continue
            if is_adapter(name):
                continue
            if name == "output_layer.weight" and chunk.share_embeddings_and_output_weights:
                name = "embedding.word_embeddings.weight"
            residual = name.endswith(("linear_proj.weight", "linear_fc2.weight"))
            spread = SPREAD / math.sqrt(2 * chunk.config.num_layers) if residual else SPREAD
            _draw(weight, seed, name, partial(torch.nn.init.normal_, std=spread))
    draw_adapters(chunks, seed)


@torch.no_grad()
def draw_adapters(chunks: Sequence[GPTModel], seed: int) -> None:
    """Start the adapters, if there are any: A is uniform within ± 1 / √in, as in peft, and B is 0.

    After Hu et al. 2021, section 4.1. They do not depend on the layout.
    """
    for chunk in chunks:
        for name, weight in named_weights(chunk):
            if name.endswith(B):
                weight.zero_()
            elif name.endswith(A):
                _draw(weight, seed, name, partial(torch.nn.init.kaiming_uniform_, a=math.sqrt(5)))


def _draw(weight: torch.Tensor, seed: int, name: str, fill: Callable[..., torch.Tensor]) -> None:
    """Draw the whole matrix and keep this rank's part."""
    group = parallel_state.get_tensor_model_parallel_group()
    drawn = hashlib.sha256(f"{seed} {name}".encode()).digest()
    chance = torch.Generator().manual_seed(int.from_bytes(drawn[:8], "little", signed=True))
    whole = list(weight.shape)
    if not getattr(weight, "tensor_model_parallel", False):
        weight.copy_(fill(torch.empty(whole, device="cpu"), generator=chance))
        return
    dim, stride = weight.partition_dim, weight.partition_stride
    whole[dim] *= group.size()
    matrix = fill(torch.empty(whole, device="cpu"), generator=chance)
    # Stacked matrices, such as gate on up, are cut one by one.
    parts = [part.chunk(group.size(), dim)[group.rank()] for part in matrix.chunk(stride, dim)]
    weight.copy_(torch.cat(parts, dim))
