"""Templates of prompts: text with fields in braces. Those of protocols and those of tasks are written alike."""

import re
import string
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator

FIELDS = ("question", "context", "options", "group", "ask")
SHOTS, FIRST = "shots", "first_shots"
STRIP = "strip"

_SHOTS = re.compile(rf"\{{({SHOTS}|{FIRST})\}}")
_OPTIONAL = re.compile(r"\{(context|options|ask)(:strip)?\}")


def _check(template: str) -> str:
    try:
        parsed = [part[1:] for part in string.Formatter().parse(template) if part[1] is not None]
    except ValueError as error:
        raise ValueError(f"{error}; a brace that is text is written twice") from None
    names = [name for name, _, _ in parsed]
    known = (*FIELDS, SHOTS, FIRST)
    if strange := next((name for name in names if name not in known), None):
        raise ValueError(f"{{{strange}}} is no field; the fields are {', '.join(known)}")
    if any(spec not in ("", STRIP) or how for _, spec, how in parsed):
        raise ValueError(f"a field is written {{question}} or {{question:{STRIP}}}")
    if len(_SHOTS.findall(template)) > 1:
        raise ValueError(f"{{{SHOTS}}} and {{{FIRST}}} have one place")
    head, _, body = split(template)
    if "question" not in names or "{question" in head:
        raise ValueError("the part for a question, which follows the shots, needs {question}")
    if "{context" in head or "{options" in head or "{ask" in body:
        raise ValueError("{ask} stands before the shots; {context} and {options} after them")
    return template


Wording = Annotated[str, AfterValidator(_check)]
"""A template. What stands before {shots} is said once; what follows is the form of each question, solved or not.

The fields are {question}, {context}, {options} (a line each), {group} (the subject, in words) and {ask} (what the mode
asks for). {question:strip} takes blanks off both ends. A line with a context, options or ask is left out where a
question has none. {first_shots} in place of {shots} takes the first solved questions of the question's group, in order.
"""


def split(template: str) -> tuple[str, str, str]:
    """What is said once, which shots follow (`shots`, `first_shots` or nothing), and the form of a question."""
    found = _SHOTS.search(template)
    if found is None:
        return "", "", template
    return template[: found.start()], found[1], template[found.end() :]


class _Value(str):
    __slots__ = ()

    def __format__(self, spec: str) -> str:
        return self.strip() if spec == STRIP else str(self)


def fill(part: str, values: Mapping[str, str]) -> str:
    """The text of a part of a template. Braces in a value are text. A part without any words is empty."""
    kept = [line for line in part.split("\n") if all(values[name] for name, _ in _OPTIONAL.findall(line))]
    text = "\n".join(kept).format(**{name: _Value(value) for name, value in values.items()})
    return text if text.strip() else ""
