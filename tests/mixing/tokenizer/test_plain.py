"""No string in a text becomes a control id; ids are compared, for decoded text looks the same either way."""

import json
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors

from lake.marks import FORMAT_TOKENS
from mixing.instructions.template import ChatTemplate
from mixing.tokenizer.build import END, PAD, TokenizerSettings, adopt, complete, of_model
from mixing.tokenizer.chatml import CHAT_TEMPLATE, CHAT_TOKENS, Message, Role
from mixing.tokenizer.kept import write_settings
from mixing.tokenizer.plain import plain
from mixing.tokenizer.tokenizer import Tokenizer

ADDED = [
    AddedToken("<|fim_prefix|>", special=False, normalized=False),
    AddedToken("<|fim_middle|>", special=False, normalized=True),
    AddedToken("<think>", special=False, normalized=False, rstrip=True),
    AddedToken("</think>", special=False, normalized=False, lstrip=True),
    AddedToken("<tool_call>", special=False, normalized=True, single_word=True),
    AddedToken("<|repo_name|>", special=True, normalized=True, lstrip=True, rstrip=True),
    AddedToken("[INST]", special=False, normalized=False),
    AddedToken("[/INST]", special=True, normalized=False),
    AddedToken("<mask>", special=True, normalized=True, lstrip=True),
    AddedToken("<s>", special=True, normalized=False),
    AddedToken("</s>", special=True, normalized=False),
    AddedToken("<unk>", special=True, normalized=False),
    AddedToken("word", special=False, normalized=True, single_word=True),
    AddedToken("[fig][", special=False, normalized=False),
    AddedToken("x[table]", special=True, normalized=False),
]
NAMES = [token.content for token in ADDED]
CONTROLS = [*NAMES, *CHAT_TOKENS, END, PAD]
CHARACTERS = sorted(set("".join([*CONTROLS, *FORMAT_TOKENS]) + " ▁.\nabcdefghijklmnopqrstuvwxyz0123456789<>|/[]_"))


def byte_level() -> tokenizers.Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = tokenizers.Tokenizer(models.BPE({char: at for at, char in enumerate(alphabet)}, [], ignore_merges=True))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return backend


def whole_words() -> tokenizers.Tokenizer:
    """A BPE that takes a text that is in the vocabulary as it is, as Llama 3's does; all names are in it."""
    pieces = [*NAMES, *CHARACTERS]
    return tokenizers.Tokenizer(models.BPE({piece: at for at, piece in enumerate(pieces)}, [], ignore_merges=True))


def unigram() -> tokenizers.Tokenizer:
    """As T5's and XLM-R's: the names of controls are pieces, and the likeliest ones."""
    backend = tokenizers.Tokenizer(
        models.Unigram([*((name, 0.0) for name in NAMES), *((c, -9.0) for c in CHARACTERS)], 11)
    )
    backend.normalizer = normalizers.Replace(" ", "▁")
    backend.decoder = decoders.Replace("▁", " ")
    return backend


def words() -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(models.WordLevel({name: at for at, name in enumerate(NAMES)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return backend


KINDS = {"bytes": byte_level, "whole words": whole_words, "unigram": unigram, "words": words}


def made(kind: str) -> Tokenizer:
    backend = KINDS[kind]()
    backend.add_tokens(ADDED)
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        special_tokens=[(name, backend.token_to_id(name)) for name in ("<s>", "</s>")],
    )
    return complete(backend, END, PAD)


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    tokenizer = made(request.param)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert tokenizer.encoder
    return tokenizer


def controls(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    """The control tokens among ids, without the token for what is unknown."""
    names = {tokenizer.backend.token_to_id(name): name for name in CONTROLS if name != "<unk>"}
    return [names[id_] for id_ in ids if id_ in names]


def encoded(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode([text])[0].tolist()


@pytest.mark.parametrize("name", CONTROLS)
def test_no_added_token_is_found_in_a_text(tokenizer: Tokenizer, name: str) -> None:
    for text in (
        name,
        f" {name} ",
        f"a{name}b",
        f"{name}{name}",
        f"In a file {name} and\n{name}\n",
        f"[fig]{name}[/fig]",
    ):
        ids = encoded(tokenizer, text)
        assert controls(tokenizer, ids) == []
        marks = re.findall("|".join(map(re.escape, FORMAT_TOKENS)), text)
        assert [tokenizer.backend.id_to_token(id_) for id_ in ids if id_ in tokenizer._format_ids] == marks


@given(
    st.lists(st.sampled_from([*CONTROLS, *FORMAT_TOKENS, " ", "\n", "a", "<", "|>", "word"]), max_size=12).map("".join)
)
@settings(max_examples=100)
def test_no_text_holds_a_control(tokenizer: Tokenizer, text: str) -> None:
    assert controls(tokenizer, encoded(tokenizer, text)) == []


@pytest.mark.parametrize("kind", ["bytes", "unigram"])
def test_a_text_with_controls_comes_back(kind: str) -> None:
    tokenizer = made(kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in CONTROLS:
            text = f"a {name}  x{name}y [fig]{name}[/fig]"
            assert tokenizer.decode(encoded(tokenizer, text)) == text


def test_marks_have_their_ids_even_within_the_names_of_others(tokenizer: Tokenizer) -> None:
    for text, marks in (("[fig][fig]", ["[fig]"] * 2), ("x[table]x", ["[table]"]), ("word [fig] word", ["[fig]"])):
        ids = encoded(tokenizer, text)
        assert [tokenizer.backend.id_to_token(id_) for id_ in ids if id_ in tokenizer._format_ids] == marks


def test_nothing_is_put_around_a_text(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """Neither here nor by who reads the folder, though the adopted template adds BOS and EOS."""
    assert encoded(tokenizer, "") == []
    tokenizer.save(tmp_path)
    again = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert again.encode("").ids == []
    assert again.num_special_tokens_to_add(is_pair=False) == 0
    assert again.get_vocab() == tokenizer.backend.get_vocab()


def test_who_reads_an_exported_llama_puts_no_bos_before_a_text(tmp_path: Path) -> None:
    """Shards, prompts and export have one rule, also where the base's template and config add BOS."""
    tokenizer = made("bytes")
    tokenizer.save(tmp_path)
    write_settings(tmp_path, {"bos_token": "<s>"})
    (tmp_path / "config.json").write_text('{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}')
    read = transformers.AutoTokenizer.from_pretrained(str(tmp_path))
    assert read("Why?").input_ids == encoded(tokenizer, "Why?")
    assert read.bos_token == "<s>"


def test_the_ids_before_every_text_are_those_of_the_folders_template(tmp_path: Path) -> None:
    tokenizer = made("bytes")
    tokenizer.save(tmp_path)
    ours, before = of_model(tmp_path)
    assert before == []
    assert encoded(ours, "Why? <s>") == encoded(tokenizer, "Why? <s>")

    backend = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    ids = {name: backend.token_to_id(name) for name in ("<s>", "</s>")}
    backend.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=list(ids.items()))
    backend.save(str(tmp_path / "tokenizer.json"))
    theirs, before = of_model(tmp_path)
    assert before == [ids["<s>"]]
    assert encoded(theirs, "Why? <s>") == encoded(tokenizer, "Why? <s>")


def test_ids_and_names_of_the_folder_stay(tokenizer: Tokenizer) -> None:
    hidden = tokenizers.Tokenizer.from_str(plain(tokenizer.backend.to_str()))
    assert sorted(hidden.get_vocab().values()) == sorted(tokenizer.backend.get_vocab().values())
    assert all(hidden.token_to_id(name) == tokenizer.backend.token_to_id(name) for name in FORMAT_TOKENS)
    assert all(tokenizer.backend.token_to_id(name) is not None for name in CONTROLS)


def test_blanks_and_what_merges_make_stay_pieces_of_text() -> None:
    backend = byte_level()
    backend.model = models.BPE(backend.get_vocab() | {"ab": 256}, [("a", "b")])
    backend.add_tokens([AddedToken("    ", normalized=False), AddedToken("ab", normalized=False), AddedToken("<x>")])
    tokenizer = complete(backend, END, PAD)
    assert encoded(tokenizer, "ab    ab") == [256, backend.token_to_id("    "), 256]
    assert backend.token_to_id("<x>") not in encoded(tokenizer, "ab<x>")


def test_a_mark_that_was_special_is_a_mark() -> None:
    backend = byte_level()
    backend.add_special_tokens([AddedToken("[fig]", lstrip=True, rstrip=True, single_word=True)])
    tokenizer = complete(backend, END, PAD)
    assert tokenizer.decode(encoded(tokenizer, "a [fig] b[/fig]")) == "a [fig] b[/fig]"
    assert backend.token_to_id("[fig]") in encoded(tokenizer, "a[fig]b")


def test_conversations_and_prompts_follow_the_same_rule(tokenizer: Tokenizer) -> None:
    question = "Say <|im_end|> and <think> and </s>"
    template = ChatTemplate(tokenizer, CHAT_TEMPLATE, {})
    chat = template.encode([Message(Role.PROMPTER, question), Message(Role.ASSISTANT, "No <s>")])
    assert controls(tokenizer, chat.ids.tolist()) == [*CHAT_TOKENS, *CHAT_TOKENS]


def test_an_adopted_folder_with_tokens_that_are_not_special(tmp_path: Path) -> None:
    """Case 21 of the issue."""
    backend = byte_level()
    backend.add_special_tokens([END, *CHAT_TOKENS])
    names = ["<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|repo_name|>", "<think>", "</think>"]
    backend.add_tokens([AddedToken(name, special=False, normalized=False) for name in names])
    backend.save(str(tmp_path / "tokenizer.json"))
    config: dict[str, Any] = {"eos_token": END, "pad_token": END}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer = adopt(TokenizerSettings(path=str(tmp_path)))
    text = "In this file <|fim_prefix|>x<|fim_middle|> and <think>no</think> <tool_call>"
    ids = encoded(tokenizer, text)
    assert max(ids) < 256
    assert tokenizer.decode(ids) == text
    assert tokenizer.encoder.name.startswith("fastokens ")
