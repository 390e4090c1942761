"""URLs in one form, what belongs together, what is private, and what links and headers of hostile pages come to."""

import random
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.site import Index
from ingest.web.addresses import is_private
from ingest.web.links import MOST_REFUSED, Links, html_links, index_urls, pdf_links, too_large
from ingest.web.politeness import backoff, retry_after
from ingest.web.robots import rules_of
from ingest.web.urls import LONGEST, clean_url, domain, is_web, shown_url


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("HTTP://User:word@Example.ORG:80", "http://example.org/"),
        ("https://example.org:443/a b?q=é#x", "https://example.org/a%20b?q=%C3%A9"),
        ("https://example.org:8443/%20", "https://example.org:8443/%20"),
        ("//other.org/a", "https://other.org/a"),
        ("../c?d", "https://base.org/c?d"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("http://2130706433/", "http://127.0.0.1/"),
        ("http://0x7f.1/", "http://127.0.0.1/"),
        ("http://[::1]:80/", "http://[::1]/"),
        ("https://app.example.org/#/guideline/1", "https://app.example.org/"),
        ("ftp://example.org/", None),
        ("javascript:alert(1)", None),
        ("mailto:a@example.org", None),
        ("http://", None),
        ("http://[::1", None),
        ("http://a..b/", None),
        ("http://example.org:99999/", None),
        ("http://1.2.3.4.5/", None),
        (f"http://example.org/{'a' * 3000}", None),
    ],
)
def test_a_page_has_one_url(url: str, clean: str | None) -> None:
    assert clean_url(url, "https://base.org/a/b") == clean


def test_a_route_of_a_javascript_page_is_kept_where_it_counts() -> None:
    assert clean_url("https://a.org/#/guideline/1", fragment=True) == "https://a.org/#/guideline/1"
    assert clean_url("https://a.org/#top", fragment=True) == "https://a.org/"


@given(st.text() | st.text(st.characters(codec="ascii")).map(lambda rest: f"http://{rest}"))
def test_any_text_is_a_clean_url_or_none(text: str) -> None:
    clean = clean_url(text, "http://base.org/")
    if clean is not None:
        assert clean_url(clean) == clean
        assert clean.isascii()
        assert urlsplit(clean).scheme in ("http", "https")


LINKS = (
    st.text()
    | st.text(st.sampled_from("htps:/ \t\n.[]%#@x\u00e9\ud800\x00"))
    | st.text("x", min_size=2000, max_size=9000)
)


@given(LINKS)
def test_any_link_is_one_url_or_told_or_of_another_kind(text: str) -> None:
    links = Links("http://base.org/a")
    links.add(text)
    clean = clean_url(text, "http://base.org/a")
    assert links.urls == ([] if clean is None else [clean])
    assert links.refusals == len(links.refused) == (clean is None and is_web(text))
    assert clean is None or is_web(text)


@given(LINKS)
def test_what_is_told_of_a_link_is_short_and_can_be_stored(text: str) -> None:
    shown = shown_url(text, "http://base.org/a")
    assert len(shown) <= LONGEST
    assert shown.isascii()
    assert not set(shown) & set(" \t\r\n\x00")


@pytest.mark.parametrize("link", ["mailto:a@b.c", "JavaScript:x", " \tjava\nscript:x", "tel:1", "data:,x", "ftp://a/"])
def test_links_of_another_kind_are_no_faults(link: str) -> None:
    assert not is_web(link)


def test_of_links_that_are_no_urls_a_hundred_are_told_and_all_are_counted() -> None:
    links = Links("http://base.org/")
    for number in range(1000):
        links.add(f"http://a..{number}/")
    assert (len(links.refused), links.refusals) == (MOST_REFUSED, 1000)


def test_beginning_and_end_of_a_long_link_are_told() -> None:
    shown = shown_url(f"/d/{'x' * 2**20}.pdf", "http://base.org/")
    assert shown.startswith("http://base.org/d/xxx")
    assert shown.endswith("xxx.pdf")


def test_hosts_of_one_owner_are_one_domain() -> None:
    hosts = ("www.nice.org.uk", "nice.org.uk", "stacks.cdc.gov", "127.0.0.1", "www.rch.org.au", "localhost")
    assert [domain(host) for host in hosts] == [
        "nice.org.uk",
        "nice.org.uk",
        "cdc.gov",
        "127.0.0.1",
        "rch.org.au",
        "localhost",
    ]


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "127.0.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "100.64.0.1",
        "224.0.0.1",
        "::1",
        "fe80::1%eth0",
        "fc00::1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "fec0::1",
        "::7f00:1",
        "::",
    ],
)
def test_private_addresses_are_known(address: str) -> None:
    assert is_private(address)


def test_public_addresses_and_names_are_not_private() -> None:
    assert not any(
        map(is_private, ("8.8.8.8", "2001:4860:4860::8888", "64:ff9b::808:808", "2002:808:808::1", "example.org", ""))
    )


def test_index_pages_are_filled_in() -> None:
    paged = Index.model_validate(
        {"urls": ["http://a/{letter}?p={page}"], "paging": {"first": 0, "step": 10, "most": 3}}
    )
    chains = list(index_urls(paged))
    assert len(chains) == 26
    assert chains[1] == (("http://a/b?p=0", "http://a/b?p=10", "http://a/b?p=20"), "http://a/b?p=30")


@pytest.mark.parametrize(
    "html", [b"", b"\x00\xff" * 1000, b"<div>" * 50_000 + b"<a href=/x>", b"<a href='http://[::1'>", b"<base href=':'>"]
)
def test_links_of_hostile_pages_are_found_or_not_but_raise_nothing(html: bytes) -> None:
    links = html_links(html, "no-such-charset", "http://a.org/", "a, div a[href]")
    assert links.urls in ([], ["http://a.org/x"])


def test_html_that_a_parser_would_choke_on_is_refused() -> None:
    assert too_large(b"<a href=/x>" * 200_000) is None
    assert "400,001 tags" in str(too_large(b"<" * 400_001))
    assert "10,485,761 bytes" in str(too_large(b"x" * (10 * 2**20 + 1)))


@given(st.binary())
def test_links_of_any_bytes_as_pdf_raise_nothing(data: bytes) -> None:
    assert pdf_links(b"%PDF-1.4\n" + data, "http://a.org/").urls == []


@given(
    st.lists(st.sampled_from(["User-agent:", "*", "Crawl-delay:", "Request-rate:", "1/0", "nan", "-1", "1e999", "\n"]))
)
def test_any_robots_txt_gives_an_interval_that_can_be_waited_for(words: list[str]) -> None:
    rules = rules_of(200, ("User-agent: *\n" + " ".join(words)).encode())
    assert 0 <= rules.interval < float("inf")
    assert rules.forbids("http://a.org/b") is None


def test_a_robots_txt_of_many_stars_is_matched_quickly() -> None:
    rules = rules_of(200, b"User-agent: *\nDisallow: /" + b"*a" * 50 + b"b$")
    assert rules.forbids(f"http://a.org/{'a' * 2000}") is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("120", 120),
        (" 0 ", 0),
        ("Tue, 24 Nov 2026 12:00:30 GMT", 30),
        ("Tue, 24 Nov 2026 11:00:00 GMT", 0),
        ("soon", None),
        ("-5", None),
        ("٣", None),
        ("9" * 500, 999_999_999_999),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, datetime(2026, 11, 24, 12, tzinfo=UTC)) == seconds


def test_waits_double_up_to_a_bound_and_are_the_same_for_a_seed() -> None:
    waits = [backoff(attempt, 1, 10, random.Random(7)) for attempt in range(6)]
    assert waits == [backoff(attempt, 1, 10, random.Random(7)) for attempt in range(6)]
    assert all(low <= wait <= 2 * low for wait, low in zip(waits, (0.5, 1, 2, 4, 5, 5), strict=True))
