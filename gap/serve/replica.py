"""The process of an engine: Ray's LLM server with vLLM, and what the ingress asks of it."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

from prometheus_client import REGISTRY
from pydantic import ValidationError
from ray.serve.llm import LLMServer
from ray.serve.llm.openai_api_models import ChatCompletionRequest, CompletionRequest
from vllm.exceptions import VLLMClientError

from gap.serve.engine import Kind

REQUESTS = {"chat": ChatCompletionRequest, "completions": CompletionRequest}
GAUGES = {"running": "vllm:num_requests_running", "waiting": "vllm:num_requests_waiting"}
"""vLLM's own gauges, which are those of its scheduler."""


class Replica(LLMServer):
    """One engine of a model. Requests come as mappings and become vLLM's own models here, where vLLM is loaded."""

    async def start(self) -> None:
        """Ray 2.60 looks for vLLM's tokenization under a name that vLLM 0.32 no longer has."""
        await super().start()
        self.engine._oai_serving_tokenization = self.engine._app_state.serving_tokenization

    async def answer(self, kind: Kind, body: Mapping[str, Any]) -> AsyncGenerator[Any, None]:
        """The answer as vLLM gives it: texts of server-sent events, or one mapping. A refusal is a mapping `error`."""
        try:
            request = REQUESTS[kind](**body)
        except (ValidationError, VLLMClientError) as error:
            yield _error(error)
            return
        made = await (self.chat(request) if kind == "chat" else self.completions(request))
        async with aclosing(made) as replies:
            async for reply in replies:
                for part in reply if isinstance(reply, list) else [reply]:
                    yield part if isinstance(part, str) else part.model_dump()

    async def count(self, kind: Kind, body: Mapping[str, Any]) -> dict[str, Any]:
        """`count`, the tokens of a prompt as the engine itself would make them; or `error`."""
        from vllm.entrypoints.serve.tokenize.protocol import TokenizeChatRequest, TokenizeCompletionRequest

        try:
            request = (TokenizeChatRequest if kind == "chat" else TokenizeCompletionRequest)(**body)
        except (ValidationError, VLLMClientError) as error:
            return _error(error)
        replies: AsyncIterator[Any] = await self.tokenize(request)
        told = (await anext(replies)).model_dump()
        return told if "error" in told else {"count": told["count"]}

    async def alive(self) -> bool:
        """Whether the process of the engine lives."""
        return not self.engine._engine_client.errored

    async def load(self) -> dict[str, int]:
        """The requests in the engine: running and waiting."""
        values = {sample.name: sample.value for metric in REGISTRY.collect() for sample in metric.samples}
        return {state: int(values.get(name, 0)) for state, name in GAUGES.items()}


def _error(error: Exception) -> dict[str, Any]:
    return {"error": {"message": " ".join(str(error).split()), "type": "invalid_request_error", "code": 400}}
