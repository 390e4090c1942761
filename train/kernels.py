"""The parts of a layer that decide its speed: attention, rotary positions, RMSNorm, SwiGLU.

Megatron-core has these in Transformer Engine, which cannot be installed from PyPI. Here they come from torch alone.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

LLAMA_3_CONTEXT, LLAMA_3_LOW, LLAMA_3_HIGH = 8192, 1.0, 4.0
"""Llama 3's constants for stretched positions: its first context, and the turns in it between which they blend."""

BACKENDS = [
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
]
"""The kernels of attention, the fastest on Hopper first. A CPU has the second and the last."""


def fused(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Compile an elementwise function for CUDA, where one kernel saves most of the memory traffic."""
    compiled = torch.compile(function, dynamic=False)

    def call(first: Tensor, *others: Any) -> Tensor:
        return (compiled if first.is_cuda else function)(first, *others)

    return call


class RMSNorm(torch.nn.Module):
    """x / rms(x) * weight over the last dimension (Zhang & Sennrich 2019, arXiv 1910.07467).

    Its weight is marked, so that Megatron adds up its gradient over ranks that hold different parts of the sequence.
    """

    def __init__(self, config: Any, hidden_size: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = torch.nn.Parameter(torch.ones(hidden_size, dtype=config.params_dtype))
        self.weight.sequence_parallel = config.sequence_parallel

    def forward(self, hidden: Tensor) -> Tensor:
        return functional.rms_norm(hidden, self.weight.shape, self.weight, self.eps)


@fused
def _swiglu(stacked: Tensor) -> Tensor:
    gate, up = stacked.chunk(2, -1)
    return functional.silu(gate) * up


@fused
def _swiglu_backward(gradient: Tensor, stacked: Tensor) -> Tensor:
    gate, up = stacked.chunk(2, -1)
    return torch.cat((torch.ops.aten.silu_backward(gradient * up, gate), gradient * functional.silu(gate)), -1)


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, stacked: Tensor) -> Tensor:
        ctx.save_for_backward(stacked)
        return _swiglu(stacked)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _swiglu_backward(gradients[0], *ctx.saved_tensors)


def swiglu(stacked: Tensor) -> Tensor:
    """silu(gate) * up, of [..., 2 * ffn] with gate stacked on up (Shazeer 2020, arXiv 2002.05202).

    Only the input is kept for the backward pass.
    """
    return _SwiGLU.apply(stacked)


@lru_cache(maxsize=4)
def rotations(
    head_size: int, base: int, factor: float | None, length: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """The cosines and sines of the rotary positions: float32 [length, 1, 1, head_size / 2].

    After Su et al. 2021, arXiv 2104.09864. With a `factor`, long wavelengths are stretched as in Llama 3.1.
    """
    with torch.device(device):
        frequencies = 1.0 / base ** (torch.arange(0, head_size, 2, dtype=torch.float32) / head_size)
        if factor is not None:
            turns = LLAMA_3_CONTEXT * frequencies / (2 * math.pi)
            kept = ((turns - LLAMA_3_LOW) / (LLAMA_3_HIGH - LLAMA_3_LOW)).clamp(0, 1)
            frequencies = frequencies * (kept + (1 - kept) / factor)
        angles = torch.outer(torch.arange(length, dtype=torch.float32), frequencies)[:, None, None, :]
        return angles.cos(), angles.sin()


@fused
def _rotated(heads: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    first, second = heads.float().chunk(2, -1)
    return torch.cat((first * cosines - second * sines, second * cosines + first * sines), -1).to(heads.dtype)


class _Rotate(torch.autograd.Function):
    """Its backward pass is the rotation back, which needs nothing of the input."""

    @staticmethod
    def forward(ctx: Any, heads: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        ctx.save_for_backward(cosines, sines)
        return _rotated(heads, cosines, sines)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        cosines, sines = ctx.saved_tensors
        return _rotated(gradients[0], cosines, -sines), None, None


class Attention(torch.nn.Module):
    """Megatron's core attention, with rotary positions, on torch's scaled-dot-product kernels.

    It takes the place of DotProductAttention, whose memory is quadratic in the sequence. Megatron's attention mask is
    None, or the bounds of documents: int32 [documents + 1], the positions in the flattened [batch, sequence] where
    documents begin, and its size. Then a token attends to its own document only, and positions begin anew in each.
    """

    def __init__(self, base: int, factor: float | None, config: Any, **_: Any) -> None:
        super().__init__()
        self.base, self.factor, self.head_size = base, factor, config.kv_channels

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, *_: Any, **__: Any
    ) -> Tensor:
        """Of query [sequence, batch, heads, head size], and key and value with their heads."""
        length, batch = query.shape[:2]
        turned = rotations(self.head_size, self.base, self.factor, length, query.device)
        if attention_mask is not None:
            anew = positions(attention_mask, batch, length).t()
            turned = turned[0][anew, 0], turned[1][anew, 0]
        query, key = _Rotate.apply(query, *turned), _Rotate.apply(key, *turned)
        if attention_mask is not None and query.is_cuda:
            output = _within_documents_on_cuda(query, key, value, attention_mask)
        else:
            mask = None if attention_mask is None else document_mask(attention_mask, batch, length)
            with sdpa_kernel(BACKENDS, set_priority=True):
                output = functional.scaled_dot_product_attention(
                    query.permute(1, 2, 0, 3),
                    key.permute(1, 2, 0, 3),
                    value.permute(1, 2, 0, 3),
                    attn_mask=mask,
                    is_causal=mask is None,
                    enable_gqa=query.size(2) != key.size(2),
                ).permute(2, 0, 1, 3)
        return output.reshape(*output.shape[:2], -1)


def document_mask(bounds: Tensor, batch: int, length: int) -> Tensor:
    """Block-diagonal and causal: bool [batch, 1, length, length], True where the second position is attended to."""
    documents = _documents(bounds, batch * length).view(batch, 1, length)
    same = documents[..., :, None] == documents[..., None, :]
    return same & torch.ones(length, length, dtype=torch.bool, device=bounds.device).tril()


def positions(bounds: Tensor, batch: int, length: int) -> Tensor:
    """Each token's place in its document: int32 [batch, length]."""
    places = torch.arange(batch * length, device=bounds.device, dtype=bounds.dtype)
    return (places - bounds[_documents(bounds, batch * length) - 1]).view(batch, length)


def _documents(bounds: Tensor, tokens: int) -> Tensor:
    """The number of each token's document, from 1 on: int64 [tokens]."""
    return torch.bucketize(torch.arange(tokens, device=bounds.device, dtype=bounds.dtype), bounds, right=True)


def _within_documents_on_cuda(query: Tensor, key: Tensor, value: Tensor, bounds: Tensor) -> Tensor:
    """The same by FlashAttention's kernel for sequences of several lengths, whose time is linear in the documents."""
    from torch.nn.attention.varlen import varlen_attn

    length, batch = query.shape[:2]
    query, key, value = (heads.transpose(0, 1).flatten(0, 1) for heads in (query, key, value))
    grouped = query.size(1) != key.size(1)
    output = varlen_attn(query, key, value, bounds, bounds, length, length, window_size=(-1, 0), enable_gqa=grouped)
    assert isinstance(output, Tensor)
    return output.unflatten(0, (batch, length)).transpose(0, 1)
