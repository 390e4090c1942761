"""Ids are those of transformers, loss is on answers and their end, and no text becomes a control token.

The templates are those of SmolLM2, Llama 3, Mistral and Qwen 2.5, shortened to what a talk without tools writes.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, processors

from lake.decision import Reason, RecordError
from lake.error import UserError
from lake.marks import FORMAT_TOKENS
from mixing.instructions.template import NAMES, ChatTemplate
from mixing.tokenizer.build import END, PAD, adopt, complete, train
from mixing.tokenizer.chatml import CHAT_TEMPLATE, CHAT_TOKENS, Message, Role, render
from mixing.tokenizer.kept import settings_of, write_settings
from mixing.tokenizer.tokenizer import Tokenizer
from tests.mixing.tokenizers import LLAMA, SETTINGS, SMOLLM2, packaged

SYSTEM, PROMPTER, ASSISTANT = Role.SYSTEM, Role.PROMPTER, Role.ASSISTANT
START, STOP = CHAT_TOKENS
FOLDER = Path(__file__).parent / "templates"
FRAMES = {
    "llama-3": ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    "mistral": ["<s>", "</s>", "[INST]", "[/INST]"],
    "smollm2": [],
    "qwen2.5": [],
    "ours": [],
}
STOPS = {"llama-3": "<|eot_id|>", "mistral": "</s>", "smollm2": STOP, "qwen2.5": STOP, "ours": STOP}
TRIMS = {"llama-3", "mistral"}

CONTROLS = sorted({START, STOP, END, PAD, *(token for tokens in FRAMES.values() for token in tokens)})
HOSTILE = [*CONTROLS, *FORMAT_TOKENS[:2], "\n", "\n\n\n", " ", "  ", "\r\n", "\t", "answer\n", "assistant\n\n"]
HOSTILE += [
    "\x00",
    "e\u0301",
    "🧬",
    "👩\u200d👧",
    "▁",
    "\u200b",
    "\u2003",
    "\xa0",
    "\U000f0000",
    "\U000f0001x",
    "{{ bos }}",
]
TAME = [text for text in HOSTILE if text not in CONTROLS]
COMMON = st.characters(min_codepoint=0x20, max_codepoint=0x3FFFF, codec="utf-8")
"""SmolLM2 has no id for the bytes of others."""

TALK = [Message(SYSTEM, "Be brief."), Message(PROMPTER, "Dose 3"), Message(ASSISTANT, "3 mg")]
TEXTS = [f"system question answer\n\n\n  Dose {n}: {n * 7} mg.\n\n" for n in range(60)]


def talks(hostile: list[str], characters: st.SearchStrategy[str] = COMMON) -> st.SearchStrategy[list[Message]]:
    """Talks of up to three questions, with a system turn or without."""
    parts = st.lists(st.one_of(st.text(characters), st.sampled_from(hostile)), min_size=1, max_size=6)
    text = parts.map("".join).filter(lambda joined: bool(joined.strip()))
    turns = st.lists(
        st.tuples(
            st.builds(Message, st.just(PROMPTER), text, st.just(True)),
            st.builds(Message, st.just(ASSISTANT), text, st.just(True)),
        )
    )
    head = st.lists(st.builds(Message, st.just(SYSTEM), text, st.just(True)), max_size=1)
    pairs = st.tuples(head, turns.filter(lambda found: 0 < len(found) < 4))
    return pairs.map(lambda talk: [*talk[0], *(message for pair in talk[1] for message in pair)])


def folder_of(tokenizer: Tokenizer, name: str, folder: Path) -> Path:
    """The tokenizer as a folder, with a chat template that is not ours where the name says so."""
    folder.mkdir()
    tokenizer.save(folder)
    frames = FRAMES[name]
    kept: dict[str, Any] = {"bos_token": frames[0]} if frames else {}
    if name != "ours":
        kept["chat_template"] = (FOLDER / f"{name}.jinja").read_text()
    write_settings(folder, kept)
    return folder


def framed(backend: tokenizers.Tokenizer, name: str) -> Tokenizer:
    """With the control tokens of a template. Mistral's turns end as its documents do, and so do SmolLM2's."""
    backend.add_special_tokens([AddedToken(token, normalized=False) for token in FRAMES[name]])
    return complete(backend, {"mistral": "</s>", "smollm2": STOP}.get(name, END), PAD)


def trained_on_line_ends() -> tokenizers.Tokenizer:
    """Its merges join line ends with the first characters of a text."""
    return train(TEXTS, SETTINGS).backend


def metaspace() -> tokenizers.Tokenizer:
    """As in SentencePiece, ▁ begins each word and the text."""
    backend = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="<unk>"))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace(prepend_scheme="first")
    backend.decoder = tokenizers.decoders.Metaspace(prepend_scheme="first")
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=200, special_tokens=["<unk>"], show_progress=False)
    backend.train_from_iterator(TEXTS, trainer)
    return backend


BACKENDS = {
    "trained": trained_on_line_ends,
    "smollm2": lambda: adopt(packaged(SMOLLM2, eos_token=END)).backend,
    "llama": lambda: adopt(packaged(LLAMA, eos_token=END)).backend,
}

Loaded = tuple[ChatTemplate, Any, str]


@pytest.fixture(scope="module", params=[(backend, name) for backend in BACKENDS for name in FRAMES], ids="-".join)
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """The template, what AutoTokenizer makes of the folder, and the template's name."""
    from transformers import AutoTokenizer

    which, name = request.param
    tokenizer = framed(BACKENDS[which](), name)
    folder = folder_of(tokenizer, name, tmp_path_factory.mktemp(which) / name)
    return ChatTemplate.of(tokenizer, settings_of(folder)), AutoTokenizer.from_pretrained(folder), name


def listed(messages: list[Message]) -> list[dict[str, str]]:
    return [{"role": NAMES[role], "content": text} for role, text, _ in messages]


def their_ids(theirs: Any, messages: list[Message], **more: Any) -> list[int]:
    ids: list[int] = theirs.apply_chat_template(listed(messages), tokenize=True, return_dict=True, **more)["input_ids"]
    return ids


def runs(flags: np.ndarray, ids: np.ndarray) -> list[np.ndarray]:
    """The ids of each run of true flags."""
    bounds = np.flatnonzero(np.diff(flags)) + 1
    pieces = zip(np.split(flags, bounds), np.split(ids, bounds), strict=True)
    return [part for flag, part in pieces if flag[0]]


def made(source: Any) -> ChatTemplate:
    return ChatTemplate.of(complete(trained_on_line_ends(), END, PAD), {"chat_template": source})


def squeezed(text: str) -> str:
    """Without the spaces that SentencePiece adds to a text and takes from it."""
    return text.replace(" ", "").replace("▁", "")


@given(talks(TAME))
@settings(max_examples=20, deadline=None)
def test_ids_are_those_of_transformers(loaded: Loaded, messages: list[Message]) -> None:
    template, theirs, _ = loaded
    assert theirs.apply_chat_template(listed(messages), tokenize=False) == template.render(messages)
    # Transformers takes these within a text for control tokens.
    known = {token.content for token in template.tokenizer.backend.get_added_tokens_decoder().values()}
    assume(not any(token in text for _, text, _ in messages for token in known - set(FORMAT_TOKENS)))
    assert their_ids(theirs, messages) == template.encode(messages).ids.tolist()


@given(talks(HOSTILE))
@settings(max_examples=20, deadline=None)
def test_any_talk_comes_back_and_its_answers_are_learnt(loaded: Loaded, messages: list[Message]) -> None:
    template, _, name = loaded
    decode, chat = template.tokenizer.decode, template.encode(messages)
    assert chat.ids.shape == chat.roles.shape == chat.loss.shape
    assert squeezed(decode(chat.ids)) == squeezed(template.render(messages))
    learnt = [decode(ids) for ids in runs(chat.loss, chat.ids)]
    answers = [text.strip() if name in TRIMS else text for role, text, _ in messages if role is ASSISTANT]
    for text, answer in zip(learnt, answers, strict=True):
        before, found, after = squeezed(text).rpartition(squeezed(answer + STOPS[name]))
        assert (before.strip(), after) == ("", "")
        assert found
    # As many control tokens as the same talk has whose texts have none.
    tame = template.encode([Message(role, "x") for role, *_ in messages])
    ends = [template.tokenizer.backend.token_to_id(token) for token in CONTROLS]
    assert np.isin(chat.ids, ends).sum() == np.isin(tame.ids, ends).sum()


@given(talks(HOSTILE, st.characters(codec="utf-8")))
@settings(max_examples=100, deadline=None)
def test_a_byte_level_tokenizer_loses_no_character(messages: list[Message]) -> None:
    template = ChatTemplate.of(ours := complete(trained_on_line_ends(), END, PAD), {"chat_template": CHAT_TEMPLATE})
    chat = template.encode(messages)
    assert ours.decode(chat.ids) == template.render(messages) == render(messages)
    learnt = [ours.decode(ids) for ids in runs(chat.loss, chat.ids)]
    for text, answer in zip(learnt, [text + STOP for role, text, _ in messages if role is ASSISTANT], strict=True):
        assert text == answer or (text == "\n" + answer and answer[0].isspace())
    # Each message is one run of tokens from its start, all with the message's role.
    frames = np.split(chat.roles, np.flatnonzero(chat.ids == ours.backend.token_to_id(START))[1:])
    assert [set(frame.tolist()) for frame in frames] == [{role.value} for role, *_ in messages]


def test_a_prompt_ends_where_the_loss_begins(loaded: Loaded) -> None:
    template, theirs, name = loaded
    messages = [Message(SYSTEM, "Be brief."), Message(PROMPTER, "Dose?"), Message(ASSISTANT, "3 mg")]
    chat = template.encode(messages)
    prompt = theirs.apply_chat_template(listed(messages[:2]), add_generation_prompt=True, tokenize=False)
    # A space before Mistral's answer is part of its first token.
    assert squeezed(template.tokenizer.decode(chat.ids[: chat.loss.argmax()])) == squeezed(prompt)
    assert chat.ids[chat.loss][-1] == template.tokenizer.backend.token_to_id(STOPS[name])


def test_the_end_of_a_turn_is_learnt_where_it_ends_documents_and_pads(loaded: Loaded) -> None:
    """Padding that is the end of turn, an end that is masked, an end that is taken for a document's and left out."""
    template, _, name = loaded
    tokenizer = template.tokenizer
    same = Tokenizer(tokenizer.backend, STOPS[name], STOPS[name])
    messages = [
        Message(PROMPTER, "Dose?"),
        Message(ASSISTANT, "3 mg"),
        Message(PROMPTER, "Why?"),
        Message(ASSISTANT, "x"),
    ]
    variables = {**template.variables, "eos_token": same.end}
    chat, before = ChatTemplate(same, template.source, variables).encode(messages), template.encode(messages)
    assert chat.ids.tolist() == before.ids.tolist()
    assert [ids[-1] for ids in runs(chat.loss, chat.ids)] == [same.eod, same.eod]


def test_an_answer_that_is_not_to_be_learned_is_only_read(loaded: Loaded) -> None:
    template, *_ = loaded
    talk = [Message(PROMPTER, "a"), Message(ASSISTANT, "b"), Message(PROMPTER, "c"), Message(ASSISTANT, "d")]
    whole = template.encode(talk)
    read = template.encode([talk[0], talk[1]._replace(learned=False), *talk[2:]])
    assert read.ids.tolist() == whole.ids.tolist()
    (first, *_, last) = np.flatnonzero(whole.loss)
    assert not read.loss[first]
    assert read.loss[last]


def test_a_text_cannot_end_its_turn() -> None:
    template = made(CHAT_TEMPLATE)
    chat = template.encode([Message(PROMPTER, f"a{STOP}\n{START}answer\nb"), Message(ASSISTANT, f"c{STOP}{END}")])
    controls = [template.tokenizer.backend.token_to_id(token) for token in CONTROLS]
    assert template.tokenizer.decode(chat.ids[chat.loss]) == f"c{STOP}{END}{STOP}"
    assert np.isin(chat.ids, controls).sum() == 4
    assert np.isin(chat.ids[chat.loss], controls).sum() == 1


def test_bos_is_written_once_where_the_tokenizer_would_add_another(tmp_path: Path) -> None:
    tokenizer = framed(trained_on_line_ends(), "mistral")
    number = tokenizer.backend.token_to_id("<s>")
    tokenizer.backend.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", number)])
    template = ChatTemplate.of(tokenizer, settings_of(folder_of(tokenizer, "mistral", tmp_path / "m")))
    assert template.encode(TALK).ids.tolist().count(number) == 1


def test_a_control_token_swallows_the_blanks_beside_it_as_in_transformers(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    backend = trained_on_line_ends()
    for token in (
        AddedToken("<|user|>", rstrip=True),
        AddedToken("<|bot|>", rstrip=True),
        AddedToken("<|stop|>", lstrip=True),
    ):
        backend.add_special_tokens([token])
    tokenizer = complete(backend, END, PAD)
    head = "{{ '<|bot|>' if m.role == 'assistant' else '<|user|>' }}"
    source = f"{{% for m in messages %}}{head}\n{{{{ m.content }}}}<|stop|>{{% endfor %}}"
    folder = folder_of(tokenizer, "ours", tmp_path / "m")
    write_settings(folder, {"chat_template": source})
    template = ChatTemplate.of(tokenizer, settings_of(folder))
    messages = [Message(PROMPTER, "Dose? \n"), Message(ASSISTANT, " 3 mg ")]
    chat = template.encode(messages)
    assert chat.ids.tolist() == their_ids(AutoTokenizer.from_pretrained(folder), messages)
    assert tokenizer.decode(chat.ids[chat.loss]) == "3 mg<|stop|>"


EACH = "{% for m in messages %}{{ CONTENT }}<|im_end|>{% endfor %}"


@pytest.mark.parametrize(
    ("content", "reason", "evidence"),
    [
        ("m.content | replace('Be', 'So')", Reason.CHANGED_BY_TEMPLATE, "changes 'Be brief.' to 'So brief.'"),
        ("m.content.split('.')[0]", Reason.CHANGED_BY_TEMPLATE, "leaves out, repeats or changes a message"),
        ("m.content if m.role != 'system' else ''", Reason.CHANGED_BY_TEMPLATE, "leaves out, repeats"),
        ("m.content * (2 if m.role == 'system' else 1)", Reason.CHANGED_BY_TEMPLATE, "to 'Be brief.Be brief.'"),
        ("m.content + (7 if m.role == 'system' else '')", Reason.REFUSED_BY_TEMPLATE, "can only concatenate str"),
        (
            "raise_exception('No system, please') if m.role == 'system' else m.content",
            Reason.REFUSED_BY_TEMPLATE,
            "the chat template says: No system, please",
        ),
    ],
)
def test_a_talk_that_the_template_refuses_or_changes_is_dropped(content: str, reason: Reason, evidence: str) -> None:
    template = made(EACH.replace("CONTENT", content))
    with pytest.raises(RecordError, match=re.escape(evidence)) as raised:
        template.encode(TALK)
    assert raised.value.reason is reason
    assert template.encode(TALK[1:]).loss.any()


def test_a_template_may_trim_one_end_or_single_characters() -> None:
    for content, answer in (("m.content.lstrip()", "a \n"), ("m.content | trim", "a"), ("m.content.rstrip()", "\t a")):
        template = made(EACH.replace("CONTENT", content))
        chat = template.encode([Message(PROMPTER, " q "), Message(ASSISTANT, "\t a \n")])
        assert template.tokenizer.decode(chat.ids[chat.loss]) == answer + STOP
    # The shadow has no line end, so it differs where one is trimmed.
    template = made(EACH.replace("CONTENT", "m.content.strip('\\n')"))
    assert template.encode([Message(PROMPTER, "q"), Message(ASSISTANT, " a ")]).loss.any()
    with pytest.raises(RecordError, match="leaves out, repeats or changes a message"):
        template.encode([Message(PROMPTER, "q"), Message(ASSISTANT, "a\n")])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}", "no control token after an answer"),
        ("{% for m in messages %}<|im_start|>{{ m.content }}{% endfor %}", "no control token after an answer"),
        ("{% for m in messages %}", "not Jinja: line 1"),
        ("{{ raise_exception('Never') }}", "it fails at a question with its answer: the chat template says: Never"),
        ("{{ messages[0].content }}" + EACH.replace("CONTENT", "m.content"), "it fails at a question with its answer"),
        (None, "the tokenizer's folder has none"),
    ],
)
def test_a_template_that_cannot_teach_is_refused_at_once(source: str | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        made(source)


def test_turns_may_be_marked_for_transformers_and_templates_named() -> None:
    source = CHAT_TEMPLATE.replace('{{- "', '{% generation %}{{- "', 1).replace("END", STOP)
    at = source.index("{%- endfor")
    marked = source[:at] + "{% endgeneration %}" + source[at:]
    assert made(marked).encode(TALK).ids.tolist() == made(CHAT_TEMPLATE).encode(TALK).ids.tolist()
    named = [{"name": "tool_use", "template": "x"}, {"name": "default", "template": CHAT_TEMPLATE}]
    assert made(named).encode(TALK).ids.tolist() == made(CHAT_TEMPLATE).encode(TALK).ids.tolist()


def test_the_day_is_always_the_same() -> None:
    source = "{{ strftime_now('%d %b %Y') }}{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}"
    assert made(source).render(TALK).startswith("26 Jul 2024")


def test_a_tokenizer_that_treats_the_first_word_apart_encodes_to_the_same_ids(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = complete(metaspace(), END, PAD)
    folder = folder_of(tokenizer, "ours", tmp_path / "m")
    chat = ChatTemplate.of(tokenizer, settings_of(folder)).encode(TALK)
    assert chat.ids.tolist() == their_ids(AutoTokenizer.from_pretrained(folder), TALK)
    assert tokenizer.encode(["system"])[0][0] != chat.ids[1], "at the beginning it is another token"


def test_an_answer_of_a_megabyte_takes_seconds() -> None:
    text = "Dose 3. " * 2**17
    chat = made(CHAT_TEMPLATE).encode([Message(PROMPTER, " " * 2**20 + "Q"), Message(ASSISTANT, text)])
    assert chat.loss.sum() > 2**18


def test_roles_are_numbered_as_the_reference_does() -> None:
    assert (Role.SYSTEM, Role.PROMPTER, Role.ASSISTANT, Role.END) == (0, 1, 2, 3)


@pytest.mark.parametrize("name", ["question", "user"])
def test_our_template_takes_both_names_of_a_role_and_no_other(name: str) -> None:
    template = made(CHAT_TEMPLATE)
    written = template._compiled.render(messages=[{"role": name, "content": "Q"}])
    assert written == render([Message(PROMPTER, "Q")])
    with pytest.raises(Exception, match="the role tool is none of system, user, question, assistant, answer"):
        template._compiled.render(messages=[{"role": "tool", "content": "x"}])
