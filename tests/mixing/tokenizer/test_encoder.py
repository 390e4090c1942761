"""A fast encoder gives tokenizers' ids or none at all."""

import json
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import normalizers, pre_tokenizers

from lake.marks import FORMAT_TOKENS
from mixing.tokenizer.build import END, PAD, complete, train
from mixing.tokenizer.chatml import CHAT_TOKENS
from mixing.tokenizer.encoder import Encoder, _proved, hard_texts
from mixing.tokenizer.tokenizer import Tokenizer
from tests.mixing.tokenizers import SETTINGS


@pytest.fixture(scope="module", params=["trained", "smollm2", "llama"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return request.getfixturevalue(request.param)


def expected(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    tokenizer.backend.encode_special_tokens = True
    encodings = tokenizer.backend.encode_batch(texts, add_special_tokens=False)
    return [[id_ for id_ in encoding.ids if id_ != tokenizer.eod] for encoding in encodings]


def encoded(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    return [ids.tolist() for ids in tokenizer.encode(texts)]


hostile = st.lists(
    st.one_of(st.text(), st.sampled_from([*FORMAT_TOKENS, *CHAT_TOKENS, END, PAD, "</s>", "  ", "\n", "'s", "a\x04"])),
    max_size=12,
).map("".join)


@given(st.lists(hostile, min_size=1, max_size=5))
@settings(max_examples=200)
def test_ids_of_any_texts_are_those_of_tokenizers(tokenizer: Tokenizer, texts: list[str]) -> None:
    assert tokenizer.encoder.name.startswith("fastokens ")
    assert encoded(tokenizer, texts) == expected(tokenizer, texts)


def test_long_texts_have_the_same_ids(tokenizer: Tokenizer) -> None:
    texts = ["word " * 40_000, "x" * 50_000, " " * 50_000, "中文\n" * 20_000]
    assert encoded(tokenizer, texts) == expected(tokenizer, texts)


def test_a_text_that_is_rejected_goes_to_tokenizers(tokenizer: Tokenizer) -> None:
    texts = ["before", "a\x04b \U000bffff", "", "after [fig]"]
    assert encoded(tokenizer, texts) == expected(tokenizer, texts)


def test_smollm2_has_texts_that_are_rejected(smollm2: Tokenizer) -> None:
    encoder = smollm2.encoder
    assert encoder._fast is not None
    with pytest.raises(ValueError, match="no token"):
        encoder._fast.encode_batch_flat(["a\x04b"])


def test_no_text_gives_no_ids(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode([]) == []
    ids, bounds = tokenizer.encoder.encode([])
    assert (ids.size, bounds.tolist()) == (0, [0])


@pytest.fixture
def backend(trained: Tokenizer) -> tokenizers.Tokenizer:
    return copied(trained.backend)


def copied(backend: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    return tokenizers.Tokenizer.from_str(backend.to_str())


def test_a_tokenizer_that_is_not_read_is_encoded_by_tokenizers_with_a_warning(backend: tokenizers.Tokenizer) -> None:
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.UnicodeScripts(), backend.pre_tokenizer])
    with pytest.warns(UserWarning, match=r"does not read this tokenizer .* tokenizers [\d.]+, which is slower"):
        encoder = Encoder(backend)
    assert encoder.name == f"tokenizers {tokenizers.__version__}"
    ids, bounds = encoder.encode(["dose", "of [fig]"])
    assert ids[bounds[0] : bounds[1]].tolist() == backend.encode("dose").ids
    assert bounds[-1] == ids.size


def test_a_tokenizer_is_proved_once_a_process_by_its_content(tmp_path: Path) -> None:
    first, other = (train([f"{word} daily"] * 20, SETTINGS) for word in ("dose of aspirin", "urate of gout"))
    for folder in "ab":
        first.save(tmp_path / folder)
    twins = [Tokenizer.load(tmp_path / folder).encoder._fast for folder in "ab"]
    assert twins[0] is twins[1] is not None
    other.save(tmp_path / "a")
    changed = Tokenizer.load(tmp_path / "a")
    assert changed.encoder._fast is not twins[0]
    texts = ["dose of aspirin", "urate of gout"]
    assert encoded(changed, texts) == expected(other, texts) != expected(first, texts)


def test_each_encoder_warns_of_what_is_wrong_with_its_tokenizer(backend: tokenizers.Tokenizer) -> None:
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.UnicodeScripts(), backend.pre_tokenizer])
    for _ in range(2):
        with pytest.warns(UserWarning, match="does not read this tokenizer"):
            assert Encoder(backend).name.startswith("tokenizers ")


def changed(backend: tokenizers.Tokenizer, change: str) -> tokenizers.Tokenizer:
    match change:
        case "composes":
            backend.normalizer = normalizers.NFC()
        case "forgets a merge":
            content = json.loads(backend.to_str())
            content["model"]["merges"].pop()
            backend = tokenizers.Tokenizer.from_str(json.dumps(content))
        case "adds a token":
            backend.add_tokens(["<|x|>"])
        case "a mark is special":
            backend.add_special_tokens([tokenizers.AddedToken("[/formula]", normalized=False)])
        case "cuts":
            backend.enable_truncation(10_000)
    return backend


@pytest.mark.parametrize("change", ["composes", "forgets a merge", "adds a token", "a mark is special", "cuts"])
def test_a_single_differing_rule_shows_on_the_hard_texts(backend: tokenizers.Tokenizer, change: str) -> None:
    content = backend.to_str()
    fast, fault = _proved(backend, changed(copied(backend), change), content)
    assert fast is None
    assert re.fullmatch("fastokens and tokenizers give .* different ids", fault, re.DOTALL)
    fast, fault = _proved(backend, copied(backend), content)
    assert fast is not None
    assert fault == ""


def test_hard_texts_hold_what_they_promise() -> None:
    texts = hard_texts(["[fig]", "<|im_end|>"], ["aspirin", "dose"])
    assert texts == hard_texts(["[fig]", "<|im_end|>"], ["aspirin", "dose"])
    assert "aspirindose" in texts
    characters = set("".join(texts))
    assert set(map(chr, range(256))) <= characters
    assert max(map(ord, characters)) > 0x10F000
    assert any("[fig][fig]" in text for text in texts)
    assert "<|im_end|" in texts
    assert max(map(len, texts)) > 50_000
    assert sum(map(len, texts)) < 300_000, "every process proves its encoder before its first task"


THREADS = """
import psutil
from mixing.tokenizer.build import TokenizerSettings, train
tokenizer = train(["some words of text"] * 50, TokenizerSettings(train={"vocab_size": 400}))
before = psutil.Process().num_threads()
tokenizer.encode(["some words of text " * 5000] * 64)
print(tokenizer.encoder.name, psutil.Process().num_threads() - before)
"""


def test_a_task_of_one_core_starts_no_threads() -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("RAYON", "FASTOKENS"))}
    printed = subprocess.run(
        [sys.executable, "-c", THREADS],
        env=env | {"TOKENIZERS_PARALLELISM": "false"},
        cwd=Path(__file__).resolve().parents[3],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert printed[0] == "fastokens"
    assert int(printed[-1]) == 0


def test_the_end_of_document_never_occurs_though_unknown_characters_map_to_it() -> None:
    backend = tokenizers.Tokenizer(tokenizers.models.BPE({"a": 0, "b": 1, END: 2}, [], unk_token=END))
    backend.add_special_tokens([END])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tokenizer = complete(backend, END, PAD)
        assert encoded(tokenizer, ["a?b", "ab", "?"]) == [[0, 1], [0, 1], []]
    assert tokenizer.encode(["ab"])[0].dtype == np.uint16
