"""Sites are data: the sixteen load and agree with the corpus's table, and an error in a file is one line."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ingest.site import SITES, Index, load_site
from lake import bundled
from lake.error import UserError

# Articles, thousands of tokens, may be redistributed: table 9 of the MEDITRON paper.
TABLE = {
    "aafp": (50, 16, False),
    "cco": (87, 347, True),
    "cdc": (621, 11_596, True),
    "cma": (431, 2_985, True),
    "cps": (54, 232, False),
    "drugs": (6_548, 7_129, False),
    "gc": (1_029, 1_753, False),
    "icrc": (49, 2_109, True),
    "idsa": (47, 1_124, False),
    "magic": (52, 722, False),
    "mayo": (1_100, 3_851, False),
    "nice": (1_656, 14_039, True),
    "rch": (384, 712, False),
    "spor": (217, 1_921, True),
    "who": (223, 5_480, True),
    "wikidoc": (33_058, 58_620, True),
}
WORDS_PER_K_TOKEN = 750
PLAIN: dict[str, Any] = {
    "name": "Plain",
    "audience": "both",
    "license": "CC0-1.0",
    "redistributable": True,
    "mode": "html",
    "index": {"urls": ["https://example.org/"]},
    "expect": {"documents": 3, "words": 300},
    "checked": "2026-11, in a test",
}


def written(folder: Path, **changes: Any) -> str:
    file = folder / "plain.yaml"
    file.write_text(yaml.safe_dump(PLAIN | changes), encoding="utf-8")
    return str(file)


def test_the_known_sites_are_the_sixteen_of_the_table() -> None:
    assert bundled.names(SITES) == sorted(TABLE)


@pytest.mark.parametrize("tag", sorted(TABLE))
def test_a_site_expects_what_the_table_says_and_says_how_it_was_checked(tag: str) -> None:
    documents, tokens, redistributable = TABLE[tag]
    site = load_site(tag)
    assert (site.expect.documents, site.expect.words) == (documents, tokens * WORDS_PER_K_TOKEN)
    assert site.redistributable is redistributable
    assert re.match(r"2026-\d\d, ", site.checked)
    assert len(site.license) > 4


def test_the_rows_add_up() -> None:
    sites = [load_site(tag) for tag in bundled.names(SITES)]
    assert sum(site.expect.documents for site in sites) == 45_606
    assert sum(site.expect.words for site in sites) == 112_636 * WORDS_PER_K_TOKEN
    assert sum(site.redistributable for site in sites) == 8


@pytest.mark.parametrize(
    ("tag", "document", "other"),
    [
        ("aafp", "https://www.aafp.org/clinical-insights/cardiovascular/hypertension", "https://www.aafp.org/news/x"),
        ("cco", "https://www.cancercareontario.ca/en/file/64736/download?token=a", "https://www.cancercareontario.ca/en"),
        ("cdc", "https://stacks.cdc.gov/view/cdc/6654/cdc_6654_DS1.pdf", "https://stacks.cdc.gov/view/cdc/6654"),
        ("cps", "https://cps.ca/en/documents/position/circumcision", "https://cps.ca/en/documents/statements-by-date"),
        ("drugs", "https://www.drugs.com/dosage/ibuprofen.html", "https://www.drugs.com/dosage/"),
        ("gc", "https://www.guidelinecentral.com/guideline/25092/", "https://www.guidelinecentral.com/guidelines/aga/"),
        ("idsa", "https://www.idsociety.org/practice-guideline/encephalitis/", "https://www.idsociety.org/about/"),
        (
            "mayo",
            "https://www.mayoclinic.org/diseases-conditions/acne/symptoms-causes/syc-20368047",
            "https://www.mayoclinic.org/diseases-conditions/acne/diagnosis-treatment/drc-20368048",
        ),
        ("nice", "https://www.nice.org.uk/guidance/ng235", "https://www.nice.org.uk/guidance/ng235/chapter/Recommendations"),
        ("rch", "https://www.rch.org.au/clinicalguide/guideline_index/Iron_deficiency/", "https://www.rch.org.au/clinicalguide/guideline_index/CPG_feedback/"),
        ("wikidoc", "https://www.wikidoc.org/index.php/Asthma_overview", "https://www.wikidoc.org/index.php/Special:AllPages"),
    ],
)  # fmt: skip
def test_documents_match_and_other_pages_do_not(tag: str, document: str, other: str) -> None:
    match = load_site(tag).index.match
    assert match is not None
    assert re.search(match, document)
    assert not re.search(match, other)


def test_links_of_a_sitemap_or_of_json_are_found_once_and_unescaped() -> None:
    sitemap = "<loc>https://a.org/1?x=1&amp;y=2</loc> <loc> https://a.org/2 </loc><loc>https://a.org/2</loc>"
    assert Index(find=r"<loc>\s*([^<\s]+)").listed(sitemap) == ["https://a.org/1?x=1&y=2", "https://a.org/2"]
    listed = Index(find=r'"code": "([^"]*)"', put_in="https://a.org/#/{found}").listed(
        r'{"code": "n\u00e9"}, {"code": ""}, {"code": "a\/b"}, {"code": "\x"}'
    )
    assert listed == ["https://a.org/#/né", "https://a.org/#/a/b", r"https://a.org/#/\x"]
    assert Index().listed(sitemap) == []
    who = load_site("who").index
    assert who.listed(r'{"DownloadUrl":"https:\/\/iris.who.int\/a","x":1}') == ["https://iris.who.int/a"]


def test_a_site_may_be_given_by_its_path(tmp_path: Path) -> None:
    site = load_site(written(tmp_path))
    assert (site.name, site.expect.at_least, site.index.links) == ("Plain", 0.5, "a[href]")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"contents": "main"}, "contents: unknown key; did you mean content?"),
        ({"index": {"url": ["https://example.org/"]}}, "index.url: unknown key; did you mean urls?"),
        ({"clean": {"stopat": ["References"]}}, "clean.stopat: unknown key; did you mean stop_at?"),
        ({"clean": {"drop": [" "]}}, "clean.drop: an empty line"),
        ({"clean": {"stop_at": ["*"]}}, "clean.stop_at: an empty line"),
        ({"mode": "xml"}, "mode: "),
        ({"mode": "chapters"}, "chapters: needed in mode chapters"),
        ({"index": {}}, "index.urls, seeds: give at least one"),
        ({"index": {"urls": ["https://e.org/{page}"]}}, "index: paging and {page}"),
        ({"index": {"urls": ["https://e.org/"], "match": "("}}, "index.match: not a regular expression"),
        ({"index": {"urls": ["https://e.org/"], "find": "<loc>"}}, "index: find needs one group"),
        ({"index": {"urls": ["https://e.org/"], "more": "x"}}, "index: put_in and more need find"),
        ({"index": {"urls": ["https://e.org/"], "find": "(x)", "put_in": "y"}}, "index: put_in needs {found}"),
        ({"expect": {"documents": 0, "words": 3}}, "expect.documents: "),
        ({"checked": None}, "checked: "),
        ({"content": "div["}, "content: 'div[' is not a CSS selector: Malformed attribute selector at position 3"),
        ({"title": "h1:first"}, "title: 'h1:first' is not a CSS selector"),
        ({"mode": "chapters", "chapters": "!"}, "chapters: '!' is not a CSS selector"),
        ({"index": {"urls": ["https://e.org/"], "links": "a["}}, "index.links: 'a[' is not a CSS selector"),
        ({"index": {"urls": ["https://e.org/"], "next": "a["}}, "index.next: 'a[' is not a CSS selector"),
        ({"index": {"urls": ["https://e.org/"], "through": "a["}}, "index.through: 'a[' is not a CSS selector"),
        ({"frequency": 1}, "frequency: unknown key; remove it"),
    ],
)  # fmt: skip
def test_an_error_in_a_site_is_one_line(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_site(written(tmp_path, **changes))
    assert f"plain.yaml: {message}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_site_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean wikidoc"):
        load_site("wikidocs")
