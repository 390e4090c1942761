"""What an engine gets for a request, and how its outputs become the reply."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.generate import Reply, Request, Tokens, Writing, _prompts, _reply, branches, check_heads, choose_dtype
from lake.error import UserError


def test_labels_of_one_token_are_one_request() -> None:
    assert branches([(7,), (3,), (5,)]) == {(): [3, 5, 7]}
    assert Request((1, 2), ((7,), (3,), (5,))).sequences == 1


def test_longer_labels_branch_where_they_part() -> None:
    assert branches([(1, 2), (1, 3), (4, 5, 6), (9,)]) == {(): [1, 4, 9], (1,): [2, 3], (4,): [5], (4, 5): [6]}


CONTINUATIONS = st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=4).map(tuple), min_size=1, max_size=6)


def answered(request: Request) -> list[Any]:
    """What vLLM would answer if token n had the log-probability -n - 1, and it wrote token 5."""
    outputs = []
    for tokens, params in _prompts(request):
        after = {token: SimpleNamespace(logprob=-float(token + 1)) for token in params.logprob_token_ids or ()}
        rated = [None, *({token: SimpleNamespace(logprob=-float(token + 1))} for token in tokens[1:])]
        written = SimpleNamespace(text="five", token_ids=(5,), finish_reason="stop", logprobs=[after])
        outputs.append(SimpleNamespace(outputs=[written], prompt_logprobs=rated))
    return outputs


@given(CONTINUATIONS)
def test_each_token_of_a_continuation_is_rated_however_it_is_asked(continuations: list[Tokens]) -> None:
    request = Request((8, 9), tuple(continuations))
    outputs = answered(request)
    assert len(outputs) == request.sequences <= max(len(continuations), len(branches(continuations)))
    reply = _reply(request, iter(outputs))
    assert reply.logprobs == [[-float(token + 1) for token in tokens] for tokens in continuations]
    assert len(reply.outputs) == request.by_label, "the token that would come next is known only by label"


def test_a_vote_has_an_output_for_each_seed() -> None:
    request = Request((8, 9), writing=Writing(12, 0.8, (3, 4), ("###",)))
    params = [params for _, params in _prompts(request)]
    assert [(one.seed, one.temperature, one.max_tokens, one.stop) for one in params] == [
        (3, 0.8, 12, ["###"]),
        (4, 0.8, 12, ["###"]),
    ]
    reply = _reply(request, iter(answered(request)))
    assert isinstance(reply, Reply)
    assert [written.text for written in reply.outputs] == ["five", "five"]


@pytest.mark.parametrize("shared", [False, True])
def test_only_prompts_that_begin_alike_read_the_cache(shared: bool) -> None:
    ((_, params),) = _prompts(Request((8, 9), ((1,), (2,)), shared=shared))
    assert params.skip_reading_prefix_cache is not shared


def test_a_named_dtype_is_taken() -> None:
    assert choose_dtype("float16") == "float16"
    assert choose_dtype("auto") in {"float32", "bfloat16"}


def test_heads_that_a_cpu_cannot_run_are_reported() -> None:
    check_heads({"hidden_size": 128, "num_attention_heads": 4})
    check_heads({"hidden_size": 128, "num_attention_heads": 8, "head_dim": 32})
    with pytest.raises(UserError, match=r"heads of 16 .* takes 32, 64, .* change heads"):
        check_heads({"hidden_size": 128, "num_attention_heads": 8})
