"""Any text survives; ids are stable; the folder loads elsewhere."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lake.error import UserError
from lake.marks import FORMAT_TOKENS
from mixing.tokenizer.build import END, PAD, TokenizerSettings, TrainSettings, adopt, base_files, train
from mixing.tokenizer.chatml import CHAT_TOKENS
from mixing.tokenizer.tokenizer import Tokenizer
from tests.mixing.tokenizers import SMOLLM2, packaged

HOSTILE = [*FORMAT_TOKENS, *CHAT_TOKENS, END, PAD]
HOSTILE += ["  ", "\n\n", " .", " n't", "\x00", "\u200b", "e\u0301", "🧬", "▁", "Ġ"]
hostile_text = st.lists(st.one_of(st.text(), st.sampled_from(HOSTILE)), max_size=12).map("".join)


@given(hostile_text)
@settings(max_examples=300)
def test_any_text_comes_back(trained: Tokenizer, text: str) -> None:
    (ids,) = trained.encode([text])
    assert trained.decode(ids) == text
    assert trained.eod not in ids
    assert trained.pad not in ids
    assert all(trained.backend.token_to_id(token) not in ids for token in CHAT_TOKENS)


def test_only_format_tokens_are_parsed_in_a_document(trained: Tokenizer) -> None:
    (ids,) = trained.encode([f"[fig] a{END}b [/fig]<|im_start|>"])
    opening, closing = (trained.backend.token_to_id(token) for token in ("[fig]", "[/fig]"))
    assert ids[0] == opening
    assert list(ids).count(closing) == 1
    added = range(trained.backend.token_to_id(FORMAT_TOKENS[0]), trained.vocab_size)
    assert [id_ for id_ in ids if id_ in added] == [opening, closing]


def test_added_tokens_follow_the_vocabulary_in_their_order(trained: Tokenizer) -> None:
    ids = [trained.backend.token_to_id(token) for token in (*FORMAT_TOKENS, *CHAT_TOKENS, END, PAD)]
    assert ids == list(range(trained.vocab_size - 16, trained.vocab_size))
    assert FORMAT_TOKENS[:4] == ("[bib_ref]", "[/bib_ref]", "[fig_ref]", "[/fig_ref]")
    assert len(FORMAT_TOKENS) == 12
    assert trained.vocab_size <= 512
    assert (trained.eod, trained.pad) == (ids[-2], ids[-1])


def test_no_merge_is_learnt_from_format_tokens(trained: Tokenizer) -> None:
    assert not any("bib" in token for token in trained.backend.get_vocab(with_added_tokens=False) if len(token) < 7)


def test_saved_and_loaded_it_is_the_same(trained: Tokenizer, tmp_path: Path) -> None:
    trained.save(tmp_path)
    loaded = Tokenizer.load(tmp_path)
    assert loaded.fingerprint == trained.fingerprint
    assert (loaded.eod, loaded.pad, loaded.vocab_size) == (trained.eod, trained.pad, trained.vocab_size)
    assert list(loaded.encode([f"x {END}"])[0]) == list(trained.encode([f"x {END}"])[0])


def test_a_folder_without_tokenizer_is_an_error(trained: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run the tokenizer step again"):
        Tokenizer.load(tmp_path)
    trained.save(tmp_path)
    for name, content in (("tokenizer.json", "{}"), ("tokenizer_config.json", "{}"), ("tokenizer_config.json", "{")):
        (tmp_path / name).write_text(content)
        with pytest.raises(UserError, match="not a tokenizer that the tokenizer step wrote"):
            Tokenizer.load(tmp_path)


TRAIN = """
import sys
from mixing.tokenizer.build import TokenizerSettings, train
texts = [f"dose {n % 13} of word{n % 7} and word{n % 11}, tie{n % 5} eit{n % 5}" for n in range(4000)]
print(train(texts, TokenizerSettings(train={"vocab_size": 700})).fingerprint)
"""


def test_training_gives_the_same_bytes_in_every_process() -> None:
    fingerprints = {
        subprocess.run(
            [sys.executable, "-c", TRAIN],
            env={"TOKENIZERS_PARALLELISM": parallel, "RAYON_NUM_THREADS": "4", "PYTHONHASHSEED": seed},
            cwd=Path(__file__).resolve().parents[3],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for parallel, seed in (("false", "1"), ("true", "2"), ("true", "3"))
    }
    assert len(fingerprints) == 1


def test_auto_tokenizer_reads_the_folder(trained: Tokenizer, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    trained.save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    text = "Dose [table] 3 mg , daily [/table] ."
    ids = theirs(text, add_special_tokens=False)["input_ids"]
    assert ids == trained.encode([text])[0].tolist()
    assert theirs.decode(ids) == text
    assert (theirs.eos_token_id, theirs.pad_token_id, len(theirs)) == (trained.eod, trained.pad, trained.vocab_size)


# SmolLM2 has no ids for six control characters, nor for the first bytes of the unassigned U+40000 to U+BFFFF.
GAPS = {*"\x04\x06\x13\x14\x16\x1d"}


@given(hostile_text.filter(lambda text: not any(char in GAPS or "\U00040000" <= char < "\U000c0000" for char in text)))
@settings(max_examples=100)
def test_any_text_comes_back_from_an_adopted_tokenizer(smollm2: Tokenizer, text: str) -> None:
    (ids,) = smollm2.encode([text])
    assert ids.dtype == np.uint16
    assert smollm2.decode(ids) == text
    assert smollm2.eod not in ids


def test_an_adopted_tokenizer_keeps_its_ids(smollm2: Tokenizer, tmp_path: Path) -> None:
    assert smollm2.backend.token_to_id("<|im_start|>") == 1
    assert smollm2.eod == 2
    assert smollm2.backend.token_to_id("[bib_ref]") == 49_152
    assert smollm2.pad == 49_164, "its pad token also ends documents"
    assert smollm2.vocab_size == 49_165
    smollm2.save(tmp_path)
    again = adopt(TokenizerSettings(path=str(tmp_path), eos_token=END))
    assert (again.eod, again.pad, again.vocab_size) == (0, smollm2.pad, smollm2.vocab_size)


@pytest.mark.parametrize("origin", [{}, {"train": {"vocab_size": 512}, "path": "x"}, {"train": {"vocab_size": 100}}])
def test_exactly_one_origin(origin: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TokenizerSettings.model_validate(origin)


@pytest.mark.parametrize("origin", [{"path": "nowhere"}, {"package": "no_such/x.gguf"}, {"package": "numpy/no.gguf"}])
def test_a_missing_tokenizer_is_an_early_error(origin: dict[str, str]) -> None:
    with pytest.raises(UserError, match=r"^tokenizer\.(path|package): "):
        base_files(TokenizerSettings.model_validate(origin))


@pytest.mark.parametrize(
    "content", ["{", "{}", "[1]", "3", '{"version": "1.0", "added_tokens": [], "model": {"type": "Nope"}}']
)
def test_a_folder_that_is_not_a_tokenizer_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(UserError, match="not a Hugging Face fast tokenizer"):
        adopt(TokenizerSettings(path=str(tmp_path)))


@pytest.mark.parametrize("end", ["the", "a", "[fig]", PAD])
def test_an_end_that_a_text_may_hold_is_refused(end: str) -> None:
    settings = TokenizerSettings(train=TrainSettings(vocab_size=300), eos_token=end)
    with pytest.raises(UserError, match=r"^tokenizer\.eos_token: .* would be taken out of documents"):
        train(["the dose, the drug"] * 20, settings)


def test_padding_is_never_an_end_of_message() -> None:
    adopted = adopt(packaged(SMOLLM2, eos_token=END))
    assert (adopted.end, adopted.padding) == (END, PAD)
