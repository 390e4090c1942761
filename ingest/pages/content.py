"""Finds the main content of a page: blocks are judged by place, names, length of prose, and links."""

from typing import Final

from ingest.pages.blocks import BOXES, HEADINGS, LEAST_COLLAPSED, LEAVES, LISTS, Block
from ingest.pages.changes import Changes
from ingest.pages.names import BODY, CERTAIN, COLLAPSED, MAIN, STRONG, SURE, WEAK, WHOLE_ARTICLE
from ingest.pages.substance import CLINICAL

SHARE_OF_SUSPECT = {COLLAPSED: 1.0, WEAK: 0.2, STRONG: 0.5, SURE: 0.5, CERTAIN: 0.5}
"""A suspect block that holds this share of the page's prose is content after all."""

SUSPECT_TAGS = {
    "nav": CERTAIN,
    "footer": CERTAIN,
    "aside": STRONG,
    "dialog": SURE,
    "form": WEAK,
    "figure": WEAK,
    "figcaption": WEAK,
}
SUSPECT_WITHIN = SUSPECT_TAGS | {"aside": 0}
"""How surely a tag shows that a block is no content: on a page, and within an article or the main part."""

CLAIMED: Final = 0.3
"""A suspect block that claims to be an article, or holds one, needs no larger share."""

LEAST_HEADER: Final = 60
"""With this many characters of prose, a header has a lead, and a section with a heading is one of the page."""

FEW_LINKS: Final = 0.1

LEFT: Final = 0.3
"""If a smaller share of the page's prose is left, the page was judged too strictly."""

ENOUGH = {BODY: 0.4, WHOLE_ARTICLE: 0.4, MAIN: 0.5}
"""A block that claims to hold the content is believed if it has this share of the page's prose."""

BESIDES: Final = 0.6
"""Text beside a block, up to this share of it, may belong to the content: a lead, a title, a second column."""

Path = list[Block]
"""A block and the blocks it is in, from the page down to itself."""


def main_content(page: Block, changes: Changes) -> Block:
    """The block that holds the content. What is no content within it is marked as dropped."""
    prose = page.prose
    _prune(page, prose, COLLAPSED)
    page.weigh()
    if page.prose < LEFT * prose:
        _prune(page, prose, CERTAIN)
        page.weigh()
    box = _widen(_box(page))
    if changes.ledger is not None:
        _leave_out_around(page, box, changes)
    return box


def without_navigation(block: Block) -> Block:
    """A block that is known to be content. Only navigation and footers in it are marked as dropped."""
    for child in block.children:
        if child.tag in ("nav", "footer") and _is_boilerplate(child, CERTAIN, block.prose):
            child.dropped = "boilerplate"
        else:
            without_navigation(child)
    return block


def is_links(block: Block) -> bool:
    """Whether a block within the content serves only for its links: it holds no doses, in links or beside them."""
    total, linked = block.total, block.linked
    if block.tag in HEADINGS or block.clinical >= CLINICAL:
        return False
    if block.data:
        links = linked > 0.8 * total
    elif block.tag in BOXES or block.tag in LISTS:
        links = (linked > 0.5 * total and block.prose < 300) or (linked > 0.35 * total and total - linked < 300)
    else:
        links = linked > 0.5 * total
    return links and not block.doses


def _prune(block: Block, prose: int, level: int, within: bool = False) -> None:
    """Drop blocks that are at least this suspect, unless they hold too much to be boilerplate.

    `within` an article, an aside is a box of it.
    """
    for child in block.children:
        if child.tag == "header":
            child.dropped = "" if child.prose >= LEAST_HEADER or _is_substantial(child) else "header"
        else:
            tags = SUSPECT_WITHIN if within else SUSPECT_TAGS
            suspect = max(tags.get(child.tag, 0), child.suspect)
            child.dropped = "boilerplate" if suspect >= level and _is_boilerplate(child, suspect, prose) else ""
        if not child.dropped and not child.holds_data:
            _prune(child, prose, level, within or child.claim >= WHOLE_ARTICLE or child.tag == "main")


def _is_boilerplate(block: Block, suspect: int, prose: int) -> bool:
    """Whether a suspect block holds no content.

    Clinical content, a table of data, a section of prose or a large share of the page outweigh what a block is called.
    Navigation and what belongs to other pages goes nevertheless, but a footer may have the notes of a table of doses.
    """
    if block.prose >= SHARE_OF_SUSPECT[suspect] * prose or block.claimed >= CLAIMED * prose:
        return False
    if suspect == CERTAIN:
        return block.tag != "footer" or block.clinical < CLINICAL
    if _is_substantial(block) or (suspect < SURE and _is_section(block)):
        return False
    if suspect == COLLAPSED:
        return block.prose < LEAST_COLLAPSED
    return suspect > WEAK or not (block.claim or (block.tag in LEAVES and block.prose > LEAST_HEADER))


def _is_substantial(block: Block) -> bool:
    """Whether a block holds what a page is made for: clinical content or data."""
    return block.clinical >= CLINICAL or block.data


def _is_section(block: Block) -> bool:
    """Whether a block has prose with few links under a heading of its own."""
    headed = any(child.tag in HEADINGS for child in block.children)
    return headed and block.prose > 0 and block.linked < FEW_LINKS * block.total


def _leave_out_around(block: Block, box: Block, changes: Changes) -> None:
    """Enter what lies outside the content in the ledger."""
    if block is box:
        return
    if block.dropped:
        changes.leave_out(block.dropped, block)
        return
    changes.leave_out("outside_content", "".join(part if isinstance(part, str) else "\n" for part in block.parts))
    for child in block.children:
        _leave_out_around(child, box, changes)


def _box(page: Block) -> Path:
    for claim, share in ENOUGH.items():
        claiming = _claiming([page], claim)
        if not claiming:
            continue
        best = max(claiming, key=lambda path: path[-1].prose)
        together = sum(path[-1].prose for path in claiming if path[-1].prose > 80)
        most = best[-1].prose > 100 and best[-1].prose >= share * page.prose
        if claim == MAIN:
            if most:
                return _descend(best)
        elif most and best[-1].prose >= 0.8 * together:
            return best
        elif together and together >= share * page.prose:
            around = _around([path for path in claiming if path[-1].prose > 80])
            if around[-1].prose < 1.3 * together:
                return around
    return _descend([page])


def _claiming(path: Path, claim: int) -> list[Path]:
    """The outermost blocks that make a claim."""
    claiming: list[Path] = []
    for child in path[-1].children:
        if not child.dropped:
            if child.claim == claim:
                claiming.append([*path, child])
            elif child.prose:
                claiming += _claiming([*path, child], claim)
    return claiming


def _around(paths: list[Path]) -> Path:
    """The innermost block that holds all of them."""
    shared: Path = []
    for level in zip(*paths, strict=False):
        if any(block is not level[0] for block in level):
            break
        shared.append(level[0])
    return shared


def _descend(path: Path) -> Path:
    """The innermost block that holds nearly all of a block's prose."""
    block = path[-1]
    while block.prose:
        most = (
            child
            for child in block.children
            if not child.dropped and child.tag in BOXES and child.prose > 0.9 * block.prose
        )
        inner = next(most, None)
        if inner is None:
            break
        path = [*path, inner]
        block = inner
    return path


def _widen(path: Path) -> Block:
    """The outermost block that adds little to the box: clinical content, or mostly prose, such as a lead above it."""
    box = widest = inner = path[-1]
    for outer in path[-2::-1]:
        more = outer.total - box.total
        if more > BESIDES * box.total:
            break
        if sum(child.clinical for child in outer.children if child is not inner and not child.dropped) >= CLINICAL:
            widest = outer
        elif outer.linked - box.linked > FEW_LINKS * more:
            break
        elif outer.prose - box.prose >= 0.7 * more:
            widest = outer
        inner = outer
    return widest
