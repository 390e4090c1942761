"""MEDLINE/PubMed citations in NLM's XML, plain or gzip: yearly baseline, daily updates, and answers of efetch."""

import gzip
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePath
from typing import Literal

from lxml import etree

from ingest.fidelity.crude import markup_text
from ingest.fidelity.ledger import Ledger
from ingest.metadata import new_metadata
from ingest.raw_input import Pace, RawInput
from ingest.records import Metadata, Original, Records, Rejected, article_url, is_number, rejected
from ingest.sources.account import Account
from ingest.sources.dates import earliest, iso_date
from ingest.sources.jats_text import PaperText
from ingest.sources.jats_tree import join_scripts
from ingest.sources.xml_guard import (
    DECLARES,
    ENCODING_FAULTS,
    SAFE,
    GuardedStream,
    declares_entities,
    name_characters,
    take_out_signs,
)
from lake.decision import Drop, Reason, RecordError
from lake.document import Document, new_document
from lake.lines import GZIP_FAULTS

RECORDS = ("PubmedArticle", "PubmedBookArticle", "DeleteCitation")
YEAR = 4
MISSING = re.compile(r"not available|in process citation|(?:no title|title not) available", re.IGNORECASE)
"""What NLM writes in place of a title."""

ARTICLE_IN = re.compile(r"\[(?:article )?in [a-z ,]+\]", re.IGNORECASE)
"""The language of an article, behind its translated title."""

LANGUAGES = {
    "eng": "en", "chi": "zh", "cze": "cs", "dan": "da", "dut": "nl", "fre": "fr", "ger": "de", "hun": "hu", "ita": "it",
    "jpn": "ja", "kor": "ko", "nor": "no", "pol": "pl", "por": "pt", "rus": "ru", "spa": "es", "swe": "sv", "tur": "tr",
}  # fmt: skip
"""NLM's codes of the most common languages, in ISO 639-1."""


class MedlineInput(RawInput):
    """Files of citations. A citation's last version counts: the highest PMID version, then the last file by name.

    NLM numbers baseline and updates consecutively, so their names sort in order. `clean` drops superseded and deleted
    citations. With `documents` off, the files only add metadata, such as retractions, to papers from other sources.
    """

    format: Literal["medline"]
    documents: bool = True

    @property
    def pace(self) -> Pace:
        """Measured by `python -m benchmarks.stages` on the samples, which are few and small: a guess for real files."""
        return Pace(11, 0.4)

    @property
    def tables(self) -> frozenset[str]:
        return frozenset({"metadata"})

    def read(self, path: Path, name: str) -> Records:
        """Every citation and every deletion; memory holds one record of at most `max_bytes`.

        What comes before a fault in the file is read, and the rest is one rejected record.
        """
        number = 0
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as raw:
            stream = GuardedStream(raw, self.max_bytes)
            try:
                if path.suffix == ".gz" and not path.stat().st_size:
                    raise EOFError("the file is empty")
                for number, record in enumerate(_elements(stream), 1):
                    yield from _records(record, number, name, self)
            except GZIP_FAULTS as error:
                yield _broken(name, number, Reason.TRUNCATED_FILE, str(error))
                return
            except RecordError as error:
                yield _broken(name, number, error.reason, str(error))
                return
            except etree.XMLSyntaxError as error:
                reason = Reason.UNDECODABLE if error.code in ENCODING_FAULTS else Reason.MALFORMED_XML
                yield _broken(name, number, reason, error.msg or "not XML")
                return
        if not number:
            yield _broken(name, number, Reason.WRONG_TYPE, "no PubmedArticle in it")


def _broken(name: str, number: int, reason: Reason, fault: str) -> Rejected:
    return rejected(f"{name}:{number + 1}", reason, f"nothing is readable from this record on: {fault}")


def _elements(stream: GuardedStream) -> Iterator[etree._Element]:
    """Records one at a time. Each is then removed from the tree, so memory holds only what the parser reads at once."""
    events = etree.iterparse(stream, events=("start", "end"), tag=RECORDS, **SAFE)
    for event, record in events:
        if event == "start":
            if declares_entities(record):
                raise RecordError(Reason.HOSTILE_XML, DECLARES)
            continue
        yield record
        stream.record_ended()
        record.clear()
        while record.getprevious() is not None:
            del record.getparent()[0]


def _records(record: etree._Element, number: int, name: str, settings: MedlineInput) -> Records:
    native = f"{name}:{number}"
    if record.tag == "DeleteCitation":
        for node in record.iterfind("PMID"):
            pmid = (node.text or "").strip()
            if not is_number(pmid):
                yield rejected(native, Reason.MISSING_FIELD, f"a deletion without a PMID: {pmid!r:.80}")
                continue
            yield Metadata(new_metadata("medline", pmid=pmid, revision=_revision(node, number, name), deleted=True))
        return
    citation = record.find("MedlineCitation")
    pmid = citation.find("PMID") if citation is not None else None
    if citation is None or pmid is None or not is_number((pmid.text or "").strip()):
        yield rejected(native, Reason.MISSING_FIELD, f"a {record.tag} without the PMID of a MedlineCitation")
        return
    try:
        account = Account()
        parsed = _citation(record, _revision(pmid, number, name), native, settings, account)
        if isinstance(parsed, dict):
            yield from account.notes(parsed["url"] or native)
            yield Original(partial(_original, record, native, settings))
        yield parsed
    except RecursionError:
        yield rejected(native, Reason.MALFORMED_XML, "elements are nested too deep to read")


def _original(record: etree._Element, native: str, settings: MedlineInput, ledger: Ledger) -> str:
    parse_citation(record, "", native, settings, ledger)
    return markup_text(etree.tostring(record, encoding="unicode", with_tail=False))


def _revision(pmid: etree._Element, number: int, name: str) -> str:
    """A key that sorts the versions of a citation in their order."""
    version = pmid.get("Version") or "1"
    version = version if is_number(version.strip()) and len(version) <= YEAR else "1"
    return f"{int(version):04d} {PurePath(name).name} {number:07d}"


def parse_citation(
    record: etree._Element, revision: str, native: str, settings: MedlineInput, ledger: Ledger | None = None
) -> Document | Rejected | Metadata:
    """A PubmedArticle as a document: title and English abstract. Without an abstract it is rejected."""
    return _citation(record, revision, native, settings, Account(ledger))


def _citation(
    record: etree._Element, revision: str, native: str, settings: MedlineInput, account: Account
) -> Document | Rejected | Metadata:
    name_characters(record)
    take_out_signs(record)
    join_scripts(record)
    reader = PaperText(record, account=account, plain=True)
    article = record.find("MedlineCitation/Article")
    ids = _ids(record)
    title = _title(reader, record)
    meta = ids | {
        "journal": _line(reader.quoted, record, "Article/Journal/Title")
        or _line(reader.quoted, record, "MedlineJournalInfo/MedlineTA"),
        "published": _published(article),
        "publication_types": _lines(reader.quoted, record, "Article/PublicationTypeList/PublicationType"),
        "mesh": _lines(reader.quoted, record, "MeshHeadingList/MeshHeading/DescriptorName"),
        "revision": revision,
    }
    about = Metadata(new_metadata("medline", **meta))
    if not settings.documents:
        return about
    abstract = _abstract(reader, record)
    if not abstract:
        return Rejected(ids["pmid"], Drop(Reason.NO_ABSTRACT, f"{native}: pmid {ids['pmid']} has no abstract"), about)
    account.close(record, "front_matter")
    return new_document(
        settings.source,
        ids["pmid"],
        "\n\n".join(filter(None, [title, abstract])),
        meta | {"site": settings.site},
        title=title or None,
        url=article_url({"pmid": ids["pmid"]}),
        license=settings.license,
        redistributable=settings.redistributable,
        lang=_language(record),
    )


def _line(reader: PaperText, record: etree._Element, path: str) -> str | None:
    return reader.line(record.find(f"MedlineCitation/{path}")) or None


def _lines(reader: PaperText, record: etree._Element, path: str) -> list[str] | None:
    lines = (reader.line(node) for node in record.iterfind(f"MedlineCitation/{path}"))
    return list(dict.fromkeys(filter(None, lines))) or None


def _title(reader: PaperText, record: etree._Element) -> str:
    """The English title. NLM puts a translated title in brackets, and these go: `[[18F]FDG in wards].`"""
    whole = _line(reader, record, "Article/ArticleTitle") or ""
    end = _closing(whole)
    behind = whole[end + 1 :].strip(" .")
    title = whole[1:end] if end > 0 and (not behind or ARTICLE_IN.fullmatch(behind)) else whole
    return "" if MISSING.fullmatch(title.strip(". ")) else title


def _closing(text: str) -> int:
    """The place of the bracket that closes the one at the beginning; -1 where there is none."""
    depth = 0
    for place, sign in enumerate(text):
        depth += (sign == "[") - (sign == "]")
        if depth == 0:
            return place if place else -1
    return -1


def _abstract(reader: PaperText, record: etree._Element) -> str:
    """One paragraph per labelled part: `METHODS: We asked …`. Where NLM's abstract has no text, another in English."""
    others = [
        node
        for node in record.iterfind("MedlineCitation/OtherAbstract")
        # The DTD, which is not loaded, makes English the default.
        if (node.get("Language") or "eng").lower() in {"eng", "en"}
    ]
    others.sort(key=lambda node: node.get("Type") == "plain-language-summary")
    for abstract in [*record.iterfind("MedlineCitation/Article/Abstract"), *others]:
        parts = []
        for node in abstract.iterfind("AbstractText"):
            label, text = (node.get("Label") or "").strip(), reader.line(node)
            if text and label and label != "UNLABELLED":
                reader.account.write("label", label)
                text = f"{label}: {text}"
            parts.append(text)
        if any(parts):
            return "\n\n".join(filter(None, parts))
    return ""


def _ids(record: etree._Element) -> dict[str, str]:
    ids = {"pmid": (record.findtext("MedlineCitation/PMID") or "").strip()}
    for node in record.iterfind("PubmedData/ArticleIdList/ArticleId"):
        kind, value = node.get("IdType"), (node.text or "").strip()
        if kind == "doi" and value:
            ids.setdefault("doi", value)
        elif kind == "pmc" and is_number(value.removeprefix("PMC").strip()):
            ids.setdefault("pmcid", f"PMC{value.removeprefix('PMC')}")
    for node in record.iterfind("MedlineCitation/Article/ELocationID"):
        if node.get("EIdType") == "doi" and node.get("ValidYN") != "N" and (node.text or "").strip():
            ids.setdefault("doi", (node.text or "").strip())
    return ids


def _published(article: etree._Element | None) -> str | None:
    """The earliest date in print or online. Of a range, such as 1998 Dec-1999 Jan, it is the first year."""
    if article is None:
        return None
    dates = []
    for node in (*article.iterfind("Journal/JournalIssue/PubDate"), *article.iterfind("ArticleDate")):
        year = node.findtext("Year") or (node.findtext("MedlineDate") or "")[:YEAR]
        dates.append(iso_date(year.strip(), *((node.findtext(part) or "").strip() for part in ("Month", "Day"))))
    return earliest(dates)


def _language(record: etree._Element) -> str | None:
    codes = [(node.text or "").strip() for node in record.iterfind("MedlineCitation/Article/Language")]
    return "en" if "eng" in codes else LANGUAGES.get(codes[0], codes[0] or None) if codes else None
