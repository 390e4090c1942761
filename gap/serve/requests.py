"""What a request to OpenAI's API may say here. Anything else is refused, so that nothing is ignored in silence."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, StringConstraints, model_validator

from lake.values import INT32

IGNORED = {"user", "metadata", "store", "service_tier", "parallel_tool_calls"}
"""Keys of OpenAI's API that say nothing about the answer."""

OURS = {"model", "stream", "stream_options", "max_tokens", "max_completion_tokens", "messages", "prompt"} | IGNORED
"""Keys that are not passed on as they are."""


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class StreamOptions(Strict):
    include_usage: bool = False
    include_obfuscation: bool = False


class Asked(Strict):
    """What chats and completions have in common."""

    model: str
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: PositiveInt | None = None
    n: PositiveInt | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=-1, le=INT32)
    min_p: float | None = Field(default=None, ge=0, le=1)
    repetition_penalty: float | None = Field(default=None, gt=0, le=2)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    logit_bias: Annotated[dict[str, Annotated[float, Field(ge=-100, le=100)]], Field(max_length=300)] | None = None
    ignore_eos: bool | None = None
    user: str | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    service_tier: str | None = None

    @property
    def answer_tokens(self) -> int | None:
        return self.max_tokens

    @property
    def with_usage(self) -> bool:
        """Whether a stream ends with its number of tokens."""
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def stops(self) -> list[str]:
        return [self.stop] if isinstance(self.stop, str) else list(self.stop or ())

    def passed_on(self) -> dict[str, Any]:
        """The keys that the engine gets as they are."""
        return self.model_dump(exclude=OURS, exclude_none=True)


class Part(Strict):
    type: Literal["text"]
    text: str


class Message(Strict):
    """A message of a talk, in text; parts of text are joined."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[Part], Field(fail_fast=True)]
    name: str | None = None

    def plain(self) -> dict[str, str]:
        text = self.content if isinstance(self.content, str) else "\n".join(part.text for part in self.content)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class ChatRequest(Asked):
    messages: list[Message] = Field(min_length=1, fail_fast=True)
    max_completion_tokens: PositiveInt | None = None
    logprobs: bool | None = None
    top_logprobs: NonNegativeInt | None = Field(default=None, le=20)
    parallel_tool_calls: bool | None = None

    @property
    def answer_tokens(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if not any(message.role == "user" for message in self.messages):
            raise ValueError("messages: none has the role user")
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs: set logprobs, too")
        return self


class CompletionRequest(Asked):
    prompt: (
        Annotated[str, StringConstraints(min_length=1)]
        | Annotated[list[NonNegativeInt], Field(min_length=1, fail_fast=True)]
    )
    logprobs: NonNegativeInt | None = Field(default=None, le=5)
    echo: bool | None = None
