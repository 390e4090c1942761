"""Text from data, made safe to print. Names, titles and licences come from files that anyone may have written."""

import json
import re
from typing import Any

import yaml
from markupsafe import Markup

CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")
MARKS = re.compile(r"([\\`*_{}\[\]#|~$!])")
SPACES = re.compile(r"\s+")
TICKS = re.compile("`+")


def printable(text: str) -> str:
    """Replace by U+FFFD what no page may contain and what would reverse the text around it."""
    return CONTROL.sub("\ufffd", text)


def one_line(text: str) -> str:
    """Printable text with every run of white space as one space."""
    return SPACES.sub(" ", printable(text)).strip()


def as_yaml(tree: Any) -> str:
    """A tree of settings as YAML, without the passwords in addresses."""
    return CREDENTIALS.sub("", yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=100))


def markdown(text: str) -> Markup:
    """One line that Markdown shows as it is, also in a table cell, with no mark-up and no HTML."""
    plain = SPACES.sub(" ", printable(text)).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return Markup(MARKS.sub(r"\\\1", plain))  # noqa: S704 - escaped here


def code(text: str) -> Markup:
    """One line as a code span of Markdown, also in a table cell."""
    plain = one_line(text).replace("|", "\\|") or " "
    fence = "`" * (1 + max((len(run) for run in TICKS.findall(plain)), default=0))
    space = " " if "`" in plain else ""
    return Markup(f"{fence}{space}{plain}{space}{fence}")  # noqa: S704 - a span shows all as it is


def literal(text: str) -> Markup:
    """A string literal of Python and JSON on one line, for a block of code."""
    return Markup(json.dumps(one_line(text), ensure_ascii=False))  # noqa: S704 - quoted
