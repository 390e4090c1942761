"""Engines side by side, each in a Ray actor. One that dies or hangs is replaced, and its questions are asked again."""

import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray

from eval.generate import ENVIRONMENT, Engine, Reply, Request

TRIES = 2
"""After so many failures of its engine, a batch is split, and a single question gets an error for its reply."""


@dataclass(frozen=True)
class Model:
    """What an engine runs, and on how many GPUs."""

    folder: Path
    dtype: str
    max_length: int
    tensor: int

    def start(self) -> Any:
        """An engine in an actor, with its GPUs if a node has them, else with all CPUs of a node."""
        cpus = max(1, *_of_each_node("CPU"))
        tensor = self.tensor if on_gpus(self.tensor) else 0
        # Libraries read the number of threads when they load, so it is set before the process starts.
        environment = {**ENVIRONMENT, "OMP_NUM_THREADS": str(cpus)}
        actor = ray.remote(Engine).options(
            num_cpus=1 if tensor else cpus,
            num_gpus=tensor,
            runtime_env={"env_vars": environment},
        )
        return actor.remote(str(self.folder), self.dtype, self.max_length, tensor or 1)


def gpus() -> int:
    return int(ray.cluster_resources().get("GPU", 0))


def room(tensor: int) -> int:
    """How many engines the cluster has room for at a time; one more would wait for ever."""
    cpus = _of_each_node("CPU")
    return on_gpus(tensor) or max(1, cpus.count(max(1, *cpus)))


def on_gpus(tensor: int) -> int:
    """How many engines fit its GPUs. Those of one engine are in one node."""
    return sum(there // tensor for there in _of_each_node("GPU"))


def _of_each_node(resource: str) -> list[int]:
    return [int(node["Resources"].get(resource, 0)) for node in ray.nodes() if node["Alive"]]


@dataclass
class _Batch:
    """Requests of one part, from its place `start` on."""

    part: int
    start: int
    requests: Sequence[Request]
    tries: int = 0


class EngineError(Exception):
    """An engine does not start."""


@dataclass
class Engines:
    """Asks engines for the replies to parts of requests. `start` starts one; `dtype` is known after the first part.

    A part goes to an engine whole, so its replies do not depend on how many engines there are. `timeout` is the most
    seconds that an engine may take for one.
    """

    start: Callable[[], Any]
    replicas: int
    timeout: float
    dtype: str = ""
    _busy: dict[Any, tuple[Any, _Batch, float]] = field(default_factory=dict)
    _idle: list[Any] = field(default_factory=list)

    def replies(self, parts: Mapping[int, Sequence[Request]]) -> Iterator[tuple[int, list[Reply]]]:
        """The parts with their replies, as they are done.

        Raises:
            EngineError: an engine does not start.
        """
        waiting = deque(_Batch(index, 0, requests) for index, requests in parts.items())
        known: dict[int, dict[int, Reply]] = {index: {} for index in parts}
        try:
            self._idle = [self.start() for _ in range(min(self.replicas, len(waiting)))]
            self._await(self._idle)
            while waiting or self._busy:
                while waiting and self._idle:
                    self._send(self._idle.pop(), waiting.popleft())
                batch, replies = self._next()
                if replies is None:
                    waiting.extendleft(reversed(_again(batch)))
                    continue
                known[batch.part] |= {batch.start + place: reply for place, reply in enumerate(replies)}
                if len(known[batch.part]) == len(parts[batch.part]):
                    yield batch.part, [reply for _, reply in sorted(known.pop(batch.part).items())]
        finally:
            for actor in (*self._idle, *(actor for actor, _, _ in self._busy.values())):
                ray.kill(actor)
            self._busy, self._idle = {}, []

    def _await(self, actors: Sequence[Any]) -> None:
        """Wait until engines are up."""
        for actor in actors:
            try:
                self.dtype = ray.get(actor.ready.remote())
            except ray.exceptions.RayError as error:
                raise EngineError(f"the engine does not start: {getattr(error, 'cause', None) or error}") from error

    def _send(self, actor: Any, batch: _Batch) -> None:
        self._busy[actor.ask.remote(batch.requests)] = actor, batch, time.monotonic() + self.timeout

    def _next(self) -> tuple[_Batch, list[Reply] | None]:
        """The next batch that is done, with its replies; with none if its engine died or hung, and was replaced."""
        while True:
            done, _ = ray.wait(list(self._busy), timeout=1.0)
            late = [reference for reference, (_, _, until) in self._busy.items() if time.monotonic() > until]
            for reference in (*done, *late):
                actor, batch, _ = self._busy.pop(reference)
                try:
                    replies = ray.get(reference, timeout=0)
                except (ray.exceptions.RayError, TimeoutError) as error:
                    reason = _reason(error)
                    warnings.warn(f"an engine failed and is replaced: {reason}", stacklevel=2)
                    ray.kill(actor)
                    actor = self.start()
                    self._await([actor])
                    replies = _given_up(batch, reason)
                self._idle.append(actor)
                return batch, replies


def _reason(error: Exception) -> str:
    """The last line of what a process left behind says what happened; the lines before say where."""
    told = str(error).strip().splitlines()
    return told[-1].strip()[:300] if told else "it took too long"


def _given_up(batch: _Batch, reason: str) -> list[Reply] | None:
    """An error for a question that failed too often; nothing for what is to be asked again."""
    batch.tries += 1
    if len(batch.requests) > 1 or batch.tries < TRIES:
        return None
    return [Reply(error=f"the engine failed {batch.tries} times: {reason}")]


def _again(batch: _Batch) -> list[_Batch]:
    """The batch once more, or each of its questions alone if it has failed too often."""
    if batch.tries < TRIES:
        return [batch]
    return [_Batch(batch.part, batch.start + place, [request]) for place, request in enumerate(batch.requests)]
