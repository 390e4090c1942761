"""What updates the weights: gradients over the copies of the model, AdamW, and its schedule."""

import warnings
from collections.abc import Sequence

import torch

from train.adam import megatron_optimizer
from train.model import DTYPES
from train.recipe import Recipe

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from megatron.core.distributed import DistributedDataParallel, DistributedDataParallelConfig
    from megatron.core.distributed.finalize_model_grads import finalize_model_grads
    from megatron.core.optimizer import MegatronOptimizer, OptimizerConfig
    from megatron.core.optimizer_param_scheduler import OptimizerParamScheduler


def distributed(recipe: Recipe, chunks: Sequence[torch.nn.Module]) -> list[DistributedDataParallel]:
    """The chunks with buffers for their gradients, which are added up over the copies of the model in float32."""
    config = chunks[0].config
    settings = DistributedDataParallelConfig(
        grad_reduce_in_fp32=True,
        use_distributed_optimizer=recipe.parallel.distributed_optimizer,
        overlap_grad_reduce=recipe.parallel.data > 1,
    )
    models = [
        DistributedDataParallel(config, settings, chunk, disable_bucketing=number > 0)
        for number, chunk in enumerate(chunks)
    ]
    config.finalize_model_grads_func = finalize_model_grads
    if settings.overlap_grad_reduce:
        config.no_sync_func = models[0].no_sync if len(models) == 1 else [model.no_sync for model in models]
    return models


def adamw(recipe: Recipe, models: list[DistributedDataParallel]) -> MegatronOptimizer:
    """AdamW in Megatron's wrapping for the precision and the layout."""
    settings = recipe.optimizer
    config = OptimizerConfig(
        optimizer="adam",
        lr=settings.lr,
        min_lr=settings.min_lr,
        weight_decay=settings.weight_decay,
        adam_beta1=settings.betas[0],
        adam_beta2=settings.betas[1],
        adam_eps=settings.eps,
        clip_grad=settings.clip,
        bf16=recipe.precision == "bfloat16",
        params_dtype=DTYPES[recipe.precision],
        use_distributed_optimizer=recipe.parallel.distributed_optimizer,
    )
    return megatron_optimizer(config, models)


def scheduler(recipe: Recipe, optimizer: MegatronOptimizer) -> OptimizerParamScheduler:
    """The learning rate: linear up to `lr` at step `warmup`, then a cosine down to `min_lr` at the last step."""
    adamw = recipe.optimizer
    return OptimizerParamScheduler(
        optimizer,
        init_lr=0.0,
        max_lr=adamw.lr,
        min_lr=adamw.min_lr,
        lr_warmup_steps=adamw.warmup,
        lr_decay_steps=recipe.steps,
        lr_decay_style="cosine",
        start_wd=adamw.weight_decay,
        end_wd=adamw.weight_decay,
        wd_incr_steps=recipe.steps,
        wd_incr_style="constant",
    )
