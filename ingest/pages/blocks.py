"""A page as a tree of blocks: the text of each, how much of it is prose or links, and what its names say."""

import re
from dataclasses import dataclass, field
from typing import Final

from lxml import etree

from ingest.pages.names import BODY, CERTAIN, COLLAPSED, MAIN, STRONG, WEAK, WHOLE_ARTICLE, judged, words
from ingest.text.powers import raised

NAME_CHARS: Final = 300
"""Longer attributes are cut before they are judged."""

DEPTH: Final = 200
"""Elements below this depth count as text of the block at this depth."""

PROSE: Final = 40
"""A block with more characters outside links is prose. A shorter one may be a label, a date or a name."""

NEVER = words(
    """
    script style noscript template svg head iframe object embed applet canvas audio video map button select
    option datalist input textarea progress meter dialog link meta title annotation annotation-xml
    """
)
INLINE = words(
    """
    a abbr acronym b bdi bdo big center cite code data del dfn em font hi i img ins kbd label mark nobr picture
    q rb ref rp rt ruby s samp small source span strike strong sub sup time tt u var wbr math mfrac mi mn mo
    mover mroot mrow mspace msqrt msub msubsup msup mtext munder munderover semantics
    """
)
LISTS = frozenset(["ul", "ol", "dl", "menu"])
BOXES = words("body main article section div td tr tbody table form center")
"""Elements that may hold the main content of a page."""

HEADINGS = {"h1": "# ", "h2": "## ", "h3": "### ", "h4": "### ", "h5": "### ", "h6": "### "}
LEAVES = frozenset([*HEADINGS, "p", "li", "blockquote"])

SUSPECT_TAGS = {"nav": CERTAIN, "footer": CERTAIN, "aside": STRONG, "form": STRONG} | dict.fromkeys(
    ("figure", "figcaption", "fieldset", "address"), WEAK
)
SUSPECT_ROLES = words(
    "alert alertdialog banner complementary contentinfo dialog form menu menubar navigation search toolbar"
)

HIDDEN = re.compile(r"(?:display\s{0,9}:\s{0,9}none|visibility\s{0,9}:\s{0,9}hidden)", re.IGNORECASE)

CLAIMING_TAGS = {"article": WHOLE_ARTICLE, "main": MAIN}


@dataclass(slots=True, eq=False)
class Block:
    """A block element.

    Attributes:
        parts: Its texts and child blocks, in order. A line end is a <br>, or stands within <pre>.
        claim: What it claims to hold, see ingest.pages.names; 0 if nothing.
        suspect: How surely it is no content; 0 if nothing shows that.
        own, own_linked: Characters of its texts without those of its children, and of these the ones in links.
        total, linked, prose: Characters in it and its children: all, those in links, and those of prose.
        dropped: It is no part of the content, and its parent's sums leave it out.
    """

    tag: str
    parts: "list[str | Block]" = field(default_factory=list)
    children: "list[Block]" = field(default_factory=list)
    claim: int = 0
    suspect: int = 0
    own: int = 0
    own_linked: int = 0
    total: int = 0
    linked: int = 0
    prose: int = 0
    dropped: bool = False

    def weigh(self) -> None:
        """Add up what it holds and is not dropped."""
        total, linked = self.own, self.own_linked
        prose = total - linked
        if prose < PROSE or linked > prose:
            prose = 0
        for child in self.children:
            if not child.dropped:
                child.weigh()
                total += child.total
                linked += child.linked
                prose += child.prose
        self.total, self.linked, self.prose = total, linked, prose


def blocks(root: etree._Element, whole: bool = False) -> Block:
    """The weighed tree of an element. With `whole`, for known content, parts with suspect names stay in it."""
    top = Block("body")
    _fill(root, top, False, 0, CERTAIN if whole else STRONG)
    top.weigh()
    return top


def _fill(element: etree._Element, block: Block, linked: bool, depth: int, sure: int) -> None:
    text = element.text
    if text:
        _add(block, text, linked)
    for child in element:
        tag = child.tag
        if tag in INLINE:
            name = child.get("class")
            if depth >= DEPTH:
                _flatten(child, block, linked)
            elif name is None or judged(name[:NAME_CHARS])[0] < sure:
                sign, text = _raised(block, child) if tag == "sup" else ("", None)
                if sign:
                    _add(block, sign, linked)
                if text is None:
                    _fill(child, block, linked or tag == "a", depth + 1, sure)
        elif tag == "br":
            block.parts.append("\n")
        elif tag not in NEVER:
            inner = Block(tag)
            _judge(child, inner)
            # To save time, a suspect without a paragraph is skipped: menus and lists of links are half of many pages.
            if inner.suspect < sure or (inner.suspect < CERTAIN and next(child.iter("p"), None) is not None):
                block.parts.append(inner)
                block.children.append(inner)
                if depth >= DEPTH:
                    _flatten(child, inner, linked)
                else:
                    _fill(child, inner, linked, depth + 1, sure)
        text = child.tail
        if text:
            _add(block, text, linked)


def _raised(block: Block, element: etree._Element) -> tuple[str, str | None]:
    """What stands for raised text: a sign before its own text, or another text in its place."""
    before = block.parts[-1] if block.parts else ""
    text = "".join(element.itertext())
    tail, follower = element.tail or "", element.getnext()
    after = tail if len(tail) > 1 or follower is None else tail + "".join(follower.itertext())
    written = raised(before, text, after) if isinstance(before, str) else text
    return (written.removesuffix(text), None) if written.endswith(text) else (written, written)


def _flatten(element: etree._Element, block: Block, linked: bool) -> None:
    """Add all text of an element that is nested too deeply, without recursion."""
    for inner in element.iter(etree.Element):
        if inner.tag not in NEVER and inner.text:
            _add(block, inner.text, linked)
        if inner is not element and inner.tail:
            _add(block, inner.tail, linked)


def _add(block: Block, text: str, linked: bool) -> None:
    if text.isspace():
        parts = block.parts
        if block.tag == "pre":
            parts.append(text)
        elif parts and parts[-1].__class__ is str:
            parts.append(" ")
        return
    length = len(text)
    if "\n" in text and block.tag != "pre":
        length = len(" ".join(text.split()))
        text = text.replace("\n", " ")
    block.parts.append(text)
    block.own += length
    if linked:
        block.own_linked += length


def _judge(element: etree._Element, block: Block) -> None:
    """Set what tag and attributes say of a block."""
    tag = block.tag
    suspect = SUSPECT_TAGS.get(tag, 0)
    claim = CLAIMING_TAGS.get(tag, 0)
    get = element.get
    name = get("class")
    if tag in BOXES:
        identity = get("id")
        if identity:
            name = f"{name} {identity}" if name else identity
    if name:
        doubt, claimed = judged(name[:NAME_CHARS])
        if doubt > suspect:
            suspect = doubt
        if claimed > claim and tag in BOXES:
            claim = claimed
    role = get("role")
    if role:
        if role in SUSPECT_ROLES:
            suspect = max(suspect, STRONG)
        elif role == "main":
            claim = max(claim, MAIN)
    style = get("style")
    if (style and HIDDEN.search(style[:NAME_CHARS])) or get("hidden") is not None or get("aria-hidden") == "true":
        suspect = max(suspect, COLLAPSED)
    if get("itemprop") == "articleBody":
        claim = BODY
    block.suspect, block.claim = suspect, claim
