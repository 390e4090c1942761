"""A whole record of each source kind, for `benchmarks.fuzz` to mutate."""

ANNOTATIONS = {
    "title": [{"start": 0, "end": 4}],
    "abstract": [{"start": 6, "end": 20}],
    "sectionheader": [{"start": 22, "end": 27, "attributes": {"n": "1.2"}}],
    "paragraph": [{"start": 29, "end": 60}],
    "bibref": [{"start": 40, "end": 43, "attributes": {"ref_id": "b0"}}],
    "figureref": [{"start": 45, "end": 50, "attributes": {"ref_id": "fig_0"}}],
    "formula": [{"start": 52, "end": 55}],
    "figure": [{"start": 61, "end": 90, "attributes": {"id": "fig_0"}}],
    "figurecaption": [{"start": 70, "end": 90}],
    "table": [{"start": 84, "end": 88}],
    "bibentry": [{"start": 92, "end": 120, "attributes": {"id": "b0"}}],
    "bibtitle": [{"start": 92, "end": 100}],
    "bibauthorlastname": [{"start": 102, "end": 107}],
    "venue": None,
}
TEXT = (
    "Salt\n\nThirst is here.\n\nIntro\n\nWords of text [1] Fig 1 a=b are cited here.\nFigure 1. A caption of it.\n\n"
    "Sodium it, Birch, 1999 and some more words that nothing claims."
)
S2ORC = {
    "corpusid": 7,
    "externalids": {"pubmed": "1", "pubmedcentral": None, "doi": "10.1/x"},
    "content": {"source": {"oainfo": {"license": "CCBY"}}, "text": TEXT},
}
PAPER = {
    "corpusid": 7,
    "externalids": {"PubMed": "1", "DOI": "10.1/x"},
    "title": "Salt",
    "journal": {"name": "Thirst"},
    "year": 2012,
    "publicationdate": "2012-07-19",
    "publicationtypes": ["Review"],
    "citationcount": 3,
}
JSONL = {
    "id": "a",
    "text": "Words of text.",
    "title": "Salt",
    "meta": {"pmid": 3, "published": "2012-07-19"},
    "mesh": ["A"],
}
REPLAY = {"text": "Words of text.", "meta": {"source": "c4", "url": "https://example.org/a", "timestamp": "2019-04-25"}}
JATS = b"""<?xml version="1.0"?><!DOCTYPE article SYSTEM "JATS.dtd"><article xml:lang="en"><front><article-meta>
<article-id pub-id-type="pmid">1</article-id><title-group><article-title>Salt</article-title></title-group>
<abstract><p>Short.</p></abstract></article-meta></front><body><sec><title>Intro</title>
<p>Known [<xref ref-type="bibr" rid="r1">1</xref>], see <xref ref-type="fig" rid="f1">Fig 1</xref>&nbsp;and
<inline-formula><tex-math>x</tex-math></inline-formula>.</p><fig id="f1"><label>Fig. 1</label><caption><p>Flow.</p>
</caption></fig></sec></body><back><ref-list><ref id="r1"><citation><article-title>Cups</article-title></citation></ref>
</ref-list></back></article>"""
MEDLINE = b"""<PubmedArticle><MedlineCitation><PMID Version="1">1</PMID><Article><Journal><JournalIssue><PubDate>
<Year>2012</Year><Month>Jul</Month></PubDate></JournalIssue><Title>Thirst</Title></Journal>
<ArticleTitle>[Salt].</ArticleTitle><Abstract><AbstractText Label="AIM">Short<sup>2</sup> &amp; more.</AbstractText>
</Abstract><Language>eng</Language></Article><MeshHeadingList><MeshHeading><DescriptorName>Thirst</DescriptorName>
</MeshHeading></MeshHeadingList></MedlineCitation><PubmedData><ArticleIdList><ArticleId IdType="doi">10.1/x</ArticleId>
</ArticleIdList></PubmedData></PubmedArticle>
"""

MAPPED = b"""%PDF-1.4
1 0 obj << /Type /Catalog /Pages 2 0 R >> endobj
2 0 obj << /Type /Pages /Kids [3 0 R] /Count 1 >> endobj
3 0 obj << /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents 4 0 R /Resources << /Font << /F 5 0 R >> >> >>
endobj
4 0 obj << >> stream
BT /F 20 Tf 72 700 Td (AB of the clinic) Tj /F 10 Tf 0 -30 Td (Give A to those with more than 10) Tj
4 Ts /F 6 Tf (-9) Tj 0 Ts /F 10 Tf ( B a day.) Tj ET
endstream endobj
5 0 obj << /Type /Font /Subtype /Type1 /BaseFont /Helvetica /ToUnicode 6 0 R >> endobj
6 0 obj << >> stream
2 beginbfchar <41> <D835DEFD> <42> <D835> endbfchar
endstream endobj
7 0 obj << /Title <FEFFD83500200061002000620020006300200064> >> endobj
trailer << /Root 1 0 R /Info 7 0 R >>
"""
"""A font that maps a letter beyond U+FFFF and another to half a surrogate pair, and a title that is no UTF-16."""
