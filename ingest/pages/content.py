"""Which blocks of a page are its main content: by their place and names, the length of their prose and their links."""

from typing import Final

from ingest.pages.blocks import BOXES, HEADINGS, LEAVES, LISTS, Block
from ingest.pages.names import BODY, CERTAIN, COLLAPSED, MAIN, STRONG, WEAK, WHOLE_ARTICLE

SHARE_OF_SUSPECT = {WEAK: 0.2, STRONG: 0.5}
"""A suspect block that holds this much of the page's prose is content after all."""

LEAST_COLLAPSED: Final = 200
"""Characters of prose from which a block that is not shown at first is a section, not a dialog."""

LEAST: Final = 250
"""Characters of prose under which a page was judged too sternly, if there was more than three times as much."""

ENOUGH = {BODY: 0.4, WHOLE_ARTICLE: 0.4, MAIN: 0.5}
"""Share of the page's prose that a block needs to be believed in what it says it holds."""

BESIDES: Final = 0.6
"""Text beside a block, as a share of it, that may belong to the content: a lead, a title, a second column."""

Path = list[Block]
"""A block, which stands last, below the blocks it is in, from the page down."""


def main_content(page: Block) -> Block:
    """The block that holds the content; what within it is none is marked as dropped."""
    prose = page.prose
    _prune(page, prose, COLLAPSED)
    page.weigh()
    if page.prose < min(LEAST, 0.3 * prose):
        _prune(page, prose, CERTAIN)
        page.weigh()
    return _widen(_box(page))


def is_links(block: Block) -> bool:
    """Whether a block within the content is only there for its links."""
    total, linked = block.total, block.linked
    if block.tag in HEADINGS:
        return linked > 0.8 * total
    if block.tag in BOXES or block.tag in LISTS:
        return (linked > 0.5 * total and block.prose < 300) or (linked > 0.35 * total and total - linked < 300)
    return linked > 0.5 * total


def _prune(block: Block, prose: int, level: int) -> None:
    """Drop what is at least so suspect, unless it holds too much prose for what it is suspected of."""
    for child in block.children:
        if child.tag == "header":
            child.dropped = child.prose < 60
            _prune(child, prose, level)
            continue
        child.dropped = child.suspect >= level and _is_boilerplate(child, prose)
        if not child.dropped:
            _prune(child, prose, level)


def _is_boilerplate(block: Block, prose: int) -> bool:
    if block.suspect == COLLAPSED:
        return block.prose < LEAST_COLLAPSED
    if block.prose >= SHARE_OF_SUSPECT[block.suspect] * prose:
        return False
    table = block.tag == "figure" and any(child.tag == "table" for child in block.children)
    content = table or block.claim or (block.tag in LEAVES and block.prose > 60)
    return block.suspect > WEAK or not content


def _box(page: Block) -> Path:
    for claim, share in ENOUGH.items():
        found: list[Path] = []
        _claiming([page], claim, found)
        if not found:
            continue
        best = max(found, key=lambda path: path[-1].prose)
        together = sum(path[-1].prose for path in found if path[-1].prose > 80)
        most = best[-1].prose > 100 and best[-1].prose >= share * page.prose
        if claim == MAIN:
            if most:
                return _descend(best)
        elif most and best[-1].prose >= 0.8 * together:
            return best
        elif together and together >= share * page.prose:
            around = _around([path for path in found if path[-1].prose > 80])
            if around[-1].prose < 1.3 * together:
                return around
    return _descend([page])


def _claiming(path: Path, claim: int, found: list[Path]) -> None:
    for child in path[-1].children:
        if not child.dropped:
            if child.claim == claim:
                found.append([*path, child])
            elif child.prose:
                _claiming([*path, child], claim, found)


def _around(found: list[Path]) -> Path:
    """The innermost block that holds all of them."""
    shared: Path = []
    for level in zip(*found, strict=False):
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
    """The outermost block that adds little to the box, and mostly prose: the lead stands above the text."""
    box = widest = path[-1]
    for outer in path[-2::-1]:
        more = outer.total - box.total
        if more > BESIDES * box.total or outer.linked - box.linked > 0.1 * more:
            break
        if outer.prose - box.prose >= 0.7 * more:
            widest = outer
    return widest
