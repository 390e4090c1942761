"""Markup that was escaped twice becomes what it means, and comparisons stay."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.fidelity.ledger import Entry, Ledger
from ingest.sources.escaped import unescaped
from tests.ingest.test_jats_text import line
from tests.ingest.test_medline import citation, document
from tests.ingest.test_s2orc import document as s2_document


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("10<sup>6</sup> cells", "10^6 cells"),
        ("P &lt; 0.05; 5 &micro;g", "P < 0.05; 5 µg"),
        ("&lt;sup&gt;a&lt;/sup&gt;", "a"),
        ("&amp;lt; 5", "< 5"),
        ("10&lt;sup&gt;−6&lt;/sup&gt; M", "10^−6 M"),
        ("1<sup>1</sup>/<sub>2</sub> ml", "1 1/2 ml"),
        ("<i>E. <b>coli</b></i> and CO<sub>2</sub>", "E. coli and CO2"),
        ("10<sub>6</sub>, MSP-1<inf>42</inf>", "10_6, MSP-1_42"),
        ("5 &#177; 2, 3 &#xB1; 1, &plusmn;4", "5 ± 2, 3 ± 1, ±4"),
        ("&ge;65, &le;5, &alpha;, &beta;-blocker, 10&ndash;20", "≥65, ≤5, α, β-blocker, 10–20"),
        ("one<br/>two<BR>three", "one two three"),
        ("a &lt; b and c &gt; d", "a < b and c > d"),
        ("10 &#150; 20", "10 – 20"),
    ],
)
def test_markup_becomes_what_it_means(text: str, plain: str) -> None:
    assert unescaped(text) == plain


@pytest.mark.parametrize(
    "text",
    [
        "a < b and c > d",
        "<0.05 and <5 mg>",
        "p<b and b>q",
        "x<i>y",
        "<sup>6",
        "age < 5 and weight > 20 </b",
        "R&D; Q&A; AT&T; M&M;",
        "salt & water; thirst",
        "&nosuchname; and &;",
        "if a<sub and sub>b",
        "<script>alert(1)</script>",
    ],
)
def test_what_is_not_certainly_markup_stays(text: str) -> None:
    assert unescaped(text) == text


@given(st.text(st.sampled_from("<> /ab5.=&;"), max_size=40))
def test_comparisons_of_numbers_and_words_stay(text: str) -> None:
    assert unescaped(text).count("5") == text.count("5")


def test_all_formats_read_it(tmp_path: Path) -> None:
    record = citation(1, "<Abstract><AbstractText>P &amp;lt; 0.05; 5 &amp;micro;g</AbstractText></Abstract>")
    record = record.replace("Salt.", "Effects of 10&lt;sup&gt;6&lt;/sup&gt; cells")
    found = document(tmp_path, record)
    assert (found["title"], found["text"].split("\n\n")[1]) == ("Effects of 10^6 cells", "P < 0.05; 5 µg")
    assert line("10&lt;sup&gt;6&lt;/sup&gt; cells; P &amp;lt; 0.05") == "10^6 cells; P < 0.05"
    abstract = {"corpusid": 7, "abstract": "10<sup>6</sup> cells;\nP &lt; 0.05"}
    assert s2_document("abstracts", abstract)["text"] == "10^6 cells;\nP < 0.05"


def test_the_ledger_has_every_change() -> None:
    ledger = Ledger()
    unescaped("10<sup>6</sup> &lt; 5", ledger)
    assert ledger.left_out == [Entry("escaped", "&lt;"), Entry("escaped", "<sup>6</sup>")]
    assert ledger.written[0].text.strip() == "<"
    assert ledger.written[1] == Entry("escaped", "0^6")
