"""The sentences in samples/text, and a die to choose among them."""

import random
from pathlib import Path

TEXT = Path(__file__).resolve().parent / "text"

Block = tuple[list[str], dict[str, list[str]]]
"""A block of a text file: the fields of its `@` line, and its lines by their one-letter key."""


class Dice:
    """Choices that depend on the seed alone: only `random()` is promised to stay the same between versions."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)

    def number(self, low: int, high: int) -> int:
        return low + int(self._random.random() * (high - low + 1))

    def pick(self, options: list[str]) -> str:
        return options[self.number(0, len(options) - 1)]

    def some(self, options: list[str], count: int) -> list[str]:
        return [option for _, option in sorted((self._random.random(), option) for option in options)[:count]]


def blocks(name: str) -> list[Block]:
    """The blocks of a text file whose lines carry a one-letter key."""
    found: list[Block] = []
    for line in (TEXT / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("@"):
            found.append(([field.strip() for field in line[1:].split("|")], {}))
        elif found and line:
            found[-1][1].setdefault(line[0], []).append(line[2:])
    return found


def passages(name: str) -> list[tuple[list[str], str]]:
    """The blocks of a text file whose lines are the text itself."""
    parts = (TEXT / name).read_text(encoding="utf-8").split("\n@ ")
    heads = (part.removeprefix("@ ").partition("\n") for part in parts)
    return [([field.strip() for field in head.split("|")], body.strip()) for head, _, body in heads]


TOPICS = {head[0]: (head[1], lines) for number in range(1, 5) for head, lines in blocks(f"topics-{number}.txt")}
PHRASES = {head[0]: body.splitlines() for head, body in passages("phrases.txt")[1:]}
EXTRAS = {head[0]: lines for head, lines in blocks("papers.txt")}
PLANTED = {" ".join(head): lines for head, lines in blocks("planted.txt")}
