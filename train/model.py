"""Build a Llama in Megatron-core from its settings, for any tensor-parallel layout."""

import warnings

import torch

from train.recipe import Llama, padded

with warnings.catch_warnings():
    # At import, Megatron warns of each optional GPU package that is missing.
    warnings.simplefilter("ignore")
    from megatron.core import parallel_state, tensor_parallel
    from megatron.core.models.gpt import GPTModel
    from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
    from megatron.core.transformer import TransformerConfig

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def initialise(tensor: int, seed: int) -> None:
    """Set up Megatron's process groups over torch's default group, and the same random state on all ranks of a copy."""
    parallel_state.initialize_model_parallel(tensor_model_parallel_size=tensor)
    torch.manual_seed(seed)
    tensor_parallel.model_parallel_cuda_manual_seed(seed)


def build(shape: Llama, vocab_size: int, sequence: int, tensor: int, precision: str) -> GPTModel:
    """A model with random weights; call `initialise` before.

    The weights depend on the seed but not on the layout: each rank draws whole matrices and keeps its slices.
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
        add_bias_linear=False,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        tensor_model_parallel_size=tensor,
        # The loss is summed over tokens and divided by their number on all workers. So masked tokens do not count, and
        # the result does not depend on how sequences are spread over micro-batches and workers.
        calculate_per_token_loss=True,
        params_dtype=DTYPES[precision],
        pipeline_dtype=DTYPES[precision],
        bf16=precision == "bfloat16",
        use_cpu_initialization=True,
        # These fused kernels exist for CUDA only.
        bias_activation_fusion=False,
        bias_dropout_fusion=False,
        masked_softmax_fusion=False,
        apply_rope_fusion=False,
        gradient_accumulation_fusion=False,
        deallocate_pipeline_outputs=False,
    )
    model = GPTModel(
        config=config,
        transformer_layer_spec=get_gpt_layer_local_spec(normalization="RMSNorm"),
        vocab_size=padded(vocab_size),
        max_sequence_length=sequence,
        share_embeddings_and_output_weights=shape.tied,
        position_embedding_type="rope",
        rotary_base=shape.rope_base,
    )
    # The norms are float32 whatever params_dtype says, but Megatron's optimizer saves weights of a single type.
    return model.to(DTYPES[precision])
