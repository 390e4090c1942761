"""The text of papers in the format of the corpus, rule by rule."""

import pytest

from ingest.records import Rejected
from ingest.sources.jats import JatsInput, parse_paper

SETTINGS = JatsInput(format="jats", source="papers", paths=("*",))
NAMESPACES = 'xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:mml="http://www.w3.org/1998/Math/MathML"'
REFERENCES = """
<ref id="r1"><element-citation><person-group person-group-type="author"><name><surname>Marsh</surname>
  <given-names>A</given-names></name><name><surname>Second</surname></name></person-group>
  <article-title>Salt <italic>and</italic> water</article-title><source>Journal</source></element-citation></ref>
<ref id="r2"><mixed-citation><collab>Gout Group</collab>. <article-title>One two three four five six seven eight nine
  ten eleven, twelve: thirteen fourteen</article-title> 1999</mixed-citation></ref>
<ref id="r3"><mixed-citation>A reference without a marked title, 2001.</mixed-citation></ref>
<ref id="r4"><citation-alternatives><mixed-citation>raw</mixed-citation><element-citation><name>
  <surname>Book</surname></name><chapter-title>A chapter</chapter-title><source>A book</source></element-citation>
  </citation-alternatives></ref>
<ref id="r5"><nlm-citation><source>A leaflet without an author</source></nlm-citation></ref>
<ref><citation id="r6"><article-title>Old style</article-title><surname>Elder</surname></citation></ref>
"""


def article(body: str = "<p>Words.</p>", *, meta: str = "", back: str = "", attributes: str = "") -> str:
    return (
        f"<article {NAMESPACES} {attributes}><front><article-meta>{meta}</article-meta></front><body>{body}</body>"
        f"<back>{back}<ref-list><title>References</title>{REFERENCES}</ref-list></back></article>"
    )


def text_of(xml: str) -> str:
    found = parse_paper(xml.encode(), "a.xml", SETTINGS)
    assert not isinstance(found, Rejected), found.drop
    return found["text"]


def body(xml: str, **more: str) -> str:
    return text_of(article(xml, **more))


def line(xml: str) -> str:
    return body(f"<p>{xml}</p>")


def cite(*names: str) -> str:
    return ", ".join(f'<xref ref-type="bibr" rid="{name}">{name[1:]}</xref>' for name in names)


MARSH = "[bib_ref] Salt and water, Marsh [/bib_ref]"
GROUP = "[bib_ref] One two three four five six seven eight nine ten eleven, twelve, Gout Group [/bib_ref]"
BOOK = "[bib_ref] A chapter, Book [/bib_ref]"
LEAFLET = "[bib_ref] A leaflet without an author [/bib_ref]"


# Order and headings --------------------------------------------------------------------------------------------------


def test_a_paper_is_title_abstract_and_body_with_blank_lines_between() -> None:
    text = body(
        "<p>Before any heading.</p><sec><title>Methods</title><p>One.</p><p>Two.</p></sec>",
        meta="<title-group><article-title>On <italic>salt</italic></article-title></title-group>"
        "<abstract><p>In short.</p></abstract>",
    )
    assert text == "On salt\n\n# Abstract\n\nIn short.\n\nBefore any heading.\n\n# Methods\n\nOne.\n\nTwo."


def test_main_headings_have_one_mark_and_all_others_two() -> None:
    xml = (
        "<sec><title>Results</title><sec><label>2.1</label><title>Of <bold>men</bold></title><sec><title>Old</title>"
        "<p>Deep.</p></sec></sec></sec><sec><label>3</label><p>No title.</p></sec>"
    )
    assert body(xml) == "# Results\n\n## Of men\n\n## Old\n\nDeep.\n\nNo title."


def test_a_section_without_text_has_no_heading() -> None:
    assert (
        body("<p>a</p><sec><title>Supplement</title><supplementary-material><p>file</p></supplementary-material></sec>")
        == "a"
    )


def test_front_matter_authors_back_matter_and_bibliography_leave_no_text() -> None:
    text = body(
        '<p>Body.<fn><p>Footnote</p></fn> End<xref ref-type="fn" rid="n1">*</xref>.</p>',
        meta="<title-group><article-title>T</article-title><alt-title>Running</alt-title></title-group>"
        "<contrib-group><contrib><name><surname>Hidden</surname></name></contrib></contrib-group>"
        "<aff>Hidden university</aff><author-notes><p>Hidden mail</p></author-notes>"
        "<trans-abstract><p>Caché</p></trans-abstract><kwd-group><kwd>hidden</kwd></kwd-group>",
        back="<ack><p>Thanks, hidden</p></ack><fn-group><fn><p>Hidden interests</p></fn></fn-group>"
        "<notes><p>Hidden</p></notes><sec><title>Authors' contributions</title><p>Hidden</p></sec>",
    )
    assert text == "T\n\nBody. End."


@pytest.mark.parametrize(
    ("attributes", "title", "heading"),
    [
        ("", "", "# Abstract"),
        ("", "<title>Summary</title>", "# Summary"),
        ('abstract-type="executive-summary"', "", "# Executive summary"),
        ('abstract-type="summary"', "<title>Author Summary</title>", "# Author Summary"),
        ('xml:lang="en"', "", "# Abstract"),
        ('xml:lang="fr"', "", None),
        ('abstract-type="teaser"', "", None),
        ('abstract-type="graphical"', "", None),
        ('abstract-type="TOC"', "", None),
    ],
)
def test_abstracts_have_a_heading_by_their_title_or_type(attributes: str, title: str, heading: str | None) -> None:
    meta = f"<abstract {attributes}>{title}<sec><title>Aim</title><p>Short.</p></sec></abstract>"
    text = body("<p>Words.</p>", meta=meta, attributes='xml:lang="en"')
    assert text == (f"{heading}\n\n## Aim\n\nShort.\n\nWords." if heading else "Words.")


def test_appendices_and_floating_captions_follow_the_body() -> None:
    xml = article("<p>Body.</p>", back="<app-group><app><title>Appendix A</title><p>More.</p></app></app-group>")
    floats = "<floats-group><fig><label>Fig 1</label><caption><p>Late.</p></caption></fig></floats-group>"
    text = text_of(xml.replace("</back>", f"</back>{floats}"))
    assert text == "Body.\n\n# Appendix A\n\nMore.\n\n[fig] Figure 1: Late. [/fig]"


def test_sub_articles_are_not_the_paper() -> None:
    review = "<sub-article><body><p>Review.</p></body></sub-article>"
    assert text_of(article("<p>Body.</p>").replace("</article>", f"{review}</article>")) == "Body."


# Citations -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("xml", "text"),
    [
        (f"Known [{cite('r1')}].", f"Known {MARSH}."),
        (f"Known ({cite('r1')}).", f"Known {MARSH}."),
        (f"Known [{cite('r1', 'r2')}].", f"Known {MARSH} {GROUP}."),
        (f"Known<sup>{cite('r1')}</sup>.", f"Known {MARSH}."),
        (f"Known<sup>{cite('r1', 'r5')}</sup> since", f"Known {MARSH} {LEAFLET} since"),
        (f"(Smith {cite('r1')}; see {cite('r4')})", f"(Smith {MARSH}; see {BOOK})"),
        ('Known <xref ref-type="bibr" rid="r1 r4">1,4</xref>.', f"Known {MARSH} {BOOK}."),
        (f"Old {cite('r6')}.", "Old [bib_ref] Old style, Elder [/bib_ref]."),
    ],
)
def test_a_citation_is_title_and_first_author(xml: str, text: str) -> None:
    assert line(xml) == text


@pytest.mark.parametrize(
    ("xml", "text"),
    [
        (f"Known [{cite('r3')}].", "Known."),
        (f"Known [{cite('r99')}].", "Known."),
        (f"Known<sup>{cite('r3')}</sup>, so", "Known, so"),
        (f"Known ({cite('r3', 'r99')}).", "Known."),
        (f"Known [{cite('r3', 'r1')}].", f"Known {MARSH}."),
        (f"Known [{cite('r1', 'r3')}].", f"Known {MARSH}."),
        (f"Known {cite('r3', 'r1')}, so", f"Known {MARSH}, so"),
        (f"Known {cite('r1', 'r3', 'r4')}.", f"Known {MARSH} {BOOK}."),
        (f"(as in {cite('r3')})", "(as in)"),
        (f"Known {cite('r3')} – and told", "Known – and told"),
        ('Known <xref ref-type="bibr">?</xref>.', "Known."),
    ],
)
def test_unresolved_citations_vanish_with_what_separated_them(xml: str, text: str) -> None:
    assert line(xml) == text


@pytest.mark.parametrize("dash", ["-", "–", "—", "−", " – "])
def test_a_range_of_citations_names_those_between(dash: str) -> None:
    assert line(f"Known [{cite('r1')}{dash}{cite('r5')}].") == f"Known {MARSH} {GROUP} {BOOK} {LEAFLET}."


def test_a_range_with_an_unresolved_end_leaves_no_dash() -> None:
    assert line(f"Known {cite('r3')}–{cite('r5')}, so") == f"Known {BOOK} {LEAFLET}, so"
    assert line(f"Known (see {cite('r1')}–{cite('r3')}), so") == f"Known (see {MARSH} {GROUP}), so"
    assert line(f"Known {cite('r99')}–{cite('r98')}.") == "Known."


def test_a_range_that_runs_backwards_or_too_far_names_its_ends() -> None:
    assert line(f"Known {cite('r5')}–{cite('r1')}.") == f"Known {LEAFLET} {MARSH}."
    many = "".join(
        f'<ref id="m{n}"><citation><article-title>No {n}</article-title></citation></ref>' for n in range(60)
    )
    text = body(
        '<p>All <xref ref-type="bibr" rid="m0">1</xref>–<xref ref-type="bibr" rid="m59">60</xref>.</p>',
        back=f"<ref-list>{many}</ref-list>",
    )
    assert text == "All [bib_ref] No 0 [/bib_ref] [bib_ref] No 59 [/bib_ref]."


def test_a_dash_between_words_after_a_citation_stays() -> None:
    assert line(f"minds {cite('r1')}—for example—{cite('r4')}") == f"minds {MARSH}—for example—{BOOK}"


def test_headings_and_cited_titles_hold_no_tokens() -> None:
    formula = "<inline-formula><tex-math>$x$</tex-math></inline-formula>"
    xml = (
        f"<sec><title>Methods [{cite('r1', 'r2')}] and {formula}</title>"
        '<p>See <xref ref-type="bibr" rid="q">9</xref>.</p></sec>'
    )
    title = "<article-title>About <inline-formula><tex-math>y</tex-math></inline-formula></article-title>"
    text = body(xml, back=f'<ref-list><ref id="q"><citation>{title}</citation></ref></ref-list>')
    assert text == "# Methods and x\n\nSee [bib_ref] About y [/bib_ref]."


# Figures and tables --------------------------------------------------------------------------------------------------

FIGURE = (
    '<fig id="f1"><label>Fig. 3.</label><caption><title>Flow of people</title><p>One two three four five six seven '
    f"eight nine ten {cite('r1')}.</p></caption><alt-text>hidden</alt-text><graphic/></fig>"
)
TABLE = (
    '<table-wrap id="t1"><label>Table 2</label><caption><p>Ages.</p></caption><table><tr><td>hidden</td></tr></table>'
    "<table-wrap-foot><p>hidden</p></table-wrap-foot></table-wrap>"
)
SHORT = "Flow of people. One two three four five six seven eight nine"


def test_captions_are_kept_and_bodies_of_tables_dropped() -> None:
    caption = f"[fig] Figure 3: Flow of people. One two three four five six seven eight nine ten {MARSH}. [/fig]"
    assert body(f"<p>Before {FIGURE} after.</p>{TABLE}") == (
        f"Before\n\n{caption}\n\nafter.\n\n[table] Table 2: Ages. [/table]"
    )


@pytest.mark.parametrize(
    ("xml", "text"),
    [
        ('(<xref ref-type="fig" rid="f1">Figure 3</xref>)', f"([fig_ref] Figure 3: {SHORT} [/fig_ref])"),
        ('in Fig. <xref ref-type="fig" rid="f1">3</xref>,', f"in [fig_ref] Figure 3: {SHORT} [/fig_ref],"),
        ('in <xref ref-type="fig" rid="f1">Fig 3B</xref>.', f"in [fig_ref] Figure 3B: {SHORT} [/fig_ref]."),
        ('in <xref ref-type="fig" rid="f1">b</xref>.', f"in [fig_ref] Figure 3b: {SHORT} [/fig_ref]."),
        ('<xref ref-type="table" rid="t1">Table 2</xref> says', "[fig_ref] Table 2: Ages [/fig_ref] says"),
        ('in Tables <xref ref-type="table" rid="t1">2</xref>', "in [fig_ref] Table 2: Ages [/fig_ref]"),
        ('in <xref ref-type="fig" rid="gone">Figure 9</xref>.', "in Figure 9."),
        ('in <xref ref-type="fig">Figure 9</xref>.', "in Figure 9."),
        ('see <xref ref-type="sec" rid="s1">Methods</xref>.', "see Methods."),
    ],
)
def test_references_to_figures_and_tables(xml: str, text: str) -> None:
    assert line(f"{xml}{FIGURE}{TABLE}").startswith(f"{text}\n\n[fig]")


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        ("Figure 1", "[fig_ref] Figure 1: Left [/fig_ref]"),
        ("Figure 2", "[fig_ref] Figure 2: Right [/fig_ref]"),
        ("Fig. 2B", "[fig_ref] Figure 2B: Right [/fig_ref]"),
        ("Figure 4", "[fig_ref] Figure 1: Left [/fig_ref]"),
        ("Figures 1–2", "[fig_ref] Figure 1–2: Left [/fig_ref]"),
        ("FigS2", "[fig_ref] Figure 1: Left [/fig_ref]"),
        ("left", "[fig_ref] Figure 1: Left [/fig_ref]"),
    ],
)
def test_a_link_to_the_wrong_figure_gives_way_to_the_number_in_the_text(shown: str, text: str) -> None:
    figures = "".join(
        f'<fig id="f{n}"><label>Figure {n}</label><caption><p>{words}</p></caption></fig>'
        for n, words in ((1, "Left"), (2, "Right"))
    )
    assert line(f'in <xref ref-type="fig" rid="f1">{shown}</xref>.{figures}').startswith(f"in {text}.\n")


def test_a_float_without_label_or_caption() -> None:
    bare = '<fig id="a"><graphic/></fig><fig id="b"><label>Figure 1</label></fig>'
    unnamed = '<fig id="c"><caption><p>Words</p></caption></fig>'
    xml = f'<p>See <xref ref-type="fig" rid="a">this</xref>.</p>{bare}{unnamed}'
    assert body(xml) == "See this.\n\n[fig] Figure 1 [/fig]\n\n[fig] Words [/fig]"


def test_a_group_of_figures_keeps_every_caption() -> None:
    xml = (
        "<fig-group><caption><p>Both.</p></caption><fig><label>Figure 1</label><caption><p>Left.</p></caption></fig>"
        "<fig><label>Scheme 2</label><caption><p>Right.</p></caption></fig></fig-group>"
    )
    assert body(f"<p>a</p>{xml}") == (
        "a\n\n[fig] Both. [/fig]\n\n[fig] Figure 1: Left. [/fig]\n\n[fig] Scheme 2: Right. [/fig]"
    )


# Formulae ------------------------------------------------------------------------------------------------------------

MATH = "<mml:math><mml:msup><mml:mi>x</mml:mi><mml:mn>2</mml:mn></mml:msup></mml:math>"


@pytest.mark.parametrize(
    ("xml", "text"),
    [
        ("<tex-math>$$E=mc^2$$</tex-math>", "E=mc^2"),
        ("<tex-math>\\documentclass{x}\\begin{document}$\\frac{a}{b}$\\end{document}</tex-math>", "\\frac{a}{b}"),
        ("<tex-math>\\begin{document}never closed</tex-math>", "never closed"),
        ("<tex-math><![CDATA[a < b]]></tex-math>", "a < b"),
        (MATH, "x^2"),
        (f"<alternatives><graphic/>{MATH}<tex-math>x_2</tex-math></alternatives>", "x_2"),
        ("<italic>p</italic><sub>2</sub> − 1", "p2 − 1"),
    ],
)
def test_a_formula_is_its_tex_or_mathml_or_text(xml: str, text: str) -> None:
    assert line(f"So <inline-formula>{xml}</inline-formula>holds.") == f"So [formula] {text} [/formula] holds."


def test_displayed_formulae_stand_alone_with_their_number() -> None:
    shown = "<disp-formula><label>(1)</label><tex-math>a+b</tex-math></disp-formula>"
    assert line(f"As {shown} says.") == "As [formula] a+b [/formula] (1) says."
    assert body(f"<p>As</p>{shown}") == "As\n\n[formula] a+b [/formula] (1)"


def test_a_formula_that_is_a_picture_keeps_its_place() -> None:
    assert line("A density <inline-formula><inline-graphic/></inline-formula>.") == "A density [formula] [/formula]."


def test_math_outside_a_formula_element_is_a_formula() -> None:
    assert line(f"So {MATH} holds.") == "So [formula] x^2 [/formula] holds."


# Blocks and running text ---------------------------------------------------------------------------------------------


def test_lists_have_bullets_or_numbers_or_their_labels() -> None:
    def items(kind: str) -> str:
        return f'<list list-type="{kind}"><list-item><p>a</p></list-item><list-item><p>b</p></list-item></list>'

    assert body(items("bullet")) == "- a\n- b"
    assert body(items("order")) == "1. a\n2. b"
    assert line(f"Take{items('simple')}daily.") == "Take\n\n- a\n- b\n\ndaily."
    labelled = (
        "<list><list-item><label>(i)</label><p>a</p></list-item><list-item><label>•</label><p>b</p></list-item></list>"
    )
    assert body(labelled) == "(i) a\n- b"
    nested = f"<list><list-item><p>a</p>{items('bullet')}</list-item></list>"
    assert body(nested) == "- a\n- a\n- b"


def test_definitions_boxes_quotes_statements_and_code() -> None:
    assert body("<def-list><def-item><term>BP</term><def><p>blood pressure</p></def></def-item></def-list>") == (
        "- BP: blood pressure"
    )
    box = "<sec><title>A</title><boxed-text><caption><title>Key points</title></caption><p>Rest.</p></boxed-text></sec>"
    assert body(box) == "# A\n\n## Key points\n\nRest."
    assert body(box.removeprefix("<sec><title>A</title>").removesuffix("</sec>")) == "## Key points\n\nRest."
    assert body("<disp-quote><p>Said.</p><attrib>hidden</attrib></disp-quote>") == "Said."
    assert body("<statement><label>Theorem 1</label><p>True.</p></statement>") == "Theorem 1\n\nTrue."
    assert body("<code>if a:\n    b  \n</code>") == "if a:\n    b"
    assert body("<verse-group><verse-line>one</verse-line><verse-line>two</verse-line></verse-group>") == "one\ntwo"


@pytest.mark.parametrize(
    ("xml", "text"),
    [
        ("a<break/>b\n   c", "a b c"),
        ("10<sup>6</sup> and 10<sup>−6</sup> m<sup>2</sup> CO<sub>2</sub>", "10^6 and 10^−6 m2 CO2"),
        ("2<sup>−ΔΔCt</sup>, 10<sup>-<italic>x</italic></sup>, CD4<sup>−</sup>", "2^−ΔΔCt, 10^-x, CD4−"),
        ("a &lt; b &amp; c &#x3b1;", "a < b & c α"),
        ("a<!-- hidden -->b<?hidden pi?>c", "abc"),
        ("<inline-graphic><alt-text>hidden</alt-text></inline-graphic>a", "a"),
        ("see <ext-link>example.org</ext-link> <email>a@example.org</email>", "see example.org a@example.org"),
        ("<index-term><term>hidden</term></index-term>a", "a"),
        ("a<array><tbody><tr><td>b</td><td>c</td></tr></tbody></array>", "a\n\nb | c"),
        ("a <alternatives><graphic/><textual-form>of two</textual-form></alternatives> b", "a of two b"),
    ],
)
def test_running_text(xml: str, text: str) -> None:
    assert line(xml) == text


@pytest.mark.parametrize(
    ("xml", "text"),
    [
        ("the tag [fig] of a file", "the tag [ fig ] of a file"),
        ("the tag [<italic>/bib</italic>] of a file", "the tag [ /bib ] of a file"),
        ("the tag [ table ] of a file", "the tag [ table ] of a file"),
        ("the tag [\u200bbib_ref] of a file", "the tag [ bib_ref ] of a file"),
        ("the tag &#xE0001;fig&#xE007F; of a file", "the tag \ufffdfig\ufffd of a file"),
        (
            f"[{cite('r7')}] [bib_ref] x [/bib_ref]",
            "[bib_ref] About [ fig ], [ bib ] [/bib_ref] [ bib_ref ] x [ /bib_ref ]",
        ),
        ("<inline-formula>[formula] a</inline-formula>", "[formula] [ formula ] a [/formula]"),
        ("<code>if x[fig]:</code>", "if x[ fig ]:"),
        ("a [figure], a [Fig] and [1]", "a [figure], a [Fig] and [1]"),
    ],
)
def test_what_authors_wrote_like_a_mark_is_none(xml: str, text: str) -> None:
    reference = (
        "<ref id='r7'><citation><article-title>About [fig]</article-title><surname>[bib]</surname></citation></ref>"
    )
    assert body(f"<p>{xml}</p>", back=f"<ref-list>{reference}</ref-list>") == text


def test_headings_captions_and_titles_have_no_mark_of_their_authors() -> None:
    found = parse_paper(
        article(
            "<sec><title>A [fig]</title><fig id='f1'><label>Fig. 1</label><caption><p>Of [/fig].</p></caption></fig>"
            "<p>See <xref ref-type='fig' rid='f1'>1</xref>.</p></sec>",
            meta="<title-group><article-title>The [table]</article-title></title-group>",
        ).encode(),
        "a.xml",
        SETTINGS,
    )
    assert not isinstance(found, Rejected), found.drop
    assert found["title"] == "The [ table ]"
    assert found["text"].split("\n\n") == [
        "The [ table ]",
        "# A [ fig ]",
        "[fig] Figure 1: Of [ /fig ]. [/fig]",
        "See [fig_ref] Figure 1: Of [ /fig ] [/fig_ref].",
    ]


def test_entities_of_the_dtd_that_is_never_loaded_become_their_characters() -> None:
    doctype = '<!DOCTYPE article PUBLIC "-//NLM//DTD" "journalpublishing.dtd">'
    text = text_of(doctype + article("<p>5&nbsp;&alpha;&bogus;<italic>&beta;</italic>&gamma; or &delta; end</p>"))
    assert text == "5 α\ufffdβγ or δ end"
