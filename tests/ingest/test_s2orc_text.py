"""The text of an S2ORC paper: the same as that of the same paper in JATS, and what its annotations can do to it."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from ingest.fidelity.ledger import Ledger
from ingest.records import Rejected
from ingest.sources.account import Account
from ingest.sources.jats import JatsInput, parse_paper
from ingest.sources.s2orc_text import S2Paper
from lake.decision import RecordError
from tests.ingest.marked import content

JATS = """<article xmlns:xlink="http://www.w3.org/1999/xlink"><front><article-meta>
<title-group><article-title>Salt and thirst in wards</article-title></title-group>
<contrib-group><contrib><name><surname>Alder</surname><given-names>Ada</given-names></name></contrib></contrib-group>
<abstract><sec><title>Background</title><p>Thirst is common.</p></sec>
<sec><title>Methods</title><p>We asked 40 patients.</p></sec></abstract></article-meta></front><body>
<sec><title>Introduction</title>
<p>Salt is known to matter [<xref ref-type="bibr" rid="b0">1</xref>, <xref ref-type="bibr" rid="b1">2</xref>], as
reviews say [<xref ref-type="bibr" rid="b0">1</xref>–<xref ref-type="bibr" rid="b2">3</xref>].</p>
<p>Nobody resolved this (<xref ref-type="bibr" rid="none">9</xref>).</p></sec>
<sec><title>Methods</title><sec><title>Patients</title>
<p>They are in <xref ref-type="table" rid="tab_0">Table 1</xref> and the flow in
(<xref ref-type="fig" rid="fig_0">Fig. 2A</xref>). Compare Figure 7.</p>
<fig id="fig_0"><label>Fig. 2.</label>
<caption><p>Flow of all patients through the wards of the hospital from the first day to the last
[<xref ref-type="bibr" rid="b1">2</xref>].</p></caption></fig>
<table-wrap id="tab_0"><label>Table 1</label><caption><p>Ages and sexes.</p></caption>
<table><tr><td>Age</td><td>40</td></tr></table></table-wrap>
</sec><sec><title>Model</title><p>The rate is</p><disp-formula><label>(1)</label>r = a/b</disp-formula>
<p>where <inline-formula>a</inline-formula> is salt.</p></sec></sec>
<sec><title>Nothing here</title></sec>
<sec><title>Discussion</title><p>Drink, as <xref ref-type="bibr" rid="b2">Cedar 2003</xref> said.</p></sec></body>
<back><ref-list>
<ref id="b0"><element-citation><name><surname>Birch</surname></name><name><surname>Elm</surname></name>
<article-title>Sodium, water and the many reasons why patients in wards ask for a drink at night</article-title>
</element-citation></ref>
<ref id="b1"><element-citation><source>Lancet of Thirst</source></element-citation></ref>
<ref id="b2"><element-citation><name><surname>Cedar</surname></name><article-title>Cups</article-title>
</element-citation></ref></ref-list></back></article>"""

S2ORC = """
<title>Salt and thirst in wards</title>
2023

<author><authorfirstname>Ada</authorfirstname> <authorlastname>Alder</authorlastname>
<authoraffiliation>Ward 7, Old Hospital</authoraffiliation></author>
<venue>J Thirst</venue> received in May, corresponding author ada@example.org

<abstract><sectionheader>Background</sectionheader>
<paragraph>Thirst is common.</paragraph>
<sectionheader>Methods</sectionheader>
<paragraph>We asked 40 patients.</paragraph></abstract>

<sectionheader n="1.">Introduction</sectionheader>

<paragraph>Salt is known to matter [<bibref ref_id="b0">1</bibref>, <bibref ref_id="b1">2</bibref>], as reviews say
[<bibref ref_id="b0">1</bibref>–<bibref ref_id="b2">3</bibref>].</paragraph>

<paragraph>Nobody resolved this (<bibref>9</bibref>).</paragraph>


<sectionheader n="2.">Methods</sectionheader>

<sectionheader n="2.1">Patients</sectionheader>

<paragraph>They are in <tableref ref_id="tab_0">Table 1</tableref> and the flow in
(<figureref ref_id="fig_0">Fig. 2A</figureref>). Compare <figureref>Figure 7</figureref>.</paragraph>

<figure id="fig_0">Fig. 2 .
<figurecaption>Fig. 2. Flow of all patients through the wards of the hospital from the first day to the last
[<bibref ref_id="b1">2</bibref>].</figurecaption></figure>
<figure id="tab_0" type="table">Table 1 .
<figurecaption>Ages and sexes.</figurecaption>
<table>Age 40</table></figure>

<sectionheader n="2.2">Model</sectionheader>

<paragraph>The rate is</paragraph>
<formula id="formula_0">r = a/b (1)</formula>
<paragraph>where <formula id="formula_1">a</formula> is salt.</paragraph>

<sectionheader n="3">Nothing here</sectionheader>

<sectionheader n="4">Discussion</sectionheader>

<paragraph>Drink, as <bibref ref_id="b2">Cedar 2003</bibref> said.</paragraph>

<bibentry id="b0"><bibtitle>Sodium, water and the many reasons why patients in wards ask for a drink at night</bibtitle>
<bibauthor>A <bibauthorlastname>Birch</bibauthorlastname></bibauthor>,
<bibauthor>C <bibauthorlastname>Elm</bibauthorlastname></bibauthor>, <bibvenue>Lancet</bibvenue> 1999</bibentry>

<bibentry id="b1"><bibvenue>Lancet of Thirst</bibvenue></bibentry>

<bibentry id="b2"><bibtitle>Cups</bibtitle>. <bibauthorlastname>Cedar</bibauthorlastname></bibentry>
"""


def paper(marked: str) -> S2Paper:
    found = content(marked)
    return S2Paper(found["text"], found["annotations"])


def blocks(marked: str) -> list[str]:
    return paper(marked).blocks()


def test_a_paper_reads_the_same_in_s2orc_as_in_jats() -> None:
    jats = parse_paper(JATS.encode(), "a.xml", JatsInput(format="jats", source="papers", paths=("*",)))
    assert not isinstance(jats, Rejected)
    found = paper(S2ORC)
    assert "\n\n".join([found.title(), *found.blocks()]) == jats["text"]
    cited = "Sodium, water and the many reasons why patients in wards ask for"
    assert jats["text"] == "\n\n".join(
        [
            "Salt and thirst in wards",
            "# Abstract",
            "## Background",
            "Thirst is common.",
            "## Methods",
            "We asked 40 patients.",
            "# Introduction",
            f"Salt is known to matter [bib_ref] {cited}, Birch [/bib_ref] [bib_ref] Lancet of Thirst [/bib_ref], as "
            f"reviews say [bib_ref] {cited}, Birch [/bib_ref] [bib_ref] Lancet of Thirst [/bib_ref] "
            "[bib_ref] Cups, Cedar [/bib_ref].",
            "Nobody resolved this.",
            "# Methods",
            "## Patients",
            "They are in [fig_ref] Table 1: Ages and sexes [/fig_ref] and the flow in ([fig_ref] Figure 2A: Flow of "
            "all patients through the wards of the hospital from the [/fig_ref]). Compare Figure 7.",
            "[fig] Figure 2: Flow of all patients through the wards of the hospital from the first day to the last "
            "[bib_ref] Lancet of Thirst [/bib_ref]. [/fig]",
            "[table] Table 1: Ages and sexes. [/table]",
            "## Model",
            "The rate is",
            "[formula] r = a/b [/formula] (1)",
            "where [formula] a [/formula] is salt.",
            "# Discussion",
            "Drink, as [bib_ref] Cups, Cedar [/bib_ref] said.",
        ]
    )


def test_front_matter_and_bibliography_leave_no_text() -> None:
    text = "\n\n".join(blocks(S2ORC))
    for gone in ("Alder", "Old Hospital", "J Thirst", "example.org", "1999", "Age 40", "2023"):
        assert gone not in text


@pytest.mark.parametrize(
    ("header", "heading"),
    [
        ('<sectionheader n="3.">A</sectionheader>', "# A"),
        ('<sectionheader n="3.2.">A</sectionheader>', "## A"),
        ('<sectionheader n="3.2.1">A</sectionheader>', "## A"),
        ("<sectionheader>A</sectionheader>", "# A"),
        ("<sectionheader>2.1 A</sectionheader>", "## 2.1 A"),
    ],
)
def test_a_header_number_tells_its_level(header: str, heading: str) -> None:
    assert blocks(f"{header}<paragraph>Text.</paragraph>") == [heading, "Text."]


def test_headers_over_nothing_go_with_all_below_them() -> None:
    marked = "".join(f'<sectionheader n="{n}">S{n}</sectionheader>\n' for n in ("1", "1.1", "1.2", "2", "2.1", "3"))
    assert blocks(marked + "<paragraph>End.</paragraph>") == ["# S3", "End."]
    marked = '<sectionheader n="1">A</sectionheader><sectionheader n="1.1">B</sectionheader><paragraph>End.</paragraph>'
    assert blocks(marked) == ["# A", "## B", "End."]


@pytest.mark.parametrize("header", ["Abstract", "SUMMARY"])
def test_an_abstract_has_one_heading(header: str) -> None:
    inside = f"<abstract><sectionheader>{header}</sectionheader>Short.</abstract><paragraph>Body.</paragraph>"
    assert blocks(inside) == [f"# {header}", "Short.", "Body."]
    before = f"<sectionheader>{header}</sectionheader><abstract>Short.</abstract><paragraph>Body.</paragraph>"
    assert blocks(before) == ["# Abstract", "Short.", "Body."]


def test_an_abstract_alone_is_no_paper() -> None:
    assert blocks("<title>T</title><abstract><paragraph>Short.</paragraph></abstract>") == []


def test_text_that_no_annotation_claims_is_kept_in_its_paragraphs() -> None:
    assert blocks("<sectionheader>A</sectionheader>\none\ntwo\n\nthree") == ["# A", "one two", "three"]
    assert blocks("one\n\ntwo") == ["one", "two"]


@pytest.mark.parametrize(
    ("figure", "caption"),
    [
        ("<figurecaption>Figure 3. Salt.</figurecaption>", "[fig] Figure 3: Salt. [/fig]"),
        ("Figure 3 . Salt", "[fig] Figure 3: Salt. [/fig]"),
        ("Fig. 3<figurecaption>Fig. 4 was better.</figurecaption>", "[fig] Figure 3: Fig. 4 was better. [/fig]"),
        ("Supplementary Fig. S3: <figurecaption>Salt.</figurecaption>", "[fig] Supplementary Fig S3: Salt. [/fig]"),
        ("Fig. 3<figurecaption>Salt.</figurecaption> axis 1 2 3", "[fig] Figure 3: Salt. [/fig]"),
        ("", None),
    ],
)
def test_labels_are_found_before_or_within_captions(figure: str, caption: str | None) -> None:
    found = blocks(f'<paragraph>Text.</paragraph><figure id="fig_0">{figure}</figure>')
    assert found == ["Text.", *([caption] if caption else [])]


def test_a_figure_within_a_paragraph_cuts_it_in_two() -> None:
    figure = '<figure id="f"><figurecaption>Figure 1. Salt.</figurecaption></figure>'
    assert blocks(f"<paragraph>a {figure}b</paragraph>") == ["a", "[fig] Figure 1: Salt. [/fig]", "b"]


def test_offsets_may_be_strings_and_lists_need_not_be_strings() -> None:
    title = [{"start": "0", "end": "4", "attributes": None}]
    assert S2Paper("Salt is", {"title": title}).title() == "Salt"
    assert S2Paper("Salt is", {"title": json.dumps(title)}).title() == "Salt"


@pytest.mark.parametrize("given", ["[", "{}", "3", "[" * 100_000])
def test_annotations_that_are_no_list_are_told(given: str) -> None:
    with pytest.raises(RecordError, match="bibref: "):
        S2Paper("Salt.", {"bibref": given})


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ("[3]", "passed over"),
        ('[{"start": 0}]', "passed over"),
        ('[{"start": -1, "end": 2}]', "passed over"),
        ('[{"start": 3, "end": 2}]', "passed over"),
        ('[{"start": 6, "end": 7}]', "passed over"),
        ('[{"start": 0.5, "end": 2}]', "passed over"),
        ('[{"start": true, "end": 2}]', "passed over"),
        ('[{"start": "²", "end": 2}]', "passed over"),
        ('[{"start": null, "end": 2}]', "passed over"),
        ('[{"start": 0, "end": 6}]', "cut"),
        ('[{"start": 0, "end": 9000000}]', "cut"),
    ],
)
def test_a_span_that_is_none_of_the_text_leaves_the_text(given: str, what: str) -> None:
    account = Account()
    assert S2Paper("Salt.", {"paragraph": given}, account).blocks() == ["Salt."]
    assert [note.what for note in account.notes("url")] == [f"annotations {what}"]


def spans_of(kind: str, count: int, width: int) -> dict[str, Any]:
    return {kind: [{"start": n, "end": n + width, "attributes": {"ref_id": "b", "id": f"x{n}"}} for n in range(count)]}


@pytest.mark.parametrize(
    "kind",
    ["bibref", "paragraph", "figure", "table", "sectionheader", "abstract", "formula", "figurecaption", "bibentry"],
)
def test_spans_that_overlap_take_time_in_proportion(kind: str, is_linear: Callable[..., bool]) -> None:
    def work(count: int) -> None:
        given = spans_of(kind, count, count) | {"bibtitle": [{"start": 0, "end": 2 * count}]}
        S2Paper("word " * count, given).blocks()

    assert is_linear(work)


def test_what_authors_wrote_like_a_mark_is_none() -> None:
    given = content(
        "<title>The [table]</title><sectionheader>A [fig]</sectionheader>"
        '<paragraph>As [<bibref ref_id="b0">1</bibref>] has it, [bib_ref] x [ /bib_ref ] \U000e0001fig\U000e007f, '
        "<formula>[formula] a</formula>.</paragraph>"
        '<bibentry id="b0"><bibtitle>On [fig]</bibtitle></bibentry>'
    )
    paper = S2Paper(given["text"], given["annotations"])
    assert paper.title() == "The [ table ]"
    assert paper.blocks() == [
        "# A [ fig ]",
        "As [bib_ref] On [ fig ] [/bib_ref] has it, [ bib_ref ] x [ /bib_ref ] \ufffdfig\ufffd, "
        "[formula] [ formula ] a [/formula].",
    ]


def test_the_ledger_has_what_is_left_out_and_written() -> None:
    ledger = Ledger()
    given = content(S2ORC)
    S2Paper(given["text"], given["annotations"], Account(ledger)).blocks()
    left_out: dict[str, str] = {}
    for rule, text in ledger.left_out:
        left_out[rule] = " | ".join(filter(None, [left_out.get(rule), " ".join(text.split())]))
    assert left_out.pop("references").startswith("Sodium, water and the many")
    assert "Ward 7, Old Hospital" in left_out.pop("front_matter")
    assert left_out == {
        "citation": "1 | 2 | 1 | 1–3 | 9 | 2 | Cedar 2003",
        "pointer": "Table 1 | Fig. 2A",
        "table_body": "Age 40",
        "label": "Fig. 2",
        "empty_section": "# Nothing here",
    }
    assert {rule for rule, _ in ledger.written} == {"citation", "pointer", "heading"}
