"""Licences: named where they can be read, and free to leave only where that is certain."""

import pytest
from lxml import etree

from ingest.sources.licence import licence

LINK = "http://creativecommons.org/licenses/{}/"


def stated(inner: str) -> tuple[str | None, bool]:
    namespaces = 'xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:ali="http://www.niso.org/schemas/ali/1.0/"'
    return licence(etree.fromstring(f"<article-meta {namespaces}>{inner}</article-meta>"))


def linked(*deeds: str) -> tuple[str | None, bool]:
    licences = "".join(f'<license xlink:href="{LINK.format(deed)}"/>' for deed in deeds)
    return stated(f"<permissions>{licences}</permissions>")


def worded(words: str, kind: str = "") -> tuple[str | None, bool]:
    attribute = f'license-type="{kind}"' if kind else ""
    return stated(f"<permissions><license {attribute}><license-p>{words}</license-p></license></permissions>")


@pytest.mark.parametrize(
    ("deed", "name", "free"),
    [
        ("by/4.0", "CC-BY-4.0", True),
        ("by/2.0/uk", "CC-BY-2.0", True),
        ("by", "CC-BY", True),
        ("by-sa/3.0", "CC-BY-SA-3.0", True),
        ("by-nc/4.0", "CC-BY-NC-4.0", False),
        ("by-nd/4.0", "CC-BY-ND-4.0", False),
        ("by-nc-nd/4.0", "CC-BY-NC-ND-4.0", False),
        ("by-nc-sa/3.0", "CC-BY-NC-SA-3.0", False),
        ("BY-NC/3.0", "CC-BY-NC-3.0", False),
    ],
)
def test_a_deed_is_known_by_its_link(deed: str, name: str, free: bool) -> None:
    assert linked(deed) == (name, free)


def test_a_link_counts_wherever_it_stands() -> None:
    link = LINK.format("by-nc/4.0")
    reference = f"<license><ali:license_ref>{link}</ali:license_ref><license-p>This is open.</license-p></license>"
    for inner in (
        f"<license><license-p>Open (<ext-link xlink:href='{link}'>deed</ext-link>).</license-p></license>",
        f"<license><license-p>Open ({link}).</license-p></license>",
        f"<copyright-statement>See {link}</copyright-statement>",
        reference,
    ):
        assert stated(f"<permissions>{inner}</permissions>") == ("CC-BY-NC-4.0", False)


def test_of_several_deeds_the_one_that_binds_counts() -> None:
    assert linked("by/4.0", "by-nc-nd/4.0") == ("CC-BY-NC-ND-4.0", False)
    assert linked("by-nc/4.0", "by/4.0") == ("CC-BY-NC-4.0", False)
    assert linked("by/4.0", "by-sa/3.0") == ("CC-BY-4.0", True)


@pytest.mark.parametrize(
    ("words", "name", "free"),
    [
        ("under the Creative Commons Attribution License, which permits use", "CC-BY", True),
        ("under CC BY 4.0", "CC-BY", True),
        ("licensed CC-BY.", "CC-BY", True),
        ("Creative Commons Attribution-ShareAlike", "CC-BY-SA", True),
        ("Creative Commons Attribution Non-Commercial License", "CC-BY-NC", False),
        ("Creative Commons Attribution–NonCommercial–NoDerivs", "CC-BY-NC-ND", False),
        ("the Creative Commons Attribution License for non-commercial use", "CC-BY-NC", False),
        ("CC BY-NC-ND", "CC-BY-NC-ND", False),
        ("free of all copyright, under the Creative Commons CC0 public domain dedication", "CC0-1.0", True),
        ("This article is free of all copyright.", "public-domain", True),
        ("Publication of this journal lies in the public domain.", "public-domain", True),
        ("Some figures are not in the public domain. All rights reserved.", None, False),
        ("All rights reserved, public-domain images excepted.", None, False),
        ("This is an Open Access article.", None, False),
        ("See creativecommons.org for terms.", None, False),
    ],
)
def test_a_licence_is_known_by_its_words(words: str, name: str | None, free: bool) -> None:
    assert worded(words) == (name or words, free)


def test_a_dedication_of_the_data_does_not_free_the_text() -> None:
    data = "The Creative Commons Public Domain Dedication waiver applies to the data."
    assert worded(f"Creative Commons Attribution-NonCommercial License. {data}") == ("CC-BY-NC", False)
    both = f"Open ({LINK.format('by-nc/4.0')}). {data} http://creativecommons.org/publicdomain/zero/1.0/"
    assert worded(both) == ("CC-BY-NC-4.0", False)


def test_links_and_types_of_the_public_domain() -> None:
    zero = "https://creativecommons.org/publicdomain/zero/1.0/"
    mark = "https://creativecommons.org/publicdomain/mark/1.0/"
    assert stated(f'<permissions><license xlink:href="{zero}"/></permissions>') == ("CC0-1.0", True)
    assert stated(f'<permissions><license xlink:href="{mark}"/></permissions>') == ("public-domain", True)
    assert worded("", "cc0") == ("CC0-1.0", True)
    assert worded("", "public-domain") == ("public-domain", True)
    assert worded("", "open-access") == (None, False)


def test_statements_without_permissions_around_them_are_read() -> None:
    words = "A et al. This is an open-access article under the Creative Commons Attribution License."
    assert stated(f"<copyright-statement>{words}</copyright-statement>") == ("CC-BY", True)
    assert stated(f"<license><p>{words}</p></license>") == ("CC-BY", True)


def test_a_licence_elsewhere_in_the_article_is_not_the_articles() -> None:
    assert stated(f"<related-object><license>{LINK.format('by/4.0')}</license></related-object>") == (None, False)


def test_a_copyright_alone_is_no_licence() -> None:
    notice = "<permissions><copyright-statement>© 2010 A publisher</copyright-statement></permissions>"
    assert stated(notice) == (None, False)
    assert stated("") == (None, False)
    assert licence(None) == (None, False)


def test_long_terms_are_cut() -> None:
    name, free = worded("word " * 1_000)
    assert name is not None
    assert (len(name), free) == (200, False)
