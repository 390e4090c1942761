"""Full papers in JATS XML, as PubMed Central and publishers release them: one article per file, plain or gzip."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from lxml import etree
from pydantic import Field

from ingest.raw_input import Pace, RawInput
from ingest.records import Records, Rejected, article_url, rejected
from ingest.sources.dates import earliest, iso_date
from ingest.sources.jats_text import LANG, PaperText, children, first, local
from ingest.sources.licence import licence
from ingest.sources.paper_text import SIGNS, finished, foreign
from ingest.sources.tar import BrokenArchiveError, members
from ingest.sources.xml_guard import DECLARES, ENCODING_FAULTS, ENTITY, SAFE, declares_entities, name_characters
from lake.decision import Reason
from lake.document import Document, new_document
from lake.lines import GZIP_FAULTS

PAPERS = (".xml", ".nxml")
TYPES = {
    "research-article": "Journal Article",
    "brief-report": "Journal Article",
    "rapid-communication": "Journal Article",
    "review-article": "Review",
    "systematic-review": "Systematic Review",
    "meta-analysis": "Meta-Analysis",
    "case-report": "Case Reports",
    "clinical-trial": "Clinical Trial",
    "editorial": "Editorial",
    "letter": "Letter",
    "article-commentary": "Comment",
    "discussion": "Comment",
    "reply": "Comment",
    "correction": "Published Erratum",
    "addendum": "Published Erratum",
    "retraction": "Retraction of Publication",
    "retracted-article": "Retracted Publication",
    "expression-of-concern": "Expression of Concern",
    "guideline": "Guideline",
    "practice-guideline": "Practice Guideline",
    "news": "News",
    "obituary": "Obituary",
    "preprint": "Preprint",
}
"""JATS article types as MEDLINE's publication types, by which later steps score papers."""


class JatsInput(RawInput):
    """Files of one JATS article each, and `.tar.gz` or `.tar` archives of such files, which need no unpacking.

    `license` and `redistributable` hold for papers that state no licence. Up to `files_per_part` papers make one part
    of the output; each archive makes another.
    """

    format: Literal["jats"]
    files_per_part: int = Field(default=500, ge=1)

    @property
    def pace(self) -> Pace:
        """Measured by `python -m benchmarks.stages --data ../shared/data`."""
        return Pace(9.7, 0.43)

    def groups(self, files: list[Path]) -> Iterator[tuple[Path, ...]]:
        archives = [path for path in files if _is_archive(path)]
        if archives and self.limit is not None:
            yield tuple(files)
            return
        yield from ((path,) for path in archives)
        papers = [path for path in files if not _is_archive(path)][: self.limit]
        for start in range(0, len(papers), self.files_per_part):
            yield tuple(papers[start : start + self.files_per_part])

    def read(self, path: Path, name: str) -> Records:
        """The one record of a file, or every paper of an archive."""
        if _is_archive(path):
            yield from _read_archive(path, name, self)
            return
        try:
            with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
                data = stream.read(self.max_bytes + 1)
        except GZIP_FAULTS as error:
            yield rejected(name, Reason.TRUNCATED_FILE, str(error))
            return
        yield parse_paper(data, name, self)


def _is_archive(path: Path) -> bool:
    return path.name.endswith((".tar.gz", ".tgz", ".tar"))


def _read_archive(path: Path, name: str, settings: JatsInput) -> Records:
    """Memory holds one paper. Other files than XML, such as pictures, are not records.

    A truncated or corrupt archive yields its readable papers, then one rejected record.
    """
    with path.open("rb") if path.suffix == ".tar" else gzip.open(path) as stream:
        try:
            for member in members(stream, settings.max_bytes, PAPERS):
                native = f"{name}!{member.name}"
                if member.data is None:
                    fault = f"{member.size:,} bytes; max_bytes is {settings.max_bytes:,}"
                    yield rejected(native, Reason.TOO_LARGE, fault)
                else:
                    yield parse_paper(member.data, native, settings)
        except (*GZIP_FAULTS, BrokenArchiveError) as error:
            yield rejected(name, Reason.TRUNCATED_FILE, f"nothing is readable from here on: {error}")


def parse_paper(data: bytes, name: str, settings: JatsInput) -> Document | Rejected:
    """One article as a document.

    The parser loads no DTD, opens no file or connection and expands no entity. A document that declares entities is
    refused: publishers declare none, and attackers use them to read files or exhaust memory. An abstract alone is not a
    paper. An article may be wrapped in an envelope; a file of several is refused, for all but one would be lost.
    """
    if len(data) > settings.max_bytes:
        return rejected(name, Reason.TOO_LARGE, f"over {settings.max_bytes:,} bytes, the value of max_bytes")
    # The parser finds declarations too, but a bomb in an attribute stops it before it can say what they are.
    if ENTITY in data.replace(b"\0", b"").partition(b"<article")[0]:
        return rejected(name, Reason.HOSTILE_XML, DECLARES)
    try:
        root = etree.fromstring(data, etree.XMLParser(**SAFE))
        if declares_entities(root):
            return rejected(name, Reason.HOSTILE_XML, DECLARES)
        articles = list(root.iter("{*}article"))
        if len(articles) != 1:
            fault = f"<{local(root)}> with {len(articles)} articles; a file must be one <article>"
            return rejected(name, Reason.WRONG_TYPE, fault)
        name_characters(articles[0])
        _take_out_signs(articles[0])
        paper = PaperText(articles[0])
        body = paper.body()
        if not body:
            return rejected(name, Reason.NO_BODY, "no text in <body>")
        return _document(articles[0], paper, body, name, settings)
    except etree.XMLSyntaxError as error:
        reason = Reason.UNDECODABLE if error.code in ENCODING_FAULTS else Reason.MALFORMED_XML
        return rejected(name, reason, error.msg)
    except RecursionError:
        return rejected(name, Reason.MALFORMED_XML, "elements are nested too deep to read")


def _take_out_signs(article: etree._Element) -> None:
    """Remove the signs that stand for marks while a text is made from the authors' text."""
    if SIGNS.search("".join(article.itertext())):
        for node in article.iter():
            node.text, node.tail = (text and foreign(text) for text in (node.text, node.tail))


def _document(article: etree._Element, paper: PaperText, body: list[str], name: str, settings: JatsInput) -> Document:
    front = first(article, "front")
    about = first(front, "article-meta")
    ids = _ids(about)
    title = _title(paper, about)
    stated, free = licence(about)
    kind = article.get("article-type")
    meta = ids | {
        "journal": _journal(paper, first(front, "journal-meta")),
        "published": _published(about),
        "publication_types": [TYPES.get(kind, kind)] if kind else None,
        "site": settings.site,
    }
    return new_document(
        settings.source,
        ids.get("pmcid") or ids.get("doi") or ids.get("pmid") or name,
        "\n\n".join(filter(None, [title, *paper.abstract(), *body])),
        meta,
        title=title or None,
        url=article_url(ids),
        license=stated or settings.license,
        redistributable=free if stated else settings.redistributable,
        lang=(article.get(LANG) or "").lower().partition("-")[0] or None,
    )


def _title(paper: PaperText, about: etree._Element | None) -> str:
    group = first(about, "title-group")
    title, subtitle = (paper.plain.line(first(group, name)) for name in ("article-title", "subtitle"))
    return finished(f"{title.rstrip(':')}: {subtitle}" if title and subtitle else title)


def _ids(about: etree._Element | None) -> dict[str, str]:
    """`pmid`, `pmcid` and `doi`, as far as they are stated. A PMC id always begins with PMC."""
    ids: dict[str, str] = {}
    for node in children(about, "article-id") if about is not None else ():
        kind, value = node.get("pub-id-type") or "", (node.text or "").strip()
        number = value.removeprefix("PMC")
        if kind == "pmid" and value.isdigit():
            ids["pmid"] = value
        elif kind in ("pmc", "pmcid") and number.isdigit():
            ids["pmcid"] = f"PMC{number}"
        elif kind == "doi" and value:
            ids["doi"] = value
    return ids


def _journal(paper: PaperText, about: etree._Element | None) -> str | None:
    group = first(about, "journal-title-group")
    title = paper.plain.line(first(group if group is not None else about, "journal-title"))
    if not title and about is not None:
        short = (node for node in children(about, "journal-id") if node.get("journal-id-type") == "nlm-ta")
        title = paper.plain.line(next(short, None))
    return title or None


def _published(about: etree._Element | None) -> str | None:
    """The earliest date of publication, in print or online. A deposit in an archive is not a publication."""
    dates = []
    for node in children(about, "pub-date") if about is not None else ():
        kind = node.get("pub-type") or node.get("date-type") or ""
        if kind not in ("pmc-release", "nihms-submitted"):
            parts = (first(node, part) for part in ("year", "month", "day"))
            dates.append(iso_date(*("" if part is None else (part.text or "").strip() for part in parts)))
    return earliest(dates)
