"""A SentencePiece model is adopted with the ids that sentencepiece gives."""

import gzip
import json
import random
import re
import shutil
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepiece import sentencepiece_model_pb2 as model_pb2

from lake.error import UserError
from lake.marks import FORMAT_TOKENS
from mixing.tokenizer.build import PAD, TokenizerSettings, adopt, base_files
from mixing.tokenizer.chatml import CHAT_TOKENS
from mixing.tokenizer.encoder import hard_texts
from mixing.tokenizer.plain import SPACE
from mixing.tokenizer.tokenizer import Tokenizer
from tests.mixing.tokenizers import LLAMA, file_of, packaged


@pytest.fixture(scope="module")
def model() -> Path:
    return file_of(LLAMA)


@pytest.fixture(scope="module")
def theirs(model: Path) -> sentencepiece.SentencePieceProcessor:
    return sentencepiece.SentencePieceProcessor(model_file=str(model))


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode([text])[0].tolist()


MARK = re.compile("|".join(map(re.escape, FORMAT_TOKENS)))


def test_hard_texts_have_sentencepieces_ids(llama: Tokenizer, theirs: sentencepiece.SentencePieceProcessor) -> None:
    rng = random.Random(1)
    runs = [char * length for char in "ab -=.*_#\n\t0/" for length in (1, 2, 3, 5, 7, 17, 64, 101)]
    mixed = ["".join(rng.choices("aab -=\n ", k=100)) for _ in range(100)]
    words = llama.backend.decode_batch([[id_] for id_ in range(0, 32_000, 9)])
    texts = hard_texts(["<s>", "</s>", "<unk>", "<0x0A>", *CHAT_TOKENS], words)
    differ = [text for text in [*texts, *runs, *mixed] if encode(llama, text) != theirs.encode(text)]
    assert differ == []


@given(st.text())
@settings(max_examples=300)
def test_any_text_has_sentencepieces_ids(
    llama: Tokenizer, theirs: sentencepiece.SentencePieceProcessor, text: str
) -> None:
    assert encode(llama, text) == theirs.encode(text)


def test_real_texts_have_sentencepieces_ids(
    llama: Tokenizer, theirs: sentencepiece.SentencePieceProcessor, shared_data: Path
) -> None:
    with gzip.open(shared_data / "guidelines" / "medquad.jsonl.gz") as stream:
        texts = [json.loads(line)["text"] for _, line in zip(range(300), stream, strict=False)]
    assert [ids.tolist() for ids in llama.encode(texts)] == theirs.encode(texts)


@given(st.lists(st.one_of(st.text(), st.sampled_from([*FORMAT_TOKENS, " ", "</s>", "  "])), max_size=8).map("".join))
@settings(max_examples=300)
def test_text_between_marks_is_encoded_by_itself_and_comes_back(
    llama: Tokenizer, theirs: sentencepiece.SentencePieceProcessor, text: str
) -> None:
    text = text.replace(SPACE, "")
    expected: list[int] = []
    for part in re.split(f"({MARK.pattern})", text):
        expected += [llama.backend.token_to_id(part)] if MARK.fullmatch(part) else theirs.encode(part)
    assert encode(llama, text) == expected
    assert llama.decode(expected) == text


def test_added_tokens_follow_the_pieces_in_their_order(llama: Tokenizer) -> None:
    added = [llama.backend.token_to_id(token) for token in (*FORMAT_TOKENS, *CHAT_TOKENS, PAD)]
    assert added == list(range(32_000, 32_015))
    assert (llama.end, llama.eod, llama.pad, llama.vocab_size) == ("</s>", 2, 32_014, 32_015)
    assert [llama.backend.id_to_token(number) for number in range(3)] == ["<unk>", "<s>", "</s>"]


def test_a_folder_a_file_and_a_package_give_the_same(llama: Tokenizer, model: Path, tmp_path: Path) -> None:
    shutil.copy(model, tmp_path / "tokenizer.model")
    for origin in (TokenizerSettings(path=str(tmp_path)), TokenizerSettings(path=str(model)), packaged(LLAMA)):
        assert adopt(origin).fingerprint == llama.fingerprint
    other = adopt(TokenizerSettings(path=str(tmp_path), eos_token="<|endoftext|>"))
    assert (other.eod, other.pad) == (32_014, 32_015)


def test_auto_tokenizer_reads_what_was_saved(llama: Tokenizer, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    llama.save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    text = "  Dose of 3 mg,\n daily"
    assert theirs(text, add_special_tokens=False)["input_ids"] == encode(llama, text)
    assert theirs.decode(encode(llama, text)) == text


def test_a_folder_with_tokenizer_json_is_taken_by_that(llama: Tokenizer, model: Path, tmp_path: Path) -> None:
    shutil.copy(model, tmp_path / "tokenizer.model")
    llama.save(tmp_path)
    assert base_files(TokenizerSettings(path=str(tmp_path)))[0].name == "tokenizer.json"


def changed(model: Path, change: str) -> bytes:
    proto = model_pb2.ModelProto()
    proto.ParseFromString(model.read_bytes())
    match change:
        case "unigram":
            proto.trainer_spec.model_type = model_pb2.TrainerSpec.UNIGRAM
        case "no bytes":
            proto.trainer_spec.byte_fallback = False
        case "normalizes":
            proto.normalizer_spec.precompiled_charsmap = b"\x00\x00"
        case "strips":
            proto.normalizer_spec.remove_extra_whitespaces = True
    return proto.SerializeToString()


@pytest.mark.parametrize("change", ["unigram", "no bytes", "normalizes", "strips"])
def test_a_model_of_another_kind_is_an_error(model: Path, tmp_path: Path, change: str) -> None:
    file = tmp_path / "tokenizer.model"
    file.write_bytes(changed(model, change))
    with pytest.raises(UserError, match="not a model of Llama's kind"):
        adopt(TokenizerSettings(path=str(tmp_path)))


def test_a_file_that_is_not_a_model_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(b"nothing of that kind")
    with pytest.raises(UserError, match="not a SentencePiece model"):
        adopt(TokenizerSettings(path=str(tmp_path)))


def test_a_model_without_dummy_prefix_puts_no_space_before(model: Path, tmp_path: Path) -> None:
    proto = model_pb2.ModelProto()
    proto.ParseFromString(model.read_bytes())
    proto.normalizer_spec.add_dummy_prefix = False
    file = tmp_path / "tokenizer.model"
    file.write_bytes(proto.SerializeToString())
    plain, theirs = adopt(TokenizerSettings(path=str(file))), sentencepiece.SentencePieceProcessor(model_file=str(file))
    for text in ("word", " word", "two  words\n", ""):
        assert encode(plain, text) == theirs.encode(text)
        assert plain.decode(encode(plain, text)) == text
