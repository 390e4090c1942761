"""Every construct that may hold text keeps its critical tokens: pages, papers, citations and PDFs, made at random.

Each document is audited as in a run. Its tokens must also be in its text, not just in a part that a rule left out.
"""

import html
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from ingest.clean import CleanSettings, clean_document
from ingest.fidelity.audit import Audit, audit
from ingest.fidelity.crude import markup_text, page_text, pdf_characters
from ingest.fidelity.ledger import Ledger
from ingest.fidelity.tokens import critical_tokens, readable
from ingest.pages.extract import extract
from ingest.pages.page import Page
from ingest.pages.pdf import pdf_text
from ingest.sources.jats import JatsInput, parse_paper
from ingest.sources.medline import MedlineInput, parse_citation
from samples.pdf import pdf
from samples.sites import Guide

PROSE = (
    "The ward team explains each step to the patient in plain words and writes it down before the next visit begins."
)

PHRASES = (
    "give {n} mg/kg every 8 hours",
    "{n}.5–{n}0 mg",
    "a dose of {n} µg",
    "≥{n} years",
    "&lt;{n} kg",
    "HBeAg (-) in {n} women",
    "Rh (+) in {n} men",
    "do not give more than {n} g",
    "contraindicated below {n} %",
    "{n} ± 0.5 mmol/L",
    "−{n} °C",
    "{n}<sup>6</sup> cells",
    "P &lt; 0.0{n}",
    "β-blocker {n} mg",
    "1/{n} tablet",
    "{n} × 10<sup>9</sup>/L",
    "never within {n} weeks",
    "ratio {n}:1 (95 % CI 1.{n} to 2.{n})",
)

IN_PAGES = (
    "<p>{}</p>",
    "<ul><li>{}</li><li>last of all</li></ul>",
    "<ol><li>first of all<ul><li>{}</li></ul></li></ol>",
    "<dl><dt>Dose</dt><dd>{}</dd></dl>",
    "<blockquote>{}</blockquote>",
    "<pre>{}</pre>",
    "<h2>{}</h2><p>This is how it is done on the ward.</p>",
    "<h3><button aria-expanded='false'>{}</button></h3><p>This is how it is done on the ward.</p>",
    "<table><tr><th>Drug</th><th>Dose</th></tr><tr><td>A</td><td>{}</td></tr></table>",
    "<table><caption>{}</caption><tr><td>A</td><td>x</td></tr><tr><td>B</td><td>y</td></tr></table>",
    "<table><tr><th colspan=2>{}</th></tr><tr><td>A</td><td>x</td></tr></table>",
    "<table><tr><td>A</td><td class='date'>{}</td></tr><tr><td>B</td><td>y</td></tr></table>",
    "<table><tr><td><table><tr><td>A</td><td>{}</td></tr></table></td></tr></table>",
    "<div role='alert'><p>Warning: {}</p></div>",
    "<aside><p>Warning: {}, whatever anybody says.</p></aside>",
    "<div class='alert alert-danger'>Warning: {}</div>",
    "<section id='drug-related-problems'><h2>Problems</h2><p>{}</p></section>",
    "<section id='social-care'><p>{}</p></section>",
    "<div id='AD'><p>{}</p></div>",
    "<div class='donation'><ul><li>{}</li></ul></div>",
    "<details><summary>Dose</summary><p>{}</p></details>",
    "<div style='display:none'><table><tr><td>A</td><td>{}</td></tr><tr><td>B</td><td>y</td></tr></table></div>",
    "<figure><table><tr><td>A</td><td>{}</td></tr><tr><td>B</td><td>y</td></tr></table></figure>",
    "<p><strong><em>{}</em></strong></p>",
    "<p><a href='/drug'>{}</a> as on the other page of this handbook for wards.</p>",
    "<ul><li><a href='/drug'>Aspirin</a>: {}</li><li><a href='/drugs'>Ibuprofen</a>: as above</li></ul>",
    "<p>So: <ins>{}</ins> from today on.</p>",
    "<p>One<br>{}<br>three</p>",
    "<div>{}</div>",
    "<center><font size=2>{}</font></center>",
)

IN_PAPERS = (
    "<p>{}</p>",
    "<p>Here <italic>{}</italic> there</p>",
    "<p>Here <bold>{}</bold> there</p>",
    "<p>Here <named-content content-type='x'>{}</named-content> there</p>",
    "<sec><title>{}</title><p>Text of the section.</p></sec>",
    "<list list-type='bullet'><list-item><p>{}</p></list-item></list>",
    "<list list-type='order'><list-item><p>{}</p></list-item></list>",
    "<def-list><def-item><term>Dose</term><def><p>{}</p></def></def-item></def-list>",
    "<boxed-text><p>{}</p></boxed-text>",
    "<disp-quote><p>{}</p></disp-quote>",
    "<fig id='f1'><label>Figure 1</label><caption><p>{}</p></caption></fig>",
    "<table-wrap id='t1'><label>Table 1</label><caption><title>{}</title></caption></table-wrap>",
    "<p>See <ext-link>{}</ext-link> there</p>",
    "<statement><p>{}</p></statement>",
    "<preformat>{}</preformat>",
)

IN_PDFS = ("{}", "Dose: {} and no more", "# {}")

IN_CITATIONS = ("{}", "<b>{}</b>", "<i>{}</i> and more", "as shown: <u>{}</u>")


@st.composite
def phrases(draw: st.DrawFn, constructs: Sequence[str]) -> list[str]:
    """Constructs, each around a phrase with a number of its own."""
    chosen = draw(st.lists(st.sampled_from(constructs), min_size=1, max_size=6))
    numbers = iter(draw(st.permutations(range(11, 98))))
    return [
        construct.replace("{}", draw(st.sampled_from(PHRASES)).replace("{n}", str(next(numbers))))
        for construct in chosen
    ]


def check(source: str, clean: str, ledger: Ledger, blocks: Sequence[str]) -> Audit:
    """Nothing is lost or invented, and what the blocks hold is in the clean text."""
    result = audit(source, clean, ledger)
    assert (result.losses, result.inventions) == ((), ())
    for block in blocks:
        alone = audit(markup_text(block), clean, Ledger())
        assert not alone.losses, block
    return result


def cleaned(text: str, ledger: Ledger) -> str:
    return clean_document(text, None, "guidelines", CleanSettings(), ledger).text


def page(blocks: Sequence[str]) -> bytes:
    paragraphs = f"<p>{PROSE}</p>" * 6
    body = f"<main><article><h1>Handbook</h1>{paragraphs}{''.join(blocks)}{paragraphs}</article></main>"
    return f"<!DOCTYPE html><html><head><title>Handbook</title></head><body>{body}</body></html>".encode()


@settings(max_examples=150)
@given(phrases(IN_PAGES))
def test_a_page_keeps_its_critical_tokens(blocks: list[str]) -> None:
    data, ledger = page(blocks), Ledger()
    read = extract(data, ledger=ledger)
    assert isinstance(read, Page)
    check(page_text(data, None, ledger), cleaned(read.text, ledger), ledger, blocks)


@pytest.mark.parametrize("construct", IN_PAGES)
def test_each_construct_of_a_page(construct: str) -> None:
    blocks = [construct.replace("{}", phrase.replace("{n}", str(23 + place))) for place, phrase in enumerate(PHRASES)]
    data, ledger = page(blocks), Ledger()
    read = extract(data, ledger=ledger)
    assert isinstance(read, Page)
    check(page_text(data, None, ledger), cleaned(read.text, ledger), ledger, blocks)


@settings(max_examples=150)
@given(phrases(IN_PAPERS))
def test_a_paper_keeps_its_critical_tokens(blocks: list[str]) -> None:
    front = (
        "<front><article-meta><title-group><article-title>A trial</article-title></title-group></article-meta></front>"
    )
    xml = f"<article>{front}<body><p>{PROSE}</p>{''.join(blocks)}</body></article>"
    ledger = Ledger()
    settings = JatsInput(format="jats", source="papers", paths=("*",))
    paper = parse_paper(xml.encode(), "paper.xml", settings, ledger)
    assert isinstance(paper, dict)
    check(markup_text(xml), cleaned(paper["text"], ledger), ledger, blocks)


@settings(max_examples=60)
@given(phrases(IN_CITATIONS), phrases(IN_CITATIONS))
def test_a_citation_keeps_its_critical_tokens(titles: list[str], parts: list[str]) -> None:
    abstract = "".join(f'<AbstractText Label="PART">{PROSE} {part}.</AbstractText>' for part in parts)
    article = f"<ArticleTitle>Of {titles[0]}.</ArticleTitle><Abstract>{abstract}</Abstract>"
    xml = (
        f"<PubmedArticle><MedlineCitation><PMID>1</PMID><Article>{article}</Article></MedlineCitation></PubmedArticle>"
    )
    ledger = Ledger()
    settings = MedlineInput(format="medline", source="abstracts", paths=("*",))
    citation = parse_citation(etree.fromstring(xml), "", "a.xml:1", settings, ledger)
    assert isinstance(citation, dict)
    check(markup_text(xml), cleaned(citation["text"], ledger), ledger, [titles[0], *parts])


@settings(max_examples=25)
@given(phrases(IN_PDFS))
def test_a_pdf_keeps_its_critical_tokens(blocks: list[str]) -> None:
    plain = [html.unescape(block.replace("<sup>", "^").replace("</sup>", "")) for block in blocks]
    lines = [f"{block}." for block in plain if block.encode("cp1252", "ignore").decode("cp1252") == block]
    text = "\n".join(line for block in lines for line in (PROSE, block, PROSE))
    data = pdf(Guide("ward", "Handbook of the ward", text or PROSE), "ward.example.org")
    ledger = Ledger()
    read = pdf_text(data, ledger=ledger)
    assert isinstance(read, Page)
    check(pdf_characters(data), cleaned(read.text, ledger), ledger, lines)


def test_the_phrases_are_critical() -> None:
    for phrase in PHRASES:
        assert critical_tokens(readable(markup_text(phrase.replace("{n}", "5"))))
