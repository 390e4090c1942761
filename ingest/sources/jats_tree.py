"""Elements of JATS and of other XML for papers: their names, their languages and what follows them in a line."""

from collections.abc import Iterator
from itertools import islice

from lxml import etree

LANG = "{http://www.w3.org/XML/1998/namespace}lang"

STYLES = frozenset(
    """abbrev b bold email ext-link i italic monospace named-content overline roman sans-serif sc styled-content u
    underline uri""".split()  # noqa: SIM905
)
"""Elements that change only the looks or the meaning of a part of a line."""

NEAR = 4
"""Characters after an element that tell what it is, such as the slash after a numerator."""

STEPS = 8


def local(node: etree._Element) -> str:
    """The name of an element without its namespace; empty for comments and processing instructions."""
    return etree.QName(node).localname if isinstance(node.tag, str) else ""


def children(node: etree._Element | None, *names: str) -> Iterator[etree._Element]:
    return (child for child in (() if node is None else node) if local(child) in names)


def first(node: etree._Element | None, *names: str) -> etree._Element | None:
    """The first child with one of the names."""
    return next(children(node, *names), None)


def language(node: etree._Element | None) -> str:
    """The language that an element states, such as `en` of `en-US`; empty where it states none."""
    return "" if node is None else (node.get(LANG) or "").strip().lower().partition("-")[0]


def following(node: etree._Element) -> str:
    """At least the next NEAR characters of the line that an element stands in, as far as a few steps find them."""
    text = ""
    for _ in range(STEPS):
        text += node.tail or ""
        after, parent = node.getnext(), node.getparent()
        if len(text) >= NEAR or (after is None and (parent is None or local(parent) not in STYLES)):
            break
        if after is not None:
            text += "".join(islice(after.itertext(with_tail=False), STEPS))
        node = parent if after is None else after
    return text


def join_scripts(tree: etree._Element) -> None:
    """Join `10<sup>−</sup><sup>6</sup>` to one script."""
    for script in list(tree.iter("{*}sup", "{*}sub", "{*}hi")):
        run, last = [], script
        while not last.tail and (after := last.getnext()) is not None and _looks(after) == _looks(script):
            run.append(after)
            last = after
        words: list[str] = []
        for part in run:
            words.append(part.text or "")
            for child in list(part):
                _append(script, words)
                script.append(child)
        if run:
            _append(script, words)
            script.tail = last.tail
        for part in run:
            part.text = part.tail = None
            part.getparent().remove(part)


def _append(node: etree._Element, words: list[str]) -> None:
    """Move words to the end of an element."""
    if len(node):
        node[-1].tail = (node[-1].tail or "") + "".join(words)
    else:
        node.text = (node.text or "") + "".join(words)
    words.clear()


def _looks(node: etree._Element) -> tuple[str, str]:
    return local(node), node.get("rend") or ""
