"""What is read of the texts of an XML record: what is to be told of it, and for the audit what is left out."""

import re
from collections.abc import Iterator

from lxml import etree

from ingest.fidelity.ledger import Ledger
from ingest.records import Note
from ingest.sources.jats_tree import STYLES, local

RULES = {
    rule: frozenset(names.split())
    for rule, names in {
        "references": "ref-list ReferenceList",
        "front_matter": """front front-stub journal-meta article-meta contrib-group aff author-notes permissions
            copyright-statement kwd-group funding-group sec-meta object-id related-article related-object bio""",
        "back_matter": "back ack",
        "notes": "fn fn-group notes table-wrap-foot",
        "table_body": "table array",
        "supplement": "supplementary-material media inline-supplementary-material",
        "sub_article": "sub-article response",
        "other_language": "trans-abstract trans-title-group OtherAbstract VernacularTitle",
        "alternative": "alternatives",
        "formula": "disp-formula inline-formula tex-math math",
        "picture": "graphic inline-graphic alt-text long-desc private-char",
        "index_term": "index-term",
        "attribution": "attrib",
    }.items()
}
"""Rules by which texts are left out, and the elements whose texts these are."""

BY_NAME = {name: rule for rule, names in RULES.items() for name in names}
BY_REFERENCE = {"bibr": "citation", "fig": "pointer", "table": "pointer"}
LABELLED = {"sec", "app", "boxed-text", "abstract", "ref", "fn", "disp-quote", "fig", "table-wrap"}
INLINE = STYLES | {"xref", "sup", "sub"}
SCRIPTS = {"sup": ("^", " "), "sub": ("_", " ")}
"""What stands around raised and lowered text, whose digits are no part of the number beside it."""
SEPARATOR = re.compile(r"[\s,;–—−-]*")
SHOWN = 80
"""Characters of each text that a note shows."""


class Account:
    """Gives the texts of elements and remembers which it gave."""

    def __init__(self, ledger: Ledger | None = None) -> None:
        self.ledger = ledger
        self._texts: set[etree._Element] = set()
        self._tails: set[etree._Element] = set()
        self._told: dict[str, list[str]] = {}

    def text(self, node: etree._Element) -> str:
        """The text at the beginning of an element."""
        if self.ledger is not None:
            self._texts.add(node)
        return node.text or ""

    def tail(self, node: etree._Element) -> str:
        """The text after an element."""
        if self.ledger is not None:
            self._tails.add(node)
        return node.tail or ""

    def whole(self, node: etree._Element) -> str:
        """All text of an element."""
        if self.ledger is not None:
            self._texts.update(node.iter())
            self._tails.update(node.iterdescendants())
        return "".join(node.itertext())

    def leave_out(self, rule: str, text: str) -> None:
        if self.ledger is not None:
            self.ledger.leave_out(rule, text)

    def write(self, rule: str, text: str) -> None:
        if self.ledger is not None:
            self.ledger.write(rule, text)

    def tell(self, what: str, details: str) -> None:
        """Remember what a note says."""
        self._told.setdefault(what, []).append(" ".join(details.split())[:SHOWN])

    def notes(self, document: str) -> Iterator[Note]:
        for what, details in self._told.items():
            shown = "; ".join(filter(None, dict.fromkeys(details)))
            yield Note(document, what, f"{len(details):,}: {shown[: 3 * SHOWN]}" if shown else f"{len(details):,}")

    def close(self, root: etree._Element, rule: str = "") -> None:
        """Enter the texts that were not given, each by the nearest element around it that a rule names.

        A text that no rule names is not entered: it is a loss, and the audit is to find it.
        """
        if self.ledger is None:
            return
        pieces: list[str] = []
        current = ""
        for text, named in [*self._unread(root, rule), ("", "")]:
            if named != current:
                self.leave_out(current, "".join(pieces))
                pieces, current = [], named
            if named:
                pieces.append(text)

    def _unread(self, node: etree._Element, rule: str) -> Iterator[tuple[str, str]]:
        """Texts in order, each with its rule; without a rule where a text was read or none names it."""
        rule = _rule(node) or rule
        opening, closing = SCRIPTS.get(local(node), ("", "") if local(node) in INLINE else (" ", " "))
        yield opening, rule
        yield node.text or "", "" if node.text and node in self._texts else rule
        for child in node:
            yield from self._unread(child, rule)
            if child.tail:
                # The dash between two references that are left out is part of what they say.
                is_between = local(child) == "xref" and SEPARATOR.fullmatch(child.tail) and self._is_left_out(child)
                separates = is_between and self._is_left_out(child.getnext())
                yield child.tail, _rule(child) if separates else "" if child in self._tails else rule
        yield closing, rule

    def _is_left_out(self, node: etree._Element | None) -> bool:
        return node is not None and local(node) == "xref" and node not in self._texts


def _rule(node: etree._Element) -> str:
    name, parent = local(node), node.getparent()
    if name == "xref":
        return BY_REFERENCE.get(node.get("ref-type") or "", "note_sign")
    if name == "label":
        return "label" if parent is not None and local(parent) in LABELLED else ""
    return BY_NAME.get(name, "")
