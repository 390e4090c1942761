"""Ray Serve with one application for each model, without its HTTP proxy: nothing but the ingress can be reached."""

import asyncio
import json
import logging
import os
import threading
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray import serve
from ray.serve.exceptions import RayServeException

from eval.generate import ENVIRONMENT, choose_dtype
from gap.serve.engine import AwayError, Event, Kind, Load, RejectedError
from gap.serve.settings import ServeSettings
from ray_jobs.engines import gpus

COUNT_SECONDS = 20.0
"""An engine that takes longer to count the tokens of a prompt does not answer."""

LOOK_EVERY = 0.5
"""Seconds between two looks at which replicas are up."""

LOOK_SECONDS = 5.0
"""A replica that takes longer to say how it is counts as dead."""

DONE = "[DONE]"
DEAD = {"EngineDeadError", "EngineGenerateError"}
"""vLLM's errors when its engine is gone, or fails."""

QUIET = {"log_level": "ERROR", "enable_access_log": False}

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Deployed:
    """A model to deploy. `template` is a chat template in Jinja, or none where its folder has one."""

    name: str
    folder: Path
    context: int
    template: str | None


class RayEngine:
    """A model's replicas behind Ray Serve's handle."""

    def __init__(self, name: str, handle: Any) -> None:
        self._name, self._handle = name, handle
        self._stream = handle.options(stream=True)
        self.ready = True

    async def count(self, kind: Kind, body: Mapping[str, Any]) -> int:
        response = self._handle.count.remote(kind, dict(body))
        try:
            async with asyncio.timeout(COUNT_SECONDS):
                counted = await response
        except TimeoutError:
            response.cancel()
            raise AwayError from None
        except Exception as error:  # a replica's errors come as they are: Ray's, Serve's and vLLM's
            raise await self._fault(error) from error
        _check(counted)
        tokens: int = counted["count"]
        return tokens

    async def answer(self, kind: Kind, body: Mapping[str, Any]) -> AsyncGenerator[Event, None]:
        replies = self._stream.answer.remote(kind, dict(body))
        try:
            async for reply in replies:
                if isinstance(reply, dict):
                    _check(reply)
                    yield reply
                    continue
                for line in reply.splitlines():
                    data = line.removeprefix("data: ")
                    if data and data != DONE:
                        event: Event = json.loads(data)
                        _check(event)
                        yield event
        except (RejectedError, GeneratorExit, asyncio.CancelledError):
            raise
        except Exception as error:  # as above
            raise await self._fault(error) from error
        finally:
            # It reaches vLLM, which drops the request from its next step on.
            replies.cancel()

    async def load(self) -> Load:
        if not self.ready:
            raise AwayError
        loads = await asyncio.to_thread(self._of_replicas, "load")
        if not loads:
            raise AwayError
        return Load(sum(load["running"] for load in loads), sum(load["waiting"] for load in loads))

    def look(self) -> None:
        """See whether the engine of any replica lives. Serve itself takes some seconds to see that one died."""
        self.ready = any(self._of_replicas("alive"))

    def _of_replicas(self, method: str) -> list[Any]:
        """What each replica answers that lives; it blocks."""
        try:
            answers = self._handle.broadcast(method).results(timeout_s=LOOK_SECONDS, return_exceptions=True)
        except (ray.exceptions.RayError, RayServeException, TimeoutError):
            return []
        return [answer for answer in answers if not isinstance(answer, Exception)]

    async def _fault(self, error: Exception) -> Exception:
        """AwayError where the replica or its engine died."""
        cause = getattr(error, "cause", None) or error
        LOG.error("engine of %s: %s: %s", self._name, type(cause).__name__, " ".join(str(cause).split())[:300])
        if isinstance(cause, ray.exceptions.RayError | RayServeException) or type(cause).__name__ in DEAD:
            await asyncio.to_thread(self.look)
            return AwayError()
        return error


def _check(reply: Mapping[str, Any]) -> None:
    """Raises RejectedError if the reply is vLLM's refusal, AwayError if it tells of a fault of its own."""
    if error := reply.get("error"):
        if error["code"] >= 500:
            raise AwayError(error["message"])
        raise RejectedError(error["code"], error["message"])


@contextmanager
def deployed(models: list[Deployed], settings: ServeSettings) -> Iterator[dict[str, RayEngine]]:
    """Serve the models while the block runs. Ray is up. The models are loaded one after the other.

    Raises:
        RuntimeError: an engine does not start.
    """
    os.environ.update(ENVIRONMENT)
    # Serve and vLLM tell what they load.
    logging.disable(logging.WARNING)
    serve.start(proxy_location="Disabled", logging_config=QUIET)
    stop = threading.Event()
    try:
        engines: dict[str, RayEngine] = {}
        for model in models:
            handle = serve.run(_application(model, settings, len(models)), name=model.name, route_prefix=None)
            engines[model.name] = RayEngine(model.name, handle)
        threading.Thread(target=_watch, args=(engines, stop), daemon=True).start()
        yield engines
    finally:
        stop.set()
        serve.shutdown()


def _watch(engines: Mapping[str, RayEngine], stop: threading.Event) -> None:
    """Keep `ready` up to date."""
    while not stop.wait(LOOK_EVERY):
        try:
            applications = serve.status().applications
        except ray.exceptions.RayError:
            applications = {}
        for name, engine in engines.items():
            deployments = applications[name].deployments.values() if name in applications else ()
            if any(deployment.replica_states.get("RUNNING", 0) for deployment in deployments):
                engine.look()
            else:
                engine.ready = False


def _application(model: Deployed, settings: ServeSettings, models: int) -> Any:
    from ray.serve.llm import LLMConfig, build_llm_deployment

    from gap.serve.replica import Replica

    on_gpus = gpus() >= settings.tensor
    cpus = max(1, *(int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]))
    share = max(1, cpus // models)
    environment = ENVIRONMENT | {"OMP_NUM_THREADS": str(share), "VLLM_CPU_KVCACHE_SPACE": str(settings.cache_gb)}
    engine = {
        "dtype": choose_dtype(settings.dtype) if not on_gpus else settings.dtype,
        "max_model_len": model.context,
        "max_num_seqs": settings.sequences,
        "enforce_eager": not on_gpus,
        "disable_log_stats": False,
        "tensor_parallel_size": settings.tensor if on_gpus else 1,
    }
    if model.template is not None:
        engine["chat_template"] = model.template
    config = LLMConfig(
        model_loading_config={"model_id": model.name, "model_source": str(model.folder)},
        accelerator_type=settings.accelerator if on_gpus else None,
        # Without GPUs, all engines share the CPUs of a machine, however few they are.
        placement_group_config=None if on_gpus else {"bundles": [{"CPU": min(1.0, cpus / models)}]},
        deployment_config={
            **_replicas(settings, on_gpus),
            "ray_actor_options": {"num_cpus": 0 if not on_gpus else 1},
            "health_check_period_s": 2,
            "health_check_timeout_s": 30,
            "graceful_shutdown_timeout_s": 2,
            "graceful_shutdown_wait_loop_s": 0.5,
            "logging_config": QUIET,
        },
        runtime_env={"env_vars": environment},
        engine_kwargs=engine,
        # vLLM's gauges stay in the engine's process, where `Replica.load` reads them.
        log_engine_metrics=False,
    )
    return build_llm_deployment(config, deployment_cls=Replica, name_prefix="engine:")


def _replicas(settings: ServeSettings, on_gpus: bool) -> dict[str, Any]:
    """On CPUs there is one engine: another would compute on the same cores."""
    if not on_gpus or settings.most_replicas is None:
        return {"num_replicas": settings.replicas if on_gpus else 1}
    scale = {
        "min_replicas": settings.replicas,
        "max_replicas": settings.most_replicas,
        "target_ongoing_requests": settings.sequences,
    }
    return {"autoscaling_config": scale}
