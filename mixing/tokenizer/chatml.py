"""ChatML: its tokens, its roles, and a conversation as one string, in Python and in Jinja."""

import json
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

CHAT_TOKENS = ("<|im_start|>", "<|im_end|>")


class Role(IntEnum):
    """Who speaks, by its number in a role dataset.

    The first three numbers are those of epfLLM's Megatron-LLM. END marks the end of a document.
    """

    SYSTEM = 0
    PROMPTER = 1
    ASSISTANT = 2
    END = 3


NAMES = {Role.SYSTEM: "system", Role.PROMPTER: "question", Role.ASSISTANT: "answer"}
"""What follows `<|im_start|>`."""

ROLES = {
    "system": Role.SYSTEM,
    "user": Role.PROMPTER,
    "question": Role.PROMPTER,
    "assistant": Role.ASSISTANT,
    "answer": Role.ASSISTANT,
}
"""The names of roles that records and requests may use."""

CHAT_TEMPLATE = (
    """\
{%- set names = ROLES -%}
{%- for message in messages -%}
{%- if message.role not in names -%}
{{- raise_exception("the role " ~ message.role ~ " is none of " ~ names | join(", ")) -}}
{%- endif -%}
{{- "START" ~ names[message.role] ~ "\\n" ~ message.content ~ "END\\n" -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- "STARTanswer\\n" -}}
{%- endif -%}
""".replace("ROLES", json.dumps({name: NAMES[role] for name, role in ROLES.items()}))
    .replace("START", CHAT_TOKENS[0])
    .replace("END", CHAT_TOKENS[1])
)
"""`render` in Jinja, for transformers and vLLM."""


class Message(NamedTuple):
    """What one says; an answer may be there only to be read, not `learned`."""

    role: Role
    text: str
    learned: bool = True


Messages = Sequence[Message]


def render(messages: Messages) -> str:
    """A conversation as one string. Each message ends with `<|im_end|>` and a line end."""
    start, end = CHAT_TOKENS
    return "".join(f"{start}{NAMES[role]}\n{text}{end}\n" for role, text, _ in messages)
