"""Parts of the GPU benchmark that train: losses by device, a killed run, speed and memory, a save."""

import os
import platform
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

import torch
import torch.distributed as dist

from benchmarks.corpus import job
from benchmarks.peers import transformers_step
from train.convert import Gate, Target, rows_of, to_hf, to_megatron
from train.families import config_of
from train.flops import flops_per_token, mfu
from train.gpus import gpu_of
from train.guard import TrainingStopped
from train.hf import open_folder
from train.history import CHECKPOINTS, Row, checkpoints, newest, read_state
from train.loop import train
from train.memory import Memory
from train.recipe import Llama, Recipe

LLAMA_1B = Llama(
    layers=16, hidden=2048, heads=32, kv_heads=8, head_size=64, ffn=8192, tied=True, rope_base=500_000, rope_factor=32
)
LLAMA_VOCABULARY = 128_256
SMALL = Llama(layers=4, hidden=256, heads=8, kv_heads=4, head_size=32, ffn=512, tied=True)
TINY = Llama(layers=2, hidden=32, heads=2, kv_heads=1, head_size=16, ffn=64, tied=True)
SMALL_VOCABULARY = 512
WARM_UP, TIMED = 3, 6
"""Steps before and within the measurement of speed."""

FORK = get_context("fork")
"""Forks share what is imported, which takes seconds. This process itself must not touch CUDA or compute."""

PACKAGES = ("torch", "megatron-core", "transformers", "numpy", "triton", "liger-kernel")


class Killed(Exception):  # noqa: N818 - one part kills on purpose
    """A fork ended without an answer."""


def recipe(
    shape: Llama,
    sequence: int,
    total: int,
    micro: int,
    steps: int,
    precision: str,
    every: int,
    background: bool = False,
) -> Recipe:
    """A run that writes a checkpoint every so many steps."""
    return Recipe.model_validate(
        {
            "model": shape.model_dump(),
            "sequence": sequence,
            "batch": {"total": total, "micro": micro},
            "steps": steps,
            "precision": precision,
            "optimizer": {"lr": 1e-3, "warmup": 2},
            "validation": {"every": steps, "sequences": 1},
            "checkpoints": {"every": every, "background": background},
        }
    )


def device(tiny: bool) -> list[Row]:
    """The device, and what is installed."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "absent"
    cuda = torch.cuda.is_available()
    return [
        {
            "device": torch.cuda.get_device_name() if cuda else "cpu",
            "memory_gb": round(torch.cuda.get_device_properties(0).total_memory / 1e9, 1) if cuda else None,
            "python": platform.python_version(),
            "cuda": torch.version.cuda,
            **versions,
        }
    ]


@contextmanager
def alone() -> Iterator[Path]:
    """A process group of this process alone, and a folder for its run."""
    cuda = torch.cuda.is_available()
    dist.init_process_group("nccl" if cuda else "gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
    finally:
        dist.destroy_process_group()


def losses(tiny: bool) -> list[Row]:
    """The losses of a small model over 50 steps: CPU in float32, GPU in float32 and in bfloat16."""
    kinds = [("cpu", "float32"), ("cuda", "float32"), ("cuda", "bfloat16")]
    if not torch.cuda.is_available():
        kinds = [("cpu", "float32"), ("cpu", "bfloat16")]
    curves = {kind: _elsewhere(_curve, *kind, tiny) for kind in kinds}
    first = curves[kinds[0]]
    return [
        {
            "device": kind[0],
            "precision": kind[1],
            "losses": [round(loss, 5) for loss in curve[:: max(1, len(curve) // 5)]] + [round(curve[-1], 5)],
            "largest_difference": max(abs(a - b) for a, b in zip(first, curve, strict=True)),
        }
        for kind, curve in curves.items()
    ]


def _curve(where: str, precision: str, tiny: bool) -> list[float]:
    if where == "cpu":
        assert not torch.cuda.is_available()
    shape, sequence, steps = (TINY, 32, 5) if tiny else (SMALL, 128, 50)
    run = recipe(shape, sequence, 8, 4, steps, precision, steps)
    with alone() as folder:
        train(job(run, SMALL_VOCABULARY, folder))
        return [row["loss"] for row in _history(folder)["losses"]]


def resume(tiny: bool) -> list[Row]:
    """Kill a run in its step 7 with SIGKILL, run it again, and compare it with one that was not disturbed."""
    with tempfile.TemporaryDirectory() as root:
        whole, killed = Path(root, "whole"), Path(root, "killed")
        _elsewhere(_run, str(whole), 0, tiny)
        with suppress(Killed):
            _elsewhere(_run, str(killed), 7, tiny)
        _elsewhere(_run, str(killed), 0, tiny)
        both = [_history(folder) for folder in (whole, killed)]
    pairs = zip(*([row["loss"] for row in history["losses"]] for history in both), strict=True)
    return [
        {
            "resumed_from": both[1]["resumed_from"],
            "largest_loss_difference": max(abs(a - b) for a, b in pairs),
            "validation_equal": both[0]["validation"] == both[1]["validation"],
        }
    ]


def _run(where: str, killed_at: int, tiny: bool) -> None:
    def observe(row: Row) -> None:
        if row["step"] == killed_at:
            os.kill(os.getpid(), signal.SIGKILL)

    Path(where).mkdir(exist_ok=True)
    precision = "bfloat16" if torch.cuda.is_available() else "float32"
    run = recipe(TINY if tiny else SMALL, 32 if tiny else 128, 8, 4, 10, precision, 5)
    with alone():
        train(job(run, SMALL_VOCABULARY, Path(where), observe))


def speed(tiny: bool) -> list[Row]:
    """Tokens a second, MFU and memory of this loop, for Llama 3.2 1B's shape at 4,096 in bfloat16."""
    rows = []
    for micro in (1,) if tiny else (1, 2, 4):
        try:
            rows.append(_elsewhere(_speed, micro, tiny))
        except RuntimeError as error:
            # The others may fit where this one does not.
            rows.append({"micro": micro, "failed": str(error).splitlines()[0]})
    return rows


def _shape(tiny: bool, micro: int) -> tuple[Recipe, int]:
    steps = WARM_UP + TIMED
    if tiny:
        return recipe(TINY, 32, 4 * micro, micro, steps, "bfloat16", steps), SMALL_VOCABULARY
    return recipe(LLAMA_1B, 4096, 8, micro, steps, "bfloat16", steps), LLAMA_VOCABULARY


def _speed(micro: int, tiny: bool) -> Row:
    run, vocab_size = _shape(tiny, micro)
    seconds: list[float] = []

    def observe(row: Row) -> None:
        seconds.append(row["seconds"])
        if row["step"] == run.steps - 1:
            raise TrainingStopped("measured, before the last step writes a checkpoint")

    with alone() as folder:
        try:
            train(job(run, vocab_size, folder, observe))
        except TrainingStopped:
            return _rates(run, vocab_size, median(seconds[WARM_UP:])) | {
                "plan_gb": round(Memory.of(run, vocab_size).total / 1e9, 2)
            }
    raise AssertionError("the run is stopped before its end")


def transformers(tiny: bool) -> list[Row]:
    """The same of plain transformers, with float32 weights and autocast."""
    run, vocab_size = _shape(tiny, 1)
    step = transformers_step(run, vocab_size)
    seconds = []
    for _ in range(WARM_UP + TIMED):
        started = monotonic()
        step()
        seconds.append(monotonic() - started)
    return [_rates(run, vocab_size, median(seconds[WARM_UP:]))]


def _rates(run: Recipe, vocab_size: int, seconds: float) -> Row:
    """What a step of so many seconds means."""
    rate = run.batch.total * run.sequence / seconds
    cuda = torch.cuda.is_available()
    gpu = gpu_of(torch.cuda.get_device_name()) if cuda else None
    flops = flops_per_token(run.model, vocab_size, run.sequence)
    return {
        "micro": run.batch.micro,
        "tokens_per_s": round(rate),
        "mfu": round(mfu(rate, flops, 1, gpu.peak), 4) if gpu else None,
        "peak_gb": round(torch.cuda.max_memory_allocated() / 1e9, 2) if cuda else None,
    }


def save(tiny: bool) -> list[Row]:
    """How long the loop stands still for a checkpoint, of a quarter of the same model's layers."""
    return [{"background": background} | _elsewhere(_save, background, tiny) for background in (False, True)]


def _save(background: bool, tiny: bool) -> Row:
    shape = TINY if tiny else LLAMA_1B.model_copy(update={"layers": 4})
    vocab_size = SMALL_VOCABULARY if tiny else LLAMA_VOCABULARY
    run = recipe(shape, 32 if tiny else 1024, 2, 1, 6, "bfloat16", 3, background)
    with alone() as folder:
        train(job(run, vocab_size, folder))
        last = newest(checkpoints(folder / CHECKPOINTS)).checkpoint
        assert last is not None
        (first,) = read_state(last)["saves"]
    return {
        "stall_s": round(first["stall"], 3),
        "seconds": round(first["seconds"], 3),
        "gb": round(first["bytes"] / 1e9, 3),
    }


def gate(tiny: bool) -> list[Row]:
    """A bf16 model there and back: its logits in float32, and every tensor of the round trip to the bit."""
    from transformers import AutoModelForCausalLM, LlamaConfig

    shape = TINY if tiny else LLAMA_1B.model_copy(update={"layers": 2})
    vocab_size = SMALL_VOCABULARY if tiny else LLAMA_VOCABULARY
    tokens = torch.randint(0, vocab_size, (1, 32 if tiny else 256), generator=torch.Generator().manual_seed(1))
    limits = Gate(tokens, 1e-3)
    with tempfile.TemporaryDirectory() as folder:
        made, checkpoint, back = Path(folder, "made"), Path(folder, "megatron"), Path(folder, "back")
        config = config_of(shape, vocab_size, tokens.shape[1])
        AutoModelForCausalLM.from_config(LlamaConfig(**config)).to(torch.bfloat16).save_pretrained(made)
        base = open_folder(made)
        into = to_megatron(base, checkpoint, rows_of(base, vocab_size, vocab_size, ()), limits, "import")
        out = to_hf(checkpoint, shape, Target(back, config, vocab_size), limits, "export")
    return [{"direction": name, **figures} for name, figures in (("import", into), ("export", out))]


def _history(folder: Path) -> dict[str, Any]:
    last = newest(checkpoints(folder / CHECKPOINTS)).checkpoint
    assert last is not None
    return read_state(last)


def _elsewhere(function: Callable[..., Any], *given: Any) -> Any:
    """Call a function in a fork of this process, which ends with its device memory and process groups.

    Raises:
        Killed: the fork was killed.
        RuntimeError: the function raised an exception, which is named.
    """
    receiver, sender = FORK.Pipe(duplex=False)
    process = FORK.Process(target=_report, args=(sender, function, given))
    process.start()
    sender.close()
    try:
        done, result = receiver.recv()
    except EOFError:
        raise Killed(f"{function.__name__} was killed") from None
    finally:
        process.join()
    if not done:
        raise RuntimeError(result)
    return result


def _report(sender: Connection, function: Callable[..., Any], given: Sequence[Any]) -> None:
    if "cpu" in given:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    try:
        sender.send((True, function(*given)))
    except Exception as error:  # noqa: BLE001 - the parent decides
        sender.send((False, f"{type(error).__name__}: {error}"))
