"""Signs that a paper shows by its looks: a struck out word, an underlined >, a picture of ≥."""

import re
import unicodedata
from typing import Final

from lxml import etree

from ingest.sources.jats_tree import local
from ingest.text.powers import lowered, raised

UNDERLINED: Final = {">": "≥", "<": "≤", "+": "±", "=": "≡", "~": "≃", "∼": "≃", "⊂": "⊆", "⊃": "⊇"}
"""What a sign means with a line below it."""

STRIKES: Final = re.compile(r"line-?through|\bstr(?:ike|uck)|\bdeleted\b", re.IGNORECASE)
UNDERLINES: Final = re.compile(r"\bunderlined?\b", re.IGNORECASE)

SIGNS: Final = re.compile(r"[^A-Za-z]{1,12}")
FORMULA: Final = re.compile(r"[\d=<>≤≥±×^_\\]")
PICTURE: Final = re.compile(
    r"\.(?:gif|jpe?g|png|tiff?|eps)\b|graphic|image|picture|equation|formula|file", re.IGNORECASE
)


def is_struck(node: etree._Element) -> bool:
    """Whether an element's text is struck out."""
    return local(node) in {"strike", "s", "del"} or _is_styled(node, STRIKES)


def is_underlined(node: etree._Element) -> bool:
    """Whether an element's text has a line below it."""
    return local(node) in {"underline", "u"} or _is_styled(node, UNDERLINES)


def _is_styled(node: etree._Element, style: re.Pattern[str]) -> bool:
    stated = (node.get(name) for name in ("style", "style-type", "content-type"))
    return (
        local(node) in {"styled-content", "named-content"} and style.search(" ".join(filter(None, stated))) is not None
    )


def drawn(node: etree._Element) -> str:
    """What a picture shows: the sign or formula that its alternative text has, or the character that it describes."""
    alternative = " ".join(" ".join("".join(alt.itertext()) for alt in node.iter("{*}alt-text")).split())
    if SIGNS.fullmatch(alternative):
        return alternative
    is_formula = next(node.iterancestors("{*}inline-formula", "{*}disp-formula"), None) is not None
    if is_formula and FORMULA.search(alternative) and not PICTURE.search(alternative):
        return alternative
    for name in (node.get("description"), node.get("name"), alternative):
        try:
            return unicodedata.lookup((name or "").upper().replace(" OR EQUAL", " OR EQUAL TO").replace("TO TO", "TO"))
        except KeyError:
            continue
    return ""


def script(name: str, before: str, text: str, after: str) -> str:
    """Raised or lowered text, which must not run into the digits before and after it."""
    bare = text.strip()
    shown = raised(before, bare, after) if name == "sup" else lowered(before, bare)
    shown = text if shown == bare else shown + text[len(text.rstrip()) :]
    return f"{shown} " if shown[-1:].isdigit() and after[:1].isdigit() else shown
