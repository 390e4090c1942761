"""A page as a tree of blocks: the text of each, how much of it is prose or links, and what its names say."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from lxml import etree

from ingest.pages.changes import Changes
from ingest.pages.looks import (
    SCRIPTS,
    beginning,
    following,
    fraction,
    is_collapsed,
    is_hidden,
    is_raised,
    is_sign,
    is_skip_link,
    is_spoken,
    is_struck,
    label,
    numbers_join,
    repeats_formula,
    underlined_sign,
    visible,
)
from ingest.pages.names import BODY, COLLAPSED, MAIN, SURE, WHOLE_ARTICLE, judged, words
from ingest.pages.substance import clinical
from ingest.text.mathml import math_text
from ingest.text.powers import raised

NAME_CHARS: Final = 300
"""Longer attributes are cut before they are judged."""

DEPTH: Final = 200
"""Elements below this depth count as text of the block at this depth."""

LEAST_COLLAPSED: Final = 200
"""With this many characters of prose, what is hidden at first is a section and not a dialog."""

LINKED_DATA: Final = 0.5
"""A table of data or a list with a smaller share of links counts as prose, however short its items are."""

PROSE: Final = 40
"""A block with more characters outside links is prose. A shorter one may be a label, a date or a name."""

CELL: Final = 300
"""If its cells have more characters on average, a table serves for the layout."""

MAX_COLUMNS: Final = 1_000
"""Browsers let a cell span no more."""

SPAN = re.compile(r"\s*\+?(\d{1,6})")

NEVER = words(
    """
    script style noscript template svg head iframe object embed applet canvas audio video map button select
    option datalist input textarea progress meter link meta title annotation annotation-xml
    """
)
INLINE = words(
    """
    a abbr acronym b bdi bdo big cite code data del dfn em font hi i img ins kbd label mark nobr picture
    q rb ref rp rt ruby s samp small source span strike strong sub sup time tt u var wbr math mfrac mi mn mo
    mover mroot mrow mspace msqrt msub msubsup msup mtext munder munderover semantics
    mjx-container mjx-math mjx-assistive-mml
    """
)
STRUCK_TAGS = frozenset(["del", "s", "strike"])
CONTROLS = words("button select option datalist input textarea progress meter")
LABELLED = words("h1 h2 h3 h4 h5 h6 th td dt dd summary caption figcaption legend label")
"""Elements whose text may be that of a button, which opens or explains what it names."""

CELLS = frozenset(["td", "th"])
LISTS = frozenset(["ul", "ol", "dl", "menu"])
BOXES = words("body main article section div td tr tbody table form center")
"""Elements that may hold the main content of a page."""

HEADINGS = {"h1": "# ", "h2": "## ", "h3": "### ", "h4": "### ", "h5": "### ", "h6": "### "}
LEAVES = frozenset([*HEADINGS, "p", "li", "blockquote"])

SUSPECT_ROLES = words("alertdialog banner complementary contentinfo dialog menu menubar navigation search toolbar")

CLAIMING_TAGS = {"article": WHOLE_ARTICLE, "main": MAIN}


@dataclass(slots=True, eq=False)
class Block:
    """A block element.

    Attributes:
        parts: Its texts and child blocks, in order. A line end is a <br>, or stands within <pre>.
        claim: What it claims to hold, see ingest.pages.names; 0 if nothing.
        suspect: How surely it is no content; 0 if nothing shows that.
        own, own_linked: Characters of its texts without those of its children, and of these the ones in links.
        total, linked, prose: Characters in it and its children: all, those in links, and those of prose, which are long
            texts, tables of data and lists.
        claimed: The part of its prose that claims to be an article or the main part.
        unlinked: Its own texts outside links.
        data: It is or holds a table of data.
        rows, columns: Those that a cell spans. 0 rows are all to the end of their group.
        dropped: The rule by which it is no part of the content; its parent's sums leave it out. Else empty.
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
    claimed: int = 0
    data: bool = False
    unlinked: list[str] = field(default_factory=list)
    rows: int = 1
    columns: int = 1
    dropped: str = ""
    _clinical: int | None = None

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
        unlinked = linked <= LINKED_DATA * total
        self.data = unlinked and (self.holds_data or any(child.data and not child.dropped for child in self.children))
        if unlinked and (self.tag in LISTS or self.holds_data):
            self.prose = total - linked
        claims = self.claim >= WHOLE_ARTICLE or self.tag == "main"
        self.claimed = self.prose if claims else sum(child.claimed for child in self.children if not child.dropped)

    @property
    def clinical(self) -> int:
        """The weight of its clinical content outside links, see ingest.pages.substance. A title counts nothing."""
        if self._clinical is None:
            self._clinical = 0 if self.tag == "h1" else clinical("".join(self.unlinked))
            self._clinical += sum(child.clinical for child in self.children)
        return self._clinical

    @property
    def holds_data(self) -> bool:
        """Whether it is a table with several rows of short cells and no table within it."""
        rows = cells = 0
        waiting = self.children[::-1] if self.tag == "table" else []
        while waiting:
            block = waiting.pop()
            if block.tag == "table":
                return False
            rows += block.tag == "tr"
            cells += block.tag in CELLS
            waiting.extend(block.children[::-1])
        return rows > 1 and self.total <= CELL * cells

    def all_text(self) -> str:
        """Its text and that of all its blocks."""
        return "".join(part if isinstance(part, str) else f"\n{part.all_text()}\n" for part in self.parts)

    def blocks(self) -> "Iterator[Block]":
        """It and all blocks in it, in the order of the page."""
        waiting = [self]
        while waiting:
            block = waiting.pop()
            yield block
            waiting.extend(block.children[::-1])


def blocks(root: etree._Element, changes: Changes) -> Block:
    """The weighed tree of an element."""
    top = Block("body")
    _Reader(changes).fill(root, top, False, 0)
    top.weigh()
    return top


class _Reader:
    """Reads elements into blocks."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._labels: list[str] | None = None
        """Texts of the images in the cell that is being read."""
        self._characters = 0

    def fill(self, element: etree._Element, block: Block, linked: bool, depth: int) -> None:
        """Add the content of an element to a block."""
        text = element.text
        if text:
            self._add(block, text, linked)
        for child in element:
            tag = child.tag
            if tag == "br":
                block.parts.append("\n")
            elif tag == "img" or tag == "svg":
                self._image(child, block, linked)
            elif tag in NEVER and not (tag == "button" and _is_text(child, element, block)):
                self._leave_out("control" if tag in CONTROLS else "figure", child, block)
            elif (child.attrib and is_struck(child)) or tag in STRUCK_TAGS:
                self._changes.strike(beginning(child, 400))
                self._leave_out("struck_out", child, block)
                if tag in CELLS:
                    block.children.append(Block(tag))
                    block.parts.append(block.children[-1])
            elif tag in INLINE or tag == "button":
                if depth >= DEPTH:
                    self._flatten(child, block, linked)
                else:
                    self._inline(child, block, linked or _leads_away(child, block), depth)
            elif tag in CELLS and is_collapsed(child) and not _is_section(child):
                self._leave_out("hidden", child)
            else:
                inner = Block(tag)
                _judge(child, inner)
                block.parts.append(inner)
                block.children.append(inner)
                if depth >= DEPTH:
                    self._flatten(child, inner, linked)
                elif tag in CELLS:
                    self._cell(child, inner, linked, depth + 1)
                else:
                    self.fill(child, inner, linked, depth + 1)
            text = child.tail
            if text:
                self._add(block, text, linked)

    def _inline(self, element: etree._Element, block: Block, linked: bool, depth: int) -> None:
        tag = element.tag
        if tag == "math":
            self._formula(element, block, linked)
            return
        spoken = False
        if element.attrib:
            if is_hidden(element) and not _is_section(element):
                self._leave_out("hidden", element)
                return
            if repeats_formula(element):
                self._leave_out("hidden", element)
                return
            spoken = is_spoken(element)
            if spoken and is_skip_link(element):
                self._leave_out("boilerplate", element)
                return
        if text := fraction(element):
            blank = " " if numbers_join(_before(block), text) else ""
            self._add(block, blank + text, linked)
        elif sign := underlined_sign(element):
            self._add(block, sign, linked)
        elif is_raised(element):
            self._raised(element, block, linked, depth)
        elif len(element) == 0 and not element.text and (text := label(element)):
            self._label(text, element, block, linked)
        else:
            if spoken:
                self._add(block, " ", linked)
            self.fill(element, block, linked, depth + 1)
            if spoken:
                self._add(block, " ", linked)

    def _raised(self, element: etree._Element, block: Block, linked: bool, depth: int) -> None:
        """Add raised text: a sign before its own text, or another text in its place."""
        text = "".join(element.itertext())
        written = raised(_before(block), text, following(element, INLINE))
        if not written.endswith(text):
            self._add(block, written, linked)
            return
        if sign := written.removesuffix(text):
            self._add(block, sign, linked)
        self.fill(element, block, linked, depth + 1)

    def _formula(self, math: etree._Element, block: Block, linked: bool) -> None:
        """Add a formula of MathML on one line, apart from a number before it."""
        deepest = 0
        depth = 0
        for event, _ in etree.iterwalk(math, events=("start", "end")):
            depth += 1 if event == "start" else -1
            deepest = max(deepest, depth)
        text = math_text(math) if deepest <= DEPTH else " ".join("".join(math.itertext()).split())
        blank = " " if numbers_join(_before(block), text) else ""
        self._add(block, blank + text, linked)

    def _image(self, image: etree._Element, block: Block, linked: bool) -> None:
        """Add the text of an image that is a sign or value. In a cell without text, any short one counts."""
        text = label(image)
        if text:
            self._label(text, image, block, linked)
        elif image.tag == "svg":
            self._leave_out("figure", image, block)
        elif numbers_join(_before(block), image.tail or ""):
            self._add(block, " ", linked)

    def _label(self, text: str, element: etree._Element, block: Block, linked: bool) -> None:
        if not linked and is_sign(text, (_before(block), following(element, INLINE))):
            self._add(block, f" {text} " if text.isalnum() else text, linked)
            return
        if self._labels is not None:
            self._labels.append(text)
        if numbers_join(_before(block), element.tail or ""):
            self._add(block, " ", linked)

    def _cell(self, element: etree._Element, cell: Block, linked: bool, depth: int) -> None:
        """Fill a cell. If it only shows images, their short texts are its text."""
        outer, self._labels = self._labels, []
        before = self._characters
        self.fill(element, cell, linked, depth)
        if self._characters == before and self._labels:
            self._add(cell, " ".join(self._labels), linked)
        self._labels = outer

    def _leave_out(self, rule: str, element: etree._Element, block: Block | None = None) -> None:
        """Enter an element in the ledger. In a block, two numbers beside it stay apart."""
        if self._changes.ledger is not None and element.tag not in SCRIPTS:
            self._changes.leave_out(rule, "".join(visible(element, INLINE)))
        if block is not None and numbers_join(_before(block), element.tail or ""):
            block.parts.append(" ")

    def _flatten(self, element: etree._Element, block: Block, linked: bool) -> None:
        """Add all text of an element that is nested too deeply, without recursion."""
        for inner in element.iter(etree.Element):
            if inner.tag not in NEVER and inner.text:
                self._add(block, inner.text, linked)
            if inner is not element and inner.tail:
                self._add(block, inner.tail, linked)

    def _add(self, block: Block, text: str, linked: bool) -> None:
        if text.isspace():
            parts = block.parts
            if block.tag == "pre":
                parts.append(text)
            elif parts and parts[-1].__class__ is str:
                parts.append(" ")
            return
        text = text.replace("\u2044", "/")
        length = len(text)
        if "\n" in text and block.tag != "pre":
            length = len(" ".join(text.split()))
            text = text.replace("\n", " ")
        block.parts.append(text)
        block.own += length
        self._characters += length
        if linked:
            block.own_linked += length
        else:
            block.unlinked.append(text)


def _before(block: Block) -> str:
    """The text that a block ends with so far."""
    before = block.parts[-1] if block.parts else ""
    return before if isinstance(before, str) else ""


def _is_text(button: etree._Element, parent: etree._Element, block: Block) -> bool:
    """Whether a button is part of the text: it opens what a heading names, or explains a word of a paragraph."""
    if parent.tag in LABELLED:
        return True
    return parent.tag == "p" and bool(_before(block).strip() or (button.tail or "").strip())


def _is_section(element: etree._Element) -> bool:
    """Whether a hidden inline element holds so much that a click opens it."""
    return len(beginning(element, LEAST_COLLAPSED)) > LEAST_COLLAPSED


def _begins_with_heading(element: etree._Element) -> bool:
    first = next(iter(element), None)
    return first is not None and first.tag in HEADINGS


def _leads_away(element: etree._Element, block: Block) -> bool:
    """Whether an element is a link. The text of a heading that opens its own section is none."""
    return element.tag == "a" and not (block.tag in HEADINGS and (element.get("href") or "#").startswith("#"))


def _judge(element: etree._Element, block: Block) -> None:
    """Set what tag and attributes say of a block."""
    tag = block.tag
    suspect = 0
    claim = CLAIMING_TAGS.get(tag, 0)
    get = element.get
    name = get("class")
    if tag in BOXES:
        identity = get("id")
        # A section with a heading has the id of that heading, which may be any word: #consent, #date.
        if identity and not (tag == "section" and _begins_with_heading(element)):
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
            suspect = max(suspect, SURE)
        elif role == "main":
            claim = max(claim, MAIN)
    if is_collapsed(element) or (get("aria-hidden") == "true" and tag not in CELLS):
        suspect = max(suspect, COLLAPSED)
    if get("itemprop") == "articleBody":
        claim = BODY
    block.suspect, block.claim = suspect, claim
    if tag in CELLS:
        block.rows = _span(get("rowspan"), 0)
        block.columns = min(_span(get("colspan"), 1), MAX_COLUMNS)


def _span(value: str | None, least: int) -> int:
    """The number that a span begins with, as browsers read it; 1 where there is none."""
    number = SPAN.match(value or "")
    return 1 if number is None or int(number[1]) < least else int(number[1])
