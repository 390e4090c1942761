"""A study as a citation of MEDLINE, in the XML that NLM gives out."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from samples.packing import gzipped
from samples.studies import Study

DTD = "-//NLM//DTD PubMedArticle, 1st January 2025//EN"
LABELLED = re.compile(r"([A-Z]+): (.*)")
NUMBERS = {
    "Journal Article": "D016428", "Randomized Controlled Trial": "D016449", "Observational Study": "D064888",
    "Systematic Review": "D000078182", "Comparative Study": "D003160", "Retracted Publication": "D016441",
}  # fmt: skip


@dataclass(frozen=True)
class Citation:
    """What a citation says of a study; `pmid` None leaves the number out, an empty abstract the abstract."""

    study: Study
    pmid: str | None
    title: str
    abstract: str
    version: int = 1
    doi: str | None = None
    language: str = "eng"
    retracted_in: str | None = None
    types: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, study: Study) -> "Citation":
        return cls(study, study.pmid, study.title, study.abstract, doi=study.doi, types=study.types)

    def xml(self) -> str:
        study = self.study
        mesh = "".join(map(heading, study.mesh))
        number = "" if self.pmid is None else f'<PMID Version="{self.version}">{self.pmid}</PMID>\n'
        return f"""<PubmedArticle>
<MedlineCitation Status="MEDLINE" Owner="NLM">
{number}<DateRevised><Year>{study.year + 1}</Year><Month>03</Month><Day>01</Day></DateRevised>
<Article PubModel="Print">
<Journal>
<JournalIssue CitedMedium="Print">
<PubDate><Year>{study.year}</Year><Month>{study.month}</Month></PubDate>
</JournalIssue>
<Title>{escape(study.journal)}</Title>
</Journal>
<ArticleTitle>{escape(self.title)}</ArticleTitle>
{self._location()}{self._abstract()}<Language>{self.language}</Language>
<PublicationTypeList>
{"".join(f'<PublicationType UI="{NUMBERS[one]}">{one}</PublicationType>{chr(10)}' for one in self.types)}\
</PublicationTypeList>
</Article>
<MedlineJournalInfo><MedlineTA>{escape(study.journal)}</MedlineTA></MedlineJournalInfo>
{self._notice()}<MeshHeadingList>
{mesh}</MeshHeadingList>
</MedlineCitation>
<PubmedData>
<PublicationStatus>ppublish</PublicationStatus>
<ArticleIdList>{self._ids()}</ArticleIdList>
</PubmedData>
</PubmedArticle>
"""

    def _location(self) -> str:
        return f'<ELocationID EIdType="doi" ValidYN="Y">{self.doi}</ELocationID>\n' if self.doi else ""

    def _ids(self) -> str:
        found = {"pubmed": self.pmid, "doi": self.doi}
        return "".join(f'<ArticleId IdType="{kind}">{value}</ArticleId>' for kind, value in found.items() if value)

    def _abstract(self) -> str:
        """Labelled parts as such; anything else in one part, as journals without labels print it."""
        if not self.abstract:
            return ""
        lines = self.abstract.splitlines()
        parts = [found.groups() for one in lines if (found := LABELLED.fullmatch(one))]
        if len(parts) < len(lines):
            return f"<Abstract>\n<AbstractText>{escape(' '.join(lines))}</AbstractText>\n</Abstract>\n"
        inner = "".join(f'<AbstractText Label="{label}">{escape(text)}</AbstractText>\n' for label, text in parts)
        return f"<Abstract>\n{inner}</Abstract>\n"

    def _notice(self) -> str:
        if self.retracted_in is None:
            return ""
        source = f"<RefSource>{escape(self.study.journal)}. {self.study.year + 1}</RefSource>"
        notice = f'<CommentsCorrections RefType="RetractionIn">{source}<PMID Version="1">{self.retracted_in}</PMID>'
        return f"<CommentsCorrectionsList>{notice}</CommentsCorrections></CommentsCorrectionsList>\n"


def heading(name: str) -> str:
    return f'<MeshHeading><DescriptorName MajorTopicYN="N">{escape(name)}</DescriptorName></MeshHeading>\n'


def citations(found: Iterable[Citation], deleted: Iterable[str] = ()) -> bytes:
    """A file of citations, gzip, with the numbers that are taken back at its end."""
    gone = "".join(f'<PMID Version="1">{pmid}</PMID>\n' for pmid in deleted)
    end = f"<DeleteCitation>\n{gone}</DeleteCitation>\n" if gone else ""
    head = (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<!DOCTYPE PubmedArticleSet PUBLIC "{DTD}" "https://dtd.nlm.nih.gov/ncbi/pubmed/out/pubmed_250101.dtd">\n'
    )
    body = "".join(one.xml() for one in found)
    return gzipped(f"{head}<PubmedArticleSet>\n{body}{end}</PubmedArticleSet>\n".encode())
