"""Talks of the chat page: what was said, how it is kept in the browser, and how it is exported."""

import json
import secrets
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gap.advisory import ADVISORY

TITLE = 48
LARGEST = 150_000
"""Characters of a talk. One that is longer cannot go on: it would not get through to its browser and back."""

FORMAT = "gap-talk-1"


class Said(BaseModel):
    """A message, and what is to be known of it: that it was stopped, why there is none, what was dropped before it."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["user", "assistant"]
    content: str
    model: str = ""
    note: str = ""


class Talk(BaseModel):
    """A talk with a model."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(default_factory=lambda: secrets.token_hex(8), pattern="^[0-9a-f]{16}$")
    title: str = "New talk"
    said: list[Said] = Field(default_factory=list)

    @classmethod
    def kept(cls, text: object) -> Self | None:
        """The talk that a browser kept, if it is one."""
        try:
            return cls.model_validate_json(text) if isinstance(text, str) else None
        except ValidationError:
            return None

    @property
    def text(self) -> str:
        """As the browser keeps it."""
        return self.model_dump_json()

    @property
    def full(self) -> bool:
        return len(self.text) > LARGEST

    def ask(self, question: str) -> None:
        if not self.said:
            line = " ".join(question.split())
            self.title = line if len(line) <= TITLE else f"{line[: TITLE - 1]}…"
        self.said.append(Said(role="user", content=question))

    def take_back_answer(self) -> None:
        """Forget the last answer, so that its question can be asked again."""
        if self.said and self.said[-1].role == "assistant":
            self.said.pop()

    @property
    def messages(self) -> list[dict[str, str]]:
        """For a request: the questions that were answered, with their answers, and the last question."""
        messages: list[dict[str, str]] = []
        for said in self.said:
            if said.role == "user" and messages and messages[-1]["role"] == "user":
                messages.pop()
            if said.content:
                messages.append({"role": said.role, "content": said.content})
        return messages

    @property
    def as_json(self) -> str:
        whole = {"format": FORMAT, "advisory": ADVISORY, **self.model_dump()}
        return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"

    @property
    def as_markdown(self) -> str:
        lines = [f"# {self.title}", f"> {ADVISORY}"]
        for said in self.said:
            lines.append("## Question" if said.role == "user" else f"## Answer of {said.model}")
            lines += [text for text in (said.content, f"*{said.note}*" if said.note else "") if text]
        return "\n\n".join(lines) + "\n"
