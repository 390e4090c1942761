"""Labels as tokens that continue a prompt, with tokenizers that split, merge and frame their text."""

import math
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.generate import Tokens, branches, check_heads, choose_dtype, label_logprobs, label_tokens
from lake.error import UserError
from mixing.tokenizer.build import TokenizerSettings, train

STEM = "Answer:"
LABELS = ("A", "B", "C", "D")


def pieces(text: str, vocabulary: tuple[str, ...]) -> list[int]:
    """Greedy longest match. A character that begins no entry is id 0."""
    ids = []
    while text:
        match = max((entry for entry in vocabulary if text.startswith(entry)), key=len, default=text[0])
        ids.append(vocabulary.index(match) if match in vocabulary else 0)
        text = text[len(match) :]
    return ids


def encoder(*vocabulary: str) -> Callable[[str], list[int]]:
    return lambda text: pieces(text, ("?", *vocabulary))


def test_a_label_is_one_token_where_the_tokenizer_has_it() -> None:
    encode = encoder("Answer", ":", " A", " B")
    assert label_tokens(encode, STEM, ("A", "B")) == {"A": (3,), "B": (4,)}


def test_a_label_may_be_several_tokens() -> None:
    encode = encoder("Answer", ":", " ", "A", " B", "may", "be", "y", "es")
    assert label_tokens(encode, STEM, ("A", "B", "maybe", "yes")) == {
        "A": (3, 4),
        "B": (5,),
        "maybe": (3, 6, 7),
        "yes": (3, 8, 9),
    }


def test_tokens_that_frame_a_sequence_are_no_part_of_a_label() -> None:
    inner = encoder("Answer", ":", " A", " B")
    for before, after in (([90], []), ([], [91]), ([90], [91]), ([90, 92], [91, 93])):
        framed = lambda text, before=before, after=after: [*before, *inner(text), *after]  # noqa: E731
        assert label_tokens(framed, STEM, ("A", "B")) == {"A": (3,), "B": (4,)}


@pytest.mark.parametrize(
    ("vocabulary", "labels", "message"),
    [
        (("Answer", ":", ": A", " B"), ("A", "B"), "merges “A” with “Answer:”"),
        (("Answer", ":", " "), ("é", "ü"), "cannot tell “ü” from another option"),
        (("Answer", ":", " 1", "0"), ("1", "10"), "cannot tell “10” from another option"),
        (("Answer", ":", " 1", "0"), ("10", "1"), "cannot tell “1” from another option"),
    ],
)
def test_labels_that_cannot_be_told_apart_are_refused(
    vocabulary: tuple[str, ...], labels: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        label_tokens(encoder(*vocabulary), STEM, labels)


def test_a_tokenizer_that_drops_the_label_is_refused() -> None:
    with pytest.raises(UserError, match="cannot tell “A”"):
        label_tokens(lambda text: encoder("Answer", ":")(text)[:2], STEM, ("A",))


@pytest.mark.parametrize("vocab_size", [300, 400, 800])
def test_labels_of_a_trained_tokenizer_continue_its_prompts(vocab_size: int) -> None:
    texts = ["Answer: A. The answer is yes, no or maybe. Which of A, B, C and D is right? A dose, a day."] * 9
    backend = train(texts, TokenizerSettings.model_validate({"train": {"vocab_size": vocab_size}})).backend
    labels = (*LABELS, "yes", "no", "maybe")
    tokens_of = label_tokens(lambda text: backend.encode(text).ids, STEM, labels)
    prompt = "Question: Which?\nA. this\nB. that\nAnswer:"
    for label, tokens in tokens_of.items():
        assert backend.encode(prompt).ids + list(tokens) == backend.encode(f"{prompt} {label}").ids


def test_labels_of_one_token_are_one_request() -> None:
    assert branches({"A": (7,), "B": (3,), "C": (5,)}) == {(): [3, 5, 7]}


def test_longer_labels_branch_where_they_part() -> None:
    labels: dict[str, Tokens] = {"A": (1, 2), "B": (1, 3), "maybe": (4, 5, 6), "no": (9,)}
    assert branches(labels) == {(): [1, 4, 9], (1,): [2, 3], (4,): [5], (4, 5): [6]}
    first, second = math.log(0.5), math.log(0.25)
    known: Mapping[Tokens, Mapping[int, float]] = {
        (): {1: first, 4: second, 9: second},
        (1,): {2: second, 3: first, 8: 0.0},
        (4,): {5: first},
        (4, 5): {6: first},
    }
    assert label_logprobs(labels, known) == pytest.approx(
        {"A": first + second, "B": first + first, "maybe": second + first + first, "no": second}
    )


LABEL_SETS = st.dictionaries(
    st.text(min_size=1, max_size=3), st.lists(st.integers(0, 5), min_size=1, max_size=4).map(tuple), min_size=1
)


@given(LABEL_SETS)
def test_the_requests_are_all_that_the_labels_need(labels: dict[str, Tokens]) -> None:
    requests = branches(labels)
    assert next(iter(requests)) == (), "the first request is the prompt itself, whose next token is kept as output"
    steps = {(tokens[:at], token) for tokens in labels.values() for at, token in enumerate(tokens)}
    assert {(beginning, token) for beginning, following in requests.items() for token in following} == steps
    known = {beginning: {token: -float(token + 1) for token in following} for beginning, following in requests.items()}
    assert label_logprobs(labels, known) == {
        label: -float(sum(token + 1 for token in tokens)) for label, tokens in labels.items()
    }


def test_a_named_dtype_is_taken() -> None:
    assert choose_dtype("float16") == "float16"
    assert choose_dtype("auto") in {"float32", "bfloat16"}


def test_heads_that_a_cpu_cannot_run_are_reported() -> None:
    check_heads({"hidden_size": 128, "num_attention_heads": 4})
    check_heads({"hidden_size": 128, "num_attention_heads": 8, "head_dim": 32})
    with pytest.raises(UserError, match=r"heads of 16 .* takes 32, 64, .* change heads"):
        check_heads({"hidden_size": 128, "num_attention_heads": 8})
