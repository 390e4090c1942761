"""The answer in what a model wrote."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Extracted:
    """The answer, or the reason why there is none."""

    answer: str | None
    reason: str | None


def extract(filters: Sequence[str], text: str, kind: str, options: Mapping[str, str]) -> Extracted:
    """A stand-in: what follows the last “answer is”, or the whole text without it."""
    answer = text.rpartition("answer is")[2].strip(" .:\n")
    if kind == "choice" and answer not in options:
        return Extracted(None, "no_label")
    return Extracted(answer, None)
