"""AdamW in the form that Megatron's optimizers wrap and its distributed optimizer can spread, save and load."""

import warnings
from typing import Any
from unittest.mock import patch

import torch
from torch.optim import Optimizer

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from megatron.core import optimizer as megatron
    from megatron.core.distributed import DistributedDataParallel
    from megatron.core.optimizer import MegatronOptimizer, OptimizerConfig, distrib_optimizer


class AdamW(Optimizer):
    """torch.optim.AdamW(fused=True) to the bit, with one `step` in each parameter group.

    torch keeps a step for each parameter. The distributed optimizer cuts parameters into pieces, gathers and moves
    them; it expects the layout of Apex' FusedAdam, in which only tensors of a parameter's shape are its state. So does
    `train.checkpoint`. `adam_w_mode` is what Megatron passes to FusedAdam; it must be True.
    """

    def __init__(
        self,
        params: Any,
        lr: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
        adam_w_mode: bool = True,
    ) -> None:
        if not adam_w_mode:
            raise ValueError("AdamW decouples the weight decay from the gradient; adam_w_mode must be True")
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "step": 0})

    @torch.no_grad()
    def step(self) -> None:
        """Update all parameters that have a gradient. Megatron passes no closure."""
        for group in self.param_groups:
            group["step"] += 1
            params = [param for param in group["params"] if param.grad is not None]
            if not params:
                continue
            states = [self.state_of(param) for param in params]
            step = torch.full((), float(group["step"]), dtype=torch.float32, device=params[0].device)
            beta1, beta2 = group["betas"]
            torch._fused_adamw_(
                params,
                [param.grad for param in params],
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
                [],
                [step] * len(params),
                lr=group["lr"],
                beta1=beta1,
                beta2=beta2,
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                amsgrad=False,
                maximize=False,
            )

    def state_of(self, param: torch.Tensor) -> dict[str, torch.Tensor]:
        """The moments of a parameter; zeros before its first update."""
        state: dict[str, torch.Tensor] = self.state[param]
        if not state:
            state["exp_avg"] = torch.zeros_like(param, memory_format=torch.preserve_format)
            state["exp_avg_sq"] = torch.zeros_like(param, memory_format=torch.preserve_format)
        return state


def megatron_optimizer(config: OptimizerConfig, chunks: list[DistributedDataParallel]) -> MegatronOptimizer:
    """Megatron's optimizer over model chunks: plain, mixed-precision or distributed, as `config` says.

    Megatron takes the fused Adam of Transformer Engine or Apex, else torch's, when its modules are imported. Within
    this call the class above stands in for either, so that every machine runs the same update.
    """
    with (
        patch.object(megatron, "Adam", AdamW),
        patch.object(megatron, "USING_PYTORCH_OPTIMIZER", False),
        patch.object(distrib_optimizer, "Adam", AdamW),
    ):
        return megatron.get_megatron_optimizer(config, chunks)
