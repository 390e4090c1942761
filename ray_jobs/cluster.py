"""The Ray cluster, embedded on a laptop or at an address; tasks with back-pressure and progress."""

import itertools
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, TypeVar

import ray
from pydantic import Field, field_validator
from ray._private import auto_init_hook

from lake.config import Settings
from lake.error import UserError
from lake.progress import progress
from lake.values import Count, Text, Workers
from ray_jobs.machine import AUTO, LOCAL, check_cluster, check_machine, place_of

T = TypeVar("T")
R = TypeVar("R")
VARIABLE = "RAY_ADDRESS"
TRIES = 2


class RaySettings(Settings):
    """How Ray runs. This does not change what a step writes, so it is not part of a fingerprint.

    `address: local` starts an embedded cluster of `cpus` CPUs, `auto` joins the running cluster. A driver started by
    `ray job submit` always joins its cluster.
    """

    address: Text = LOCAL
    cpus: Annotated[Workers, Field(le=1024)] = 2
    object_store_mb: Annotated[Count, Field(ge=100)] = 512

    @field_validator("address")
    @classmethod
    def _known(cls, address: str) -> str:
        if address not in (LOCAL, AUTO) and place_of(address) is None:
            raise ValueError(f"{address!r} is none of local, auto and HOST:PORT")
        return address


def address_of(settings: RaySettings) -> str:
    """Where Ray runs. RAY_ADDRESS, unless it is empty, goes before the config; a submitted job joins its cluster."""
    return os.environ.get(VARIABLE, "").strip() or (AUTO if os.environ.get("RAY_JOB_ID") else settings.address)


def check(settings: RaySettings) -> None:
    """Look at the cluster, or at this machine where the cluster is embedded, before Ray starts.

    Raises:
        UserError: Ray would not start, or it would wait for a cluster that is not there.
    """
    if ray.is_initialized():
        return
    if (address := address_of(settings)) == LOCAL:
        check_machine(settings.object_store_mb)
    else:
        check_cluster(address, VARIABLE if os.environ.get(VARIABLE, "").strip() else "ray.address")


def start(settings: RaySettings) -> None:
    """Connect to a running cluster or start an embedded one, quietly. Does nothing if Ray is already up.

    Raises:
        UserError: as `check`, or Ray does not start.
    """
    if ray.is_initialized():
        return
    check(settings)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    # A step's thread that outlives the cluster for a moment would start another.
    auto_init_hook.enable_auto_connect = False
    address = address_of(settings)
    embedded: dict[str, Any] = {
        "num_cpus": settings.cpus,
        "object_store_memory": settings.object_store_mb * 2**20,
        "include_dashboard": False,
        "_node_ip_address": "127.0.0.1",
    }
    with _own_sigterm():
        _initialise(address=address, **embedded if address == LOCAL else {})


def _initialise(**settings: Any) -> None:
    """Start Ray, at the second try if need be: it gives its processes 30 seconds, and a loaded machine takes longer."""
    for left in reversed(range(TRIES)):
        try:
            ray.init(log_to_driver=False, logging_level="ERROR", **settings)
            return
        except Exception as error:  # Ray raises bare ones
            ray.shutdown()
            if not left:
                cause = " ".join(str(error).split())[:300]
                raise UserError(
                    f"ray: it does not start: {cause}; look at the section ray, at the load of the machine and at the "
                    "logs in ray/session_latest/logs below TMPDIR"
                ) from error


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep the process's handler of SIGTERM, in whose place Ray sets its own."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def each(work: Callable[[T], R], items: Sequence[T], step: str, unit: str) -> Iterator[R]:
    """Run `work` on every item, each in a task with one CPU. Results come in the order of the items.

    No more than two tasks for each CPU are in flight. A task that raises ends the step; if a worker dies, its task is
    retried.
    """
    task = ray.remote(num_cpus=1, max_retries=3)(work)
    window = max(2, 2 * int(ray.cluster_resources().get("CPU", 1)))
    queue = iter(items)
    pending = deque(task.remote(item) for item in itertools.islice(queue, window))
    with progress(step, len(items), unit) as bar:
        while pending:
            result = ray.get(pending.popleft())
            pending.extend(task.remote(item) for item in itertools.islice(queue, 1))
            bar.update()
            yield result
