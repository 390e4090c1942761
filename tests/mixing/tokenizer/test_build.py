"""A folder is adopted by its tokenizer.json, whatever class it names, and AutoTokenizer gives the same ids for ours."""

import json
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from lake.error import UserError
from lake.marks import FORMAT_TOKENS
from mixing.tokenizer.build import END, PAD, TokenizerSettings, adopt, complete
from mixing.tokenizer.chatml import CHAT_TOKENS
from mixing.tokenizer.encoder import hard_texts
from mixing.tokenizer.plain import SPACE
from mixing.tokenizer.sentencepiece_model import read_model
from mixing.tokenizer.tokenizer import Tokenizer
from tests.mixing import tokenizers as ready

PAPER = "Statins help [bib_ref] Statins in heart failure, Smith [/bib_ref] and\n\n  so on [fig] A dose  [/fig]."
LLAMA_2 = {
    "tokenizer_class": "LlamaTokenizer",
    "add_bos_token": True,
    "add_eos_token": False,
    "bos_token": {"__type": "AddedToken", "content": "<s>", "special": True},
    "eos_token": {"__type": "AddedToken", "content": "</s>", "special": True},
    "pad_token": None,
    "legacy": False,
}
"""The tokenizer_config.json of Llama 2."""


def llama_backend() -> tokenizers.Tokenizer:
    return read_model(ready.file_of(ready.LLAMA))[0]


def folder_of(folder: Path, backend: tokenizers.Tokenizer, **files: dict[str, Any]) -> TokenizerSettings:
    folder.mkdir(exist_ok=True)
    backend.save(str(folder / "tokenizer.json"))
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return TokenizerSettings(path=str(folder))


def texts_for(tokenizer: Tokenizer) -> list[str]:
    words = tokenizer.backend.decode_batch([[id_] for id_ in range(0, tokenizer.vocab_size, 9)])
    return [PAPER, *hard_texts([*FORMAT_TOKENS, *CHAT_TOKENS, tokenizer.end, tokenizer.padding, "<s>"], words)]


def encoded(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    return [ids.tolist() for ids in tokenizer.encode(texts)]


def test_a_folder_of_llamas_class_has_the_ids_of_the_model_it_was_made_of(llama: Tokenizer, tmp_path: Path) -> None:
    adopted = adopt(folder_of(tmp_path, llama_backend(), tokenizer_config=LLAMA_2))
    assert encoded(adopted, texts_for(adopted)) == encoded(llama, texts_for(adopted))
    assert adopted.decode(adopted.encode([PAPER])[0]) == PAPER
    assert adopted.encoder.name == llama.encoder.name
    assert (adopted.end, adopted.padding, adopted.vocab_size) == (llama.end, llama.padding, llama.vocab_size)


@pytest.mark.parametrize("name", ["LlamaTokenizerFast", "GPT2Tokenizer", "PreTrainedTokenizerFast", "NoSuchTokenizer"])
def test_the_class_that_a_folder_names_changes_no_id_and_loses_no_blank(
    trained: Tokenizer, tmp_path: Path, name: str
) -> None:
    config = {"tokenizer_class": name, "eos_token": END, "pad_token": PAD}
    adopted = adopt(folder_of(tmp_path, trained.backend, tokenizer_config=config))
    assert encoded(adopted, texts_for(trained)) == encoded(trained, texts_for(trained))
    assert adopted.decode(adopted.encode([PAPER])[0]) == PAPER


@pytest.mark.parametrize("kind", ["of Llama's class", "SentencePiece", "trained"])
@pytest.mark.parametrize("model", [None, "llama"])
def test_auto_tokenizer_has_our_ids_of_what_was_saved(tmp_path: Path, kind: str, model: str | None) -> None:
    """Alone as vLLM's tokenizer is, and beside the config.json of the exported model."""
    from transformers import AutoTokenizer

    match kind:
        case "of Llama's class":
            made = adopt(folder_of(tmp_path / "base", llama_backend(), tokenizer_config=LLAMA_2))
        case "SentencePiece":
            made = adopt(ready.packaged(ready.LLAMA))
        case _:
            made = ready.trained()
    made.save(tmp_path / "saved")
    if model:
        (tmp_path / "saved" / "config.json").write_text(json.dumps({"model_type": model}), encoding="utf-8")
    theirs = AutoTokenizer.from_pretrained(tmp_path / "saved", split_special_tokens=True)
    texts = texts_for(made)
    assert theirs(texts, add_special_tokens=False)["input_ids"] == encoded(made, texts)
    assert (theirs.eos_token_id, theirs.pad_token_id, len(theirs)) == (made.eod, made.pad, made.vocab_size)


def first_only() -> Tokenizer:
    """A tokenizer that puts a space before a document, but not before a text between two marks (Mistral 7B v0.3)."""
    backend = llama_backend()
    backend.normalizer = None
    backend.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, prepend_scheme="first", split=False)
    return complete(backend, "</s>", PAD)


@pytest.mark.filterwarnings("ignore:fastokens")
def test_spaces_after_marks_come_back_where_only_the_document_gets_one() -> None:
    tokenizer = first_only()

    @given(st.lists(st.sampled_from([*FORMAT_TOKENS[:3], "a", " ", "dose", "\n", "é", "  "]), max_size=9).map("".join))
    @settings(max_examples=200)
    def holds(text: str) -> None:
        text = text.strip(" ")
        assert tokenizer.decode(tokenizer.encode([text])[0]) == text

    holds()
    assert tokenizer.decode(tokenizer.encode([PAPER])[0]) == PAPER


@pytest.mark.parametrize(
    ("files", "end", "padding"),
    [
        ({}, END, PAD),
        ({"tokenizer_config": {"eos_token": "</s>", "pad_token": "<unk>"}}, "</s>", "<unk>"),
        ({"special_tokens_map": {"eos_token": {"content": "</s>"}, "pad_token": {"content": "<p>"}}}, "</s>", "<p>"),
        (
            {"tokenizer_config": {"eos_token": None, "pad_token": "</s>"}, "special_tokens_map": {"eos_token": "</s>"}},
            "</s>",
            PAD,
        ),
    ],
)
def test_end_and_padding_are_those_that_the_folder_names(
    tmp_path: Path, files: dict[str, Any], end: str, padding: str
) -> None:
    backend = ready.trained().backend
    backend.add_special_tokens(["</s>", "<unk>"])
    adopted = adopt(folder_of(tmp_path, backend, **files))
    assert (adopted.end, adopted.padding) == (end, padding)


@pytest.mark.parametrize("content", [b"[1]", b"{", b'{"eos_token": {}}', b"\xff"])
def test_a_folder_whose_tokens_cannot_be_read_is_an_error(tmp_path: Path, content: bytes) -> None:
    tokenizer_settings = folder_of(tmp_path, ready.trained().backend)
    (tmp_path / "tokenizer_config.json").write_bytes(content)
    with pytest.raises(UserError, match=r"not a Hugging Face fast tokenizer: [^\n]+$"):
        adopt(tokenizer_settings)
