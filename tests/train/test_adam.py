"""The optimizer that Megatron wraps equals torch's AdamW."""

from typing import Any

import torch

from train.adam import AdamW

SETTINGS: dict[str, Any] = {"lr": 1e-2, "betas": (0.9, 0.95), "eps": 1e-5, "weight_decay": 0.1}
STEPS = 20


def trained(optimizer: Any, **more: Any) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    params = [torch.randn(shape, generator=generator).requires_grad_() for shape in ((37, 11), (13,))]
    groups = [{"params": params[:1]}, {"params": params[1:], "weight_decay": 0.0}]
    updates = optimizer(groups, **SETTINGS, **more)
    for _ in range(STEPS):
        for param in params:
            param.grad = torch.randn(param.shape, generator=generator)
        updates.step()
    return [param.detach() for param in params]


def test_equals_the_fused_adamw_of_torch_to_the_bit() -> None:
    for ours, theirs in zip(trained(AdamW), trained(torch.optim.AdamW, fused=True), strict=True):
        assert torch.equal(ours, theirs)


def test_equals_the_reference_adamw_of_torch_to_rounding() -> None:
    for ours, theirs in zip(trained(AdamW), trained(torch.optim.AdamW, foreach=False), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)
