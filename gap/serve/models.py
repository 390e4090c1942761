"""What one served model is: its name, its limits, its chat template, and what it says of itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gap.advisory import ADVISORY
from gap.serve.history import Message

QUESTION_AND_ANSWER = "{{ bos_token if bos_token is defined }}{% for message in messages %}" + (
    "{% if message.role == 'user' %}{{ 'Question: ' ~ message.content ~ '\\n' }}"
    "{% elif message.role == 'assistant' %}{{ 'Answer: ' ~ message.content ~ '\\n\\n' }}"
    "{% else %}{{ message.content ~ '\\n\\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}Answer:{% endif %}"
)
"""The chat template, in Jinja, of a model that learned none. Its answer ends where the model asks a question itself."""

NEXT_QUESTION = "\nQuestion:"


@dataclass(frozen=True)
class Model:
    """A model as the ingress serves it.

    `context` is the most tokens of a prompt with its answer. `own_template` says whether the model learned a chat
    template, and `takes_system` whether that has a place for a system prompt. Where it has none, the system prompt
    stands before the question.
    """

    name: str
    context: int
    own_template: bool
    takes_system: bool = True
    advised: bool = True

    @property
    def description(self) -> str:
        how = (
            "It is asked by the chat template that it learned."
            if self.own_template
            else "It is a base model that learned no chat template; it is asked by a plain form of question and answer."
        )
        prompt = "" if self.advised else " The operator switched the advisory off as a system prompt."
        return f"{ADVISORY} {how}{prompt}"

    @property
    def card(self) -> dict[str, Any]:
        """Its entry in /v1/models."""
        return {
            "id": self.name,
            "object": "model",
            "created": 0,
            "owned_by": "gap-replay",
            "description": self.description,
            "max_model_len": self.context,
            "chat_template": "own" if self.own_template else "question and answer",
        }

    @property
    def stops(self) -> list[str]:
        return [] if self.own_template else [NEXT_QUESTION]

    def opened(self, messages: Sequence[Mapping[str, Any]]) -> list[Message]:
        """The talk with the advisory as its system prompt, before the client's own if it has one."""
        if not self.advised:
            return list(messages)
        first, *rest = messages
        if first["role"] == "system":
            return [{**first, "content": f"{ADVISORY}\n\n{first['content']}"}, *rest]
        return [{"role": "system", "content": ADVISORY}, *messages]

    def rendered(self, messages: Sequence[Message]) -> list[Message]:
        """The messages as its template takes them."""
        if self.takes_system:
            return list(messages)
        system = [message["content"] for message in messages if message["role"] == "system"]
        others = [message for message in messages if message["role"] != "system"]
        if not system:
            return others
        place = next(place for place, message in enumerate(others) if message["role"] == "user")
        question = others[place]
        others[place] = {**question, "content": "\n\n".join([*system, question["content"]])}
        return others
