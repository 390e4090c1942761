"""A page as a tree of blocks: the text of each, and how much of it is prose, links, data and clinical content."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from ingest.pages.names import WHOLE_ARTICLE, words
from ingest.pages.substance import DOSE, clinical

LEAST_COLLAPSED: Final = 200
"""With this many characters of prose, what is hidden at first is a section and not a dialog."""

LINKED_DATA: Final = 0.5
"""A table of data or a list with a smaller share of links counts as prose, however short its items are."""

PROSE: Final = 40
"""A block with more characters outside links is prose. A shorter one may be a label, a date or a name."""

CELL: Final = 300
"""If its cells have more characters on average, a table serves for the layout."""


CELLS = frozenset(["td", "th"])
LISTS = frozenset(["ul", "ol", "dl", "menu"])
BOXES = words("body main article section div td tr tbody table form center")
"""Elements that may hold the main content of a page."""

HEADINGS = {"h1": "# ", "h2": "## ", "h3": "### ", "h4": "### ", "h5": "### ", "h6": "### "}
LEAVES = frozenset([*HEADINGS, "p", "li", "blockquote"])


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
    _doses: bool | None = None

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

    @property
    def doses(self) -> bool:
        """Whether it holds a dose, be it in a link."""
        if self._doses is None:
            own = "".join(part for part in self.parts if isinstance(part, str))
            self._doses = DOSE.search(own) is not None or any(child.doses for child in self.children)
        return self._doses

    def all_text(self) -> str:
        """Its text and that of all its blocks, with line ends between blocks."""
        texts: list[str] = []
        waiting: list[str | Block] = [self]
        while waiting:
            part = waiting.pop()
            if isinstance(part, str):
                texts.append(part)
            else:
                waiting += ["\n", *part.parts[::-1], "\n"]
        return "".join(texts).strip()

    def blocks(self) -> "Iterator[Block]":
        """It and all blocks in it, in the order of the page."""
        waiting = [self]
        while waiting:
            block = waiting.pop()
            yield block
            waiting.extend(block.children[::-1])
