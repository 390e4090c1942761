"""Text that comes from data, made fit to be printed: names, titles and licences are hostile until told otherwise."""

import re

from markupsafe import Markup

CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")
MARKS = re.compile(r"([\\`*_{}\[\]#|~$!])")
SPACES = re.compile(r"\s+")
TICKS = re.compile("`+")


def printable(text: str) -> str:
    """Without what no page may hold and what would turn the text around it; each is replaced by U+FFFD."""
    return CONTROL.sub("\ufffd", text)


def one_line(text: str) -> str:
    """Printable, and every run of white space one space."""
    return SPACES.sub(" ", printable(text)).strip()


def without_credentials(text: str) -> str:
    """Without the user and password that an address may carry."""
    return CREDENTIALS.sub("", text)


def markdown(text: str) -> Markup:
    """One line that Markdown, also in a table's cell, shows as it is: no mark-up, no HTML."""
    plain = SPACES.sub(" ", printable(text)).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return Markup(MARKS.sub(r"\\\1", plain))  # noqa: S704 - escaped here


def code(text: str) -> Markup:
    """One line as a code span, also in a table's cell."""
    plain = one_line(text).replace("|", "\\|") or " "
    fence = "`" * (1 + max((len(run) for run in TICKS.findall(plain)), default=0))
    space = " " if "`" in plain else ""
    return Markup(f"{fence}{space}{plain}{space}{fence}")  # noqa: S704 - a span shows all as it is
