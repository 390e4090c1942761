"""The loss from the last hidden states, in chunks: the logits of a whole batch never exist."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

LOGITS_AT_ONCE = 1 << 26
"""Logits of a chunk on one rank: 256 MiB in float32."""


class _SumOfLosses(torch.autograd.Function):
    """Computes the gradients in the forward pass, so that logits are computed once (as Liger, arXiv 2410.10989)."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        labels: Tensor,
        mask: Tensor,
        vocab_size: int,
        group: dist.ProcessGroup,
        training: bool,
    ) -> Tensor:
        rows = weight.size(0)
        first = group.rank() * rows
        real = max(0, min(rows, vocab_size - first))
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        ctx.of_hidden = torch.empty_like(hidden) if training else None
        learnt = training and ctx.needs_input_grad[1]
        ctx.of_weight = torch.zeros_like(weight, dtype=torch.float32) if learnt else None
        size = max(1, LOGITS_AT_ONCE // rows)
        for start in range(0, hidden.size(0), size):
            chunk = slice(start, start + size)
            logits = (hidden[chunk] @ weight.t()).float()
            # Rows that pad the vocabulary are no tokens.
            logits[:, real:] = -torch.inf
            targets = labels[chunk] - first
            here = (targets >= 0) & (targets < real)
            targets = targets.clamp(0, rows - 1)[:, None]
            largest = logits.max(-1, keepdim=True).values
            dist.all_reduce(largest, dist.ReduceOp.MAX, group)
            logits -= largest
            wanted = torch.where(here[:, None], logits.gather(1, targets), 0)
            shares = logits.exp_()
            sums = torch.cat((wanted, shares.sum(-1, keepdim=True)), 1)
            dist.all_reduce(sums, group=group)
            losses = sums[:, 1].log() - sums[:, 0]
            total += (losses * mask[chunk]).sum()
            if training:
                shares *= (mask[chunk] / sums[:, 1])[:, None]
                shares.scatter_add_(1, targets, -(mask[chunk] * here)[:, None])
                gradient = shares.to(weight.dtype)
                ctx.of_hidden[chunk] = gradient @ weight
                if not learnt:
                    continue
                if weight.dtype == torch.float32:
                    ctx.of_weight.addmm_(gradient.t(), hidden[chunk])
                else:
                    ctx.of_weight += gradient.t() @ hidden[chunk]
        if learnt:
            ctx.of_weight = ctx.of_weight.to(weight.dtype)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        of_hidden, of_weight = ctx.of_hidden, ctx.of_weight
        ctx.of_hidden = ctx.of_weight = None
        scale = gradients[0]
        return (
            of_hidden * scale.to(of_hidden.dtype),
            None if of_weight is None else of_weight * scale.to(of_weight.dtype),
            None,
            None,
            None,
            None,
            None,
        )


def sum_of_losses(
    hidden: Tensor, weight: Tensor, labels: Tensor, mask: Tensor, vocab_size: int, group: dist.ProcessGroup
) -> Tensor:
    """The sum of the cross-entropies of `hidden` @ `weight`.T, each times its mask: a scalar in nats.

    `hidden` [tokens, hidden] is the same on all ranks of `group`, each of which has its rows of the output layer's
    `weight` [rows, hidden]. Its gradient is the part from these rows. Only the first `vocab_size` rows over all ranks
    are tokens. `labels` [tokens] are ids, `mask` [tokens] float32. A frozen weight gets no gradient. A token whose mask
    is 0 takes no logits: of questions and answers, most of the tokens are questions.
    """
    learned = mask.nonzero().squeeze(1)
    if len(learned) < len(mask):
        hidden, labels, mask = hidden[learned], labels[learned], mask[learned]
    return _SumOfLosses.apply(hidden, weight, labels, mask, vocab_size, group, torch.is_grad_enabled())


def weight_unit(most: int) -> int:
    """One in the fixed point in which Megatron, whose sum is an int32, adds up the weights of at most `most` tokens.

    Weights may be fractions. A power of two scales the gradients of whole ones exactly.
    """
    return 1 << max(0, 30 - (most - 1).bit_length())


def sums_of(mask: Tensor, unit: int, total: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The sum of weighted losses and that of the weights, both times `unit`, and both as float64 for the history."""
    weight = mask.sum()
    scaled = (weight.double() * unit).round().to(torch.int)
    return total * unit, scaled, torch.stack([total.detach().double(), weight.double()])
