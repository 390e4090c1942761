"""What the model says next: log-probabilities of the answer labels, from vLLM."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eval.prompts import Encode
from lake.error import UserError

Tokens = tuple[int, ...]

ENVIRONMENT = {
    # In the caller's process: one process to account for, and one to end.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    # Ray decides which cores a worker has; vLLM would pin its threads by itself.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    # It opens a socket even to talk to itself alone.
    "VLLM_HOST_IP": "127.0.0.1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
"""What vLLM must find in its environment before it is imported."""


CPU_HEAD_SIZES = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)


@dataclass(frozen=True, slots=True)
class Said:
    """`logprobs`: natural logarithm of each label's probability as continuation; `output`: the likeliest next token."""

    logprobs: dict[str, float]
    output: str


def label_tokens(encode: Encode, stem: str, labels: Sequence[str]) -> dict[str, Tokens]:
    """The tokens with which each label, after a blank, continues a prompt that ends with `stem`.

    Raises:
        UserError: the tokenizer cannot tell two labels apart, or merges a label with what stands before it.
    """
    before = tuple(encode(stem))
    found: dict[str, Tokens] = {}
    for label in labels:
        whole = tuple(encode(f"{stem} {label}"))
        # A tokenizer may close a sequence with a token of its own, which no label does.
        same = (position for position, pair in enumerate(zip(before, whole, strict=False)) if pair[0] != pair[1])
        end = next(same, len(before))
        closing = len(before) - end
        if closing and whole[-closing:] != before[end:]:
            raise UserError(f"evaluate: the model's tokenizer merges “{label}” with “{stem}”; it cannot be asked so")
        tokens = whole[end : len(whole) - closing]
        # Of labels of which one begins like the other, the longer could never be the likelier.
        if not tokens or any(tokens[: len(one)] == one[: len(tokens)] for one in found.values()):
            raise UserError(f"evaluate: the model's tokenizer cannot tell “{label}” from another option")
        found[label] = tokens
    return found


def branches(labels: Mapping[str, Tokens]) -> dict[Tokens, list[int]]:
    """What must follow which beginning: () → the first token of every label, and so on for labels of several tokens.

    Where every label is one token, as with most tokenizers, that is one request a question.
    """
    nodes: dict[Tokens, set[int]] = {}
    for tokens in labels.values():
        for position, token in enumerate(tokens):
            nodes.setdefault(tokens[:position], set()).add(token)
    return {beginning: sorted(following) for beginning, following in sorted(nodes.items())}


def label_logprobs(labels: Mapping[str, Tokens], known: Mapping[Tokens, Mapping[int, float]]) -> dict[str, float]:
    """The log-probability of each label: the sum over its tokens, each given those before it."""
    return {
        label: sum(known[tokens[:position]][token] for position, token in enumerate(tokens))
        for label, tokens in labels.items()
    }


def choose_dtype(wanted: str) -> str:
    """bfloat16 where the machine computes in it; without AVX-512 a CPU is a hundred times slower in it than in float32.

    Both are asked of torch, which takes seconds to import.
    """
    import torch

    if wanted != "auto":
        return wanted
    fast = torch.cuda.is_available() or torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return "bfloat16" if fast else "float32"


def check_heads(config: Mapping[str, Any]) -> None:
    """Look at a model's config.json before its weights are loaded onto a CPU.

    Raises:
        UserError: vLLM has no attention on a CPU for heads of this size.
    """
    size = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    if size not in CPU_HEAD_SIZES:
        sizes = ", ".join(map(str, CPU_HEAD_SIZES))
        raise UserError(f"pretrain.model: heads of {size} (hidden / heads): on a CPU vLLM takes {sizes}; change heads")


class Engine:
    """A model in vLLM. `model` is a Hugging Face folder; `max_length` counts prompt and label tokens."""

    def __init__(self, model: str, dtype: str, max_length: int) -> None:
        os.environ.update(ENVIRONMENT)
        from vllm import LLM

        self.dtype = choose_dtype(dtype)
        self._llm = LLM(
            model=model,
            dtype=self.dtype,
            max_model_len=max_length,
            enforce_eager=True,
            # A shared beginning computed once or again rounds differently; a score may not hang on what ran before.
            enable_prefix_caching=False,
            seed=0,
            disable_log_stats=True,
        )

    def ready(self) -> str:
        """The dtype that was chosen; answers once the model is loaded."""
        return self.dtype

    def ask(self, prompts: Sequence[tuple[Sequence[int], Mapping[str, Tokens]]]) -> list[Said]:
        """For each prompt (its token ids and its labels) what the model says, in the order of the prompts."""
        from vllm import SamplingParams

        asked: list[dict[str, Any]] = []
        params: list[Any] = []
        for tokens, labels in prompts:
            for beginning, following in branches(labels).items():
                asked.append({"prompt_token_ids": [*tokens, *beginning]})
                params.append(SamplingParams(temperature=0.0, max_tokens=1, logprob_token_ids=following))
        answers = iter(self._llm.generate(asked, params, use_tqdm=False))
        said: list[Said] = []
        for _, labels in prompts:
            outputs = [(beginning, next(answers).outputs[0]) for beginning in branches(labels)]
            known = {
                beginning: {token: one.logprob for token, one in output.logprobs[0].items()}
                for beginning, output in outputs
            }
            said.append(Said(label_logprobs(labels, known), outputs[0][1].text))
        return said
