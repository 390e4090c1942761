"""Reads the elements of a page into blocks, its inline elements as they look."""

import re
from typing import Final

from lxml import etree

from ingest.pages.blocks import BOXES, CELLS, HEADINGS, LEAST_COLLAPSED, Block
from ingest.pages.changes import Changes
from ingest.pages.looks import (
    LABEL_CHARS,
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
from ingest.sources.escaped import unescaped
from ingest.text.mathml import math_text
from ingest.text.powers import lowered, raised

NAME_CHARS: Final = 300
"""Longer attributes are cut before they are judged."""

DEPTH: Final = 200
"""Elements below this depth count as text of the block at this depth."""

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

RAISED_OR_LOWERED = frozenset(["sup", "sub"])

LITERAL = frozenset(["code", "kbd", "samp", "tt"])

CONTROLS = words("button select option datalist input textarea progress meter")

LABELLED = words("h1 h2 h3 h4 h5 h6 th td dt dd summary caption figcaption legend label")
"""Elements whose text may be that of a button, which opens or explains what it names."""

ROLES_IN_TABLES = {"table": "table", "grid": "table", "row": "tr"} | dict.fromkeys(
    ("cell", "gridcell", "columnheader", "rowheader"), "td"
)
WITHOUT_ROLE = words("div span ul li section p")
"""Elements of which a role may make a table."""

TOGGLES = frozenset(["tab", "pill"])

SUSPECT_ROLES = words("alertdialog banner complementary contentinfo dialog menu menubar navigation search toolbar")

CLAIMING_TAGS = {"article": WHOLE_ARTICLE, "main": MAIN}


def blocks(root: etree._Element, changes: Changes) -> Block:
    """The weighed tree of an element."""
    top = Block("body")
    _Reader(changes, _tabs(root)).fill(root, top, False, 0)
    top.weigh()
    return top


class _Reader:
    """Reads elements into blocks."""

    def __init__(self, changes: Changes, tabs: dict[str, str]) -> None:
        self._changes = changes
        self._tabs = tabs
        self._labels: list[str] | None = None
        """Texts of the images in the cell that is being read."""
        self._characters = 0
        self._literal = 0
        """How many elements with code are open."""

    def fill(self, element: etree._Element, block: Block, linked: bool, depth: int) -> None:
        """Add the content of an element to a block."""
        text = element.text
        if text:
            self._add(block, text, linked)
        for child in element:
            tag = _tag(child)
            if tag == "br":
                block.parts.append("\n")
            elif tag == "img" or tag == "svg":
                self._image(child, block, linked)
            elif tag in NEVER and not (tag == "button" and (_is_text(child, block) or _opens(child))):
                self._leave_out("control" if tag in CONTROLS else tag if tag == "noscript" else "figure", child, block)
            elif is_struck(child):
                self._changes.strike(beginning(child, 400))
                self._leave_out("struck_out", child, block)
                if tag in CELLS:
                    _inner(child, tag, block)
            elif tag in INLINE or (tag == "button" and _is_text(child, block)):
                if depth >= DEPTH:
                    self._flatten(child, block, linked)
                else:
                    self._inline(child, block, linked or _leads_away(child, block), depth)
            elif tag in CELLS and is_collapsed(child) and not _is_section(child):
                self._leave_out("hidden", child)
            elif self._tabs and (tab := self._tabs.get(child.get("id", ""))) and not _begins_with(child, tab):
                panel = _inner(child, tag, block)
                self._heading(tab, panel)
                self.fill(child, panel, linked, depth + 1)
            elif depth >= DEPTH:
                self._flatten(child, _inner(child, tag, block), linked)
            elif tag in CELLS:
                self._cell(child, _inner(child, tag, block), linked, depth + 1)
            else:
                self.fill(child, _inner(child, tag, block), linked, depth + 1)
            text = child.tail
            if text:
                if tag in RAISED_OR_LOWERED and next(child.itertext(), "") and numbers_join(_before(block), text):
                    block.parts.append(" ")
                self._add(block, text, linked)

    def _heading(self, tab: str, panel: Block) -> None:
        """Write the label of a tab above its panel. The tabs themselves stand all before the first panel."""
        heading = Block("h6")
        panel.parts.append(heading)
        panel.children.append(heading)
        self._add(heading, tab, False)
        self._changes.write("tab", tab)

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
        elif tag == "sub" or is_raised(element):
            self._script(element, block, linked, depth)
        elif len(element) == 0 and not element.text and (text := label(element)):
            self._label(text, element, block, linked)
        else:
            self._literal += tag in LITERAL
            if spoken:
                self._add(block, " ", linked)
            self.fill(element, block, linked, depth + 1)
            if spoken:
                self._add(block, " ", linked)
            self._literal -= tag in LITERAL

    def _script(self, element: etree._Element, block: Block, linked: bool, depth: int) -> None:
        """Add raised or lowered text: a sign before its own text, or another text in its place."""
        before, text = _before(block), "".join(element.itertext())
        written = lowered(before, text) if element.tag == "sub" else raised(before, text, following(element, INLINE))
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
            self._add(block, f" {text} " if len(text) > 1 and text.isalpha() else text, linked)
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
        if ("&" in text or "</" in text) and block.tag != "pre" and not self._literal:
            text = unescaped(text, self._changes.ledger)
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


def _tabs(root: etree._Element) -> dict[str, str]:
    """The labels of tabs by the ids of the panels they open."""
    labels: dict[str, str] = {}
    for tab in root.iter("a", "button", "li", "div", "span"):
        get = tab.get
        if get("role") == "tab" or get("data-toggle") in TOGGLES or get("data-bs-toggle") in TOGGLES:
            target = get("aria-controls") or get("data-bs-target") or get("data-target") or get("href") or ""
            text = " ".join(beginning(tab, LABEL_CHARS).split())
            if text and len(text) <= LABEL_CHARS and target.removeprefix("#"):
                labels.setdefault(target.removeprefix("#"), text)
    return labels


def _begins_with(element: etree._Element, label: str) -> bool:
    return " ".join(beginning(element, 4 * LABEL_CHARS).split()).startswith(label)


def _tag(element: etree._Element) -> str:
    """An element's tag, or that of the part of a table that its role makes of it."""
    tag: str = element.tag
    return ROLES_IN_TABLES.get(element.get("role", ""), tag) if tag in WITHOUT_ROLE and element.attrib else tag


def _inner(element: etree._Element, tag: str, block: Block) -> Block:
    """A new block for an element within another one. A button that opens what follows it is its heading."""
    inner = Block("h6" if tag == "button" else tag)
    _judge(element, inner)
    block.parts.append(inner)
    block.children.append(inner)
    return inner


def _opens(button: etree._Element) -> bool:
    """Whether a button opens a section."""
    return button.get("aria-expanded") is not None or button.get("aria-controls") is not None


def _before(block: Block) -> str:
    """The text that a block ends with so far."""
    before = block.parts[-1] if block.parts else ""
    return before if isinstance(before, str) else ""


def _is_text(button: etree._Element, block: Block) -> bool:
    """Whether a button is part of the text: it opens what a heading names, or explains a word of a paragraph."""
    if block.tag in LABELLED:
        return True
    return block.tag == "p" and bool(_before(block).strip() or (button.tail or "").strip())


def _is_section(element: etree._Element) -> bool:
    """Whether a hidden inline element holds so much that a click opens it."""
    return len(beginning(element, LEAST_COLLAPSED)) >= LEAST_COLLAPSED


def _leads_away(element: etree._Element, block: Block) -> bool:
    """Whether an element is a link. The text of a heading that opens its own section is none."""
    return element.tag == "a" and not (block.tag in HEADINGS and (element.get("href") or "#").startswith("#"))


def _begins_with_heading(element: etree._Element) -> bool:
    first = next(iter(element), None)
    return first is not None and first.tag in HEADINGS


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
        block.rows = _span(get("rowspan") or get("aria-rowspan"), 0)
        block.columns = min(_span(get("colspan") or get("aria-colspan"), 1), MAX_COLUMNS)


def _span(value: str | None, least: int) -> int:
    """The number that a span begins with, as browsers read it; 1 where there is none."""
    number = SPAN.match(value or "")
    return 1 if number is None or int(number[1]) < least else int(number[1])
