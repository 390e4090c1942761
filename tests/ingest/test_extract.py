"""Main content of web pages: what stays, what goes, and that no bytes break it."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.pages import extract as module
from ingest.pages.extract import extract
from ingest.pages.page import Page, PageNote
from lake.decision import Drop, Reason

PROSE = [
    "Give 40 mg of prednisolone once a day for five days, and review the patient on the third day of treatment.",
    "Adults with mild symptoms need no antibiotics; explain when to come back and what to look out for at home.",
    "Children under five should be seen within a day if they drink less than half of their usual amount of fluid.",
    "Document the decision, the reasons for it and the wishes of the patient in the notes before discharge.",
    "Repeat the blood count after two weeks, and stop the treatment if the neutrophils have fallen below 1.0.",
]
ARTICLE = "".join(f"<p>{line}</p>" for line in PROSE)
MENU = "".join(f'<li><a href="/{n}">Section number {n} of the site</a></li>' for n in range(30))


def page(body: str, head: str = "") -> bytes:
    return f"<!DOCTYPE html><html><head><meta charset=utf-8>{head}</head><body>{body}</body></html>".encode()


def text(html: bytes, content: str | None = None, charset: str | None = None) -> str:
    page_or_drop = extract(html, content, charset=charset)
    assert isinstance(page_or_drop, Page), page_or_drop
    return page_or_drop.text


def reason(html: bytes, content: str | None = None) -> tuple[Reason, str]:
    page_or_drop = extract(html, content)
    assert isinstance(page_or_drop, Drop), page_or_drop
    return page_or_drop.reason, page_or_drop.evidence


def test_structure_is_kept() -> None:
    body = (
        f"<article><h1>Asthma</h1><h2>Drugs</h2><p>{PROSE[0]}</p><ul><li>Salbutamol</li><li><p>Budesonide</p></li></ul>"
        "<h4>Doses</h4><table><caption>By age</caption><tr><th>Age</th><th>Dose</th></tr>"
        "<tr><td>2 to 5</td><td><p>2.5 mg</p></td></tr><tr><td>over 5</td><td>5 mg</td></tr></table>"
        f"<p>{PROSE[1]}<br>Next\n line.</p><pre>a  b\n c</pre>{ARTICLE}</article>"
    )
    assert text(page(body)) == "\n\n".join(
        [
            "# Asthma",
            "## Drugs",
            PROSE[0],
            "- Salbutamol\n- Budesonide",
            "### Doses",
            "By age",
            "Age | Dose\n2 to 5 | 2.5 mg\nover 5 | 5 mg",
            f"{PROSE[1]}\nNext line.",
            "a  b\n c",
            *PROSE,
        ]
    )


def test_what_surrounds_an_article_goes() -> None:
    around = (
        f"<header><ul>{MENU}</ul></header><nav><p>{PROSE[4]} Navigation.</p></nav><div class='cookie-banner'><p>We use "
        "cookies to make this site work and to understand how you use it.</p></div>"
        f"<div class=layout><main>{ARTICLE}<div class='related-posts'><h3>Read more</h3><ul>{MENU}</ul></div></main>"
        f"<div class=sidebar><p>Subscribe to our newsletter now to get all our news first and for free.</p></div></div>"
        "<div id=comments><p>I disagree with this guideline because it did not help me at all, says a reader.</p></div>"
        "<footer><p>Copyright of the society, all rights reserved in all countries of the world.</p></footer>"
        "<script>var prose = 'This is no text of the page but the text of a script on it.'</script>"
    )
    assert text(page(around)) == "\n\n".join(PROSE)


def test_a_page_whose_names_all_look_suspect_is_read_nevertheless() -> None:
    assert text(page(f"<div class=comment><form><div class=widget>{ARTICLE}</div></form></div>")) == "\n\n".join(PROSE)


def test_sections_that_a_click_opens_stay() -> None:
    panels = "".join(
        f"<h2>Step {n}</h2><div class=panel hidden><p>{line}</p><p>{line}</p></div>" for n, line in enumerate(PROSE)
    )
    content_text = text(page(f"<main>{panels}</main>"))
    assert [f"## Step {n}\n\n{line}\n\n{line}" in content_text for n, line in enumerate(PROSE)] == [True] * 5


@pytest.mark.parametrize("name", ["recommendations", "recommendation-box", "guideline-recommendations", "recommended"])
def test_recommendations_are_the_core_of_a_guideline(name: str) -> None:
    advice = f"<section class={name}><h2>Recommendations</h2><p>{PROSE[0]}</p><p>{PROSE[1]}</p></section>"
    content_text = text(page(f"<main><h1>Iron</h1>{ARTICLE.replace('the', 'any') * 4}{advice}{ARTICLE}</main>"))
    assert f"## Recommendations\n\n{PROSE[0]}\n\n{PROSE[1]}" in content_text


@pytest.mark.parametrize("name", ["recommended-articles", "block--recommended_stories", "recommendedPosts"])
def test_recommended_articles_go(name: str) -> None:
    teasers = f"<div class={name}><h2>Read on</h2><p>Teaser of another article: {PROSE[0]}</p></div>"
    assert "Teaser" not in text(page(f"<main>{ARTICLE}{teasers}</main>"))
    assert "Teaser" in text(page(f"<main>{ARTICLE * 2}{teasers.replace(name, 'recommended-postures')}</main>"))


@pytest.mark.parametrize("content", [None, "body"])
@pytest.mark.parametrize(
    ("html", "shown"),
    [
        ("10<sup>6</sup> cells, <b>10</b><sup><i>−</i><b>9</b></sup> mol", "10^6 cells, 10^−9 mol"),
        ("<a href=x>10<sup class=n><span>12</span></sup></a> of 2<sup>−n</sup>", "10^12 of 2^−n"),
        ("1.73 m<sup>2</sup>, the 2<sup>nd</sup> of 5<sup>*</sup>", "1.73 m2, the 2nd of 5*"),
        ("as shown.<sup>12</sup> Others<sup>3,4</sup> say 10 <sup>6</sup>", "as shown.12 Others3,4 say 10 6"),
        ("10<sup></sup>6, 10<sub>6</sub>, 10<br><sup>6</sup>", "106, 10_6, 10\n6"),
    ],
)
def test_a_raised_number_after_a_digit_is_its_power(html: str, shown: str, content: str | None) -> None:
    html = f"<p>Counts per litre of blood in all of the patients who came to the ward: {html} and no more.</p>"
    content_text = text(page(f"<article>{ARTICLE}{html}</article>"), content)
    assert f"who came to the ward: {shown} and no more." in content_text


def test_an_article_in_two_bodies_is_whole() -> None:
    halves = f"<div class=article-body>{ARTICLE}</div><div class=article-body>{ARTICLE.replace('the', 'any')}</div>"
    assert text(page(f"<div><div>{halves}</div><ul>{MENU}</ul></div>")).count("prednisolone") == 2


def test_the_lead_above_the_body_belongs_to_it() -> None:
    lead = "This guideline is for doctors in primary care who see adults with acute breathlessness at any time of day."
    body = f"<div><h1>Title</h1><p>{lead}</p><div class=entry-content>{ARTICLE}</div></div>"
    assert lead in text(page(f"<ul>{MENU}</ul>{body}"))


def test_headings_without_content_go() -> None:
    empty = f"<h2>See also</h2><ul>{MENU}</ul><h2>Share this</h2>"
    assert text(page(f"<article>{ARTICLE}{empty}</article>")) == "\n\n".join(PROSE)


def test_a_table_for_the_layout_is_no_table() -> None:
    body = f"<table><tr><td><ul>{MENU}</ul></td><td>{ARTICLE}</td></tr><tr><td></td><td>{ARTICLE}</td></tr></table>"
    content_text = text(page(body))
    assert " | " not in content_text
    assert content_text.count(PROSE[0]) == 2


def test_a_table_in_a_figure_stays() -> None:
    table = "<table><tr><th>Age</th><th>Dose</th></tr><tr><td>2 to 5</td><td>2.5 mg</td></tr></table>"
    content_text = text(page(f"<article>{ARTICLE}<figure class=wp-block-table>{table}</figure>{ARTICLE}</article>"))
    assert "Age | Dose\n2 to 5 | 2.5 mg" in content_text


def test_a_selector_takes_its_elements_whole_and_in_order() -> None:
    body = (
        f"<div class=c><h2>One</h2><p>Short.</p><div class=sidebar>Kept.</div><div class=c>Inner</div></div>{ARTICLE}"
        "<div class=c>Two <a href=x>link</a><script>x</script></div>"
    )
    assert text(page(body), ".c") == "## One\n\nShort.\n\nKept.\n\nInner\n\nTwo link"
    assert text(page("<table><tr><td class=x>5 mg</td></tr></table>"), "td.x") == "5 mg"
    assert text(page(f"<nav id=n>{ARTICLE}</nav>"), "#n") == "\n\n".join(PROSE)


def test_a_page_without_content_says_why() -> None:
    assert reason(page(ARTICLE), "div.gone") == (Reason.NO_CONTENT, "content: div.gone matches nothing")
    assert reason(page("<i></i>" * 201), "i")[1] == "content: i matches more than 200 elements"
    assert reason(page(f"<div id=a></div>{ARTICLE}"), "#a") == (Reason.NO_CONTENT, "content: #a is empty")
    assert reason(page("<script>x</script>")) == (Reason.NO_CONTENT, "no main content in 5 elements")
    assert reason(b"")[0] is Reason.NO_CONTENT
    assert reason(b"<!-- -->")[0] is Reason.NO_CONTENT


def test_a_selector_sees_the_page_as_browsers_repair_it() -> None:
    stray = "<table><p id=b>Stray</p><tr><td>a<td>b<tr><td>c<td>d</table>One</br>two"
    assert text(page(f"<div id=a>{stray}</div>"), "#a") == "Stray\n\na | b\nc | d\n\nOne\ntwo"
    assert text(page(f"<div id=a>{stray}</div>"), "#a > p:not(table p)") == "Stray"


@pytest.mark.parametrize(
    ("head", "body", "title"),
    [
        ("<title>Asthma in adults | Society</title>", "<h1>Society</h1><h1>Asthma  in adults</h1>", "Society"),
        ("<title>Asthma in adults</title>", "<h1>Home</h1><h1>Asthma <b>in</b> adults</h1>", "Asthma in adults"),
        ("<title>Guidelines</title>", "<h1>Asthma</h1>", "Asthma"),
        ("<title>Guidelines</title><meta property='og:title' content='Asthma'>", "", "Asthma"),
        ("<title>Guidelines</title>", "", "Guidelines"),
        ("", "", None),
    ],
)
def test_the_title_is_the_heading_that_the_page_is_named_by(head: str, body: str, title: str | None) -> None:
    extracted = extract(page(body + ARTICLE, head))
    assert isinstance(extracted, Page)
    assert extracted.title == title


def test_only_the_first_names_and_headings_are_compared() -> None:
    most = module.MOST_NAMES
    names = "<meta property='og:title' content='Other'>" * most + "<meta property='og:title' content='Late'>"
    for headings, title in (("<h1>Sites</h1><h1>Late</h1>", "Other"), ("<h1>Sites</h1><h1>The</h1>", "The")):
        extracted = extract(page(headings + ARTICLE, f"{names}<title>The page</title>"))
        assert isinstance(extracted, Page)
        assert extracted.title == title
    extracted = extract(page("<h1>Sites</h1>" * most + "<h1>The page</h1>" + ARTICLE, "<title>The page</title>"))
    assert isinstance(extracted, Page)
    assert extracted.title == "The page"
    extracted = extract(page("<h1>Sites</h1>" * most + "<h1>Late</h1>" + ARTICLE, "<title>Late | Society</title>"))
    assert isinstance(extracted, Page)
    assert extracted.title == "Late | Society"


def test_a_title_selector_that_matches_nothing_is_noted() -> None:
    html = page(f"<h1>Heading</h1><p class=t> The  title </p>{ARTICLE}")
    assert extract(html, "body", ".t") == Page("The title", "# Heading\n\nThe title\n\n" + "\n\n".join(PROSE))
    extracted = extract(html, "body", ".u")
    assert isinstance(extracted, Page)
    assert (extracted.title, extracted.notes) == ("Heading", (PageNote("title", ".u matches nothing"),))


WORDS = "Fièvre élevée chez l’enfant – Übelkeit, Größe"


@pytest.mark.parametrize(
    ("html", "charset"),
    [
        (f"<p>{WORDS}</p>".encode(), None),
        (f"<p>{WORDS}</p>".encode(), "iso-8859-1"),
        (f"<p>{WORDS}</p>".encode("utf-8-sig"), "windows-1252"),
        (f"<p>{WORDS}</p>".encode("utf-16"), None),
        (f"<p>{WORDS}</p>".encode("cp1252"), "ISO-8859-1"),
        (f"<p>{WORDS}</p>".encode("cp1252"), None),
        (
            f'<meta http-equiv=Content-Type content="text/html; charset=macintosh"><p>{WORDS}</p>'.encode("mac-roman"),
            None,
        ),
        (f"<p>{WORDS}</p>".encode("cp1252"), "no-such-charset"),
    ],
)
def test_letters_are_right_whoever_names_the_charset(html: bytes, charset: str | None) -> None:
    assert text(html, "p", charset) == WORDS


def test_bytes_that_are_no_text_are_undecodable() -> None:
    assert reason(bytes(range(256)) * 40)[0] is Reason.UNDECODABLE
    assert reason(b"%PDF-1.7\n" + bytes(range(0, 256, 3)) * 99)[0] is Reason.UNDECODABLE


def test_a_page_that_is_too_large_is_counted() -> None:
    drop = extract(b"<p>" + b"a" * module.MAX_BYTES)
    assert isinstance(drop, Drop)
    assert (drop.reason, drop.score) == (Reason.TOO_LARGE, float(module.MAX_BYTES + 3))
    drop = extract(b"<p>" * (module.MAX_ELEMENTS + 1))
    assert isinstance(drop, Drop)
    assert drop.reason is Reason.TOO_LARGE
    assert "elements" in drop.evidence


HOSTILE = {
    "deep blocks": b"<div>" * 500_000 + b"text " * 100,
    "deep inline": b"<span><b>" * 300_000 + b"text " * 100,
    "deep tables": b"<table><tr><td>" * 60_000 + b"text " * 100,
    "deep lists": b"<ul><li>" * 60_000 + b"text " * 100,
    "long names": b"".join(b"<div class='%s'>x</div>" % (b"article-" * 300 + b"%d" % n) for n in range(2_000)),
    "long style": b"<div style='" + b"display " * 400_000 + b"'>text</div>",
    "meta without end": b"<meta " * 400_000 + b"\xff",
    "many attributes": b"<p " + b"a%d=1 " * 200_000 + b">text",
    "blanks": b"<p>" + b" \n" * 2_000_000,
    "entities": b"&lt;&#0;&#x110000;&bogus;" * 100_000,
    "many names": b"<meta property='og:title' content='a b'>" * 60_000 + b"<h1>z</h1>" * 60_000 + b"words " * 200,
    "deep headings": b"<div><h1>" * 100 + b"word " * 1_500_000,
    "deep powers": b"1" + b"<sup>" * 190_000 + b"text",
    "many rows": b"<table>" + b"<tr><td>1" * 80_000,
    "many breaks": b"<p>" + b"a<br>" * 90_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pages_take_time_in_proportion_to_their_size(name: str) -> None:
    started = time.process_time()
    for content in (None, "div, p, td"):
        assert isinstance(extract(HOSTILE[name], content, "h1"), Page | Drop)
    assert time.process_time() - started < 60


def test_text_below_the_deepest_level_is_not_lost() -> None:
    html = page("<div>" * 230 + ARTICLE + "<script>no text</script>" + "</div>" * 230)
    whole = text(html, "body")
    assert [line in whole for line in PROSE] == [True] * 5
    assert "no text" not in whole


TAG_NAMES = (
    "div|p|/p|/div|table|tr|td|li|ul|h1|h3|a href=x|/a|script|/script|pre|br|form|div class='comment sidebar'|article|"
    "span hidden|svg|math|!--|--|caption|meta charset=x"
)
TAGS = st.sampled_from(TAG_NAMES.split("|"))
PIECES = st.one_of(
    TAGS.map(lambda tag: f"<{tag}>".encode()), st.sampled_from([line.encode() for line in PROSE]), st.binary()
)


@given(
    st.lists(PIECES, max_size=60).map(b"".join),
    st.sampled_from([None, "div", "td", "p:first-child"]),
    st.none() | st.text(max_size=12),
)
def test_no_bytes_raise(html: bytes, content: str | None, charset: str | None) -> None:
    extracted = extract(html, content, "h1", charset)
    if isinstance(extracted, Page):
        assert extracted.text.strip() == extracted.text != ""
        extracted.text.encode()
    else:
        assert extracted.reason in (Reason.NO_CONTENT, Reason.UNDECODABLE)
        assert extracted.evidence


def test_powers_in_what_trafilatura_reads() -> None:
    advice = "<p>Give platelets where fewer than 10<sup>9</sup> are left.<sup>12</sup></p>"
    body = f"<p>{PROSE[0]}</p><p>{PROSE[1]}</p><p>{PROSE[2]}</p><div class=subscribe>{advice}</div>"
    assert text(page(f"<article>{body}</article>")).endswith("than 10^9 are left.12")


def test_trafilatura_reads_what_the_first_pass_cannot() -> None:
    story = " ".join(PROSE)
    script = f'<script type="application/ld+json">{{"@type": "Article", "articleBody": "{story}"}}</script>'
    assert PROSE[0] in text(page("<div id=app></div>", script))
