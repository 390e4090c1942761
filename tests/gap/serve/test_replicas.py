"""Several replicas of a model behind Ray Serve, of which one dies. Their engines are played, for vLLM needs GPUs."""

import asyncio
import os
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import pytest
from ray import serve

from gap.serve.deployment import QUIET, RayEngine
from gap.serve.engine import AwayError, Load
from tests.gap.command import wait_until

pytestmark = pytest.mark.engine

SLOW = 120


@serve.deployment(num_replicas=2, logging_config=QUIET, ray_actor_options={"num_cpus": 0})
class Played:
    """A replica whose engine is dead from when a file with the number of its process is in the folder."""

    def __init__(self, folder: str) -> None:
        self._dead = Path(folder) / str(os.getpid())

    async def alive(self) -> bool:
        return not self._dead.exists()

    async def load(self) -> dict[str, int]:
        return {"running": 1, "waiting": 2}

    async def count(self, kind: str, body: dict[str, Any]) -> dict[str, int]:
        return {"count": os.getpid()}

    async def answer(self, kind: str, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        if self._dead.exists():
            raise EngineDeadError
        yield {"choices": [], "process": os.getpid()}


class EngineDeadError(Exception):
    """Called as vLLM's own."""


@pytest.fixture
def engine(ray_cluster: None, tmp_path: Path) -> Iterator[RayEngine]:
    serve.start(proxy_location="Disabled", logging_config=QUIET)
    yield RayEngine("played", serve.run(Played.bind(str(tmp_path)), name="played", route_prefix=None))
    serve.shutdown()


async def ask(engine: RayEngine) -> list[Any]:
    return [event async for event in engine.answer("chat", {})]


def test_a_model_is_away_only_when_no_replica_lives(engine: RayEngine, tmp_path: Path) -> None:
    async def processes() -> set[int]:
        return {await engine.count("chat", {}) for _ in range(20)}

    async def asked_until(dead: int) -> None:
        """Ask until the dead replica was asked."""
        while True:
            try:
                assert (await ask(engine))[0]["process"] != dead
            except AwayError:
                return

    def loads() -> Load:
        return asyncio.run(engine.load())

    engine.look()
    assert engine.ready
    wait_until(lambda: loads() == Load(2, 4), SLOW)
    first, second = asyncio.run(processes())
    (tmp_path / str(first)).touch()
    asyncio.run(asked_until(first))
    assert engine.ready, "the other replica lives"
    (tmp_path / str(second)).touch()
    with pytest.raises(AwayError):
        asyncio.run(ask(engine))
    assert not engine.ready
    (tmp_path / str(first)).unlink()
    os.kill(second, 9)
    engine.look()
    assert engine.ready, "what a dead process does not say does not matter"
    assert loads() in (Load(1, 2), Load(2, 4))
