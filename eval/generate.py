"""How vLLM answers: the log-probability of each answer label as the continuation of a prompt."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eval.prompts import Encode
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

CPU_HEAD_SIZES = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
"""On a CPU vLLM has attention for heads of these sizes only."""


@dataclass(frozen=True, slots=True)
class Continuation:
    """`logprobs` has the natural logarithm of each label's probability, `output` the most likely next token."""

    logprobs: dict[str, float]
    output: str


def label_tokens(encode: Encode, stem: str, labels: Sequence[str]) -> dict[str, Tokens]:
    """The tokens by which a blank and each label continue a prompt that ends with `stem`.

    Raises:
        UserError: the tokenizer cannot tell two labels apart, or merges a label with the text before it.
    """
    before = tuple(encode(stem))
    tokens_of: dict[str, Tokens] = {}
    for label in labels:
        whole = tuple(encode(f"{stem} {label}"))
        # A tokenizer may close every sequence with a special token, which is no part of a label.
        different = (place for place, pair in enumerate(zip(before, whole, strict=False)) if pair[0] != pair[1])
        end = next(different, len(before))
        closing = len(before) - end
        if closing and whole[-closing:] != before[end:]:
            raise UserError(f"evaluate: the model's tokenizer merges “{label}” with “{stem}”; use another prompt")
        tokens = whole[end : len(whole) - closing]
        # A label that begins with all of another could never be more likely than that.
        if not tokens or any(tokens[: len(other)] == other[: len(tokens)] for other in tokens_of.values()):
            raise UserError(f"evaluate: the model's tokenizer cannot tell “{label}” from another option")
        tokens_of[label] = tokens
    return tokens_of


def branches(labels: Mapping[str, Tokens]) -> dict[Tokens, list[int]]:
    """The tokens to score after each beginning of a label: first those after (), the bare prompt.

    Each entry is one request. Labels of one token, which most tokenizers give, need one request per question.
    """
    nodes: dict[Tokens, set[int]] = {}
    for tokens in labels.values():
        for place, token in enumerate(tokens):
            nodes.setdefault(tokens[:place], set()).add(token)
    return {beginning: sorted(following) for beginning, following in sorted(nodes.items())}


def label_logprobs(labels: Mapping[str, Tokens], logprobs: Mapping[Tokens, Mapping[int, float]]) -> dict[str, float]:
    """The log-probability of each label: the sum over its tokens, each given those before it."""
    return {
        label: sum(logprobs[tokens[:place]][token] for place, token in enumerate(tokens))
        for label, tokens in labels.items()
    }


def choose_dtype(dtype: str) -> str:
    """For `auto`, bfloat16 if the machine computes in it. A CPU without AVX-512 is a hundred times slower in it."""
    if dtype != "auto":
        return dtype
    import torch

    fast = torch.cuda.is_available() or torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return "bfloat16" if fast else "float32"


def check_heads(config: Mapping[str, Any]) -> None:
    """Check the heads in a model's config.json before its weights are loaded onto a CPU.

    Raises:
        UserError: on a CPU vLLM has no attention for heads of this size.
    """
    size = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    if size not in CPU_HEAD_SIZES:
        sizes = ", ".join(map(str, CPU_HEAD_SIZES))
        raise UserError(f"pretrain.model: heads of {size} (hidden / heads): on a CPU vLLM takes {sizes}; change heads")


class Engine:
    """A model in vLLM. `model` is a Hugging Face folder, `max_length` the most tokens of a prompt with a label."""

    def __init__(self, model: str, dtype: str, max_length: int) -> None:
        os.environ.update(ENVIRONMENT)
        from vllm import LLM

        self.dtype = choose_dtype(dtype)
        self._llm = LLM(
            model=model,
            dtype=self.dtype,
            max_model_len=max_length,
            enforce_eager=True,
            # A cached beginning rounds differently, and a score must not depend on earlier requests.
            enable_prefix_caching=False,
            seed=0,
            disable_log_stats=True,
        )

    def ready(self) -> str:
        """The dtype chosen. The answer comes once the model is loaded."""
        return self.dtype

    def ask(self, prompts: Sequence[tuple[Sequence[int], Mapping[str, Tokens]]]) -> list[Continuation]:
        """How the model continues each prompt, which is its token ids and its labels. The order stays."""
        from vllm import SamplingParams

        requests: list[dict[str, Any]] = []
        params: list[Any] = []
        for tokens, labels in prompts:
            for beginning, following in branches(labels).items():
                requests.append({"prompt_token_ids": [*tokens, *beginning]})
                params.append(SamplingParams(temperature=0.0, max_tokens=1, logprob_token_ids=following))
        answers = iter(self._llm.generate(requests, params, use_tqdm=False))
        continuations: list[Continuation] = []
        for _, labels in prompts:
            outputs = [(beginning, next(answers).outputs[0]) for beginning in branches(labels)]
            logprobs = {
                beginning: {token: entry.logprob for token, entry in output.logprobs[0].items()}
                for beginning, output in outputs
            }
            continuations.append(Continuation(label_logprobs(labels, logprobs), outputs[0][1].text))
        return continuations
