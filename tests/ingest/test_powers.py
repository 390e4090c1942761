"""Powers: after which text a raised one takes a `^`, and that pages and papers agree on it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.pages.extract import extract
from ingest.pages.page import Page
from ingest.sources.jats import JatsInput, parse_paper
from ingest.text.powers import raised


@given(st.text(max_size=5), st.text("abc 6", max_size=5), st.sampled_from(["", "-", "−", "–", "+"]))
def test_a_number_after_a_digit_is_a_power_and_no_other_text_is(before: str, rest: str, sign: str) -> None:
    assert raised(before + "0", f"{sign}6{rest}", " cells") == f"^{sign}6{rest}"
    assert raised(before + "m", f"{sign}6{rest}", "") == f"{sign}6{rest}"
    assert raised(before + ".", f"{sign}6{rest}", "") == f"{sign}6{rest}"
    assert raised(before + "0 ", f"{sign}6{rest}", "") == f"{sign}6{rest}"
    assert raised("", rest, "") == rest
    assert raised(before + "2", f"nd{rest}", "") == f"nd{rest}"


@pytest.mark.parametrize(
    ("markup", "shown"),
    [
        ("5 × 10<sup>−3</sup> of 10<sup>6</sup> cells", "5 × 10^−3 of 10^6 cells"),
        ("<b>10</b><sup><i>−</i>9</sup> of 2<sup>−n</sup>", "10^−9 of 2^−n"),
        ("1.73 m<sup>2</sup>, the 2<sup>nd</sup> of 5<sup>*</sup>", "1.73 m2, the 2nd of 5*"),
        ("1<sup>1</sup>/<sub>2</sub> tablets, 2<sup>3</sup> / 4 ml, 10<sup>1</sup>", "1 1/2 tablets, 2 3 / 4 ml, 10^1"),
        ("<sup>1</sup>/<sub>2</sub> tablet, 2<sup>1/2</sup> ml, 2<sup>1/2</sup>.", "1/2 tablet, 2 1/2 ml, 2^(1/2)."),
        ("MSP-1<sub>42</sub>, CO<sub>2</sub> and 10<sub><b>6</b></sub>5", "MSP-1_42, CO2 and 10_6 5"),
        ("as shown.<sup>12,13</sup> Others<sup>3</sup> say 10 <sup>6</sup>", "as shown.12,13 Others3 say 10 6"),
    ],
)
def test_a_page_and_a_paper_give_the_same(markup: str, shown: str) -> None:
    page = extract(f"<body><p>Counts: {markup}</p></body>".encode(), "body")
    assert isinstance(page, Page)
    jats = markup.replace("<b>", "<bold>").replace("</b>", "</bold>").replace("i>", "italic>")
    article = f"<article><front/><body><p>Counts: {jats}</p></body></article>"
    paper = parse_paper(article.encode(), "paper.xml", JatsInput(format="jats", source="papers", paths=("*",)))
    assert isinstance(paper, dict)
    assert page.text == paper["text"] == f"Counts: {shown}"
