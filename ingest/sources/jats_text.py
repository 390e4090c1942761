"""The text of a JATS paper: headings, paragraphs, citations, captions and formulae in the format of the corpus."""

import re
from functools import cached_property

from lxml import etree

from ingest.sources.account import Account
from ingest.sources.escaped import unescaped
from ingest.sources.jats_lists import BULLETS, Lists
from ingest.sources.jats_references import FLOATS, References
from ingest.sources.jats_signs import UNDERLINED, drawn, is_struck, is_underlined, script
from ingest.sources.jats_tables import rows
from ingest.sources.jats_tree import children, first, following, language, local
from ingest.sources.paper_text import GONE, NOTE, captioned, finished, pair, pointer, says_more, tidy, under
from ingest.text.mathml import math_text

SKIPPED = frozenset(
    """ack alt-text app-group attrib author-notes bio contrib-group copyright-statement fn fn-group funding-group
    glyph-data index-term kwd-group long-desc media notes object-id permissions ref-list related-article
    related-object sec-meta supplementary-material trans-abstract""".split()  # noqa: SIM905
)
"""Elements whose text is left out: notes, bibliography, author lists, supplementary files."""

TABLES = ("table", "array")

BLOCKS = frozenset(
    """abstract app boxed-text caption def-list disp-formula-group disp-quote fig fig-group glossary list p preformat
    code sec speech statement table-wrap table-wrap-group verse-group answer explanation question question-wrap table
    array""".split()  # noqa: SIM905
)
"""Elements that start a new line, even within a paragraph."""

HEADED = frozenset({"abstract", "app", "boxed-text", "caption", "disp-formula-group", "fig", "glossary", "notes",
                    "question-wrap", "sec", "statement", "table-wrap"})  # fmt: skip
"""Blocks whose title is written as a heading, if at all, and whose label is left out."""

BOXES = ("{*}boxed-text", "{*}disp-quote")
"""Boxes and quotes, whose tables are kept."""

ON_ONE_LINE = ("{*}caption", "{*}td", "{*}th")
"""Elements that are written on one line, with any table in them."""

FORMULAE = frozenset({"disp-formula", "inline-formula", "tex-math", "math"})

PICTURES = frozenset({"graphic", "inline-graphic", "private-char"})

MARKS = {"fn", "table-fn", "author-notes", "aff", "corresp", "contrib"}
"""Kinds of reference whose text is mostly a sign: a, *, †, 12."""

SIGN = re.compile(r"[\W_]*(?:[A-Za-z]|\d{1,3}|[ivx]{1,4})?[\W_]*")
SPEAKING = re.compile(r"[<>=≤≥±%+−]")

TEASERS = frozenset({"toc", "teaser", "graphical", "precis", "web-summary"})

BACK_MATTER = re.compile(
    r"abbreviations? used by|acknowledg|additional (?:file|information)|author|availab|competing|conflict|consent|"
    r"contribut|copyright|data access|declaration|disclosure|disclaimer|ethic|fund|grant|interest|open access|"
    r"peer review|pre-?publication|provenance|publisher|reference|sponsor|supplement|support",
    re.IGNORECASE,
)
"""Titles and types of sections after the body that are not about its subject."""


class PaperText:
    """Renders one parsed article, or the `part` of it that has its translation.

    Ids of references, figures and tables are looked up in the whole article. `plain` text has no marks, so that titles
    and captions are never cut between the two marks of a pair. What is read is entered in `account`.
    """

    def __init__(
        self,
        article: etree._Element,
        part: etree._Element | None = None,
        account: Account | None = None,
        plain: bool = False,
    ) -> None:
        self._article = article
        self._part = article if part is None else part
        self._is_plain = plain
        self.account = account or Account()
        self.plain = self if plain else PaperText(article, part, self.account, plain=True)

    @cached_property
    def quoted(self) -> "PaperText":
        """Renders what is quoted elsewhere, which is not thereby read."""
        return PaperText(self._article, self._part, plain=True)

    @cached_property
    def references(self) -> References:
        return References(self._article, self.quoted.line, self.quoted._legend)

    @cached_property
    def _lists(self) -> Lists:
        return Lists(self._article)

    # Blocks -----------------------------------------------------------------------------------------------------------

    def abstract(self) -> list[str]:
        """The abstracts in the paper's language, without teasers and graphical ones, and those in English."""
        about = self.about
        own = language(self._part)
        nodes = list(children(about, "abstract"))
        if own not in ("", "en") or (self._part is not self._article and not nodes):
            front = first(first(self._article, "front"), "article-meta")
            nodes += [node for node in children(front, "trans-abstract") if language(node) == "en"]
        blocks: list[str] = []
        for node in nodes:
            kind = (node.get("abstract-type") or "").lower()
            foreign = local(node) == "abstract" and own and (language(node) or own) not in (own, "en")
            if not foreign and kind not in TEASERS:
                heading = self.plain.line(first(node, "title"))
                if not heading:
                    heading = kind.replace("-", " ").capitalize() or "Abstract"
                    self.account.write("heading", heading)
                blocks += under(f"# {heading}", self._all(node, 1))
        return list(map(finished, blocks))

    @cached_property
    def about(self) -> etree._Element | None:
        """The metadata of what is read."""
        stub = first(self._part, "front-stub")
        return stub if stub is not None else first(first(self._part, "front"), "article-meta")

    def body(self) -> list[str]:
        """Body, appendices and floating figures. Empty where the article's body has no text."""
        body = first(self._part, "body")
        blocks = [] if body is None else self._all(body, 0)
        if not blocks:
            return []
        for back in children(self._part, "back"):
            for node in back:
                blocks += self._appendix(node, local(node))
        for node in children(self._part, "floats-group", "floats-wrap"):
            blocks += self._all(node, 1)
        return list(map(finished, blocks))

    def _appendix(self, node: etree._Element, name: str) -> list[str]:
        """What a child of <back> says about the paper's subject."""
        if name == "app-group":
            return [block for app in children(node, "app") for block in self._section(app, 0)]
        if name not in {"app", "sec", "notes", "glossary"}:
            return []
        title = " ".join("".join(part.itertext()) for part in children(node, "title"))
        if name != "app" and BACK_MATTER.search(f"{title} {node.get('sec-type') or node.get('notes-type') or ''}"):
            return []
        return self._section(node, 0) if title or name != "notes" else []

    def _all(self, node: etree._Element, depth: int) -> list[str]:
        """The blocks of mixed content. The running text between blocks becomes paragraphs."""
        blocks: list[str] = []
        running = [self.account.text(node)]
        heads = local(node) in HEADED

        def flush() -> None:
            text = self._tidied("".join(running))
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
                blocks += filter(None, [self._tidied(self.inline(child))])
            elif name in {"title", "label"}:
                if not heads and local(node) != "list-item":
                    flush()
                    blocks += filter(None, [self.plain.line(child)])
            else:
                running.append(self._in_text(child, name, "".join(running[-3:])))
            running.append(self.account.tail(child))
        flush()
        return blocks

    def _block(self, node: etree._Element, name: str, depth: int) -> list[str]:
        if name in {"sec", "glossary"}:
            return self._section(node, depth)
        if name in {"boxed-text", "app", "question-wrap"}:
            # A box may keep its title in a caption.
            return self._section(node, max(depth, 1))
        if name in FLOATS:
            return self._float(node, name, depth)
        if name in TABLES:
            between = "; " if next(node.iterancestors(*ON_ONE_LINE), None) is not None else "\n"
            return list(filter(None, [between.join(rows(node, self._cell))]))
        if name in {"list", "def-list"}:
            lines = self._list(node) if name == "list" else self._definitions(node)
            return ["\n".join(lines)] if lines else []
        if name == "verse-group":
            return ["\n".join(filter(None, (self.line(child) for child in node if local(child) != "attrib")))]
        if name == "caption" and first(node.getparent(), "title") is not None:
            # The title beside the caption is the heading.
            return list(filter(None, [self.plain.line(first(node, "title")), *self._all(node, depth)]))
        if name in {"preformat", "code"}:
            text = self.plain.inline(node).replace(GONE, "").strip("\n")
            return ["\n".join(line.rstrip() for line in text.splitlines())]
        heads = children(node, "title", "label") if name == "statement" else ()
        return list(filter(None, [". ".join(filter(None, map(self.plain.line, heads))), *self._all(node, depth)]))

    def _section(self, node: etree._Element, depth: int) -> list[str]:
        title = first(node, "title")
        if title is None:
            title = first(first(node, "caption"), "title")
        heading = self.plain.line(title)
        blocks = self._all(node, depth + 1)
        if not heading:
            return blocks
        if not blocks:
            self.account.leave_out("empty_section", heading)
        return under(f"{'#' if depth == 0 else '##'} {heading}", blocks)

    def _float(self, node: etree._Element, name: str, depth: int) -> list[str]:
        """The caption, and the body of a table only in a box or quote."""
        caption = captioned(self._label(node), self._legend(node))
        blocks = [pair(FLOATS[name], caption)] if caption else []
        for child in node:
            inner = local(child)
            if inner in FLOATS:
                blocks += self._block(child, inner, depth)
            elif inner in {*TABLES, "alternatives"} and next(node.iterancestors(*BOXES), None) is not None:
                tables = children(child, *TABLES) if inner == "alternatives" else [child]
                blocks += [block for table in tables for block in self._block(table, local(table), depth)]
            elif inner == "table-wrap-foot" and next(node.iterancestors(*BOXES), None) is not None:
                notes = [self._cell(note) for note in child]
                blocks += filter(None, notes)
        return blocks

    def _cell(self, node: etree._Element) -> str:
        """The text of a cell or a note on one line."""
        return " ".join(self._all(node, 2)).replace("\n", " ")

    def _list(self, node: etree._Element) -> list[str]:
        lines = [self.line(child) for child in children(node, "label", "title")]
        for item, sign in zip(children(node, "list-item"), self._lists.signs(node), strict=False):
            label = self.line(first(item, "label"))
            blocks = [*map(self.plain.line, children(item, "title")), *self._all(item, 2)]
            is_own = blocks and label.strip(BULLETS)
            if blocks:
                lines += [f"{label} {blocks[0]}" if is_own else f"{sign}{blocks[0]}", *blocks[1:]]
            if not is_own:
                self.account.leave_out("label", label)
                self.account.write("list_label", sign if blocks else "")
        return list(filter(None, lines))

    def _definitions(self, node: etree._Element) -> list[str]:
        lines = [self.line(child) for child in children(node, "label", "title", "term-head", "def-head")]
        for item in node:
            if local(item) == "def-list":
                lines += self._definitions(item)
            elif local(item) == "def-item":
                term = self.line(first(item, "term"))
                meaning = " ".join(self.line(child) for child in children(item, "def"))
                lines.append(f"- {term}: {meaning}" if term and meaning else f"- {term or meaning}")
        return list(filter(None, lines))

    # Running text -----------------------------------------------------------------------------------------------------

    def line(self, node: etree._Element | None) -> str:
        """An element's text on one line; empty for None."""
        return "" if node is None else self._tidied(self.inline(node))

    def _tidied(self, text: str) -> str:
        return tidy(unescaped(text, self.account.ledger))

    def inline(self, node: etree._Element, before: str = "") -> str:
        """An element's text as it stands in a line; `before` is what stands before it."""
        name = local(node)
        if name in FORMULAE:
            return self._formula(node, name)
        if name == "alternatives":
            return self._alternative(node, before)
        parts = [self.account.text(node)]
        last = before + parts[0]
        for child in node:
            parts += [self._in_text(child, local(child), last), self.account.tail(child)]
            last = (last + parts[-2] + parts[-1])[-8:]
        return "".join(parts)

    def _in_text(self, node: etree._Element, name: str, before: str) -> str:
        """A child element within running text."""
        if not name or name in SKIPPED:
            return ""
        if name == "xref":
            return self._reference(node)
        if name in {"break", "hr"}:
            return " "
        if name in PICTURES:
            return self._picture(node)
        if is_struck(node):
            self.account.tell("struck out text", "".join(node.itertext()))
            self.account.leave_out("struck_out", "".join(node.itertext()))
            return NOTE
        if name in TABLES:
            return f" {'; '.join(rows(node, self._cell))} "
        text = self.inline(node, before)
        if is_underlined(node) and text.strip() in UNDERLINED:
            self.account.leave_out("underlined", text)
            self.account.write("underlined", UNDERLINED[text.strip()])
            return text.replace(text.strip(), UNDERLINED[text.strip()])
        if name in {"sup", "sub"}:
            return script(name, before, text, following(node))
        return f" {text} " if name in BLOCKS else text

    def _picture(self, node: etree._Element) -> str:
        """The sign that a picture in a line shows, as far as its alternative text says so."""
        shown = drawn(node)
        self.account.write("picture", shown)
        if not shown and local(node) == "private-char":
            self.account.tell("characters that are drawn", node.get("description") or "")
            return "\ufffd"
        return shown

    def _alternative(self, node: etree._Element, before: str) -> str:
        """Of several forms of one content, the form that reads best as text."""
        preferred = [first(node, name) for name in ("tex-math", "math", "textual-form")]
        for form in [*filter(lambda form: form is not None, preferred), *node]:
            if form is not None and (text := self._in_text(form, local(form), before)).strip():
                return self.account.text(node) + text
        return ""

    def _formula(self, node: etree._Element, name: str) -> str:
        """The formula's TeX, MathML or plain text. A formula that is only a picture becomes an empty pair of marks."""
        within = {local(element): element for element in reversed(list(node.iter()))}
        if not self._is_plain:
            label = self.line(within.get("label")) if name == "disp-formula" else ""
            text = " ".join(self.plain._formula(node, name).split())
            if not text:
                self.account.tell("formulae without text", "")
            return f" {pair('formula', text)} {label}"
        if "tex-math" in within:
            return self._tex(self.account.whole(within["tex-math"]))
        if "math" in within:
            self.account.whole(within["math"])
            text = math_text(within["math"])
            self.account.leave_out("formula", " ".join(within["math"].itertext()))
            self.account.write("formula", text)
            return text
        parts = [self.account.text(node)]
        for child in node:
            if local(child) != "label":
                parts.append(self._in_text(child, local(child), "".join(parts[-3:])))
            parts.append(self.account.tail(child))
        return "".join(parts)

    def _tex(self, text: str) -> str:
        """TeX without the document and dollar signs that some publishers wrap around each formula."""
        before, opened, after = text.partition(r"\begin{document}")
        if opened:
            text, _, rest = after.partition(r"\end{document}")
            self.account.leave_out("formula", f"{before} {rest}")
        return text.strip().strip("$").strip()

    # References -------------------------------------------------------------------------------------------------------

    def _reference(self, node: etree._Element) -> str:
        kind = node.get("ref-type") or ""
        targets = (node.get("rid") or "").split()
        words = "".join(node.itertext())
        if kind in MARKS and SIGN.fullmatch(words) and not SPEAKING.search(words):
            return NOTE
        if kind == "bibr":
            names = [] if self._is_plain else [*self.references.between(node, targets), *targets]
            cited = [self.references.cited[name] for name in names if self.references.cited.get(name)]
            return self._pairs("bib_ref", "citation", cited, node) or (self.inline(node) if says_more(words) else GONE)
        if self._is_plain:
            return self.inline(node)
        floats = [pointer(*labelled, words) for labelled in self.references.meant(words, targets)]
        return self._pairs("fig_ref", "pointer", floats, node) or self.inline(node)

    def _pairs(self, name: str, rule: str, targets: list[str], node: etree._Element) -> str:
        """What a reference points to, in place of its text or after it."""
        shown = [target for target in targets if target]
        for target in shown:
            self.account.write(rule, target)
        pairs = " ".join(pair(name, target) for target in shown)
        return f"{self.inline(node)} {pairs}" if shown and says_more("".join(node.itertext())) else pairs

    def _label(self, node: etree._Element) -> str:
        label = self.line(first(node, "label"))
        shown = self.references.label(node)
        if shown != label:
            self.account.leave_out("label", label)
            self.account.write("label", shown)
        return shown

    def _legend(self, node: etree._Element | None) -> str:
        caption = first(node, "caption")
        if caption is None:
            return ""
        title = self.line(first(caption, "title"))
        if title and title[-1] not in ".?!:":
            title += "."
        return " ".join(filter(None, [title, *self._all(caption, 2)])).replace("\n", " ")
