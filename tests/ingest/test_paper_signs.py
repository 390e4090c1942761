"""Signs, doses and negations of papers and abstracts: brackets, raised and struck out text, pictures of signs."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.pages.grobid import tei_text
from ingest.pages.page import Page
from ingest.records import Note
from ingest.sources.jats import JatsInput, paper_records
from ingest.sources.paper_text import tidy
from tests.ingest.outcomes import outcomes
from tests.ingest.test_jats_text import MARSH, article, cite, line
from tests.ingest.test_medline import citation, document
from tests.ingest.test_s2orc_text import blocks

SETTINGS = JatsInput(format="jats", source="papers", paths=("*",))
GONE = cite("r3")
"""A citation without a title."""

WITHOUT_CITATIONS = [
    "Of 12 mothers HBsAg (+)/HBeAg (-), none was HIV (−). (-)-Deprenyl 10 mg; Gram (-) rods.",
    "mock infected (-) or infected; CD27(-) and CD45RO(+)",
    "[-], (–), (—), [−], (--), ( - )",
    "( , ), (,), [;], (;), ( ), [ ], [,]",
    "yes [ ] no [ ], a box to tick",
    "a,,b and 1,,5",
    "(, 5 mg) and (5 mg, ) and (; 6)",
    "P = .05 and p .5 mg",
    "adrenaline 1 : 1000 and 1 : 10 000",
    "5 , 6 and 7",
    "the range 10 – 20 mg, 10–20 mg, −5 – −2",
    "Fig. 3 and Table 2, Tables 2 and 3",
    "(±)-Warfarin, (+)-catechin, Rh (−)/Rh (+)",
    "Stage (–, −, -) of 3",
]


@pytest.mark.parametrize("text", WITHOUT_CITATIONS)
def test_brackets_without_a_citation_stay_in_every_format(tmp_path: Path, text: str) -> None:
    assert line(text) == text
    assert document(tmp_path, citation(1, f"<Abstract><AbstractText>{text}</AbstractText></Abstract>"))["text"] == (
        f"Salt.\n\n{text}"
    )
    assert blocks(f"<sectionheader>A</sectionheader><paragraph>{text}</paragraph>") == ["# A", text]


@given(st.text(st.sampled_from("()[]-–−,;:. 15ab%<>±"), max_size=60))
def test_text_without_citations_loses_only_blanks(text: str) -> None:
    assert "".join(tidy(text).split()) == "".join(text.split())


@pytest.mark.parametrize(
    ("xml", "text"),
    [
        (f"10 [{GONE}] – 20 mg", "10 – 20 mg"),
        (f"10 {GONE} – 20 mg", "10 – 20 mg"),
        (f"10<sup>{GONE}</sup>–20 mg", "10–20 mg"),
        (f"in 5<sup>{GONE}</sup> mg", "in 5 mg"),
        (f"in 5<sup>{cite('r1')}</sup> mg", f"in 5 {MARSH} mg"),
        (f"5<sup>{GONE}</sup>10 mg", "5 10 mg"),
        (f"was 5.{GONE}6 patients", "was 5. 6 patients"),
        (f"is not<sup>{GONE}</sup>recommended", "is not recommended"),
        (f"HIV (−<sup>{GONE}</sup>)", "HIV (−)"),
        (f"HIV (−) [{GONE}]", "HIV (−)"),
        (f"HIV (−)<sup>{cite('r1')}</sup>", f"HIV (−) {MARSH}"),
        (f"HIV (− [{cite('r1')}])", f"HIV (− {MARSH})"),
        (f"CD4 (+) [{GONE}, {GONE}] (-)", "CD4 (+) (-)"),
        (f"a dose ({GONE}; 5 mg)", "a dose (5 mg)"),
        (f"a dose (5 mg; {GONE})", "a dose (5 mg)"),
        (f"a dose, {GONE}, of 5 mg", "a dose, of 5 mg"),
        ('is <xref ref-type="fn" rid="a">not recommended</xref>', "is not recommended"),
        ('is <xref ref-type="fn" rid="a">no</xref> dose', "is no dose"),
        ('5<xref ref-type="table-fn" rid="a">*</xref> mg', "5 mg"),
        ('5<xref ref-type="fn" rid="a">a</xref>10', "5 10"),
        ('CD4<xref ref-type="fn" rid="a">+</xref> cells', "CD4+ cells"),
        ('5 mg (<xref ref-type="fn" rid="a">a</xref>) daily', "5 mg daily"),
        ('<xref ref-type="bibr" rid="r1">5 mg daily</xref>', f"5 mg daily {MARSH}"),
        ('<xref ref-type="bibr" rid="gone">never with alcohol</xref>', "never with alcohol"),
    ],
)
def test_a_citation_takes_only_its_own_brackets_and_separators(xml: str, text: str) -> None:
    assert line(xml) == text


RAISED = [
    ("1<sup>1</sup>/<sub>2</sub> tablets", "1 1/2 tablets"),
    ("2<sup>1</sup>⁄<sub>2</sub> ml", "2 1⁄2 ml"),
    ("1<sup>1/2</sup> tablets", "1 1/2 tablets"),
    ("<sup>1</sup>/<sub>2</sub> tablet", "1/2 tablet"),
    ("1<b><sup>3</sup></b>/<sub>4</sub> ml", "1 3/4 ml"),
    ("10<i><sup>6</sup></i> cells", "10^6 cells"),
    ("<b>10</b><i><b><sup>−6</sup></b></i> M", "10^−6 M"),
    ("10<sup>−</sup><sup>6</sup> M", "10^−6 M"),
    ("10<sup> 6 </sup>cells", "10^6 cells"),
    ("log<sub>10</sub>5", "log10 5"),
    ("10<sup>6</sup>5", "10^6 5"),
    ("MSP-1<sub>42</sub>", "MSP-1_42"),
    ("10<!-- c -->00 mg<?pi x?>/d", "1000 mg/d"),
    ("10<sup><!-- c -->6</sup>", "10^6"),
    ("<sup>18</sup>F and CO<sub>2</sub> at pH<sub>7.4</sub>", "18F and CO2 at pH7.4"),
    ("<u>&gt;</u>65 years, <u>&lt;</u>5 mg", "≥65 years, ≤5 mg"),
    ("5<u>+</u>1 and <b><u>&gt;</u></b>3", "5±1 and ≥3"),
    ("<u><b>&lt; </b></u>7 and <u>never</u>", "≤ 7 and never"),
]


@pytest.mark.parametrize(("xml", "text"), RAISED)
def test_raised_lowered_and_underlined_text_in_jats_and_medline(tmp_path: Path, xml: str, text: str) -> None:
    assert line(xml.replace("<u>", "<underline>").replace("</u>", "</underline>")) == text
    abstract = f"<Abstract><AbstractText>{xml}</AbstractText></Abstract>"
    assert document(tmp_path, citation(1, abstract))["text"] == f"Salt.\n\n{text}"


@pytest.mark.parametrize(
    ("xml", "text"),
    [
        ("<strike>500 mg</strike> 50 mg daily", "50 mg daily"),
        ("5<strike>00</strike>10 mg", "5 10 mg"),
        ("Do <strike>not</strike> give", "Do give"),
        ('<styled-content style="text-decoration: line-through">500 mg</styled-content> 50 mg', "50 mg"),
        ('<styled-content style="text-decoration:underline">&gt;</styled-content>65', "≥65"),
        ('<named-content content-type="strike">500</named-content> 50', "50"),
        ('<named-content content-type="drug">aspirin</named-content> 50', "aspirin 50"),
        ("<sc>d</sc>-glucose <roman>IV</roman> <overline>x</overline>", "d-glucose IV x"),
        ("age <inline-graphic><alt-text>≥</alt-text></inline-graphic> 65", "age ≥ 65"),
        ("age <inline-graphic><alt-text>greater-than or equal to</alt-text></inline-graphic> 65", "age ≥ 65"),
        ("a <inline-graphic><alt-text>Inline graphic</alt-text></inline-graphic> b", "a b"),
        ('5 <private-char description="MICRO SIGN"><glyph-data>0110</glyph-data></private-char>g', "5 µg"),
        ('5 <private-char description="odd"><glyph-data>0110</glyph-data></private-char>g', "5 \ufffdg"),
        ("5<hr/>10<break/>20", "5 10 20"),
        ("<abbrev>BP<def><p>blood pressure</p></def></abbrev> 5", "BP blood pressure 5"),
        ("<chem-struct>C6H6</chem-struct> 5 mg", "C6H6 5 mg"),
        ("<alternatives><inline-graphic/><chem-struct>C6</chem-struct></alternatives> 5", "C6 5"),
        (
            "<inline-formula><inline-graphic><alt-text>x ≥ 5 kg</alt-text></inline-graphic></inline-formula>",
            "[formula] x ≥ 5 kg [/formula]",
        ),
        (
            "<mml:math><mml:mn>2</mml:mn><mml:mo>\u2062</mml:mo><mml:mn>3</mml:mn></mml:math>",
            "[formula] 2 3 [/formula]",
        ),
        (
            "<mml:math><mml:mn>1</mml:mn><mml:mo>\u2064</mml:mo><mml:mfrac><mml:mn>1</mml:mn><mml:mn>2</mml:mn>"
            "</mml:mfrac></mml:math>",
            "[formula] 1 1/2 [/formula]",
        ),
        (
            "<mml:math><mml:munder><mml:mo>&gt;</mml:mo><mml:mo>_</mml:mo></mml:munder><mml:mn>5</mml:mn></mml:math>",
            "[formula] ≥ 5 [/formula]",
        ),
    ],
)
def test_looks_that_carry_meaning_in_jats(xml: str, text: str) -> None:
    assert line(xml) == text


def test_what_is_struck_out_or_only_drawn_is_told() -> None:
    xml = article(
        "<p>Give <strike>500</strike> 50 mg <private-char description='odd'/>, <inline-formula><inline-graphic/>"
        "</inline-formula>.</p>",
        meta='<article-id pub-id-type="doi">10.5/a</article-id>',
    )
    *notes, paper = outcomes(paper_records(xml.encode(), "a.xml", SETTINGS))
    assert isinstance(paper, dict)
    url = "https://doi.org/10.5/a"
    assert notes == [
        Note(url, "struck out text", "1: 500"),
        Note(url, "characters that are drawn", "1: odd"),
        Note(url, "formulae without text", "1"),
    ]


def tei(body: str) -> Page:
    page = tei_text(f'<TEI xmlns="http://www.tei-c.org/ns/1.0"><text><body>{body}</body></text></TEI>'.encode())
    assert isinstance(page, Page)
    return page


@pytest.mark.parametrize(
    ("xml", "text"),
    [
        ("HBeAg (-), HIV (−), [-]", "HBeAg (-), HIV (−), [-]"),
        ('10<hi rend="superscript">6</hi> cells', "10^6 cells"),
        ('10<hi rend="superscript">−</hi><hi rend="superscript">6</hi> M', "10^−6 M"),
        ('1<hi rend="superscript">1</hi>/<hi rend="subscript">2</hi> ml', "1 1/2 ml"),
        ('log<hi rend="subscript">10</hi>5', "log10 5"),
        ('<hi rend="underline">&gt;</hi>65 and <hi rend="bold">5</hi>', "≥65 and 5"),
        ('Give <hi rend="strikethrough">500</hi>50 mg', "Give 50 mg"),
        ("Give <del>500</del> 50 mg", "Give 50 mg"),
        ("P &amp;lt; 0.05, 5 &amp;micro;g", "P < 0.05, 5 µg"),
        ("a &lt; b and c &gt; d", "a < b and c > d"),
    ],
)
def test_the_same_kinds_in_tei(xml: str, text: str) -> None:
    assert tei(f"<p>{xml}</p>").text == text


def test_tei_tells_what_is_struck_out_and_repeats_cells_that_span() -> None:
    assert [note.what for note in tei("<p>Give <del>500</del> 50 mg</p>").notes] == ["struck out text"]
    table = (
        '<figure type="table"><head>Table 1</head><table><row><cell rows="2">B</cell><cell cols="2">Dose</cell></row>'
        "<row><cell>10 mg</cell><cell>4 mg</cell></row></table></figure>"
    )
    assert tei(table).text.endswith("B | Dose | Dose\nB | 10 mg | 4 mg")


@pytest.mark.parametrize(
    ("marked", "text"),
    [
        ("10 <bibref>6</bibref> cells", "10 6 cells"),
        ('10 <bibref ref_id="b0">6</bibref> cells', "10 6 cells"),
        ("<bibref>5</bibref> mg daily", "5 mg daily"),
        ('<bibref ref_id="b0">5</bibref> mg daily', "5 mg daily"),
        ("p &lt; <bibref>0.05</bibref>", "p < 0.05"),
        ("p < 0.<bibref>05</bibref>", "p < 0.05"),
        ("1<bibref>0</bibref> mg", "10 mg"),
        ("1<bibref>0</bibref>0 people", "100 people"),
        ("5,<bibref>000</bibref> people", "5,000 people"),
        ("who<bibref>le</bibref> blood", "whole blood"),
        ("<bibref>not</bibref> given", "not given"),
        ('<bibref ref_id="b0">never</bibref> given', "never given"),
        ("IL-<bibref>6</bibref> rose", "IL-6 rose"),
        ("HIV <bibref>(-)</bibref> men", "HIV (-) men"),
        ("<figureref ref_id='f'>5</figureref> mg", "5 mg"),
        ("Known [<bibref>9</bibref>].", "Known."),
        ("Known [<bibref>3</bibref>–<bibref>5</bibref>].", "Known."),
        ("Known (<bibref>Cedar 2003</bibref>).", "Known."),
        ('Known [<bibref ref_id="b0">1</bibref>].', "Known [bib_ref] Cups [/bib_ref]."),
        ('thirst <bibref ref_id="b0">12</bibref> is', "thirst [bib_ref] Cups [/bib_ref] is"),
        ('in 35 <bibref ref_id="b0">6</bibref> wards', "in 35 [bib_ref] Cups [/bib_ref] wards"),
    ],
)
def test_false_citations_delete_nothing_from_s2orc(marked: str, text: str) -> None:
    marked = f"<sectionheader>A</sectionheader><paragraph>{marked.replace('&lt;', '<')}</paragraph>"
    works = '<bibentry id="b0"><bibtitle>Cups</bibtitle></bibentry>'
    assert blocks(marked.replace("'", '"') + works) == ["# A", text]
