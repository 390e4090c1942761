"""Parts of the GPU benchmark without training: the kernels of a layer, each timed alone, and the document mask."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from train.history import Row
from train.kernels import Attention, RMSNorm, document_mask, swiglu
from train.loss import sum_of_losses

REPEATS = 10


def _place() -> dict[str, Any]:
    cuda = torch.cuda.is_available()
    return {"device": "cuda" if cuda else "cpu", "dtype": torch.bfloat16 if cuda else torch.float32}


def _measured(name: str, function: Callable[..., Tensor], *inputs: Tensor) -> Row:
    """Milliseconds of a forward and a backward pass, and the memory that they take at most beside what was there.

    A kernel that this machine lacks has its reason in place of figures.
    """
    cuda = torch.cuda.is_available()
    leaves = [one.detach().requires_grad_(one.is_floating_point()) for one in inputs]
    differentiable = [one for one in leaves if one.requires_grad]

    def once() -> None:
        torch.autograd.grad(function(*leaves).float().sum(), differentiable)

    try:
        once()
        once()
        if cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        before, started = torch.cuda.memory_allocated() if cuda else 0, perf_counter()
        for _ in range(REPEATS):
            once()
        if cuda:
            torch.cuda.synchronize()
    except Exception as error:  # noqa: BLE001 - compilers and kernels fail in their own ways
        return {"kernel": name, "failed": str(error).strip().splitlines()[-1][:120]}
    row: Row = {"kernel": name, "ms": round((perf_counter() - started) / REPEATS * 1e3, 3)}
    if cuda:
        row["peak_mb"] = round((torch.cuda.max_memory_allocated() - before) / 1e6)
    return row


def ladder(tiny: bool) -> list[Row]:
    """Attention, norm, SwiGLU and loss of one layer of Llama 3.2 1B at 4,096 tokens, from plain to fused."""
    sequence, heads, groups, size, hidden, ffn, vocab_size = (
        (64, 4, 2, 16, 64, 128, 512) if tiny else (4096, 32, 8, 64, 2048, 8192, 128_256)
    )
    torch.manual_seed(1)
    place = _place()
    query = torch.randn(sequence, 1, heads, size, **place)
    key, value = (torch.randn(sequence, 1, groups, size, **place) for _ in range(2))
    stacked, states = torch.randn(sequence, 2 * ffn, **place), torch.randn(sequence, hidden, **place)
    output = torch.randn(vocab_size, hidden, **place)
    labels = torch.randint(vocab_size, (sequence,), device=place["device"])
    mask = torch.ones(sequence, device=place["device"])
    norm = RMSNorm(SimpleNamespace(params_dtype=place["dtype"], sequence_parallel=False), hidden, 1e-5).to(
        place["device"]
    )
    dist.init_process_group("nccl" if query.is_cuda else "gloo", store=dist.HashStore(), rank=0, world_size=1)
    group = dist.group.WORLD
    try:
        return [
            _measured("attention: Megatron's own", _of_megatron(heads, groups, size), query, key, value),
            *(
                _measured(f"attention: SDPA, {backend.name}", partial(_sdpa, backend), query, key, value)
                for backend in (
                    SDPBackend.MATH,
                    SDPBackend.EFFICIENT_ATTENTION,
                    SDPBackend.FLASH_ATTENTION,
                    SDPBackend.CUDNN_ATTENTION,
                )
            ),
            _measured("attention: ours, with rotary positions", _ours(size), query, key, value),
            _measured("norm: plain", _plain_norm, states, norm.weight),
            _measured("norm: plain, compiled", torch.compile(_plain_norm), states, norm.weight),
            _measured("norm: ours, torch's fused", norm, states),
            _measured("SwiGLU: plain", _plain_swiglu, stacked),
            _measured("SwiGLU: plain, compiled", torch.compile(_plain_swiglu), stacked),
            _measured("SwiGLU: ours", swiglu, stacked),
            _measured("loss: all logits", partial(_plain_loss, labels), states, output),
            _measured("loss: all logits, compiled", torch.compile(partial(_plain_loss, labels)), states, output),
            _measured("loss: torch's linear_cross_entropy", partial(_chunked_by_torch, labels), states, output),
            _measured("loss: Liger's", partial(_of_liger, labels), states, output),
            _measured(
                "loss: ours, in chunks",
                lambda hidden, weight: sum_of_losses(hidden, weight, labels, mask, vocab_size, group),
                states,
                output,
            ),
        ]
    finally:
        dist.destroy_process_group()


def _sdpa(backend: SDPBackend, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    with sdpa_kernel(backend):
        return functional.scaled_dot_product_attention(
            query.permute(1, 2, 0, 3),
            key.permute(1, 2, 0, 3),
            value.permute(1, 2, 0, 3),
            attn_mask=mask,
            is_causal=mask is None,
            enable_gqa=True,
        )


def _of_megatron(heads: int, groups: int, size: int) -> Callable[..., Tensor]:
    """Megatron's attention is made when it is called, so that a failure is told of it alone."""
    from megatron.core import parallel_state
    from megatron.core.tensor_parallel import model_parallel_cuda_manual_seed
    from megatron.core.transformer import TransformerConfig
    from megatron.core.transformer.dot_product_attention import DotProductAttention
    from megatron.core.transformer.enums import AttnMaskType

    from train.cpu import cudaless

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        with cudaless():
            if not parallel_state.model_parallel_is_initialized():
                parallel_state.initialize_model_parallel()
                model_parallel_cuda_manual_seed(1)
            config = TransformerConfig(
                num_layers=1,
                hidden_size=heads * size,
                num_attention_heads=heads,
                num_query_groups=groups,
                kv_channels=size,
                attention_dropout=0.0,
                masked_softmax_fusion=False,
                use_cpu_initialization=True,
            )
            attention = DotProductAttention(config, 1, AttnMaskType.causal, "self")
            return attention(query, key, value, None)

    return attend


def _ours(size: int) -> Callable[..., Tensor]:
    attention = Attention(500_000, None, SimpleNamespace(kv_channels=size))
    return lambda query, key, value: attention(query, key, value, None)


def _plain_norm(states: Tensor, weight: Tensor) -> Tensor:
    wide = states.float()
    return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-5)).to(states.dtype) * weight


def _plain_swiglu(stacked: Tensor) -> Tensor:
    gate, up = stacked.chunk(2, -1)
    return functional.silu(gate) * up


def _plain_loss(labels: Tensor, states: Tensor, output: Tensor) -> Tensor:
    return functional.cross_entropy((states @ output.t()).float(), labels, reduction="sum")


def _chunked_by_torch(labels: Tensor, states: Tensor, output: Tensor) -> Tensor:
    return functional.linear_cross_entropy(states, output, labels, reduction="sum")


def _of_liger(labels: Tensor, states: Tensor, output: Tensor) -> Tensor:
    from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy

    return liger_fused_linear_cross_entropy(states, output, labels, reduction="sum")


def documents(tiny: bool) -> list[Row]:
    """A sequence of several documents: the masked attention, each document alone, and the kernels' times."""
    sequence, heads, groups, size = (64, 4, 2, 16) if tiny else (4096, 32, 8, 64)
    bounds = [0, sequence // 8, sequence // 2, sequence // 2 + 3, sequence]
    torch.manual_seed(1)
    place = _place()
    query = torch.randn(sequence, 1, heads, size, **place)
    key, value = (torch.randn(sequence, 1, groups, size, **place) for _ in range(2))
    packed = torch.tensor(bounds, dtype=torch.int32, device=place["device"])
    attention = Attention(500_000, None, SimpleNamespace(kv_channels=size))
    masked = attention(query, key, value, packed)
    # Rotary positions are relative, so a document may begin at any.
    alone = torch.cat(
        [attention(query[start:end], key[start:end], value[start:end], None) for start, end in pairwise(bounds)]
    )
    block = document_mask(packed, 1, sequence)
    backend = SDPBackend.EFFICIENT_ATTENTION if query.is_cuda else SDPBackend.MATH
    return [
        {"largest_difference_from_documents_alone": float((masked - alone).abs().max())},
        _measured("within documents: ours", lambda *heads: attention(*heads, packed), query, key, value),
        _measured("within documents: SDPA, block-diagonal", partial(_sdpa, backend, mask=block), query, key, value),
        _measured("whole sequence: ours", _ours(size), query, key, value),
    ]
