"""Looks that carry meaning: what is hidden, struck out, underlined, drawn as a fraction, or shown as an image."""

import re
from collections.abc import Container, Iterator
from itertools import islice
from typing import Final

from lxml import etree

STYLE_CHARS: Final = 2_000
"""Longer styles are cut before they are judged."""

HIDDEN = re.compile(r"(?:display\s{0,9}:\s{0,9}none|visibility\s{0,9}:\s{0,9}hidden)", re.IGNORECASE)
STRUCK = re.compile(r"text-decoration(?:-line)?\s{0,9}:[^;]{0,99}line-through", re.IGNORECASE)
STRUCK_CLASS = re.compile(r"(?:^|\s)(?:text-decoration-|text-)?(?:line-through)(?:$|\s)")
UNDERLINED = re.compile(r"text-decoration(?:-line)?\s{0,9}:[^;]{0,99}underline", re.IGNORECASE)
UNDERLINED_CLASS = re.compile(r"(?:^|\s)(?:text-decoration-|text-)?underlined?(?:$|\s)")
RAISED_CLASS = re.compile(r"(?:^|\s)sup(?:erscript)?(?:$|\s)")
RAISED = re.compile(r"vertical-align\s{0,9}:\s{0,9}super", re.IGNORECASE)
SORT_KEY = re.compile(r"(?:^|\s)sort-?_?key(?:$|\s)")
FRACTION_CLASS = re.compile(r"(?:^|[\s_-])s?frac(?:tion)?(?:$|[\s_-])")
NUMERATOR_CLASS = re.compile(r"(?:^|\s)num(?:erator)?(?:$|\s)")
SLASH = re.compile(r"\s?[/⁄∕]")
SPOKEN = re.compile(r"screen-reader|sr-only|visually-?hidden")
"""Classes of text that is read to the blind, beside an icon that the others see."""

UNDERLINED_SIGNS = {"<": "≤", ">": "≥", "+": "±"}

SIGNS = re.compile(r"[≥≤±≠≈≅≃∼×÷−½¼¾⅓⅔°∞√∑∆µ\u0370-\u03ff←-⇿∀-⋿☐-☒✓-✘✅❌⚠⛔]\ufe0f?")
"""Images of these signs are read wherever they are."""

AMBIGUOUS = re.compile(r"[<>=+/%~–—-]")
"""An image of such a sign may be a bullet or an arrow. Within a text, it is the sign."""

VALUE = re.compile(r"[<>≤≥±~]?\s?\d{1,6}(?:[.,/–-]\d{1,6}){0,2}\s?(?:%|[^\W\d_]{1,5}(?:/[^\W\d_]{1,5})?)?")
POLARITY = re.compile(
    r"(?:yes|no|not\b.{0,30}|never|avoid\b.{0,30}|do not\b.{0,30}|don't\b.{0,30}|positive|negative|warning|caution|"
    r"danger|stop|contra-?indicat(?:ed|ion)\b.{0,30}|(?:not )?recommended)[.:!]?",
    re.IGNORECASE,
)
FILE_NAME = re.compile(r"\.(?:png|jpe?g|gif|svg|webp|bmp)$|_", re.IGNORECASE)

SCRIPTS = frozenset(["script", "style", "template", "annotation", "annotation-xml"])
"""Elements whose text nobody sees."""

LABEL_CHARS: Final = 40
"""Longer texts of images describe a picture."""


def is_hidden(element: etree._Element) -> bool:
    """Whether no reader sees it. A hidden formula is for those who do not see its image."""
    name = element.get("class")
    hidden = is_collapsed(element) or (name and SORT_KEY.search(name))
    return bool(hidden) and next(element.iter("math"), None) is None


def is_collapsed(element: etree._Element) -> bool:
    """Whether it is hidden at first."""
    style = element.get("style")
    return bool(style and HIDDEN.search(style[:STYLE_CHARS])) or element.get("hidden") is not None


def is_struck(element: etree._Element) -> bool:
    """Whether a line goes through it."""
    if element.tag in ("del", "s", "strike"):
        return True
    if not element.attrib:
        return False
    style, name = element.get("style"), element.get("class")
    return bool((style and STRUCK.search(style[:STYLE_CHARS])) or (name and STRUCK_CLASS.search(name)))


def is_raised(element: etree._Element) -> bool:
    """Whether it stands above the line."""
    style, name = element.get("style"), element.get("class")
    if element.tag == "sup" or (style and RAISED.search(style[:STYLE_CHARS])):
        return True
    if not name:
        return False
    name = name[:STYLE_CHARS]
    return bool(RAISED_CLASS.search(name) or (NUMERATOR_CLASS.search(name) and SLASH.match(element.tail or "")))


def is_spoken(element: etree._Element) -> bool:
    """Whether only screen readers have it."""
    name = element.get("class")
    return bool(name and SPOKEN.search(name))


def is_skip_link(element: etree._Element) -> bool:
    """Whether it takes those who cannot see the page to another place in it."""
    return element.tag == "a" and (element.get("href") or "").startswith("#")


def repeats_formula(element: etree._Element) -> bool:
    """Whether it shows a formula again that a <math> beside it holds, for eyes alone."""
    return element.get("aria-hidden") == "true" and any(
        sibling is not None and next(sibling.iter("math"), None) is not None
        for sibling in (element.getprevious(), element.getnext())
    )


def underlined_sign(element: etree._Element) -> str:
    """The sign that an underlined one is, with its blanks: `>` over a line is `≥`. Empty for any other text."""
    style, name = element.get("style"), element.get("class")
    underlined = (
        element.tag == "u"
        or (style and UNDERLINED.search(style[:STYLE_CHARS]))
        or (name and UNDERLINED_CLASS.search(name))
    )
    text = beginning(element, 8) if underlined else ""
    bare = text.strip()
    return text.replace(bare, UNDERLINED_SIGNS[bare]) if bare in UNDERLINED_SIGNS else ""


def fraction(element: etree._Element) -> str:
    """A fraction that is drawn with a class of its own, as `1/2` or `1 1/2`. Empty if it is none."""
    name = element.get("class")
    if not name or not FRACTION_CLASS.search(name):
        return ""
    numbers = [text.strip(" \n\t\u2060\ufeff+/⁄∕") for text in islice(element.itertext(), 12)]
    numbers = [number for text in numbers for number in re.split(r"\s*[/⁄∕]\s*", text) if number]
    if not 2 <= len(numbers) <= 3 or not all(number.isdigit() and len(number) < 5 for number in numbers):
        return ""
    return " ".join([*numbers[:-2], "/".join(numbers[-2:])])


def label(element: etree._Element) -> str:
    """The short text in place of an image or icon; empty for a long one, or the name of a file."""
    title = element.find("title") if element.tag == "svg" else None
    text = element.get("alt") or element.get("aria-label") or (None if title is None else title.text) or ""
    text = " ".join(text[: 4 * LABEL_CHARS].split())
    return text if len(text) <= LABEL_CHARS and not FILE_NAME.search(text) else ""


def is_sign(text: str, between: tuple[str, str]) -> bool:
    """Whether an image's text belongs to the words before and after it: a sign, a value, or a word such as `not`."""
    if SIGNS.fullmatch(text):
        return True
    before, after = (side.strip() for side in between)
    if AMBIGUOUS.fullmatch(text):
        return bool(before and after) or after[:1].isdigit()
    return bool(before or after) and bool(VALUE.fullmatch(text) or POLARITY.fullmatch(text))


def beginning(element: etree._Element, most: int) -> str:
    """The first characters of an element's text, `most` or a few more."""
    text = ""
    for piece in element.itertext():
        text += piece[:most]
        if len(text) > most:
            break
    return text


def following(element: etree._Element, inline: frozenset[str]) -> str:
    """The first characters of what follows an element on its line, also beyond the inline elements around it."""
    text = element.tail or ""
    at: etree._Element | None = element
    for _ in range(8):
        if len(text) > 3 or at is None:
            break
        sibling = at.getnext()
        if sibling is not None:
            if sibling.tag not in inline:
                break
            text += beginning(sibling, 8) + (sibling.tail or "")
            at = sibling
        else:
            at = at.getparent()
            if at is None or at.tag not in inline:
                break
            text += at.tail or ""
    return text


def numbers_join(before: str, after: str) -> bool:
    """Whether two numbers would become one if nothing stood between them."""
    return before[-1:].isdigit() and after[:1].isdigit()


def visible(element: etree._Element, inline: frozenset[str], without: Container[etree._Element] = ()) -> Iterator[str]:
    """All text of an element but that in `without`, with line ends between blocks and `^` before raised text."""
    walk = etree.iterwalk(element, events=("start", "end"))
    for event, part in walk:
        unseen = part.tag in SCRIPTS or part in without
        if event == "start" and unseen:
            walk.skip_subtree()
        elif part.tag not in inline:
            yield "\n"
        elif event == "start" and part.tag == "sup":
            yield "^"
        if event == "start":
            yield "" if unseen else part.text or ""
        elif part is not element:
            yield part.tail or ""
