"""The text of a JATS paper: headings, paragraphs, citations, captions and formulae in the format of the corpus."""

import re
from collections.abc import Iterator
from functools import cached_property

from lxml import etree

from ingest.sources.paper_text import (
    DASHES,
    GONE,
    LONGEST_RANGE,
    captioned,
    citation,
    cut,
    finished,
    named,
    pair,
    pointer,
    tidy,
    under,
)
from ingest.text.mathml import math_text
from ingest.text.powers import raised

LANG = "{http://www.w3.org/XML/1998/namespace}lang"

SKIPPED = frozenset(
    """ack alt-text app-group array attrib author-notes bio contrib-group copyright-statement fn fn-group funding-group
    glossary graphic index-term inline-graphic kwd-group media notes object-id permissions ref-list related-article
    related-object sec-meta supplementary-material table trans-abstract""".split()  # noqa: SIM905
)
"""Elements whose text is left out: table bodies, notes, bibliography, author lists, supplementary files."""

BLOCKS = frozenset(
    """abstract app boxed-text caption def-list disp-formula-group disp-quote fig fig-group list p preformat code sec
    speech statement table-wrap table-wrap-group verse-group answer explanation question question-wrap""".split()  # noqa: SIM905
)
"""Elements that start a new line, even within a paragraph."""

FLOATS = {"fig": "fig", "fig-group": "fig", "table-wrap": "table", "table-wrap-group": "table"}

CITATIONS = ("{*}element-citation", "{*}mixed-citation", "{*}nlm-citation", "{*}citation")

MARKS = {"fn", "table-fn", "author-notes", "aff", "corresp", "contrib"}
"""Kinds of reference whose text is only a sign: a, *, †."""

PRINTED = re.compile(r"(?:(?:fig(?:ure)?|tab(?:le)?)s?(?:\.\s*|\s+))?(\d+)\s?[a-z]?", re.IGNORECASE)
"""The text of a reference to one figure or table, or to one panel of it."""

LABEL = re.compile(r"(\D* )(\d+)")


def local(node: etree._Element) -> str:
    """The name of an element without its namespace; empty for comments and processing instructions."""
    return etree.QName(node).localname if isinstance(node.tag, str) else ""


def children(node: etree._Element, *names: str) -> Iterator[etree._Element]:
    return (child for child in node if local(child) in names)


def first(node: etree._Element | None, *names: str) -> etree._Element | None:
    """The first child with one of the names."""
    return None if node is None else next(children(node, *names), None)


class PaperText:
    """Renders one parsed article; ids of references, figures and tables are looked up in the whole article.

    `plain` text has no marks, so that titles and captions are never cut between the two marks of a pair.
    """

    def __init__(self, article: etree._Element, plain: bool = False) -> None:
        self._article = article
        self._is_plain = plain
        self.plain = self if plain else PaperText(article, plain=True)

    # Blocks -----------------------------------------------------------------------------------------------------------

    def abstract(self) -> list[str]:
        """The abstracts in the paper's language, without teasers and graphical ones."""
        meta = first(first(self._article, "front"), "article-meta")
        language = self._article.get(LANG)
        blocks: list[str] = []
        for node in children(meta, "abstract") if meta is not None else ():
            kind = (node.get("abstract-type") or "").lower()
            foreign = language and (node.get(LANG) or language) != language
            if not foreign and kind not in {"toc", "teaser", "graphical", "precis", "web-summary"}:
                heading = self.plain.line(first(node, "title")) or kind.replace("-", " ").capitalize() or "Abstract"
                blocks += under(f"# {heading}", self._all(node, 1))
        return list(map(finished, blocks))

    def body(self) -> list[str]:
        """Body, appendices and floating figures. Empty where the article's body has no text."""
        body = first(self._article, "body")
        blocks = [] if body is None else self._all(body, 0)
        if not blocks:
            return []
        appendices = first(first(self._article, "back"), "app-group")
        for node in children(appendices, "app") if appendices is not None else ():
            blocks += self._section(node, 0)
        for node in children(self._article, "floats-group", "floats-wrap"):
            blocks += self._all(node, 1)
        return list(map(finished, blocks))

    def _all(self, node: etree._Element, depth: int) -> list[str]:
        """The blocks of mixed content. The running text between blocks becomes paragraphs."""
        blocks: list[str] = []
        running = [node.text or ""]

        def flush() -> None:
            text = tidy("".join(running))
            if text:
                blocks.append(text)
            running.clear()

        for child in node:
            name = local(child)
            if name in BLOCKS:
                flush()
                blocks += self._block(child, name, depth)
            elif name == "disp-formula" and local(node) != "p":
                flush()
                blocks += filter(None, [tidy(self.inline(child))])
            elif name not in {"title", "label"}:
                running.append(self._in_text(child, name, "".join(running[-3:])))
            running.append(child.tail or "")
        flush()
        return blocks

    def _block(self, node: etree._Element, name: str, depth: int) -> list[str]:
        if name == "sec":
            return self._section(node, depth)
        if name in {"boxed-text", "app", "question-wrap"}:
            # A box may keep its title in a caption.
            return self._section(node, max(depth, 1))
        if name in FLOATS:
            caption = self._caption(node)
            blocks = [pair(FLOATS[name], caption)] if caption else []
            inner = (self._block(child, local(child), depth) for child in children(node, *FLOATS))
            return sum(inner, blocks)
        if name in {"list", "def-list"}:
            lines = self._list(node) if name == "list" else self._definitions(node)
            return ["\n".join(lines)] if lines else []
        if name == "verse-group":
            return ["\n".join(filter(None, (self.line(verse) for verse in children(node, "verse-line"))))]
        if name in {"preformat", "code"}:
            return ["\n".join(line.rstrip() for line in "".join(node.itertext()).strip("\n").splitlines())]
        heading = self.plain.line(first(node, "title", "label")) if name == "statement" else ""
        return list(filter(None, [heading, *self._all(node, depth)]))

    def _section(self, node: etree._Element, depth: int) -> list[str]:
        title = first(node, "title")
        if title is None:
            title = first(first(node, "caption"), "title")
        heading = self.plain.line(title)
        blocks = self._all(node, depth + 1)
        if not heading:
            return blocks
        return under(f"{'#' if depth == 0 else '##'} {heading}", blocks)

    def _list(self, node: etree._Element) -> list[str]:
        lines: list[str] = []
        ordered = (node.get("list-type") or "") not in {"", "bullet", "simple", "none"}
        for number, item in enumerate(children(node, "list-item"), 1):
            label = self.line(first(item, "label"))
            bullet = f"{label} " if any(map(str.isalnum, label)) else f"{number}. " if ordered else "- "
            blocks = self._all(item, 2)
            lines += [f"{bullet}{blocks[0]}", *blocks[1:]] if blocks else []
        return lines

    def _definitions(self, node: etree._Element) -> list[str]:
        lines = []
        for item in children(node, "def-item"):
            term = self.line(first(item, "term"))
            meaning = " ".join(self.line(child) for child in children(item, "def"))
            lines.append(f"- {term}: {meaning}" if term and meaning else f"- {term or meaning}")
        return lines

    # Running text -----------------------------------------------------------------------------------------------------

    def line(self, node: etree._Element | None) -> str:
        """An element's text on one line; empty for None."""
        return "" if node is None else tidy(self.inline(node))

    def inline(self, node: etree._Element) -> str:
        name = local(node)
        if name in {"disp-formula", "inline-formula", "tex-math", "math"}:
            return self._formula(node, name)
        parts = [node.text or ""]
        chosen = [_alternative(node)] if name == "alternatives" else list(node)
        for child in chosen:
            if child is not None:
                parts.append(self._in_text(child, local(child), "".join(parts[-3:])))
                parts.append(child.tail or "" if name != "alternatives" else "")
        return "".join(parts)

    def _in_text(self, node: etree._Element, name: str, before: str) -> str:
        """A child element within running text; `before` is what stands before it."""
        if not name or name in SKIPPED:
            return ""
        if name == "xref":
            return self._reference(node)
        if name == "break":
            return " "
        text = self.inline(node)
        if name == "sup":
            return raised(before, text, _after(node))
        return f" {text} " if name in BLOCKS else text

    def _formula(self, node: etree._Element, name: str) -> str:
        """The formula's TeX, MathML or plain text. A formula that is only a picture becomes an empty pair of marks."""
        within = {local(element): element for element in reversed(list(node.iter()))}
        if not self._is_plain:
            label = self.line(within.get("label")) if name == "disp-formula" else ""
            return f" {pair('formula', ' '.join(self.plain._formula(node, name).split()))} {label}"
        if "tex-math" in within:
            return _tex("".join(within["tex-math"].itertext()))
        if "math" in within:
            return math_text(within["math"])
        parts = [node.text or ""]
        for child in node:
            if local(child) != "label":
                parts.append(self._in_text(child, local(child), "".join(parts[-3:])))
            parts.append(child.tail or "")
        return "".join(parts)

    # References -------------------------------------------------------------------------------------------------------

    def _reference(self, node: etree._Element) -> str:
        kind = node.get("ref-type") or ""
        targets = (node.get("rid") or "").split()
        if kind in MARKS:
            return ""
        if kind == "bibr":
            names = [] if self._is_plain else [*self._between(node, targets), *targets]
            return " ".join(pair("bib_ref", self.cited[name]) for name in names if self.cited.get(name)) or GONE
        text = self.inline(node)
        if self._is_plain:
            return text
        floats = [self._meant(text, targets)] if len(targets) == 1 else map(self.floats.get, targets)
        shown = [pointer(*labelled, text) for labelled in floats if labelled]
        return " ".join(pair("fig_ref", label) for label in shown if label) or text

    def _between(self, node: etree._Element, targets: list[str]) -> list[str]:
        """The references within a range: those between the citation before a dash and this one."""
        before = node.getprevious()
        if before is None or local(before) != "xref" or (before.tail or "").strip() not in DASHES:
            return []
        first_id, last_id = (before.get("rid") or "").split()[-1:], targets[:1]
        ends = [self.order[name] for name in first_id + last_id if name in self.order]
        if len(ends) != 2 or not 0 < ends[1] - ends[0] <= LONGEST_RANGE:
            return []
        return [name for name, position in self.order.items() if ends[0] < position < ends[1]]

    @cached_property
    def order(self) -> dict[str, int]:
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
        title = next(filter(cut, (self.plain.line(node) for node in nodes)), "")
        return citation(title, self.plain.line(next(entry.iter("{*}surname", "{*}collab"), None)))

    @cached_property
    def floats(self) -> dict[str, tuple[str, str]]:
        """Label and short caption of every figure and table, by id."""
        nodes = (node for node in self._article.iter(*(f"{{*}}{name}" for name in FLOATS)) if node.get("id"))
        return {node.get("id", ""): (self._label(node), cut(self.plain._legend(node))) for node in nodes}

    @cached_property
    def labelled(self) -> dict[str, tuple[str, str]]:
        """The first figure or table with a label, by the label."""
        return {label: (label, caption) for label, caption in reversed(self.floats.values())}

    def _meant(self, text: str, targets: list[str]) -> tuple[str, str] | None:
        """The figure or table that a reference means: its one target, unless its text has the number of another."""
        linked = self.floats.get(targets[0])
        label, printed = LABEL.fullmatch(linked[0]) if linked else None, PRINTED.fullmatch(text.strip())
        if not linked or not label or not printed or printed[1] == label[2]:
            return linked
        return self.labelled.get(label[1] + printed[1], linked)

    def _label(self, node: etree._Element) -> str:
        word = "Figure" if local(node).startswith("fig") else "Table"
        return named(self.line(first(node, "label")), word)

    def _legend(self, node: etree._Element) -> str:
        caption = first(node, "caption")
        if caption is None:
            return ""
        title = self.line(first(caption, "title"))
        if title and title[-1] not in ".?!:":
            title += "."
        return " ".join(filter(None, [title, *self._all(caption, 2)])).replace("\n", " ")

    def _caption(self, node: etree._Element) -> str:
        return captioned(self._label(node), self._legend(node))


def _after(node: etree._Element) -> str:
    """What follows an element: its tail, and the element behind it where the tail is short."""
    tail, follower = node.tail or "", node.getnext()
    return tail if len(tail) > 1 or follower is None else tail + "".join(follower.itertext())


def _tex(text: str) -> str:
    """TeX without the document and dollar signs that some publishers wrap around each formula."""
    _, opened, after = text.partition(r"\begin{document}")
    return (after.partition(r"\end{document}")[0] if opened else text).strip().strip("$").strip()


def _alternative(node: etree._Element) -> etree._Element | None:
    """Of several forms of one content, the form that reads best as text."""
    for name in ("tex-math", "math", "textual-form"):
        if (form := first(node, name)) is not None:
            return form
    return next(iter(node), None)
