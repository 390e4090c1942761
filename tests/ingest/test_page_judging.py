"""What a block of a page holds outweighs its names, its roles and its tags."""

import time

import pytest

from ingest.fidelity.ledger import Ledger
from ingest.pages.extract import extract
from ingest.pages.names import judged
from ingest.pages.page import Page
from lake.decision import Drop
from tests.ingest.pages import PARAGRAPH, page, shown

MENU = "".join(f'<li><a href="/{n}">Section number {n} of the site</a></li>' for n in range(30))
DOSES = "".join(f"<tr><td>Drug {n}</td><td>{5 * n} mg</td><td>twice daily</td></tr>" for n in range(1, 25))
TABLE = f"<table><tr><th>Drug</th><th>Dose</th><th>How often</th></tr>{DOSES}</table>"
FIRST, LAST = "Drug | Dose | How often\nDrug 1 | 5 mg | twice daily", "Drug 24 | 120 mg | twice daily"


@pytest.mark.parametrize(
    ("html", "text"),
    [
        (
            "<h3><button aria-expanded=false>Children</button></h3><p>Give 10 mg.</p><h3><button>Adults"
            "</button></h3><p>Give 1 g.</p>",
            "### Children\n\nGive 10 mg.\n\n### Adults\n\nGive 1 g.",
        ),
        ("<h2><a href=#x><button><span>Children</span></button></a></h2><p>10 mg.</p>", "## Children\n\n10 mg."),
        ("<details><summary><button>Children</button></summary><p>10 mg.</p></details>", "Children\n\n10 mg."),
        ("<dl><dt><button>Children</button></dt><dd>10 mg.</dd></dl>", "Children\n\n10 mg."),
        ("<p>Give <button>amoxicillin</button> 10 mg.</p>", "Give amoxicillin 10 mg."),
        (
            "<div><button aria-expanded=true aria-controls=p>Children</button><div id=p>10 mg.</div></div>",
            "### Children\n\n10 mg.",
        ),
        (
            "<p>10 mg.</p><p><button>Share</button></p><button>Print</button><ul><li><button>Copy</button></li></ul>",
            "10 mg.",
        ),
    ],
)
def test_a_button_is_text_where_it_names_what_it_opens(html: str, text: str) -> None:
    assert shown(html) == text


WARNINGS = [
    "Warning: do not give this drug in pregnancy, it is teratogenic and has killed.",
    "Do not give more than 4 g a day to an adult, and never with alcohol.",
    "Nobody gives blood within six weeks of the last dose of this drug.",
    "Contraindicated below 30 ml/min.",
    "Max. 4 g/day.",
]


@pytest.mark.parametrize("warning", WARNINGS)
@pytest.mark.parametrize(
    "wrapper",
    [
        "<div class='alert alert-danger' role=alert><p>{}</p></div>",
        "<div role=alert>{}</div>",
        "<aside><p>{}</p></aside>",
        "<aside class=callout role=complementary>{}</aside>",
        "<section id=drug-related-problems><h2>Problems</h2><p>{}</p></section>",
        "<section id=social-care><h2>Care</h2><p>{}</p></section>",
        "<section id=blood-donation><h2>Donation</h2><p>{}</p></section>",
        "<section id=AD><h2>AD</h2><p>{}</p></section>",
        "<div id=consent><p>{}</p></div>",
        "<div class=comment><p>{}</p></div>",
        "<p class=comments>{}</p>",
        "<div class='date rating'>{}</div>",
        "<div id=feedback><ul><li>{}</li></ul></div>",
        "<div class=share><p>{}</p></div>",
        "<div class=tags><p>{}</p></div>",
        "<div class=popular>{}</div>",
        "<div id=skip-lesions>{}</div>",
        "<div class=toolbar><p>{}</p></div>",
        "<div class=sidebar><p>{}</p></div>",
        "<p class=credit>{}</p>",
        "<div class=hidden>{}</div>",
        "<figure><figcaption>{}</figcaption></figure>",
        "<fieldset><legend>Note</legend>{}</fieldset>",
        "<address>{}</address>",
        "<details><summary>More</summary>{}</details>",
        "<dialog><p>{}</p></dialog>",
        "<form><p>{}</p></form>",
        "<header><p>{}</p></header>",
        "<footer><p>{}</p></footer>",
        "<p>See <span class=comment>{}</span></p>",
        "<div class=panel hidden><p>{}</p></div>",
        "<div style='display:none' aria-hidden=true>{}</div>",
        "<div class=sr-only>{}</div>",
        "<ul><li><a href=a>Paracetamol</a> {}</li><li><a href=b>Ibuprofen with a very long name</a> 5 mg</li></ul>",
    ],
)
def test_a_warning_stays_whatever_is_around_it(wrapper: str, warning: str) -> None:
    assert warning in shown(wrapper.format(warning))


@pytest.mark.parametrize(
    "wrapper",
    [
        "<div class=panel style='display:none' aria-hidden=true>{}</div>",
        "<div hidden>{}</div>",
        "<div class='tab-pane fade' aria-hidden=true role=tabpanel>{}</div>",
        "<details><summary>Doses</summary>{}</details>",
        "<div class=sidebar>{}</div>",
        "<aside>{}</aside>",
        "<section id=related>{}</section>",
        "<figure class=ad>{}</figure>",
        "<div class=comments>{}</div>",
        "<form>{}</form>",
        "<div class=carousel><div class=slide>{}</div></div>",
        "<header>{}</header>",
        "<footer>{}</footer>",
        "<span style='display:none'>{}</span>",
    ],
)
def test_a_table_of_doses_stays_whatever_is_around_it(wrapper: str) -> None:
    text = shown(wrapper.format(TABLE))
    assert FIRST in text
    assert LAST in text
    small = "<table><tr><th>Drug</th><th>Dose</th></tr><tr><td>A</td><td>1 bd</td></tr></table>"
    assert "Drug | Dose\nA | 1 bd" in shown(wrapper.format(small)) or wrapper.startswith(("<span", "<footer"))


@pytest.mark.parametrize(
    "name",
    [
        "social-care",
        "drug-related-problems",
        "date-of-onset",
        "consent-to-treatment",
        "tag-along-lesions",
        "Comment1Dose",
    ],
)
def test_a_noun_after_it_makes_a_word_another_name(name: str) -> None:
    assert judged(name)[0] == 0


@pytest.mark.parametrize(
    "name", ["social", "social-bar", "socialLinks", "post-comments", "ad-slot", "share-this-page", "td-related-posts"]
)
def test_names_of_parts_of_a_site_stay_suspect(name: str) -> None:
    assert judged(name)[0] > 0 or name == "share-this-page"


@pytest.mark.parametrize(
    "html",
    [
        f"<nav><ul>{MENU}</ul></nav>",
        "<div class=related-posts><h3>Read on</h3><p>Give 5 mg of another drug, says another page.</p></div>",
        "<div class=cookie-banner><h2>Cookies</h2>"
        "<p>We use cookies to make this site work, and to learn how you use it.</p></div>",
        "<div id=comments><p>I disagree with this because it did not help me at all, says a reader of it.</p></div>",
        "<div class=newsletter><h2>News</h2><p>Get all our news first, for free, every week, in your mail box."
        "</p></div>",
        "<div class=sidebar><p>Subscribe to our news now to get all our news first and for free.</p></div>",
        "<div class=social-share><a href=a>Tweet</a> <a href=b>Post</a></div>",
        "<div class=breadcrumbs><a href=a>Home</a> / Drugs</div>",
        "<p class=date>12 May 2020</p><div class=tags>Tags: <a href=a>pain</a></div>",
        "<footer>All rights reserved by the society in all countries of the world.</footer>",
        "<div style='display:none'><p>Please wait.</p></div>",
        "<dialog><p>Do you want to leave this page?</p></dialog>",
    ],
)
def test_what_belongs_to_the_site_goes_and_is_entered(html: str) -> None:
    ledger = Ledger()
    assert shown(html) == ""
    page(html, None, ledger)
    assert {entry.rule for entry in ledger.left_out} <= {"boilerplate", "links", "empty_heading"}
    assert ledger.left_out


@pytest.mark.parametrize("box", ["div", "section", "form", "article", "td"])
def test_a_page_without_sentences_is_read(box: str) -> None:
    start, end = ("<table><tr><td>", "</td></tr></table>") if box == "td" else (f"<{box}>", f"</{box}>")
    items = "".join(f"<li>Drug {n}, {n} mg</li>" for n in range(1, 30))
    html = f"<body><div id=nav><ul>{MENU}</ul></div>{start}<h1>Doses</h1><ul>{items}</ul>{TABLE}{end}</body>"
    extracted = extract(html.encode())
    assert isinstance(extracted, Page)
    assert "- Drug 1, 1 mg\n- Drug 2, 2 mg" in extracted.text
    assert FIRST in extracted.text
    assert LAST in extracted.text
    assert "Section number" not in extracted.text


def test_a_form_around_a_whole_article_is_no_form() -> None:
    article = "".join(f"<p>{PARAGRAPH.format(n)}</p>" for n in range(9))
    extracted = extract(
        f"<body><form id=aspnetForm><div class=menu><ul>{MENU}</ul></div>{article}</form></body>".encode()
    )
    assert isinstance(extracted, Page)
    assert extracted.text == "\n\n".join(PARAGRAPH.format(n) for n in range(9))


def test_only_navigation_goes_from_selected_content() -> None:
    html = "<nav><a href=a>Home</a></nav><div class=share>Kept</div><footer><p>* 5 mg in renal failure.</p></footer>"
    assert shown(html, "article") == "Kept\n\n* 5 mg in renal failure."


def test_what_lies_outside_of_the_content_is_entered() -> None:
    html = f"<body><div><p>Tel. 12345</p><ul>{MENU}</ul></div><main><article>{{}}</article></main><p>Room 7</p></body>"
    html = html.format("".join(f"<p>{PARAGRAPH.format(n)}</p>" for n in range(9)))
    for content in (None, "article"):
        ledger = Ledger()
        assert isinstance(extract(html.encode(), content, ledger=ledger), Page)
        outside = "".join(entry.text for entry in ledger.left_out if entry.rule == "outside_content")
        assert "12345" in outside
        assert "Room 7" in outside
        assert "Section number 29" in outside
        assert "Paragraph" not in outside


def test_what_trafilatura_leaves_out_or_adds_is_entered() -> None:
    story = "Give 40 mg of prednisolone once a day, and review the patient on the third day. " * 8
    script = f'<script type="application/ld+json">{{"@type": "Article", "articleBody": "{story}"}}</script>'
    ledger = Ledger()
    extracted = extract(
        f"<html><head>{script}</head><body><div id=app>Loading 5</div></body></html>".encode(), ledger=ledger
    )
    assert isinstance(extracted, Page)
    assert "40 mg" in extracted.text
    assert [entry.rule for entry in ledger.left_out] == ["outside_content"]
    assert "Loading 5" in ledger.left_out[0].text
    assert {entry.rule for entry in ledger.written} == {"script"}


@pytest.mark.parametrize(
    ("html", "text"),
    [
        (
            "<div role=table><div role=row><span role=columnheader>Drug</span><span role=columnheader>Dose</span></div>"
            "<div role=row><span role=cell>A</span><span role=cell>5 mg</span></div></div>",
            "Drug | Dose\nA | 5 mg",
        ),
        (
            "<h3><a href=/a>Amoxicillin</a></h3><p>5 mg</p><h3><a href=/b>Penicillin</a></h3><ul><li>6 mg</li></ul>",
            "### Amoxicillin\n\n5 mg\n\n### Penicillin\n\n- 6 mg",
        ),
        (
            "<div class=links><p><a href=a>Amoxicillin 5 mg</a></p><p><a href=b>Penicillin 6 mg</a></p></div>",
            "Amoxicillin 5 mg\n\nPenicillin 6 mg",
        ),
        (
            "<ul role=tablist><li><a role=tab href=#a>Adult</a></li><li><a data-toggle=tab href=#c>Child</a></li></ul>"
            "<div id=a class=tab-pane>5 mg</div><div id=c class=tab-pane style='display:none'>2 mg</div>",
            "### Adult\n\n5 mg\n\n### Child\n\n2 mg",
        ),
        (
            "<button role=tab aria-controls=a>Adult</button><button role=tab aria-controls=c>Child</button>"
            "<div id=a role=tabpanel><p>5 mg</p></div><div id=c role=tabpanel><h3>Child</h3><p>2 mg</p></div>",
            "### Adult\n\n5 mg\n\n### Child\n\n2 mg",
        ),
        ("<ul class=tags><li>Adult: 5 mg</li><li>Child: 2 mg</li></ul>", "- Adult: 5 mg\n- Child: 2 mg"),
        ("<dl class=meta><dt>Adult</dt><dd>5 mg</dd></dl>", "Adult\n\n5 mg"),
        (
            "<div id=consent><h2>Consent</h2><p>Ask before each visit, in plain words, and write it down.</p></div>",
            "## Consent\n\nAsk before each visit, in plain words, and write it down.",
        ),
        (
            "<section id=AD><h2>AD</h2><p>Memory fades over the years.</p></section>",
            "## AD\n\nMemory fades over the years.",
        ),
    ],
)
def test_doses_keep_what_they_are_doses_of(html: str, text: str) -> None:
    assert shown(html) == text


def test_nested_boxes_of_links_with_a_dose_take_linear_time() -> None:
    html = "<div class=sidebar><nav>" * 95 + "<a href=x>Drug and its name </a>" * 60_000 + "<a href=y>5 mg</a>"
    started = time.process_time()
    extracted = extract(f"<body>{html}</body>".encode(), ledger=Ledger())
    assert isinstance(extracted, Page | Drop)
    assert time.process_time() - started < 60
