"""How vLLM answers: it rates continuations of a prompt, or writes one."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from lake.error import UserError

Tokens = tuple[int, ...]

ENVIRONMENT = {
    # vLLM runs in the caller's process, so that only one process is to be counted and ended.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    # Ray decides which cores a worker has. vLLM would pin its own threads.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    # vLLM opens a socket even to talk to itself.
    "VLLM_HOST_IP": "127.0.0.1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
"""vLLM reads these variables when it is imported."""

LOGITS_AT_ONCE = 2**28
"""1 GiB of them."""

CPU_HEAD_SIZES = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
"""On a CPU vLLM has attention for heads of these sizes only."""


@dataclass(frozen=True, slots=True)
class Writing:
    """How the model writes: one output for each seed, greedy at temperature 0, up to one of the texts in `stop`."""

    max_tokens: int
    temperature: float = 0.0
    seeds: tuple[int, ...] = (0,)
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """What an engine is asked of one question: to rate continuations of a prompt, or to write one.

    `shared` says that other prompts begin alike, as those with the same shots do.
    """

    prompt: Tokens
    continuations: tuple[Tokens, ...] = ()
    writing: Writing | None = None
    shared: bool = False

    @property
    def by_label(self) -> bool:
        """Whether the continuations are labels, which take one request for all that begin alike.

        Longer ones take a request each, in which the engine rates the tokens of its prompt.
        """
        return len(branches(self.continuations)) <= len(self.continuations)

    @property
    def sequences(self) -> int:
        """The prompts that an engine gets."""
        rated = branches(self.continuations) if self.by_label else self.continuations
        return len(rated) + (len(self.writing.seeds) if self.writing else 0)


@dataclass(frozen=True, slots=True)
class Written:
    """What a model wrote. `end` says why it ended: stop or length."""

    text: str
    tokens: list[int]
    end: str


@dataclass(frozen=True, slots=True)
class Reply:
    """The natural log-probability of each token of each continuation, and what the model wrote; or an error."""

    logprobs: list[list[float]] = field(default_factory=list)
    outputs: list[Written] = field(default_factory=list)
    error: str | None = None


def branches(continuations: Iterable[Tokens]) -> dict[Tokens, list[int]]:
    """The tokens to rate after each beginning of a continuation: first those after (), the bare prompt.

    Each entry is one request. Labels of one token, which most tokenizers give, need one request per question.
    """
    nodes: dict[Tokens, set[int]] = {}
    for tokens in continuations:
        for place, token in enumerate(tokens):
            nodes.setdefault(tokens[:place], set()).add(token)
    return {beginning: sorted(following) for beginning, following in sorted(nodes.items())}


def choose_dtype(dtype: str) -> str:
    """For `auto`, bfloat16 if the machine computes in it. A CPU without AVX-512 is a hundred times slower in it."""
    if dtype != "auto":
        return dtype
    import torch

    fast = torch.cuda.is_available() or torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return "bfloat16" if fast else "float32"


def check_heads(config: Mapping[str, Any], where: str = "pretrain.model") -> None:
    """Check the heads in a model's config.json before its weights are loaded onto a CPU. `where` is for the message.

    Raises:
        UserError: on a CPU vLLM has no attention for heads of this size.
    """
    size = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    if size not in CPU_HEAD_SIZES:
        sizes = ", ".join(map(str, CPU_HEAD_SIZES))
        raise UserError(f"{where}: heads of {size} (hidden / heads): on a CPU vLLM takes {sizes}; change heads")


class Engine:
    """A model in vLLM. `model` is a Hugging Face folder, `max_length` the most tokens of a prompt with its answer.

    The beginning that prompts with shots share is computed once. A cached beginning rounds differently, so the cache is
    emptied before each call, and prompts without shots do not read it: a reply depends on no earlier requests.
    """

    def __init__(self, model: str, dtype: str, max_length: int, tensor: int = 1) -> None:
        os.environ.update(ENVIRONMENT)
        import torch
        from vllm import LLM

        self.dtype = choose_dtype(dtype)
        # On a CPU, vLLM 0.32 fails where a prompt with a seed is computed in pieces: it would turn the generator back.
        in_pieces = torch.cuda.is_available()
        self._llm = LLM(
            model=model,
            dtype=self.dtype,
            max_model_len=max_length,
            enable_chunked_prefill=in_pieces,
            max_num_batched_tokens=max(_batched_tokens(model, max_length), 0 if in_pieces else max_length),
            tensor_parallel_size=tensor,
            enforce_eager=True,
            enable_prefix_caching=True,
            seed=0,
            disable_log_stats=True,
        )

    def ready(self) -> str:
        """The dtype chosen. The answer comes once the model is loaded."""
        return self.dtype

    def ask(self, requests: Sequence[Request]) -> list[Reply]:
        """The replies, in order. A request that the engine refuses gets an error, and the others their replies."""
        from vllm.exceptions import VLLMClientError

        self._llm.reset_prefix_cache()
        try:
            return self._ask(requests)
        except (ValueError, VLLMClientError) as error:
            if len(requests) == 1:
                return [Reply(error=str(error))]
            return [reply for request in requests for reply in self.ask([request])]

    def _ask(self, requests: Sequence[Request]) -> list[Reply]:
        prompts = [pair for request in requests for pair in _prompts(request)]
        outputs = self._llm.generate(
            [{"prompt_token_ids": list(tokens)} for tokens, _ in prompts],
            [params for _, params in prompts],
            use_tqdm=False,
        )
        answers = iter(outputs)
        return [_reply(request, answers) for request in requests]


def _batched_tokens(model: str, max_length: int) -> int:
    """The most tokens of a step. The engine holds a float32 for each of them and each id when it rates prompts."""
    vocabulary = json.loads(Path(model, "config.json").read_text(encoding="utf-8"))["vocab_size"]
    return max(256, min(8192, max(max_length, 2048), LOGITS_AT_ONCE // vocabulary))


def _prompts(request: Request) -> Iterator[tuple[Tokens, Any]]:
    """The prompts of a request and their sampling parameters."""
    from vllm import SamplingParams

    one = partial(SamplingParams, temperature=0.0, max_tokens=1, skip_reading_prefix_cache=not request.shared)
    if request.continuations and request.by_label:
        for beginning, following in branches(request.continuations).items():
            yield request.prompt + beginning, one(logprob_token_ids=following)
    elif request.continuations:
        for tokens in request.continuations:
            yield request.prompt + tokens, one(prompt_logprobs=0, skip_reading_prefix_cache=True)
    if request.writing is not None:
        how = request.writing
        for seed in how.seeds:
            yield (
                request.prompt,
                SamplingParams(
                    temperature=how.temperature,
                    max_tokens=how.max_tokens,
                    seed=seed,
                    stop=list(how.stop),
                    skip_reading_prefix_cache=not (request.shared or len(how.seeds) > 1),
                ),
            )


def _reply(request: Request, answers: Iterator[Any]) -> Reply:
    """Read the reply from the outputs of the prompts of a request."""
    logprobs: list[list[float]] = []
    outputs: list[Written] = []
    if request.continuations and request.by_label:
        after = {beginning: next(answers).outputs[0] for beginning in branches(request.continuations)}
        for tokens in request.continuations:
            rated = [(after[tokens[:place]].logprobs[0], token) for place, token in enumerate(tokens)]
            logprobs.append([entries[token].logprob for entries, token in rated])
        # The token that the model would write next, whatever the labels.
        outputs.append(_written(after[()]))
    elif request.continuations:
        for tokens in request.continuations:
            entries = next(answers).prompt_logprobs[len(request.prompt) :]
            logprobs.append([entry[token].logprob for entry, token in zip(entries, tokens, strict=True)])
    for _ in request.writing.seeds if request.writing else ():
        outputs.append(_written(next(answers).outputs[0]))
    return Reply(logprobs, outputs)


def _written(output: Any) -> Written:
    return Written(output.text, list(output.token_ids), str(output.finish_reason))
