"""The work of a token and the share of the peak, against published figures."""

import pytest

from train.flops import flops_per_token, mfu, trained_weights
from train.gpus import GPUS, gpu_of
from train.lora import LoraSettings
from train.recipe import Llama

LLAMA_2_70B = Llama(layers=80, hidden=8192, heads=64, kv_heads=8, ffn=28672)
LLAMA_32_1B = Llama(layers=16, hidden=2048, heads=32, kv_heads=8, ffn=8192, tied=True)
A100, H100 = GPUS["A100-80GB"].peak, GPUS["H100-80GB"].peak


def test_the_papers_share_of_the_peak() -> None:
    """The paper counts six operations for each of 70 billion weights. We count attention, too."""
    assert mfu(40_200, 6 * 70e9, 128, A100) == pytest.approx(0.423, abs=5e-4)
    assert mfu(40_200, flops_per_token(LLAMA_2_70B, 32_000, 4096), 128, A100) == pytest.approx(0.431, abs=5e-4)


def test_a_token_of_llama_3_2_takes_8_2_gflop() -> None:
    flops = flops_per_token(LLAMA_32_1B, 128_256, 4096)
    assert flops == pytest.approx(8.22e9, rel=1e-3)
    assert mfu(54_000, flops, 1, H100) == pytest.approx(0.45, abs=2e-3)


def test_the_terms_by_hand() -> None:
    shape = Llama(layers=1, hidden=2, heads=1, kv_heads=1, ffn=3)
    # Queries, keys, values and output 16, feed-forward 18, norms 6, output layer 10 · 2; attention 1 · 2 · 4.
    assert flops_per_token(shape, 10, 4) == 6 * (16 + 18 + 6 + 20 + 8)
    assert flops_per_token(shape.model_copy(update={"tied": True}), 10, 4) == flops_per_token(shape, 10, 4)


def test_frozen_weights_take_no_gradient() -> None:
    shape = Llama(layers=2, hidden=2, heads=1, kv_heads=1, ffn=3, qkv_bias=True)
    lora = LoraSettings(rank=5, targets=("q_proj", "down_proj"))
    assert trained_weights(shape, lora) == 2 * 5 * ((2 + 2) + (3 + 2))
    full, adapted = flops_per_token(shape, 10, 4), flops_per_token(shape, 10, 4, lora)
    attention = 6 * 2 * 2 * 4
    assert adapted - attention == 4 / 6 * (full - attention) + 6 * trained_weights(shape, lora)


@pytest.mark.parametrize(
    ("device", "peak"),
    [
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA A100-PCIE-40GB", 312e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA L40S", 362e12),
    ],
)
def test_gpus_are_known_by_the_names_that_cuda_gives_them(device: str, peak: float) -> None:
    gpu = gpu_of(device)
    assert gpu is not None
    assert gpu.peak == peak


@pytest.mark.parametrize(
    "device", ["Tesla T4", "NVIDIA H100 NVL", "NVIDIA H100 80GB HBM3 MIG 1g.10gb", "NVIDIA GH200 480GB"]
)
def test_other_gpus_have_no_peak(device: str) -> None:
    assert gpu_of(device) is None
