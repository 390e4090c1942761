"""Full papers in JATS XML, as PubMed Central and publishers release them: one article per file, plain or gzip."""

import gzip
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Literal

from lxml import etree

from ingest.fidelity.crude import markup_text
from ingest.fidelity.ledger import Ledger
from ingest.raw_input import Pace, RawInput
from ingest.records import Original, Records, Rejected, article_url, rejected
from ingest.sources.account import Account
from ingest.sources.dates import earliest, iso_date
from ingest.sources.jats_text import PaperText
from ingest.sources.jats_tree import children, first, join_scripts, language, local
from ingest.sources.licence import licence
from ingest.sources.paper_text import finished
from ingest.sources.tar import BrokenArchiveError, members
from ingest.sources.xml_guard import (
    DECLARES,
    ENCODING_FAULTS,
    ENTITY,
    SAFE,
    declares_entities,
    name_characters,
    take_out_signs,
)
from lake.decision import Reason
from lake.document import Document, new_document
from lake.lines import GZIP_FAULTS
from lake.values import Count

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
    files_per_part: Count = 500

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
        yield from paper_records(data, name, self)


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
                    yield from paper_records(member.data, native, settings)
        except (*GZIP_FAULTS, BrokenArchiveError) as error:
            yield rejected(name, Reason.TRUNCATED_FILE, f"nothing is readable from here on: {error}")


def parse_paper(data: bytes, name: str, settings: JatsInput, ledger: Ledger | None = None) -> Document | Rejected:
    """One article as a document.

    The parser loads no DTD, opens no file or connection and expands no entity. A document that declares entities is
    refused: publishers declare none, and attackers use them to read files or exhaust memory. An abstract alone is not a
    paper. An article may be wrapped in an envelope; a file of several is refused, for all but one would be lost. Where
    an article that is not in English has a translation into English, that is read.
    """
    return _parsed(data, name, settings, Account(ledger))


def paper_records(data: bytes, name: str, settings: JatsInput) -> Records:
    """One article as a document, after notes about what was left out of its lines."""
    account = Account()
    record = _parsed(data, name, settings, account)
    if not isinstance(record, Rejected):
        yield from account.notes(record["url"] or name)
        yield Original(partial(_original, data, name, settings))
    yield record


def _original(data: bytes, name: str, settings: JatsInput, ledger: Ledger) -> str:
    parse_paper(data, name, settings, ledger)
    root = etree.fromstring(data, etree.XMLParser(**SAFE))
    return markup_text(etree.tostring(root, encoding="unicode"))


def _parsed(data: bytes, name: str, settings: JatsInput, account: Account) -> Document | Rejected:
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
        name_characters(root)
        take_out_signs(articles[0])
        join_scripts(articles[0])
        return _document(articles[0], name, settings, account)
    except etree.XMLSyntaxError as error:
        reason = Reason.UNDECODABLE if error.code in ENCODING_FAULTS else Reason.MALFORMED_XML
        return rejected(name, reason, error.msg)
    except RecursionError:
        return rejected(name, Reason.MALFORMED_XML, "elements are nested too deep to read")


def _document(article: etree._Element, name: str, settings: JatsInput, account: Account) -> Document | Rejected:
    front = first(article, "front")
    about = first(front, "article-meta")
    part = _english(article)
    paper = PaperText(article, part, account)
    title, abstract, body = _title(paper, about), paper.abstract(), paper.body()
    if not body:
        return rejected(name, Reason.NO_BODY, "no text in <body>")
    account.close(article, "other_language" if part is not article else "")
    ids = _ids(about)
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
        "\n\n".join(filter(None, [title, *abstract, *body])),
        meta,
        title=title or None,
        url=article_url(ids),
        license=stated or settings.license,
        redistributable=free if stated else settings.redistributable,
        lang=language(part) or language(article) or None,
    )


def _english(article: etree._Element) -> etree._Element:
    """The part of an article with its full text in English: its translation, where itself is in another language."""
    if language(article) == "en":
        return article
    translations = (
        part
        for part in children(article, "sub-article")
        if part.get("article-type") == "translation"
        and language(part) == "en"
        and "".join(text for body in children(part, "body") for text in body.itertext()).strip()
    )
    return next(translations, article)


def _title(paper: PaperText, about: etree._Element | None) -> str:
    """The title and subtitle of what is read; of a translation without a title, the English one beside the original's.

    `about` is the metadata of the whole article.
    """
    group = first(paper.about, "title-group")
    if group is None and paper.about is not about:
        translated = children(first(about, "title-group"), "trans-title-group")
        group = next((node for node in translated if language(node) == "en"), first(about, "title-group"))
    title, subtitle = (
        paper.plain.line(first(group, name, f"trans-{name.removeprefix('article-')}"))
        for name in ("article-title", "subtitle")
    )
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
    title = paper.quoted.line(first(group if group is not None else about, "journal-title"))
    if not title and about is not None:
        short = (node for node in children(about, "journal-id") if node.get("journal-id-type") == "nlm-ta")
        title = paper.quoted.line(next(short, None))
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
