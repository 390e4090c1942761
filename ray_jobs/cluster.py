"""The Ray cluster: embedded on a laptop, or the one whose address is set; tasks with back-pressure and progress."""

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import ray

from lake.config import Settings
from lake.progress import progress

T = TypeVar("T")
R = TypeVar("R")


class RaySettings(Settings):
    """How Ray runs. None of it changes what a step writes, so none of it is part of a fingerprint.

    `address` is `local` for an embedded cluster of `cpus` CPUs; `auto` joins the running one, as does a driver that
    `ray job submit` started whatever the setting.
    """

    address: str = "local"
    cpus: int = 2
    object_store_mb: int = 512


def start(settings: RaySettings) -> None:
    """Connect to a running cluster or start an embedded one, quietly. Does nothing where Ray is already up."""
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    submitted = "RAY_JOB_ID" in os.environ or "RAY_ADDRESS" in os.environ
    if submitted or settings.address != "local":
        ray.init(address="auto" if submitted else settings.address, log_to_driver=False, logging_level="ERROR")
        return
    ray.init(
        address="local",
        num_cpus=settings.cpus,
        object_store_memory=settings.object_store_mb * 2**20,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        _node_ip_address="127.0.0.1",
    )


def each(work: Callable[[T], R], items: Sequence[T], step: str, unit: str) -> Iterator[R]:
    """Run `work` on every item in tasks of one CPU; results in the order of the items, not of arrival.

    At most twice as many tasks as CPUs are in flight. A task that raises ends the step; a worker that dies is retried.
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
