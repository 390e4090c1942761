"""What the references in a JATS article point to: cited works, figures and tables."""

import re
from collections.abc import Callable
from functools import cached_property

from lxml import etree

from ingest.sources.jats_tree import first, local
from ingest.sources.paper_text import DASHES, LONGEST_RANGE, citation, cut, named

FLOATS = {"fig": "fig", "fig-group": "fig", "table-wrap": "table", "table-wrap-group": "table"}

CITATIONS = ("{*}element-citation", "{*}mixed-citation", "{*}nlm-citation", "{*}citation")

PRINTED = re.compile(r"(?:(?:fig(?:ure)?|tab(?:le)?)s?(?:\.\s*|\s+))?(\d+)\s?[a-z]?", re.IGNORECASE)
"""The text of a reference to one figure or table, or to one panel of it."""

LABEL = re.compile(r"(\D* )(\d+)")

Words = Callable[["etree._Element | None"], str]


class References:
    """The targets of an article's references, by id. `line` and `legend` give the text of an element and a caption."""

    def __init__(self, article: etree._Element, line: Words, legend: Words) -> None:
        self._article = article
        self._line = line
        self._legend = legend

    def between(self, node: etree._Element, targets: list[str]) -> list[str]:
        """The references within a range: those between the citation before a dash and this one."""
        before = node.getprevious()
        if before is None or local(before) != "xref" or (before.tail or "").strip() not in DASHES:
            return []
        first_id, last_id = (before.get("rid") or "").split()[-1:], targets[:1]
        ends = [self._order[name] for name in first_id + last_id if name in self._order]
        if len(ends) != 2 or not 0 < ends[1] - ends[0] <= LONGEST_RANGE:
            return []
        return [name for name, position in self._order.items() if ends[0] < position < ends[1]]

    @cached_property
    def _order(self) -> dict[str, int]:
        """Position of every reference in the bibliography, by id."""
        refs = (node for node in self._article.iter("{*}ref") if node.get("id"))
        return {node.get("id", ""): position for position, node in enumerate(refs)}

    @cached_property
    def cited(self) -> dict[str, str]:
        """`title cut to 12 words, last name` of every reference, by id; empty without a title.

        A reference may have several works, or one work in several forms, which may have ids too.
        """
        every: dict[str, str] = {}
        for ref in self._article.iter("{*}ref"):
            entries = [(entry.get("id"), self._cited(entry)) for entry in ref.iter(*CITATIONS)]
            every |= {name: cited for name, cited in entries if name}
            every[ref.get("id", "")] = next((cited for _, cited in entries if cited), "")
        return every

    def _cited(self, entry: etree._Element) -> str:
        nodes = (next(entry.iter(f"{{*}}{name}"), None) for name in ("article-title", "chapter-title", "source"))
        title = next(filter(cut, (self._line(node) for node in nodes)), "")
        return citation(title, self._line(next(entry.iter("{*}surname", "{*}collab"), None)))

    @cached_property
    def floats(self) -> dict[str, tuple[str, str]]:
        """Label and short caption of every figure and table, by id."""
        nodes = (node for node in self._article.iter(*(f"{{*}}{name}" for name in FLOATS)) if node.get("id"))
        return {node.get("id", ""): (self.label(node), cut(self._legend(node))) for node in nodes}

    def label(self, node: etree._Element) -> str:
        """`Figure 3` for a figure that is labelled `Fig. 3.`"""
        word = "Figure" if local(node).startswith("fig") else "Table"
        return named(self._line(first(node, "label")), word)

    @cached_property
    def _labelled(self) -> dict[str, tuple[str, str]]:
        """The first figure or table with a label, by the label."""
        return {label: (label, caption) for label, caption in reversed(self.floats.values())}

    def meant(self, text: str, targets: list[str]) -> list[tuple[str, str]]:
        """The figures or tables that a reference means: its targets, or one whose number its text has instead."""
        linked = [self.floats[target] for target in targets if target in self.floats]
        if len(targets) != 1 or not linked:
            return linked
        label, printed = LABEL.fullmatch(linked[0][0]), PRINTED.fullmatch(text.strip())
        if not label or not printed or printed[1] == label[2]:
            return linked
        return [self._labelled.get(label[1] + printed[1], linked[0])]
