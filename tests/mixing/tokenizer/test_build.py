"""Tokenizer folders: adopted as their tokenizer.json is, whatever class they name; saved, AutoTokenizer has our ids."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from lake.error import UserError
from mixing.encoder import hard_texts
from mixing.pieces import SPACE, read_pieces
from mixing.tokenizer import (
    CHAT_TOKENS,
    END,
    FORMAT_TOKENS,
    PAD,
    Tokenizer,
    TokenizerSettings,
    adopt,
    complete,
    train,
)

MODEL = "mistral_common/data/tokenizer.model.v1"
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
"""What its tokenizer_config.json says."""


def byte_level() -> Tokenizer:
    return train([f"Patient {n} took {n * 7} mg.\n" for n in range(60)], TokenizerSettings.model_validate(TRAINED))


TRAINED = {"train": {"vocab_size": 512}}


def pieces() -> tokenizers.Tokenizer:
    package, _, name = MODEL.partition("/")
    found = find_spec(package)
    if found is None or found.origin is None:
        pytest.skip(reason="mistral-common is not installed")
    return read_pieces(Path(found.origin).parent / name)[0]


def folder_of(folder: Path, backend: tokenizers.Tokenizer, **files: dict[str, Any]) -> TokenizerSettings:
    folder.mkdir(exist_ok=True)
    backend.save(str(folder / "tokenizer.json"))
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return TokenizerSettings(path=str(folder))


def texts_for(made: Tokenizer) -> list[str]:
    words = made.backend.decode_batch([[one] for one in range(0, made.vocab_size, 9)])
    return [PAPER, *hard_texts([*FORMAT_TOKENS, *CHAT_TOKENS, made.end, made.padding, "<s>"], words)]


def encoded(made: Tokenizer, texts: list[str]) -> list[list[int]]:
    return [one.tolist() for one in made.encode(texts)]


def test_a_folder_of_llamas_class_has_the_ids_of_the_model_it_was_made_of(tmp_path: Path) -> None:
    made = adopt(folder_of(tmp_path, pieces(), tokenizer_config=LLAMA_2))
    model = adopt(TokenizerSettings(package=MODEL))
    assert encoded(made, texts_for(made)) == encoded(model, texts_for(made))
    assert made.decode(made.encode([PAPER])[0]) == PAPER
    assert made.encoder.name == model.encoder.name
    assert (made.end, made.padding, made.vocab_size) == (model.end, model.padding, model.vocab_size)


@pytest.mark.parametrize("name", ["LlamaTokenizerFast", "GPT2Tokenizer", "PreTrainedTokenizerFast", "NoSuchTokenizer"])
def test_the_class_that_a_folder_names_changes_no_id_and_loses_no_blank(tmp_path: Path, name: str) -> None:
    own = byte_level()
    config = {"tokenizer_class": name, "eos_token": END, "pad_token": PAD}
    made = adopt(folder_of(tmp_path, own.backend, tokenizer_config=config))
    assert encoded(made, texts_for(own)) == encoded(own, texts_for(own))
    assert made.decode(made.encode([PAPER])[0]) == PAPER


@pytest.mark.parametrize("kind", ["of Llama's class", "SentencePiece", "trained"])
@pytest.mark.parametrize("model", [None, "llama"])
def test_auto_tokenizer_has_our_ids_of_what_was_saved(tmp_path: Path, kind: str, model: str | None) -> None:
    """Alone as vLLM's tokenizer is, and beside the config.json of the exported model."""
    from transformers import AutoTokenizer

    match kind:
        case "of Llama's class":
            made = adopt(folder_of(tmp_path / "base", pieces(), tokenizer_config=LLAMA_2))
        case "SentencePiece":
            pieces()
            made = adopt(TokenizerSettings(package=MODEL))
        case _:
            made = byte_level()
    made.save(tmp_path / "saved")
    if model:
        (tmp_path / "saved" / "config.json").write_text(json.dumps({"model_type": model}), encoding="utf-8")
    theirs = AutoTokenizer.from_pretrained(tmp_path / "saved", split_special_tokens=True)
    texts = texts_for(made)
    assert theirs(texts, add_special_tokens=False)["input_ids"] == encoded(made, texts)
    assert (theirs.eos_token_id, theirs.pad_token_id, len(theirs)) == (made.eod, made.pad, made.vocab_size)


def first_only() -> Tokenizer:
    """Of the kind that puts a space before a document, but not before a text between two marks (Mistral 7B v0.3)."""
    backend = pieces()
    backend.normalizer = None
    backend.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, prepend_scheme="first", split=False)
    return complete(backend, "</s>", PAD)


@pytest.mark.filterwarnings("ignore:fastokens")
def test_spaces_behind_marks_come_back_where_only_the_document_gets_one() -> None:
    made = first_only()

    @given(st.lists(st.sampled_from([*FORMAT_TOKENS[:3], "a", " ", "dose", "\n", "é", "  "]), max_size=9).map("".join))
    @settings(max_examples=200, deadline=None)
    def holds(text: str) -> None:
        text = text.strip(" ")
        assert made.decode(made.encode([text])[0]) == text

    holds()
    assert made.decode(made.encode([PAPER])[0]) == PAPER


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
    backend = byte_level().backend
    backend.add_special_tokens(["</s>", "<unk>"])
    made = adopt(folder_of(tmp_path, backend, **files))
    assert (made.end, made.padding) == (end, padding)


@pytest.mark.parametrize("content", [b"[1]", b"{", b'{"eos_token": {}}', b"\xff"])
def test_a_folder_whose_tokens_cannot_be_read_is_told(tmp_path: Path, content: bytes) -> None:
    wanted = folder_of(tmp_path, byte_level().backend)
    (tmp_path / "tokenizer_config.json").write_bytes(content)
    with pytest.raises(UserError, match=r"not a tokenizer of Hugging Face's fast kind: [^\n]+$"):
        adopt(wanted)
