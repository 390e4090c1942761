"""Finds the main content of a page: blocks are judged by place, names, length of prose, and links."""

from typing import Final

from ingest.pages.blocks import BOXES, HEADINGS, LEAST_COLLAPSED, LEAVES, LISTS, Block
from ingest.pages.names import BODY, CERTAIN, COLLAPSED, MAIN, STRONG, WEAK, WHOLE_ARTICLE
from ingest.pages.substance import CLINICAL

SHARE_OF_SUSPECT = {WEAK: 0.2, STRONG: 0.5, CERTAIN: 0.5}
"""A suspect block that holds this share of the page's prose is content after all."""

LEFT: Final = 0.3
"""If a smaller share of the page's prose is left, the page was judged too strictly."""

ENOUGH = {BODY: 0.4, WHOLE_ARTICLE: 0.4, MAIN: 0.5}
"""A block that claims to hold the content is believed if it has this share of the page's prose."""

BESIDES: Final = 0.6
"""Text beside a block, up to this share of it, may belong to the content: a lead, a title, a second column."""

Path = list[Block]
"""A block and the blocks it is in, from the page down to itself."""


def main_content(page: Block) -> Block:
    """The block that holds the content. What is no content within it is marked as dropped."""
    prose = page.prose
    _prune(page, prose, COLLAPSED)
    page.weigh()
    if page.prose < LEFT * prose:
        _prune(page, prose, CERTAIN)
        page.weigh()
    return _widen(_box(page))


def is_links(block: Block) -> bool:
    """Whether a block within the content serves only for its links."""
    total, linked = block.total, block.linked
    if linked <= 0.35 * total or block.clinical >= CLINICAL:
        return False
    if block.tag in HEADINGS:
        return linked > 0.8 * total
    if block.tag in BOXES or block.tag in LISTS:
        return (linked > 0.5 * total and block.prose < 300) or (linked > 0.35 * total and total - linked < 300)
    return linked > 0.5 * total


def _prune(block: Block, prose: int, level: int) -> None:
    """Drop blocks that are at least this suspect, unless they hold too much prose to be boilerplate."""
    for child in block.children:
        if child.tag == "header":
            child.dropped = "header" if child.prose < 60 and child.clinical < CLINICAL else ""
            _prune(child, prose, level)
            continue
        boilerplate = child.suspect >= level and _is_boilerplate(child, prose)
        child.dropped = "boilerplate" if boilerplate else ""
        if not child.dropped and not child.holds_data:
            _prune(child, prose, level)


def _is_boilerplate(block: Block, prose: int) -> bool:
    if block.suspect < CERTAIN and block.clinical >= CLINICAL:
        return False
    if block.suspect == COLLAPSED:
        return block.prose < LEAST_COLLAPSED
    if block.prose >= SHARE_OF_SUSPECT[WEAK if block.claim >= WHOLE_ARTICLE else block.suspect] * prose:
        return False
    table = block.tag == "figure" and any(child.tag == "table" for child in block.children)
    content = table or block.claim or (block.tag in LEAVES and block.prose > 60)
    return block.suspect > WEAK or not content


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
    """The outermost block that adds little to the box, and mostly prose, such as the lead above the text."""
    box = widest = path[-1]
    for outer in path[-2::-1]:
        more = outer.total - box.total
        if more > BESIDES * box.total or outer.linked - box.linked > 0.1 * more:
            break
        if outer.prose - box.prose >= 0.7 * more:
            widest = outer
    return widest
