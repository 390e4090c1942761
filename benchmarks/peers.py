"""Other people's training loops, for comparison: bare Megatron-core, and Hugging Face transformers.

Each is the loop that their users write: accumulate gradients over micro-batches, clip at 1, AdamW. Both train a Llama
with random weights on random tokens, which does not change their speed.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import torch

from train.recipe import Llama, Recipe, padded

Step = Callable[[], float]
"""Do one step of training and return its loss."""

SMOLLM2 = Llama(layers=30, hidden=576, heads=9, kv_heads=3, head_size=64, ffn=1536, tied=True, rope_base=100_000)
SMOLLM2_VOCABULARY = 49_152
CLIP = 1.0


def _batches(recipe: Recipe, vocab_size: int, device: torch.device) -> Iterator[torch.Tensor]:
    """Micro-batches without end: token ids [micro, sequence + 1]."""
    chance = torch.Generator().manual_seed(1)
    size = (recipe.batch.micro, recipe.sequence + 1)
    while True:
        yield torch.randint(vocab_size, size, generator=chance).to(device)


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def transformers_model(shape: Llama, vocab_size: int, sequence: int) -> Any:
    """LlamaForCausalLM in float32, on the CPU, with SDPA attention."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=shape.hidden,
        intermediate_size=shape.ffn,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_size,
        max_position_embeddings=sequence,
        rms_norm_eps=shape.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": float(shape.rope_base)},
        tie_word_embeddings=shape.tied,
        attn_implementation="sdpa",
        use_cache=False,
    )
    return LlamaForCausalLM(config)


def transformers_step(recipe: Recipe, vocab_size: int) -> Step:
    """transformers with torch's fused AdamW, as its Trainer. For bfloat16: autocast over float32 weights."""
    device, shape = _device(), recipe.model
    model = transformers_model(shape, vocab_size, recipe.sequence).to(device).train()
    optimizer = _adamw(model, recipe)
    batches = _batches(recipe, vocab_size, device)
    passes = recipe.batch.total // recipe.batch.micro
    half = recipe.precision == "bfloat16"

    def step() -> float:
        total = 0.0
        optimizer.zero_grad()
        for _ in range(passes):
            ids = next(batches)
            with torch.autocast(device.type, torch.bfloat16) if half else nullcontext():
                loss = model(ids[:, :-1], labels=ids[:, 1:].contiguous(), shift_labels=ids[:, 1:].contiguous()).loss
            (loss / passes).backward()
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        return total / passes

    return step


def _adamw(model: torch.nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    adamw = recipe.optimizer
    return torch.optim.AdamW(
        model.parameters(), adamw.lr, adamw.betas, adamw.eps, weight_decay=adamw.weight_decay, fused=True
    )


def megatron_step(recipe: Recipe, vocab_size: int) -> Step:
    """Megatron-core with its own attention and norm, its DDP, optimizer and schedule.

    torch's process group must be up and has one rank. On a machine without CUDA, call both this and the step within
    `train.cpu.cudaless()`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from megatron.core import parallel_state
        from megatron.core.distributed import DistributedDataParallel, DistributedDataParallelConfig
        from megatron.core.distributed.finalize_model_grads import finalize_model_grads
        from megatron.core.optimizer import OptimizerConfig, get_megatron_optimizer
        from megatron.core.pipeline_parallel import get_forward_backward_func
        from megatron.core.tensor_parallel import model_parallel_cuda_manual_seed

    device, half = _device(), recipe.precision == "bfloat16"
    dtype = torch.bfloat16 if half else torch.float32
    parallel_state.initialize_model_parallel()
    model_parallel_cuda_manual_seed(1)
    gpt = megatron_model(recipe.model, vocab_size, recipe.sequence, dtype).to(device)
    model = DistributedDataParallel(gpt.config, DistributedDataParallelConfig(grad_reduce_in_fp32=True), gpt)
    gpt.config.finalize_model_grads_func = finalize_model_grads
    adamw = recipe.optimizer
    config = OptimizerConfig(
        optimizer="adam", lr=adamw.lr, weight_decay=adamw.weight_decay, clip_grad=CLIP, bf16=half, params_dtype=dtype
    )
    optimizer = get_megatron_optimizer(config, [model])
    gpt.config.grad_scale_func = optimizer.scale_loss
    batches = _batches(recipe, vocab_size, device)
    positions = torch.arange(recipe.sequence, device=device).expand(recipe.batch.micro, -1)
    schedule = get_forward_backward_func()

    def forward(data: Iterator[torch.Tensor], model: torch.nn.Module) -> tuple[torch.Tensor, Callable[..., Any]]:
        ids = next(data)
        return model(ids[:, :-1].contiguous(), positions, None, labels=ids[:, 1:].contiguous()), mean

    def mean(losses: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        loss = losses.float().mean()
        # The schedule divides `loss` in place.
        return loss, {"loss": loss.detach().clone()}

    def step() -> float:
        model.zero_grad_buffer()
        optimizer.zero_grad()
        losses = schedule(
            forward_step_func=forward,
            data_iterator=batches,
            model=[model],
            num_microbatches=recipe.batch.total // recipe.batch.micro,
            seq_length=recipe.sequence,
            micro_batch_size=recipe.batch.micro,
            forward_only=False,
        )
        optimizer.step()
        return sum(float(one["loss"]) for one in losses) / len(losses)

    return step


def megatron_model(shape: Llama, vocab_size: int, sequence: int, dtype: torch.dtype) -> Any:
    """GPTModel of Megatron's local specification, which needs neither Transformer Engine nor Apex."""
    from megatron.core.models.gpt import GPTModel
    from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
    from megatron.core.transformer import TransformerConfig

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
        params_dtype=dtype,
        pipeline_dtype=dtype,
        bf16=dtype == torch.bfloat16,
        use_cpu_initialization=True,
        # Fused kernels that Megatron has for CUDA only, some with Apex only.
        bias_activation_fusion=torch.cuda.is_available(),
        bias_dropout_fusion=torch.cuda.is_available(),
        masked_softmax_fusion=False,
        apply_rope_fusion=False,
        gradient_accumulation_fusion=False,
    )
    return GPTModel(
        config=config,
        transformer_layer_spec=get_gpt_layer_local_spec(normalization="RMSNorm"),
        vocab_size=padded(vocab_size),
        max_sequence_length=sequence,
        share_embeddings_and_output_weights=shape.tied,
        position_embedding_type="rope",
        rotary_base=shape.rope_base,
    ).to(dtype)
