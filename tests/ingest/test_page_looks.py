"""Looks that carry meaning on web pages: hidden, struck out, underlined and raised text, and images that are signs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.fidelity.ledger import Entry, Ledger
from ingest.pages.page import PageNote
from tests.ingest.pages import page, shown

MATH = "<math><mi>x</mi><mo>≥</mo><mn>5</mn><annotation encoding=application/x-tex>x \\ge 5</annotation></math>"


@pytest.mark.parametrize("content", [None, "article"])
@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<span style='display:none' class=sortkey>0000010.5</span>10.5 mg", "10.5 mg"),
        ("<span style='color: red; DISPLAY : none !important'>5000</span>5 mg", "5 mg"),
        ("<span style='visibility:hidden'>5000</span>5 mg", "5 mg"),
        ("<b hidden>5000</b>5 mg", "5 mg"),
        ("<span class=sortkey>5000</span>5 mg", "5 mg"),
        ("<a href=x style='display:none'>not</a> 5 mg", "5 mg"),
        ("<i style='display:none'><b>5</b><em>000</em></i>5 mg", "5 mg"),
        ("<span style='display:inline'>10</span> mg", "10 mg"),
        # A formula that only screen readers have, and the images and drawings of it.
        (
            f"if <span style='display: none;'>{MATH}</span><img alt='{{\\displaystyle x\\geq 5}}' src=x.svg> then",
            "if x ≥ 5 then",
        ),
        (
            f"if <span class=katex><span class=katex-mathml>{MATH}</span><span aria-hidden=true>x≥5</span></span> then",
            "if x ≥ 5 then",
        ),
        (
            f"if <mjx-container><mjx-math aria-hidden=true>x≥5</mjx-math><mjx-assistive-mml>{MATH}"
            f"</mjx-assistive-mml></mjx-container> then",
            "if x ≥ 5 then",
        ),
        # Text for screen readers.
        (
            "Aspirin: <i class=icon aria-hidden=true></i><span class=sr-only>not recommended</span>",
            "Aspirin: not recommended",
        ),
        ("Aspirin<span class=visually-hidden>not</span>given", "Aspirin not given"),
        ("Aspirin <span class=screen-reader-text>(contraindicated)</span>", "Aspirin (contraindicated)"),
        ("5 mg <a class=sr-only href=#main>Skip to content</a> daily", "5 mg daily"),
    ],
)
def test_hidden_text_is_not_read_and_a_hidden_formula_is(html: str, text: str, content: str | None) -> None:
    assert shown(f"<p>{html}</p>", content) == text


def test_hidden_cells_are_no_columns_and_hidden_sections_stay() -> None:
    rows = "".join(f"<tr><td style='display:none'>000{n}</td><td>Drug {n}</td><td>{n} mg</td></tr>" for n in range(3))
    assert shown(f"<table>{rows}</table>") == "Drug 0 | 0 mg\nDrug 1 | 1 mg\nDrug 2 | 2 mg"
    more = "Give 5 mg more if the fever has not gone. " * 6
    assert shown(f"<p>Start. <span style='display:none'>{more}</span></p>") == f"Start. {more}".strip()


@pytest.mark.parametrize("content", [None, "article"])
@pytest.mark.parametrize(
    ("html", "text", "told"),
    [
        (
            "Give <del>500 mg</del> <ins>50 mg</ins> daily; do <s>not</s> stop it.",
            "Give 50 mg daily; do stop it.",
            "500 mg; not",
        ),
        ("Give <strike>500</strike> 50 mg.", "Give 50 mg.", "500"),
        ("Give <span style='text-decoration: line-through'>500</span> 50 mg.", "Give 50 mg.", "500"),
        ("Give <span style='text-decoration:red line-through 2px'>500</span> 50 mg.", "Give 50 mg.", "500"),
        ("Give <span style='text-decoration-line:line-through'>500</span> 50 mg.", "Give 50 mg.", "500"),
        ("Give <span class='mr-2 line-through'>500</span> 50 mg.", "Give 50 mg.", "500"),
        ("Give <span class=text-decoration-line-through>500</span> 50 mg.", "Give 50 mg.", "500"),
        ("Give <b><del>500 <i>mg</i></del></b> 50 mg.", "Give 50 mg.", "500 mg"),
        ("Give 10<del>0</del>20 mg.", "Give 10 20 mg.", "0"),
        ("Give <del></del>50 mg.", "Give 50 mg.", None),
        ("Give <a href=x><del>500</del> 50</a> mg.", "Give 50 mg.", "500"),
        (
            "Give <del>a</del><del>b</del><del>c</del><del>d</del><del>e</del><del>f</del><del>g</del>50 mg.",
            "Give 50 mg.",
            "a; b; c; d; e and 2 more",
        ),
        ("50 mg.</p><del><p>500 mg.</p></del><p>Daily.", "50 mg.\n\nDaily.", "500 mg."),
        ("50 mg.</p><p style='text-decoration:line-through'>500 mg.</p><p>Daily.", "50 mg.\n\nDaily.", "500 mg."),
        ("<span style='text-decoration:none'>50</span> <u>mg</u>", "50 mg", None),
    ],
)
def test_struck_out_text_goes_and_is_told(html: str, text: str, told: str | None, content: str | None) -> None:
    assert shown(f"<p>{html}</p>", content) == text
    ledger = Ledger()
    notes = page(f"<p>{html}</p>", content, ledger).notes
    assert notes == (() if told is None else (PageNote("struck out text", told),))
    assert ("struck_out" in {entry.rule for entry in ledger.left_out}) == (told is not None)


@pytest.mark.parametrize("content", [None, "article"])
@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("Patients <u>&gt;</u>65 years and <u>&lt;</u>5 mg", "Patients ≥65 years and ≤5 mg"),
        ("10 <u>+</u> 2 mg", "10 ± 2 mg"),
        ("<u> &gt; </u>65", "≥ 65"),
        ("<b><u>&lt;</u></b> 5", "≤ 5"),
        ("<u><b>&lt;</b></u> 5", "≤ 5"),
        ("<span style='text-decoration: underline'>&gt;</span> 65", "≥ 65"),
        ("<span style='text-decoration-line: underline'>&lt;</span> 65", "≤ 65"),
        ("<span class=underline>&gt;</span> 65", "≥ 65"),
        ("<font style='text-decoration:underline solid'>+</font> 2", "± 2"),
        ("<u>&gt; 65</u> and <u>not</u>", "> 65 and not"),
        ("<ins>&gt;</ins>65 and &gt;65", ">65 and >65"),
        ("<a href=x>&gt;</a> <u>&gt;&gt;</u> <u></u>", "> >>"),
    ],
)
def test_an_underlined_sign_is_another_sign(html: str, text: str, content: str | None) -> None:
    assert shown(f"<p>{html}</p>", content) == text


@pytest.mark.parametrize("content", [None, "article"])
@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("1<sup>1</sup>/<sub>2</sub> tablets", "1 1/2 tablets"),
        ("2<span class=fraction><sup>1</sup>&frasl;<sub>2</sub></span> ml", "2 1/2 ml"),
        ("<math><mfrac><mn>1</mn><mn>2</mn></mfrac></math> tablet", "1/2 tablet"),
        ("1<math><mfrac><mn>1</mn><mn>2</mn></mfrac></math> tablet", "1 1/2 tablet"),
        (
            "<span class=frac>1<span class=sr-only>+</span><span class=num>1</span>&frasl;<span class=den>2"
            "</span></span> tablets",
            "1 1/2 tablets",
        ),
        (
            "<span class=frac><span class=num>3</span>⁄<span class=den>4</span></span> of 2<span class=frac>"
            "<span>1</span>/<span>4</span></span>",
            "3/4 of 2 1/4",
        ),
        (
            "<span class='sfrac nowrap'><span class=tion><span class=num>1</span><span class=sr-only>/</span>"
            "<span class=den>2</span></span></span> tablet",
            "1/2 tablet",
        ),
        ("2<span class=fraction><span class=top>1</span><span class=bottom>2</span></span> ml", "2 1/2 ml"),
        ("1<b><sup>1</sup></b>/<sub>2</sub> ml", "1 1/2 ml"),
        ("<b>1</b><i><sup>1</sup></i><b>/</b><sub>2</sub> ml", "1 1/2 ml"),
        ("1&frasl;2 and ½ and 1½", "1/2 and ½ and 1½"),
        ("<span>10</span><span><sup>6</sup></span> cells", "10^6 cells"),
        ("10<span style='vertical-align: super; font-size: 8px'>6</span> cells", "10^6 cells"),
        ("10<sup>6</sup>5, 10<sup><b>6</b></sup>5 and log<sub>10</sub>5", "10^6 5, 10^6 5 and log10 5"),
        ("<math><msup><mn>10</mn><mrow><mo>−</mo><mn>9</mn></mrow></msup></math> mol", "10^(−9) mol"),
        ("10<math><mo>±</mo></math>2", "10±2"),
    ],
)
def test_fractions_powers_and_formulae_keep_their_value(html: str, text: str, content: str | None) -> None:
    assert shown(f"<p>{html}</p>", content) == text


@pytest.mark.parametrize("content", [None, "article"])
@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("Age <img alt='≥' src=x.gif>65", "Age ≥65"),
        ("Age <img alt='<' src=x.gif> 65", "Age < 65"),
        ("5 <img alt='±'> 2, 5 <img alt=µ>g, <img alt=½> tablet", "5 ± 2, 5 µg, ½ tablet"),
        ("10<img alt='–'>20 mg", "10–20 mg"),
        ("10<img src=dash.gif>20 mg", "10 20 mg"),
        ("HLA-B27 (<img alt='+'>)", "HLA-B27 (+)"),
        ("Give <img alt='50 mg' src=x.gif> daily", "Give 50 mg daily"),
        ("Do <img alt=not src=x.gif> give it", "Do not give it"),
        ("<img alt='Warning!'> Stop it", "Warning! Stop it"),
        ("<svg aria-label='≤'><path d=x /></svg> 5 mg", "≤ 5 mg"),
        ("Read <a href=x><img alt='>'></a> on <img alt='A man of forty looks at his hand'> now", "Read on now"),
        ("Photo <img alt=IMG_0001.jpg> here <img alt='Angela Smith'> now", "Photo here now"),
        ("5 mg <img alt=''> <img> daily", "5 mg daily"),
    ],
)
def test_an_image_that_is_a_sign_is_read(html: str, text: str, content: str | None) -> None:
    assert shown(f"<p>{html}</p>", content) == text


def test_what_is_hidden_is_entered_and_a_page_without_looks_enters_nothing() -> None:
    ledger = Ledger()
    page(
        "<p><span hidden>5 <b>mg</b></span>6 mg <textarea>Copy</textarea> <svg><text>7</text></svg></p>",
        "article",
        ledger,
    )
    inside = [entry for entry in ledger.left_out if entry.rule != "outside_content"]
    assert inside == [Entry("hidden", "5 mg"), Entry("control", "\nCopy\n"), Entry("figure", "\n\n7\n\n")]
    ledger = Ledger()
    assert page("<p>6 mg <b>daily</b></p>", "article", ledger).notes == ()
    assert (ledger.left_out, ledger.written) == ([], [])


SAFE = st.text("abc 5.,;:()%", min_size=1, max_size=20).filter(str.strip)


@given(SAFE, SAFE, SAFE)
def test_plain_text_is_as_it_was(before: str, inside: str, after: str) -> None:
    plain = " ".join(f"x{before}{inside}{after}x".split())
    for tag in ("b", "em", "span", "u", "ins", "a", "span class=date", "span class=comment", "span style='color:red'"):
        assert shown(f"<p>x{before}<{tag}>{inside}</{tag.split()[0]}>{after}x</p>", "article") == plain


@pytest.mark.parametrize("content", [None, "article"])
@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("P &amp;lt; 0.05 for 5 &amp;micro;g", "P < 0.05 for 5 µg"),
        ("10&lt;sup&gt;6&lt;/sup&gt; cells", "10^6 cells"),
        ("10 &amp;#8805; 5 &amp;plusmn; 2", "10 ≥ 5 ± 2"),
        ("<b>P</b> &amp;amp;lt; 0.05", "P < 0.05"),
        ("a &lt; b and R&amp;D and AT&amp;T", "a < b and R&D and AT&T"),
        ("<code>&amp;lt; &lt;sup&gt;6&lt;/sup&gt;</code>", "&lt; <sup>6</sup>"),
    ],
)
def test_what_was_escaped_twice_is_read_but_code_is_not(html: str, text: str, content: str | None) -> None:
    assert shown(f"<p>{html}</p>", content) == text
