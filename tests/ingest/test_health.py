"""Scraper health: what is a fault, which page shows it, what is none."""

from typing import Any

import pytest

from ingest.site import Site
from ingest.web.health import Fault, Look, Symptom, Yield, expected, health

INDEX = "https://example.org/list"
SITE: dict[str, Any] = {
    "name": "Example",
    "audience": "both",
    "license": "CC0-1.0",
    "redistributable": True,
    "mode": "html",
    "index": {"urls": [INDEX], "links": "ul.guides a", "match": "/guide/"},
    "content": "div.ContentBox",
    "expect": {"documents": 10, "words": 5000},
    "checked": "2026-11, in a test",
}


def site(**changes: Any) -> Site:
    return Site.model_validate(SITE | changes)


def looks(*words: int, shown: bool = True) -> list[Look]:
    return [Look(f"https://example.org/guide/{number}", count, shown) for number, count in enumerate(words)]


def crawl(*words: int, shown: bool = True, fetched: int | None = None) -> Yield:
    return Yield.of("example", looks(*words, shown=shown), fetched, INDEX)


GOOD = crawl(*[500] * 10)


def symptoms(now: Yield, last: Yield | None = None, **changes: Any) -> list[Symptom]:
    return [fault.symptom for fault in health(site(**changes), now, last)]


def only(now: Yield, last: Yield | None = None, **changes: Any) -> Fault:
    (fault,) = health(site(**changes), now, last)
    return fault


@pytest.mark.parametrize(
    ("now", "last"),
    [
        (GOOD, None),
        (GOOD, GOOD),
        (crawl(*[900] * 30), GOOD),
        (crawl(*[450] * 9), GOOD),
        (crawl(*[500] * 9, 0), GOOD),
        (crawl(*[500] * 3, fetched=10), GOOD),
    ],
)
def test_a_good_crawl_has_no_fault(now: Yield, last: Yield | None) -> None:
    assert health(site(), now, last) == []


def test_finding_nothing_names_the_index_and_the_rules() -> None:
    fault = only(Yield.of("example", [], index="https://example.org/list?page=1"), GOOD)
    assert fault.symptom is Symptom.NOTHING
    assert str(fault) == (
        "example: found_nothing: index.links `ul.guides a` and index.match `/guide/` gave no page; see "
        "https://example.org/list?page=1; open it in a browser and correct the rule in the site's YAML, or see in the "
        "table fetches why its URLs failed"
    )
    json = site(index={"urls": [INDEX], "find": '"url":"([^"]+)"'})
    assert health(json, Yield.of("example", []))[0].message == 'index.find `"url":"([^"]+)"` gave no page'
    seeded = health(site(index={}, seeds=["https://example.org/a"]), Yield.of("example", []))
    assert (seeded[0].symptom, seeded[0].page) == (Symptom.NOTHING, "https://example.org/a")


def test_a_missing_selector_names_it_and_a_page_and_comes_first() -> None:
    gone = crawl(*[0] * 10, shown=False)
    assert symptoms(gone, GOOD) == [Symptom.SELECTOR, Symptom.EMPTY]
    fault = health(site(), gone)[0]
    assert fault.page == "https://example.org/guide/0"
    assert "content `div.ContentBox` matches nothing in 10 of 10 documents" in str(fault)


def test_a_selector_is_missed_though_another_way_found_text() -> None:
    assert symptoms(crawl(*[500] * 10, shown=False)) == [Symptom.SELECTOR]
    assert symptoms(crawl(*[500] * 10, shown=False), content=None) == []
    some = Yield.of("example", [*looks(*[500] * 8), *looks(500, 500, shown=False)], index=INDEX)
    assert symptoms(some) == []


def noted(*notes: str, without: int = 0, empty: int = 0) -> Yield:
    """Ten documents with text: notes are of all but the last `without`; so many more are empty."""
    seen = [Look(f"{INDEX}/{n}", 500, notes=notes if n < 10 - without else ()) for n in range(10)]
    return Yield.of("example", [*seen, *(Look(f"{INDEX}/empty{n}", 0) for n in range(empty))], index=INDEX)


@pytest.mark.parametrize(("name", "do"), [("chapters", "run `gap crawl` again"), ("title", "no new crawl is needed")])
def test_chapters_or_a_title_that_no_document_has_are_a_fault(name: str, do: str) -> None:
    changes: dict[str, Any] = {name: ".gone"} | ({"mode": "chapters"} if name == "chapters" else {})
    fault = only(noted(name, empty=1), **changes)
    assert (fault.symptom, fault.page) == (Symptom.NEVER, f"{INDEX}/0")
    assert fault.message == f"{name} `.gone` matches nothing in any of 10 documents with text"
    assert fault.do.endswith(do)
    assert symptoms(noted(name, without=1), **changes) == []
    assert symptoms(noted(), **changes) == []


def test_notes_are_counted_by_what_they_tell_with_a_page() -> None:
    looks = [
        Look("b", 1, notes=("title", "scanned pages")),
        Look("a", 1, notes=("scanned pages",)),
        Look("0", 0, notes=("title",)),
    ]
    total = Yield.of("example", looks)
    assert total.notes == {"scanned pages": 2, "title": 1}
    assert total.noted_at == {"scanned pages": "a", "title": "b"}
    assert Yield.model_validate(total.model_dump(mode="json")) == total


def test_documents_without_text_are_a_fault_from_a_share_on() -> None:
    fault = only(crawl(*[500] * 8, 0, 0))
    assert (fault.symptom, fault.page) == (Symptom.EMPTY, "https://example.org/guide/8")
    assert fault.message == "2 of 10 documents have no text, 10% are allowed"
    assert symptoms(crawl(*[500] * 8, 0, 0), expect=SITE["expect"] | {"empty": 0.3}) == []
    assert symptoms(crawl(*[500] * 10, 0, 0), crawl(*[500] * 10, 0, 0)) == []
    assert symptoms(crawl(500, 500, 0), expect={"documents": 3, "words": 1500}) == []
    assert Symptom.EMPTY in symptoms(crawl(0))


def test_far_fewer_documents_than_expected_are_a_fault() -> None:
    fault = only(crawl(*[500] * 4))
    assert (fault.symptom, fault.page) == (Symptom.FEWER, INDEX)
    assert fault.message == "4 documents; about 10 are expected"
    assert symptoms(crawl(*[500] * 4), expect=SITE["expect"] | {"at_least": 0.3}) == []


def test_a_sharp_fall_against_the_last_crawl_is_a_fault() -> None:
    fault = only(GOOD, crawl(*[500] * 20))
    assert fault.message == "10 documents; the last crawl had 20"
    assert fault.symptom is Symptom.FALL
    assert only(GOOD, crawl(*[700] * 10)).message == "500 words per document; the last crawl had 700"
    assert symptoms(crawl(*[500] * 16), crawl(*[500] * 20)) == []


def test_far_shorter_documents_than_expected_are_a_fault() -> None:
    fault = only(crawl(*[200] * 10))
    assert fault.symptom is Symptom.SHORTER
    assert fault.message == "200 words per document; about 500 are expected"


def test_a_sample_is_reckoned_up_to_the_whole() -> None:
    total = crawl(400, 600, 0, 500, fetched=40)
    assert (total.fetched, total.looked, total.documents, total.words) == (40, 4, 30, 15_000)
    assert (total.empty, total.empty_at) == (1, "https://example.org/guide/2")
    assert total.empty_share == 0.25
    assert total.words_each == 500


def test_pages_that_cannot_be_read_back_are_told() -> None:
    fault = only(Yield.of("example", [], fetched=7))
    assert (fault.symptom, fault.message) == (Symptom.NOTHING, "none of 7 fetched pages could be read")


def test_a_yield_keeps_its_form_in_a_manifest() -> None:
    assert Yield.model_validate(GOOD.model_dump(mode="json")) == GOOD


@pytest.mark.parametrize(
    ("limit", "documents", "words"), [(None, 10, 5000), (10, 10, 5000), (4, 4, 2000), (99, 10, 5000)]
)
def test_a_limit_lowers_what_is_expected(limit: int | None, documents: int, words: int) -> None:
    part = expected(site(), limit)
    assert (part.expect.documents, part.expect.words) == (documents, words)
    assert part.index == site().index


def listing(**links: int) -> Yield:
    return GOOD.model_copy(update={"links": {f"{INDEX}/{name}": count for name, count in links.items()}})


def test_an_index_that_leads_nowhere_is_a_fault_whatever_was_kept() -> None:
    fault = only(listing(a=0, b=0))
    assert (fault.symptom, fault.page) == (Symptom.INDEX, f"{INDEX}/a")
    assert fault.message == "none of 2 index pages leads to a document"
    assert "correct index" in fault.do


def test_an_index_page_that_led_somewhere_at_the_last_crawl_is_told() -> None:
    fault = only(listing(a=5, b=0, c=0), listing(a=5, b=5, c=0))
    assert (fault.symptom, fault.page) == (Symptom.INDEX, f"{INDEX}/b")
    paged = {"urls": [f"{INDEX}?page={{page}}"], "paging": {}}
    assert symptoms(listing(a=5, b=0), listing(a=5, b=5), index=paged) == []


def test_an_index_page_that_could_not_be_read_is_told() -> None:
    fault = only(listing(a=5, b=0).model_copy(update={"unread": (f"{INDEX}/b",)}), listing(a=5, b=5))
    assert (fault.symptom, fault.page) == (Symptom.INDEX, f"{INDEX}/b")
    assert fault.message == "1 index pages could not be read"


def test_documents_that_nothing_lists_any_more_do_not_count() -> None:
    assert symptoms(GOOD.model_copy(update={"listed": 7}), GOOD) == [Symptom.FALL]
    assert symptoms(GOOD.model_copy(update={"listed": 1})) == [Symptom.FEWER]
