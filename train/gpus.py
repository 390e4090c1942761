"""What is known of GPUs: how fast they multiply, and how much they hold."""

from typing import Literal, NamedTuple

GpuName = Literal["A100-40GB", "A100-80GB", "L40S", "H100-PCIe", "H100-80GB", "H200", "B200"]


class Gpu(NamedTuple):
    """`peak` is FLOP a second in dense bfloat16 products, by the data sheet; `memory` is what CUDA shows, in bytes."""

    peak: float
    memory: float


GPUS: dict[GpuName, Gpu] = {
    "A100-40GB": Gpu(312e12, 42e9),
    "A100-80GB": Gpu(312e12, 85e9),
    "L40S": Gpu(362e12, 47e9),
    "H100-PCIe": Gpu(756e12, 85e9),
    "H100-80GB": Gpu(989e12, 85e9),
    "H200": Gpu(989e12, 150e9),
    "B200": Gpu(2250e12, 191e9),
}


def gpu_of(device: str) -> Gpu | None:
    """The GPU that CUDA calls `device`, such as NVIDIA A100-SXM4-80GB; None for an unknown one or a part of one."""
    words = set(device.replace("-", " ").split())
    if words & {"MIG", "NVL"}:
        return None
    return next((gpu for name, gpu in GPUS.items() if set(name.split("-")) <= words), None)
