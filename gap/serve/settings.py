"""The section `serve` of a config."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lake.config import Settings
from lake.values import INT32, Count, Seconds, Text, Workers


class Limits(Settings):
    """How much clients may ask. Whoever asks more gets status 429 and the seconds to wait.

    Attributes:
        requests: Requests of one key in a minute.
        by_key: Requests of one key at the same time.
        at_once: Requests of all keys at the same time.
        body_kb: Kilobytes of a request. A larger one gets status 413.
        prompt_tokens: Tokens of a prompt. The default is what the model's context leaves beside the answer.
        answer_tokens: Tokens of an answer. A request that asks for more is refused.
        answers: Answers to one request, OpenAI's `n`.
        seconds: The most that a request may take as a whole.
    """

    requests: Count = 120
    by_key: Count = 16
    at_once: Count = 32
    body_kb: Count = 256
    prompt_tokens: Count | None = None
    answer_tokens: Count = 1024
    answers: Workers = 4
    seconds: Seconds = 600


class ServeSettings(Settings):
    """How `gap serve` runs models. It is part of no fingerprint.

    Attributes:
        limits: What clients may ask.
        advisory: Put the medical safety advisory before every chat, as its system prompt.
        dtype: The type of weights and arithmetic. `auto` is bfloat16 on a GPU or a CPU with AVX-512, else float32.
        context: The most tokens of a prompt with its answer. The default is the model's own limit, or 8,192 if that is
            larger.
        sequences: Requests that an engine computes together; more wait in its queue.
        cache_gb: Gibibytes for the keys and values of an engine on a CPU. On a GPU, vLLM takes what is free.
        tensor: GPUs that share the matrices of an engine.
        accelerator: The GPU's name in Ray, such as H100, where a cluster has several kinds.
        replicas: Engines of each model, on GPUs of their own.
        most_replicas: If given, Ray Serve adds engines up to this number where requests wait, and removes them again.
    """

    limits: Limits = Field(default_factory=Limits)
    advisory: bool = True
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    context: Annotated[int, Field(ge=64, le=INT32)] | None = None
    sequences: Count = 32
    cache_gb: Count = 1
    tensor: Workers = 1
    accelerator: Text | None = None
    replicas: Workers = 1
    most_replicas: Workers | None = None

    @model_validator(mode="after")
    def _grows(self) -> Self:
        if self.most_replicas is not None and self.most_replicas < self.replicas:
            raise ValueError(f"most_replicas: {self.most_replicas} is less than replicas, {self.replicas}")
        return self
