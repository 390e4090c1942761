"""How checkpoints get to the disk: whole or absent, checked, in the background, and never at the cost of the run."""

import errno
import hashlib
import io
import json
import os
import pickle
import shutil
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.storage import WriteResult

from lake.files import sha256
from train.checkpoint import OPTIMIZER, Chunks, common, sharded
from train.history import DIGESTS, STATE, Newest, checkpoints, damage, folder_of, newest, step_of
from train.recipe import Checkpoints

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from megatron.core.dist_checkpointing.core import CheckpointingConfig
    from megatron.core.dist_checkpointing.dict_utils import nested_values
    from megatron.core.dist_checkpointing.mapping import ShardedBase, ShardedObject, ShardedTensor, is_main_replica
    from megatron.core.dist_checkpointing.state_dict_utils import save_preprocess
    from megatron.core.dist_checkpointing.strategies.torch import MCoreSavePlanner, mcore_to_pyt_state_dict
    from megatron.core.optimizer import MegatronOptimizer
    from megatron.core.optimizer_param_scheduler import OptimizerParamScheduler

HALF, BROKEN = ".step-*", "broken-*"
"""Names of checkpoints that were not finished or are being deleted, and of those found broken at a resume."""

SMALL_FILES = 2**20
"""Room for what is saved beside tensors, in bytes."""

T = TypeVar("T")

Files = dict[str, tuple[int, str]]
"""Size and SHA-256 by name."""


@dataclass(frozen=True)
class Saved:
    """How a save ended: with a whole checkpoint on the disk or, if there is a `reason`, without.

    Training waited `stall` seconds. After `seconds` the checkpoint had its name, which is given between two steps.
    `bytes` are those of the tensors.
    """

    step: int
    stall: float
    seconds: float
    bytes: int
    reason: str | None = None


@dataclass
class _Pending:
    """A save that is being written: this rank's part, and for the first rank the bytes of the files it adds."""

    step: int
    started: float
    stall: float
    size: int
    part: "Future[tuple[Files, list[WriteResult]]]"
    metadata: Metadata | None
    others: dict[str, bytes]


class Saver:
    """Writes, checks and rotates the checkpoints of a run. All ranks call each method together.

    A save that fails on any rank (no space, an I/O error) leaves nothing behind and does not end the run: all ranks
    agree on it, and `tell` gets its reason on each of them, as it gets the figures of one that succeeds.

    In the background, a thread writes a copy of the tensors that `save` made in memory. It takes no part in
    communication: ranks plan together in `save`, and agree in `poll` or `finish`. Megatron's own writer forks
    processes, which is not safe beside the threads of Ray, gloo and CUDA.
    """

    def __init__(self, root: Path, settings: Checkpoints, tell: Callable[[Saved], None]) -> None:
        self._root = root
        self._settings = settings
        self._tell = tell
        self._rank = dist.get_rank()
        self._first = self._rank == 0
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._pending: _Pending | None = None
        self._copies: dict[Any, torch.Tensor] = {}

    def resume(self) -> Newest:
        """Find the newest whole checkpoint. Half ones are deleted, newer ones that are broken get another name.

        Raises:
            UserError: there are checkpoints, and all are broken.
        """
        if self._first:
            for half in self._root.glob(HALF):
                shutil.rmtree(half)
        names = _broadcast([path.name for path in checkpoints(self._root)])
        found = newest([self._root / name for name in names], self._damage)
        if self._first:
            for name in found.broken:
                shutil.rmtree(self._root / f"broken-{name}", ignore_errors=True)
                (self._root / name).rename(self._root / f"broken-{name}")
        dist.barrier()
        return found

    def save(
        self,
        step: int,
        chunks: Chunks,
        optimizer: MegatronOptimizer,
        scheduler: OptimizerParamScheduler,
        state: dict[str, Any],
    ) -> None:
        """Save the checkpoint of a step, after the one before is done. `state` is JSON without NaN.

        The weights must be finite: a run that has lost them would rotate away the last good checkpoint.
        """
        self.finish()
        started = time.monotonic()
        mine = _mine(sharded(chunks, optimizer))
        size = sum(_gather_all(sum(tensor.data.nbytes for tensor in _tensors(mine))))
        reason = _broadcast(self._prepare(step, size) if self._first else None)
        if reason is not None:
            seconds = time.monotonic() - started
            self._tell(Saved(step, seconds, seconds, size, reason))
            return
        if self._settings.background:
            self._copy(_tensors(mine), gathered=optimizer.config.use_distributed_optimizer)
        planner, metadata = self._plan(mine)
        others = self._others(common(optimizer, scheduler), state)
        part = self._thread.submit(_write_part, self._half(step), f"__{self._rank}_0.distcp", planner)
        self._pending = _Pending(step, started, 0, size, part, metadata, others)
        self._pending.stall = time.monotonic() - started
        if not self._settings.background:
            self.finish()

    def poll(self) -> None:
        """Complete the save if all ranks have written their part; the loop calls it after each step."""
        if self._pending is not None and all(_gather_all(self._pending.part.done())):
            self._complete(self._pending)

    def finish(self) -> None:
        """Wait for the save, if there is one, and complete it."""
        if self._pending is not None:
            self._complete(self._pending)

    def _damage(self, checkpoint: Path) -> str | None:
        """Each rank reads its share of the files."""
        reasons = _gather_all(damage(checkpoint, self._rank, dist.get_world_size()))
        return next((reason for reason in reasons if reason is not None), None)

    def _half(self, step: int) -> Path:
        final = folder_of(self._root, step)
        return final.with_name(f".{final.name}")

    def _prepare(self, step: int, size: int) -> str | None:
        """Make the folder if there is space on the disk, else say why not."""
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            need, free = size + size // 50 + SMALL_FILES, shutil.disk_usage(self._root).free
            if not need <= free:
                return f"no space: {need / 2**30:.3f} GiB are needed, {free / 2**30:.3f} GiB are free"
            self._half(step).mkdir()
        except OSError as error:
            return str(error)
        return None

    def _copy(self, tensors: list[ShardedTensor], gathered: bool) -> None:
        """Copy what training changes to CPU memory. Buffers are kept, since pinned ones are slow to allocate.

        The state that the distributed optimizer gathered is a copy already.
        """
        cuda = torch.cuda.is_available()
        for tensor in tensors:
            if gathered and tensor.key.startswith(OPTIMIZER):
                continue
            data, name = tensor.data.detach(), (tensor.key, tensor.global_offset)
            if name not in self._copies:
                self._copies[name] = torch.empty(data.shape, dtype=data.dtype, device="cpu", pin_memory=cuda)
            tensor.data = self._copies[name].copy_(data, non_blocking=cuda)
        if cuda:
            torch.cuda.synchronize()

    def _plan(self, mine: list[ShardedBase]) -> tuple[MCoreSavePlanner, Metadata | None]:
        """Agree on what each rank writes; the first rank gets the metadata of the whole."""
        by_key: dict[str, list[ShardedBase]] = {}
        for part in mine:
            by_key.setdefault(part.unique_key if isinstance(part, ShardedObject) else part.key, []).append(part)
        planner = MCoreSavePlanner(flatten_state_dict=False)
        planner.set_up_planner(mcore_to_pyt_state_dict(by_key), is_coordinator=self._first)
        plans = [None] * dist.get_world_size() if self._first else None
        dist.gather_object(planner.create_local_plan(), plans)
        return planner, planner.create_global_plan(plans)[1] if self._first else None

    def _others(self, shared: dict[str, Any], state: dict[str, Any]) -> dict[str, bytes]:
        """The files that only the first rank writes, all but the metadata, which needs the places in the files."""
        buffer = io.BytesIO()
        torch.save(shared, buffer)
        return {
            "common.pt": buffer.getvalue(),
            "metadata.json": json.dumps(asdict(CheckpointingConfig("torch_dist", 1))).encode(),
            STATE: json.dumps(state, indent=1, allow_nan=False).encode(),
        }

    def _complete(self, pending: _Pending) -> None:
        started = time.monotonic()
        self._pending = None
        files, places, reason = _outcome(pending.part)
        parts = [None] * dist.get_world_size() if self._first else None
        dist.gather_object((files, places, reason), parts)
        reason = _broadcast(self._commit(pending, parts) if parts is not None else None)
        now = time.monotonic()
        stall = pending.stall + now - started
        self._tell(Saved(pending.step, stall, now - pending.started, pending.size, reason))

    def _commit(self, pending: _Pending, parts: list[Any]) -> str | None:
        """Give the folder its name if all parts are there, else delete it and say why."""
        half = self._half(pending.step)
        reason = next((reason for _, _, reason in parts if reason is not None), None)
        if reason is None:
            try:
                self._seal(pending, half, parts)
                half.rename(folder_of(self._root, pending.step))
                _sync(self._root)
                self._rotate(pending.step)
            except OSError as error:
                reason = str(error)
        if reason is not None:
            shutil.rmtree(half, ignore_errors=True)
        return reason

    def _seal(self, pending: _Pending, half: Path, parts: list[Any]) -> None:
        """Write what describes the parts, the digests last."""
        assert pending.metadata is not None
        pending.metadata.storage_data = {place.index: place.storage_data for _, places, _ in parts for place in places}
        files: Files = {name: digest for written, _, _ in parts for name, digest in written.items()}
        for name, data in (pending.others | {".metadata": pickle.dumps(pending.metadata)}).items():
            files[name] = _write(half / name, [data])
        _write(half / DIGESTS, [json.dumps(files, indent=1).encode()])
        _sync(half)
        # The parts of other machines have been read there; here it counts that they have arrived.
        reason = damage(half, contents=False)
        if reason is not None:
            raise OSError(errno.EIO, reason)

    def _rotate(self, step: int) -> None:
        """Delete old checkpoints, now that there is a good one. It is kept whatever the others are called."""
        every, all_of_them = self._settings.keep_every, checkpoints(self._root)
        kept = {*all_of_them[-self._settings.keep_last :], folder_of(self._root, step)}
        for old in all_of_them:
            if old not in kept and not (every and step_of(old.name) % every == 0):
                # Under another name first: a kill must not leave a part of it that looks whole.
                shutil.rmtree(old.rename(old.with_name(f".{old.name}")), ignore_errors=True)
        for broken in self._root.glob(BROKEN):
            shutil.rmtree(broken, ignore_errors=True)


def _mine(state: dict[str, Any]) -> list[ShardedBase]:
    """What this rank writes: tensors, and objects of layers that have a state beside. One rank writes a replica."""
    parts, _ = save_preprocess(state, validate_access_integrity=False)
    return [part for part in nested_values(parts) if is_main_replica(part.replica_id)]


def _tensors(parts: list[ShardedBase]) -> list[ShardedTensor]:
    return [part for part in parts if isinstance(part, ShardedTensor)]


def _write_part(folder: Path, name: str, planner: MCoreSavePlanner) -> tuple[Files, list[WriteResult]]:
    """Write the planned tensors to one file, one after the other in torch's format."""
    places: list[WriteResult] = []

    def contents() -> Iterator[memoryview]:
        offset = 0
        for item in planner.plan.items:
            data = _serialised(planner.resolve_data(item))
            places.append(WriteResult(item.index, len(data), _StorageInfo(name, offset, len(data))))
            offset += len(data)
            yield data

    return ({name: _write(folder / name, contents())} if planner.plan.items else {}), places


def _serialised(value: torch.Tensor | io.BytesIO) -> memoryview:
    if isinstance(value, torch.Tensor):
        tensor, value = value.cpu(), io.BytesIO()
        # torch.save would write all that a view is a part of.
        torch.save(tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone(), value)
    return value.getbuffer()


def _outcome(part: "Future[tuple[Files, list[WriteResult]]]") -> tuple[Files, list[WriteResult], str | None]:
    try:
        return *part.result(), None
    except OSError as error:
        return {}, [], str(error)


def _write(path: Path, chunks: Iterable[Any]) -> tuple[int, str]:
    """Write a file to the disk and return size and digest, once it has been read back.

    Raises:
        OSError: it cannot be written, or other bytes come back.
    """
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as stream:
        for chunk in chunks:
            stream.write(chunk)
            digest.update(chunk)
            size += len(chunk)
        stream.flush()
        os.fsync(stream.fileno())
        # Read it from the disk, not from the memory that still holds it.
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if sha256(path) != digest.hexdigest():
        raise OSError(errno.EIO, "other bytes came back than were written", str(path))
    return size, digest.hexdigest()


def _sync(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _broadcast(value: T) -> T:
    """The first rank's value."""
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def _gather_all(value: T) -> list[T]:
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values
