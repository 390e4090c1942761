"""The signs before the items of a JATS list: bullets, and numbers or letters that may go on from another list."""

from collections.abc import Iterator
from functools import cache

from lxml import etree

from ingest.sources.jats_tree import children

BULLETS = " \t\n\u00a0.*·•‣⁃∙▪▫●○◦■□◆◇►▸▶➢➤❖–—−-"
"""Labels of these signs alone say no more than that an item begins."""

ROMAN = ((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"),
         (9, "ix"), (5, "v"), (4, "iv"), (1, "i"))  # fmt: skip
MOST = 3999
"""The greatest number in Roman numerals."""


def numbered(number: int, kind: str) -> str:
    """A number from 1 as a `list-type` shows it: `2`, `b`, `B`, `ii` or `II`."""
    if kind.startswith("alpha"):
        shown = ""
        while number:
            number, letter = divmod(number - 1, 26)
            shown = chr(ord("a") + letter) + shown
    elif kind.startswith("roman") and number <= MOST:
        shown = ""
        for value, letters in ROMAN:
            shown += letters * (number // value)
            number %= value
    else:
        return str(number)
    return shown.upper() if kind.endswith("upper") else shown


class Lists:
    """The lists of an article, by which the number of an item is found."""

    def __init__(self, article: etree._Element) -> None:
        self._article = article

    @cache  # noqa: B019 - it lives as long as the article
    def _by_id(self) -> dict[str, tuple[str, int]]:
        """Of every list with an id: the list that it continues, and how many items it has."""
        return {
            node.get("id", ""): (node.get("continued-from") or "", sum(1 for _ in children(node, "list-item")))
            for node in self._article.iter("{*}list")
            if node.get("id")
        }

    def before(self, node: etree._Element) -> int:
        """How many items the lists have that a list continues."""
        count, name, seen = 0, node.get("continued-from") or "", set()
        while name in self._by_id() and name not in seen:
            seen.add(name)
            name, items = self._by_id()[name]
            count += items
        return count

    def signs(self, node: etree._Element) -> Iterator[str]:
        """The sign of each item in turn: `- `, or `3. ` with the list's `prefix-word` before it."""
        kind, prefix = node.get("list-type") or "", node.get("prefix-word") or ""
        is_ordered = kind not in {"", "bullet", "simple", "none"}
        number = self.before(node) if is_ordered else 0
        while True:
            number += 1
            yield f"{prefix} {numbered(number, kind)}. ".lstrip() if is_ordered else "- "
