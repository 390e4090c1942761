"""Real papers of PLOS and PubMed Central: all are read, nothing of their markup or bibliography is left."""

import re
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from lxml import etree

from ingest.records import Note
from ingest.sources.jats import JatsInput
from ingest.sources.jats_text import PaperText
from lake.document import DOCUMENT, Document
from tests.ingest.outcomes import outcomes

SETTINGS = JatsInput(format="jats", source="papers", paths=("papers/*",))
TOKENS = re.compile(r"\[(/?)(bib_ref|fig_ref|fig|table|formula)\]")
CITED = re.compile(r"\[bib_ref\] (.*?) \[/bib_ref\]")


@pytest.fixture(scope="module")
def papers(shared_data: Path) -> dict[str, tuple[etree._Element, Document]]:
    """XML and document by file name."""
    found = {}
    for path in sorted((shared_data / "papers").iterdir()):
        *notes, made = outcomes(SETTINGS.read(path, f"papers/{path.name}"))
        assert all(isinstance(note, Note) for note in notes)
        assert isinstance(made, dict), made
        parser = etree.XMLParser(load_dtd=False, remove_comments=True, remove_pis=True)
        found[path.name] = (etree.parse(path, parser).getroot(), made)
    return found


def test_every_paper_is_read(papers: dict[str, tuple[etree._Element, Document]]) -> None:
    documents = [made for _, made in papers.values()]
    assert len(documents) == 49
    assert len({made["id"] for made in documents}) == 49
    table = pa.Table.from_pylist(documents, DOCUMENT)
    assert table.num_rows == 49
    for made in documents:
        assert made["title"]
        assert made["text"].startswith(f"{made['title']}\n\n")
        assert made["meta"]["doi"].startswith("10.")
        assert re.fullmatch(r"20\d\d-[01]\d-[0-3]\d", made["meta"]["published"])
        assert made["meta"]["journal"]


def test_every_long_word_of_a_paragraph_is_in_the_text(papers: dict[str, tuple[etree._Element, Document]]) -> None:
    for name, (xml, made) in papers.items():
        for paragraph in xml.iterfind("./body//p"):
            if next(paragraph.iterancestors("table", "supplementary-material", "table-wrap-foot", "fn"), None) is None:
                words = re.findall(r"[a-z]{6,}", " ".join(paragraph.xpath("./text()|./italic/text()")))
                missing = [word for word in words if word not in made["text"]]
                assert not missing, (name, missing[:5])


def test_tokens_are_balanced_and_only_captions_hold_others(papers: dict[str, tuple[etree._Element, Document]]) -> None:
    seen: Counter[str] = Counter()
    for name, (_, made) in papers.items():
        for block in made["text"].split("\n\n"):
            opened: list[str] = []
            for closing, token in TOKENS.findall(block):
                if closing:
                    assert opened, (name, block)
                    assert opened.pop() == token, (name, block)
                else:
                    assert opened in ([], ["fig"], ["table"]), (name, block)
                    opened.append(token)
                    seen[token] += 1
            assert opened == [], (name, block)
    assert set(seen) == {"bib_ref", "fig_ref", "fig", "table", "formula"}


def test_every_figure_and_table_has_its_caption_and_no_body(
    papers: dict[str, tuple[etree._Element, Document]],
) -> None:
    for name, (xml, made) in papers.items():
        places = [
            node for node in (xml.find("body"), xml.find("floats-group"), xml.find("floats-wrap")) if node is not None
        ]
        for element, token in (("fig", "fig"), ("table-wrap", "table")):
            told = [one for place in places for one in place.iter(element) if one.find("label") is not None]
            assert len(re.findall(rf"\[{token}\] ", made["text"])) == len(told), (name, token)
        rows = [" ".join("".join(row.itertext()).split()) for row in xml.iter("tr")]
        assert not any(len(row) > 60 and row in made["text"] for row in rows), name


def test_no_citation_or_figure_reference_is_empty_or_too_long(
    papers: dict[str, tuple[etree._Element, Document]],
) -> None:
    for name, (_, made) in papers.items():
        assert not re.search(r"\[(bib_ref|fig_ref|fig|table)\]\W*\[/\1\]", made["text"]), name
        for cited in CITED.findall(made["text"]):
            title, _, author = cited.rpartition(", ")
            assert len((title or author).split()) <= 12, (name, cited)


def test_no_markup_is_left(papers: dict[str, tuple[etree._Element, Document]]) -> None:
    for name, (_, made) in papers.items():
        assert not re.search(r"</?[a-zA-Z][\w:-]*(?: [\w:-]+=|/?>)|&#?\w+;|<!", made["text"]), name
        assert not re.search(r"\\(?:begin|end|documentclass|usepackage)\b", made["text"]), name
        assert "\ue000" not in made["text"]
        assert "\ufffd" not in made["text"]


def test_space_and_separators_are_tidy(papers: dict[str, tuple[etree._Element, Document]]) -> None:
    for name, (_, made) in papers.items():
        for wrong in (r"  ", r"\n\n\n", r"\(\s*[,;]?\s*\)", r"\[\s*[,;]?\s*\]", r"[,;]\s*[)\]]", r",\s*,", r"\s$"):
            assert not re.search(wrong, made["text"]), (name, wrong)
        # A dash that stood between two citations is gone with them.
        assert not re.search(r"\[/bib_ref\]\s?[–—-]\s?(?:\[bib_ref\]|[).,;])", made["text"]), name


def test_no_bibliography_is_left(papers: dict[str, tuple[etree._Element, Document]]) -> None:
    for name, (xml, made) in papers.items():
        assert not re.search(
            r"^#+ (?:References|Bibliography|Literature Cited)$", made["text"], re.MULTILINE | re.IGNORECASE
        )
        last = made["text"].rsplit("\n\n", 1)[-1]
        for citation in xml.iterfind(".//ref-list//ref/*"):
            whole = " ".join("".join(citation.itertext()).split())
            assert len(whole) < 40 or whole not in made["text"], name
            assert len(whole) < 40 or whole not in last, name


def test_every_resolvable_citation_is_named(papers: dict[str, tuple[etree._Element, Document]]) -> None:
    """Counts the references of each paper against its XML, ranges apart."""
    for name, (xml, made) in papers.items():
        known = PaperText(xml).references.cited
        body = xml.find("body")
        assert body is not None
        cited = {
            known[target]
            for link in body.iter("xref")
            if link.get("ref-type") == "bibr"
            and next(link.iterancestors("table", "table-wrap-foot", "fn", "title", "supplementary-material"), None)
            is None
            for target in (link.get("rid") or "").split()
            if known.get(target)
        }
        assert cited <= set(CITED.findall(made["text"])), name


def test_main_headings_are_those_of_the_xml(papers: dict[str, tuple[etree._Element, Document]]) -> None:
    for name, (xml, made) in papers.items():
        plain = PaperText(xml).plain
        main = {plain.line(title) for title in xml.iterfind("./body/sec/title")}
        heads = set(re.findall(r"^# (.*)", made["text"], re.MULTILINE))
        in_front_or_back = {"Abstract", "Author Summary", "Summary", "Abbreviations"}
        assert heads - in_front_or_back <= main | {
            plain.line(one) for one in xml.iterfind("./front//abstract/title")
        }, name


def test_licences_of_the_papers(papers: dict[str, tuple[etree._Element, Document]]) -> None:
    names = Counter((made["license"] or "none")[:12] for _, made in papers.values())
    assert names == {
        "CC-BY": 28, "CC-BY-4.0": 14, "CC-BY-2.0": 2, "CC-BY-NC-3.0": 1, "CC0-1.0": 1, "public-domai": 1, "none": 1,
        "This is an O": 1,
    }  # fmt: skip
    assert sum(made["redistributable"] for _, made in papers.values()) == 46
