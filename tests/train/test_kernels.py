"""Each kernel computes what its plain formula does, forwards and backwards."""

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from train import kernels, loss
from train.data import document_bounds
from train.kernels import Attention, RMSNorm, document_mask, positions, rotations, swiglu
from train.loss import sum_of_losses, sums_of, weight_unit


def test_rmsnorm_is_its_formula_and_marks_its_weight() -> None:
    config = SimpleNamespace(params_dtype=torch.float32, sequence_parallel=True)
    norm = RMSNorm(config, 16, 1e-5)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
    hidden = torch.randn(5, 3, 16)
    expected = hidden / (hidden.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * norm.weight
    torch.testing.assert_close(norm(hidden), expected)
    assert norm.weight.sequence_parallel is True


def test_swiglu_is_its_formula() -> None:
    stacked = torch.randn(7, 2, 24, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(swiglu, stacked)
    gate, up = stacked.chunk(2, -1)
    torch.testing.assert_close(swiglu(stacked), functional.silu(gate) * up)


@pytest.mark.parametrize("factor", [None, 8.0, 32.0])
def test_rotary_positions_are_those_of_transformers(factor: float | None) -> None:
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    scaling = {"rope_type": "default", "rope_theta": 500_000.0}
    if factor is not None:
        constants = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
        scaling |= {"rope_type": "llama3", "factor": factor, **constants}
    config = LlamaConfig(
        hidden_size=256, num_attention_heads=2, head_dim=128, rope_parameters=scaling, max_position_embeddings=131_072
    )
    theirs = LlamaRotaryEmbedding(config)(torch.zeros(1), torch.arange(3000)[None])
    mine = rotations(128, 500_000, factor, 3000, torch.device("cpu"))
    for expected, found in zip(theirs, mine, strict=True):
        torch.testing.assert_close(found[:, 0, 0], expected[0, :, :64], rtol=1e-5, atol=2e-4)


def plain_attention(query: Any, key: Any, value: Any, seen: torch.Tensor) -> torch.Tensor:
    """Softmax attention written out. Heads [sequence, batch, heads, size], `seen` [batch, 1, sequence, sequence]."""
    length, _, heads, size = query.shape
    cosines, sines = rotations(size, 10_000, None, length, torch.device("cpu"))

    def turned(x: torch.Tensor) -> torch.Tensor:
        first, second = x.chunk(2, -1)
        return torch.cat((first * cosines - second * sines, second * cosines + first * sines), -1)

    key, value = (x.repeat_interleave(heads // x.size(2), 2) for x in (turned(key), value))
    scores = torch.einsum("sbhd,tbhd->bhst", turned(query), key) / size**0.5
    shares = scores.masked_fill(~seen, -torch.inf).softmax(-1)
    return torch.einsum("bhst,tbhd->sbhd", shares, value).flatten(2)


@pytest.mark.parametrize("documents", [False, True])
def test_attention_is_its_formula(documents: bool) -> None:
    length, batch = 24, 2
    heads = [torch.randn(length, batch, number, 8, requires_grad=True) for number in (4, 2, 2)]
    tokens = torch.randint(0, 5, (batch, length))
    bounds = document_bounds(tokens, eod=0) if documents else None
    seen = torch.ones(batch, 1, length, length, dtype=torch.bool).tril()
    if bounds is not None:
        number = (tokens == 0).cumsum(1).roll(1, 1)
        number[:, 0] = 0
        seen &= number[:, None, :, None] == number[:, None, None, :]
        assert torch.equal(document_mask(bounds, batch, length), seen)
    output = Attention(10_000, None, SimpleNamespace(kv_channels=8))(*heads, bounds)
    expected = plain_attention(*heads, seen)
    torch.testing.assert_close(output, expected)
    weights = torch.randn_like(output)
    for found, wanted in zip(
        torch.autograd.grad((output * weights).sum(), heads),
        torch.autograd.grad((expected * weights).sum(), heads),
        strict=True,
    ):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("squared", [False, True])
def test_a_conversation_in_a_row_is_as_if_alone(squared: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Positions begin anew. Turned by the square of the place, they would show it if they did not."""

    def turned(size: int, base: int, factor: float | None, length: int, device: torch.device) -> Any:
        places = torch.arange(length) ** (2 if squared else 1)
        return tuple(part[places] for part in rotations(size, base, factor, length**2, device))

    monkeypatch.setattr(kernels, "rotations", turned)
    bounds, length, batch = [0, 7, 18, 24, 35, 48], 24, 2
    heads = [torch.randn(length, batch, number, 8) for number in (4, 2, 2)]
    attention = Attention(10_000, None, SimpleNamespace(kv_channels=8))
    together = attention(*heads, torch.tensor(bounds, dtype=torch.int32))
    assert positions(torch.tensor(bounds), batch, length)[1].tolist() == [*range(11), *range(13)]
    for start, end in pairwise(bounds):
        row, inside = start // length, slice(start % length, start % length + end - start)
        alone = attention(*(part[inside, row : row + 1] for part in heads), None)
        torch.testing.assert_close(together[inside, row : row + 1], alone, rtol=1e-6, atol=1e-6)


def test_document_bounds_begin_at_rows_and_after_ends() -> None:
    tokens = torch.tensor([[5, 0, 7, 7], [7, 7, 7, 0], [0, 0, 7, 7]])
    assert document_bounds(tokens, eod=0).tolist() == [0, 2, 4, 8, 9, 10, 12]


@pytest.fixture(scope="module", autouse=True)
def _alone() -> Any:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@given(st.integers(1, 40), st.integers(1, 5), st.integers(0, 30), st.integers(0, 2**31))
def test_the_loss_in_chunks_is_cross_entropy(tokens: int, rows_at_once: int, padding: int, seed: int) -> None:
    chance = torch.Generator().manual_seed(seed)
    vocabulary, size = 33, 12
    hidden = torch.randn(tokens, size, generator=chance, requires_grad=True)
    weight = torch.randn(vocabulary + padding, size, generator=chance, requires_grad=True)
    labels = torch.randint(0, vocabulary, (tokens,), generator=chance)
    mask = (torch.rand(tokens, generator=chance) > 0.3).float()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loss, "LOGITS_AT_ONCE", rows_at_once * (vocabulary + padding))
        total = sum_of_losses(hidden, weight, labels, mask, vocabulary, dist.group.WORLD)
    expected = (functional.cross_entropy(hidden @ weight[:vocabulary].t(), labels, reduction="none") * mask).sum()
    torch.testing.assert_close(total, expected)
    for found, wanted in zip(
        torch.autograd.grad(total * 0.5, (hidden, weight)),
        torch.autograd.grad(expected * 0.5, (hidden, weight)),
        strict=True,
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("learned", [0, 3])
def test_only_learned_tokens_take_logits(learned: int, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, weight = torch.randn(50, 12, requires_grad=True), torch.randn(33, 12, requires_grad=True)
    mask = torch.zeros(50)
    mask[10 : 10 + learned] = 0.5
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(
        loss, "dist", SimpleNamespace(ReduceOp=dist.ReduceOp, all_reduce=lambda sums, *_, **__: seen.append(sums))
    )
    total = sum_of_losses(hidden, weight, torch.zeros(50, dtype=torch.long), mask, 33, dist.group.WORLD)
    total.backward()
    assert sum(len(of) for of in seen) == 2 * learned
    assert hidden.grad is not None
    assert hidden.grad.any(1).nonzero().flatten().tolist() == list(range(10, 10 + learned))


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=64), st.integers(0, 2**32))
def test_weights_add_up_in_fixed_point_without_overflow(weights: list[float], more: int) -> None:
    mask = torch.tensor(weights)
    most = len(weights) + more
    unit = weight_unit(most)
    assert unit == 1 or most * unit <= 2**30
    total, scaled, sums = sums_of(mask, unit, torch.tensor(3.0))
    assert (total.item(), sums.tolist()) == (3.0 * unit, [3.0, mask.sum().item()])
    assert scaled.dtype == torch.int32
    assert abs(scaled.item() / unit - mask.sum().item()) <= 0.5 / unit
