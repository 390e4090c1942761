"""A study as Semantic Scholar's datasets have it: the metadata, the abstract, and the full text with annotations."""

import json
from collections.abc import Iterator
from typing import Any

from lxml import etree

from samples.packing import Record
from samples.studies import Study

XREFS = {"bibr": "bibref", "fig": "figureref", "table": "tableref"}
FLOATS = {"fig": "figure", "table-wrap": "table"}
KINDS = (
    "abstract", "author", "authoraffiliation", "authorfirstname", "authorlastname", "bibauthor", "bibauthorfirstname",
    "bibauthorlastname", "bibentry", "bibref", "bibtitle", "bibvenue", "figure", "figurecaption", "figureref",
    "formula", "paragraph", "publisher", "sectionheader", "table", "tableref", "title", "venue",
)  # fmt: skip
CORPUS = 700_000_000
"""Added to the number of a study to make its corpusid."""

TYPES = {"Randomized Controlled Trial": "ClinicalTrial", "Systematic Review": "Review"}


def corpusid(study: Study) -> int:
    return CORPUS + int(study.doi[-4:])


def external_ids(study: Study, known: tuple[str, ...] = ("DOI", "PubMed", "PubMedCentral")) -> dict[str, str | None]:
    given = {"DOI": study.doi, "PubMed": study.pmid, "PubMedCentral": study.pmcid.removeprefix("PMC")}
    return {"ACL": None, "ArXiv": None, **{name: value if name in known else None for name, value in given.items()}}


def paper(study: Study, known: tuple[str, ...] = ("DOI", "PubMed")) -> Record:
    """A line of the dataset `papers`."""
    types = ["JournalArticle", *(TYPES[one] for one in study.types if one in TYPES)]
    return {
        "corpusid": corpusid(study),
        "externalids": external_ids(study, known) | {"CorpusId": str(corpusid(study))},
        "url": f"https://s2.example.org/CorpusID:{corpusid(study)}",
        "title": study.title,
        "authors": [],
        "venue": study.journal,
        "year": study.year,
        "publicationdate": f"{study.year}-{study.month:02d}-01",
        "publicationtypes": types,
        "citationcount": study.dice.number(0, 90),
        "isopenaccess": True,
        "journal": {"name": study.journal, "pages": None, "volume": None},
    }


def abstract(study: Study) -> Record:
    """A line of the dataset `abstracts`, which knows no PubMed id and no title."""
    ids = {"ACL": None, "ArXiv": None, "DOI": study.doi, "MAG": None, "PubMedCentral": None}
    access = {"externalids": ids, "license": "CCBY", "url": None, "status": "HYBRID"}
    return {"corpusid": corpusid(study), "openaccessinfo": access, "abstract": " ".join(study.abstract.splitlines())}


def full_text(study: Study, jats: str, known: tuple[str, ...] = ("DOI", "PubMed", "PubMedCentral")) -> Record:
    """A line of the dataset `s2orc`, of the same paper as the JATS given."""
    annotated = Annotated(etree.fromstring(jats.encode()))
    source = {"pdfurls": None, "pdfsha": f"{corpusid(study):040x}", "oainfo": {"license": "CCBY", "status": "GOLD"}}
    content = {"source": source, "text": annotated.text, "annotations": annotated.annotations()}
    return {"corpusid": corpusid(study), "externalids": external_ids(study, known), "content": content}


class Annotated:
    """The running text of a JATS article, and spans over it, as a parser of its PDF would have found them."""

    def __init__(self, article: etree._Element) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._spans: dict[str, list[Record]] = {kind: [] for kind in KINDS}
        self._ids = {ref.get("id", ""): f"b{place}" for place, ref in enumerate(article.iter("ref"))}
        self._ids |= {node.get("id", ""): f"fig_{place}" for place, node in enumerate(article.iter("fig"))}
        self._ids |= {node.get("id", ""): f"tab_{place}" for place, node in enumerate(article.iter("table-wrap"))}
        self._front(article)
        for number, section in enumerate(article.iterfind("body/sec"), 1):
            self._section(section, str(number))
        for reference in article.iter("ref"):
            self._reference(reference)
        self.text = "".join(self._parts)

    def annotations(self) -> dict[str, str | None]:
        return {kind: json.dumps(spans) if spans else None for kind, spans in self._spans.items()}

    # Writing ----------------------------------------------------------------------------------------------------------

    def _write(self, text: str) -> None:
        self._parts.append(text)
        self._length += len(text)

    def _mark(self, kind: str, start: int, **attributes: str) -> None:
        """Offsets are strings, as in the releases."""
        span: dict[str, Any] = {"start": str(start), "end": str(self._length)}
        self._spans[kind].append(span | ({"attributes": attributes} if attributes else {}))

    def _span(self, kind: str, text: str, end: str = "", **attributes: str) -> None:
        start = self._length
        self._write(text)
        self._mark(kind, start, **attributes)
        self._write(end)

    # Parts of a paper -------------------------------------------------------------------------------------------------

    def _front(self, article: etree._Element) -> None:
        self._span("title", article.findtext(".//article-title") or "", "\n\n")
        for person in article.iterfind("front//contrib/name"):
            start = self._length
            self._span("authorfirstname", person.findtext("given-names") or "", " ")
            self._span("authorlastname", person.findtext("surname") or "")
            self._mark("author", start)
            self._write(" \n")
        self._write("\n")
        start = self._length
        paragraphs = article.findall("front//abstract/p")
        for place, one in enumerate(paragraphs):
            self._paragraph(one, "\n\n" if place + 1 < len(paragraphs) else "")
        self._mark("abstract", start)
        self._write("\n\n")

    def _section(self, section: etree._Element, number: str) -> None:
        self._span("sectionheader", section.findtext("title") or "", "\n\n", n=f"{number}.")
        below = 0
        for node in section:
            if node.tag == "sec":
                below += 1
                self._section(node, f"{number}.{below}")
            elif node.tag == "p":
                self._paragraph(node)
            elif node.tag == "list":
                for item in node.iter("p"):
                    self._paragraph(item)
            elif node.tag == "disp-formula":
                self._span("formula", f"{node.findtext('tex-math')} {node.findtext('label')}", "\n\n", id="formula_0")
            elif node.tag in FLOATS:
                self._float(node)

    def _paragraph(self, node: etree._Element, end: str = "\n\n") -> None:
        start = self._length
        self._write(node.text or "")
        for inner in node:
            if inner.tag == "xref":
                kind = XREFS[inner.get("ref-type", "")]
                self._span(kind, inner.text or "", ref_id=self._ids[inner.get("rid", "")])
            else:
                self._span("formula", " ".join("".join(inner.itertext()).split()))
            self._write(inner.tail or "")
        self._mark("paragraph", start)
        self._write(end)

    def _float(self, node: etree._Element) -> None:
        start = self._length
        self._write(f"{node.findtext('label')}. ")
        self._span("figurecaption", "".join(node.find("caption").itertext()), "\n")
        if (table := node.find("table")) is not None:
            self._span("table", "\n".join(" ".join(cells) for cells in rows(table)), "\n")
        name = self._ids[node.get("id", "")]
        self._mark("figure", start, id=name, **({"type": "table"} if node.tag == "table-wrap" else {}))
        self._write("\n")

    def _reference(self, reference: etree._Element) -> None:
        start = self._length
        person = self._length
        self._span("bibauthorfirstname", reference.findtext(".//given-names") or "", " ")
        self._span("bibauthorlastname", reference.findtext(".//surname") or "")
        self._mark("bibauthor", person)
        self._write(". ")
        self._span("bibtitle", reference.findtext(".//article-title") or "", ". ")
        self._span("bibvenue", reference.findtext(".//source") or "", f" {reference.findtext('.//year')}")
        self._mark("bibentry", start, id=self._ids[reference.get("id", "")])
        self._write("\n")


def rows(table: etree._Element) -> Iterator[list[str]]:
    for row in table.iter("tr"):
        yield [cell.text or "" for cell in row]
